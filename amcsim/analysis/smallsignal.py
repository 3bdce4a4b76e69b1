"""Closed-loop frequency response, from the inputs and from the supplies to the answers.

`ac`: the inputs together as the vector b (or one of them), outputs per volt: x(j w) of INV tends to A^-1 b at low
frequency. `supply`: a ripple on one supply pin; rejection is -20 log10 |output / ripple|.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from amcsim._types import C128, F64
from amcsim.analysis.linearised import Backend, Problem, decibel
from amcsim.analysis.result import Axis, Measure, Result, Trace
from amcsim.netlist.conditions import NOMINAL, Conditions
from amcsim.ngspice.frequencies import decades
from amcsim.ngspice.session import Session
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.circuit import Topology

__all__ = ["ac", "supply"]

PINS = {"vdd": "vdd", "vss": "vss", "wl": "vwl", "bulk": "vbulk"}
"""Supplies of a deck and their sources: of the amplifiers, the word-lines, the bulk of the access transistors."""


def ac(
    topology: Topology,
    spec: Spec,
    r: Realisation,
    b: F64,
    *,
    only: int | None = None,
    backend: Backend | None = None,
    start: float = 1e2,
    stop: float = 1e8,
    per_decade: int = 20,
    conditions: Conditions = NOMINAL,
) -> Result:
    """Answers over frequency, each in dB (V/V) and deg, per volt at the inputs.

    The inputs swing together along b, (inputs,), with norm 1 V; or input `only` alone by 1 V. Measures: `gain`,
    `bandwidth` (-3 dB) and `peaking` (dB above the low-frequency level) of the answers' norm, each with the name of an
    answer behind for that one alone: `bandwidth_x0`. Infinite bandwidth lies beyond `stop`. Raises AnalysisError,
    NgspiceError, ValueError.
    """
    problem = Problem(topology, spec, r, b, conditions)
    backend = problem.backend(backend)
    f = decades(start, stop, per_decade)
    swing = _direction(b, only)
    if backend == "nodal":
        m = len(problem.outputs)
        found = topology.sign * problem.small_signal(f).transfer(swing[:, None])[:, :m, 0].T
    else:
        found = topology.sign * problem.ac(f, problem.outputs, problem.sources(swing))
    names = problem.outputs
    traces = {f"|{name}|": Trace(decibel(h), "dB") for name, h in zip(names, found, strict=True)}
    traces |= {
        f"arg {name}": Trace(np.degrees(np.unwrap(np.angle(h))), "deg") for name, h in zip(names, found, strict=True)
    }
    norm = np.linalg.norm(found, axis=0)
    level = decibel(found)
    peaks = level.max(axis=1) - level[:, 0]
    whole = decibel(norm)
    measures = {
        "gain": Measure(float(norm[0]), "V/V"),
        "bandwidth": Measure(_bandwidth(f, norm), "Hz"),
        "peaking": Measure(float(whole.max() - whole[0]), "dB"),
    }
    for name, h, peak in zip(names, found, peaks.tolist(), strict=True):
        width = _bandwidth(f, np.abs(h))
        measures[f"gain_{name}"] = Measure(float(np.abs(h[0])), "V/V")
        measures[f"bandwidth_{name}"] = Measure(width, "Hz", (f"|{name}|", width) if len(names) <= 4 else None)
        measures[f"peaking_{name}"] = Measure(peak, "dB")
    driven = "the inputs along b" if only is None else f"input {only}"
    title = f"{problem.title}: response to {driven}"
    return Result("ac", title, Axis("frequency", "Hz", f, log=True), traces, measures, {"backend": backend})


def supply(
    topology: Topology,
    spec: Spec,
    r: Realisation,
    b: F64,
    *,
    pins: Sequence[str] = tuple(PINS),
    start: float = 1e1,
    stop: float = 1e8,
    per_decade: int = 10,
    conditions: Conditions = NOMINAL,
) -> Result:
    """What ripple on each supply does to the answers while inputs b are applied, from ngspice.

    A trace a pin: the largest |answer / ripple|, dB. Measures: rejection (dB) at the lowest frequency, `rejection_vdd`,
    and the worst at any frequency, `worst_rejection_vdd`; infinite where nothing comes through, which leaves no trace.
    Behavioural amplifiers have no path from their supplies: with them, vdd and vss say nothing about a real amplifier
    (`details["note"]`); the word-line's and the bulk's act through the access transistors' resistance in any case.
    Raises NgspiceError, ValueError.
    """
    problem = Problem(topology, spec, r, b, conditions)
    there = [pin for pin in PINS if pin in ("vdd", "vss") or spec.cell.access != "none"]
    unknown = [pin for pin in pins if pin not in PINS]
    if unknown:
        raise ValueError(f"supply pin {unknown[0]!r} is unknown; there are {', '.join(there)}")
    f = decades(start, stop, per_decade)
    traces: dict[str, Trace] = {}
    measures: dict[str, Measure] = {}
    wanted = [pin for pin in pins if pin in there]
    if not wanted:
        raise ValueError(f"none of these supply pins is in this circuit; there are {', '.join(there)}")

    def ripple(session: Session) -> C128:
        return np.stack([session.ac(f, problem.outputs, {PINS[pin]: 1.0}) for pin in wanted])

    responses = problem.settled(ripple, repeated=True)  # (pins, answers, f)
    for pin, response in zip(wanted, responses, strict=True):
        found = np.abs(response).max(axis=0)
        if found.max() < 1e-14:  # what is left are rounding errors
            measures |= {f"rejection_{pin}": Measure(math.inf, "dB"), f"worst_rejection_{pin}": Measure(math.inf, "dB")}
            continue
        level = 20 * np.log10(np.maximum(found, 1e-16))
        traces[pin] = Trace(level, "dB")
        top = int(np.argmax(level))
        measures[f"rejection_{pin}"] = Measure(-float(level[0]), "dB")
        measures[f"worst_rejection_{pin}"] = Measure(-float(level[top]), "dB", (pin, float(f[top])))
    details = {"pins": wanted}
    if spec.opamp.model in ("ideal", "linear", "behavioral"):
        details["note"] = [f"opamp.model = {spec.opamp.model!r} has no path from its supplies to its output"]
    title = f"{problem.title}: from the supplies to the answers (largest)"
    return Result("supply", title, Axis("frequency", "Hz", f, log=True), traces, measures, details)


def _direction(b: F64, only: int | None) -> F64:
    if only is not None:
        if not 0 <= only < b.size:
            raise ValueError(f"input {only}: there are inputs 0 to {b.size - 1}")
        return np.asarray(np.eye(b.size)[only])
    size = float(np.linalg.norm(b))
    if size == 0:
        raise ValueError("all inputs are 0: no direction to swing them along")
    return np.asarray(b / size)


def _bandwidth(f: F64, magnitude: F64 | C128) -> float:
    """Where the magnitude has fallen by 3 dB below its first value for the first time, Hz; inf beyond the sweep."""
    level = decibel(magnitude) - decibel(magnitude[:1]) + 10 * math.log10(2)
    below = np.flatnonzero(~(level >= 0))
    if below.size == 0 or below[0] == 0:
        return math.inf if below.size == 0 else math.nan
    k = int(below[0])
    share = level[k - 1] / (level[k - 1] - level[k])
    return float(np.exp(np.log(f[k - 1]) + share * (np.log(f[k]) - np.log(f[k - 1]))))
