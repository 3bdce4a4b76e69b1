"""Noise at the answers: density over frequency, integrated, and in bits.

Origins: 4 k T of cells, access channels, wires and resistors; the amplifiers' input noise e_n sqrt(1 + f_c/f). For an
MVM row with ideal amplifiers, no wires, no access devices, feedback g_u and G = sum of the row's conductances, by hand:

    S_y = 4 k T (g_u + G) / g_u^2 + e_n^2 (1 + G/g_u)^2        (V^2/Hz, below the closed loop's bandwidth)

A converter of +-FS and N bits makes quantisation noise of 2 FS / (2^N sqrt 12), so that noise of that size leaves

    effective bits = log2(2 FS / (sqrt(12) rms)).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from amcsim._types import F64
from amcsim.analysis.linearised import Backend, Problem
from amcsim.analysis.result import Axis, Measure, Result, Trace
from amcsim.netlist.conditions import NOMINAL, Conditions
from amcsim.ngspice.frequencies import decades
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.circuit import Topology

__all__ = ["effective_bits", "integrated", "noise"]


def noise(
    topology: Topology,
    spec: Spec,
    r: Realisation,
    b: F64,
    *,
    backend: Backend | None = None,
    start: float = 1.0,
    stop: float = 1e8,
    per_decade: int = 10,
    conditions: Conditions = NOMINAL,
) -> Result:
    """Noise density of each answer, V/sqrt(Hz), while inputs b are applied.

    Measures: `integrated` (V rms from start to stop) and `effective_bits` of the noisiest answer, `integrated_x0` of
    each, `density` of the noisiest at 10 kHz. The nodal backend adds the parts by origin to the traces (of the
    noisiest answer) and `details["parts_rms"]`. Sinh cells: 4 k T of the conductance at 0 V in ngspice, of the slope at
    the operating point in the nodal backend. Raises AnalysisError, NgspiceError, ValueError.
    """
    problem = Problem(topology, spec, r, b, conditions)
    backend = problem.backend(backend)
    f = decades(start, stop, per_decade)
    names = problem.outputs
    parts: dict[str, F64] = {}
    if backend == "nodal":
        parts = {name: power.T for name, power in problem.small_signal(f).noise(problem.kelvin).items()}
        power = sum(parts.values(), np.zeros((len(names), f.size)))
    else:
        outputs = [f"v({name})" for name in names]
        source = next(iter(problem.sources(np.ones_like(b))))
        power = problem.settled(lambda session: session.noise(f, outputs, source), noise=True, repeated=True) ** 2
    rms = integrated(f, power)
    loud = int(np.argmax(rms))
    alone = bool(parts)  # a figure shows the noisiest answer and what its noise is made of
    traces = {
        name: Trace(np.sqrt(row), "V/sqrt(Hz)", log=True, shown=not alone or k == loud)
        for k, (name, row) in enumerate(zip(names, power, strict=True))
    }
    traces |= {f"{names[loud]} of {name}": Trace(np.sqrt(p[loud]), "V/sqrt(Hz)", log=True) for name, p in parts.items()}
    full_scale = spec.converters.adc_full_scale or (spec.cell.v_read_max if topology.on_cells else spec.opamp.swing)
    at = min(max(1e4, start), float(f[-1]))
    density = float(np.sqrt(np.exp(np.interp(math.log(at), np.log(f), np.log(power[loud])))))
    measures = {
        "integrated": Measure(float(rms[loud]), "V"),
        "effective_bits": Measure(effective_bits(float(rms[loud]), full_scale), "bit"),
        "density": Measure(density, "V/sqrt(Hz)", (names[loud], at)),
    }
    measures |= {f"integrated_{name}": Measure(v, "V") for name, v in zip(names, rms.tolist(), strict=True)}
    details: dict[str, Any] = {"backend": backend, "noisiest": names[loud], "full_scale": full_scale}
    if parts:
        details["parts_rms"] = {name: float(integrated(f, part)[loud]) for name, part in parts.items()}
    title = f"{problem.title}: noise of the answers"
    return Result("noise", title, Axis("frequency", "Hz", f, log=True), traces, measures, details)


def integrated(f: F64, power: F64) -> F64:
    """Rms values of power densities, (..., f) in V^2/Hz, over frequencies f, Hz: trapezoids over ln f; (...), V."""
    area = np.trapezoid(power * f, np.log(f), axis=-1)
    rms: F64 = np.sqrt(np.maximum(area, 0.0))
    return rms


def effective_bits(rms: float, full_scale: float) -> float:
    """Bits of a converter of +-full_scale (V) whose quantisation noise is as large as `rms` (V)."""
    return math.inf if rms == 0 else math.log2(2 * full_scale / (math.sqrt(12) * rms))
