"""What the cost model takes from circuits: settling and power of INV and MVM, time and energy of a written cell.

Systems are those of studies.hp_inv at condition 10, inputs ranged as solvers do, cells written ideally. Up to n = 16
each figure is ngspice's transient, above the surrogate's equations with the spec's own parameters, which agree with it
(settling and power of the same circuit within 1 % at 16).
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any, Literal

import numpy as np

from amcsim._types import F64
from amcsim.access import on_resistance
from amcsim.analysis.reads import read
from amcsim.analysis.write_verify import STATES, write_verify
from amcsim.mapping import inverse_for_ranging, matrix_scale, product_scale, voltage_scale
from amcsim.nodal.build import build
from amcsim.realisation import Realisation, realise
from amcsim.specs import Spec, load_spec, preset
from amcsim.streams import Key
from amcsim.studies.hp_inv import systems
from amcsim.surrogate.model import CellLaw, Domain, Surrogate
from amcsim.surrogate.reads import reads
from amcsim.topology.inv import INV
from amcsim.topology.mvm import MVM

__all__ = ["TECHNOLOGIES", "circuit_figures", "technology", "written_cell"]

TECHNOLOGIES = ("integrated", "board")
_NGSPICE_TO = 16


def technology(name: str) -> Spec:
    """The spec of a technology: `board` is pku_350nm, `integrated` calibration/cost_integrated.toml."""
    if name == "board":
        return preset("pku_350nm").replace(programming={"model": "ideal"})
    with as_file(files("amcsim.calibration") / "cost_integrated.toml") as path:
        return load_spec(path)


def circuit_figures(
    name: str, circuit: Literal["inv", "mvm"], n: int, count: int, seed: int = 0, condition: float = 10.0
) -> dict[str, Any]:
    """Medians over `count` circuits of n rows: `settling`, s, and `power` a row, W; and the backend they come from."""
    spec, key = technology(name), Key(seed, (n,))
    a, b = systems(n, condition, count, key.child(0))
    r = realise(a, spec, key.child(1))
    volts = b * _scale(a, b, spec, circuit)
    r0 = on_resistance(spec.cell) if spec.cell.access != "none" else 0.0
    if n <= _NGSPICE_TO:
        found = np.array([_in_ngspice(circuit, spec, r[i], volts[i, :, 0], r0) for i in range(count)])
        settling, power = np.nanmedian(np.where(np.isfinite(found), found, np.nan), axis=0)
    else:
        model = Surrogate(
            circuit=circuit,
            spec=spec,
            cell=CellLaw(r0=r0),
            gain=spec.opamp.gain,
            output_resistance=spec.opamp.output_resistance,
            fast_verdict=True,
            domain=Domain(sizes=(n,), g_min=1e-9, g_max=1.0, v_max=10.0),
        )
        answer = reads(model, spec, r, volts)
        settling, power = np.nanmedian(answer.settling), np.nanmedian(answer.power)
    backend = "ngspice" if n <= _NGSPICE_TO else "equations"
    figures = {"settling": float(settling), "power_row": float(power) / n}
    return {"technology": name, "circuit": circuit, "n": n, "backend": backend, "circuits": count, **figures}


def _scale(a: F64, b: F64, spec: Spec, circuit: str) -> F64:
    """Volts for one unit of b, (count, 1, 1)."""
    if circuit == "inv":
        return voltage_scale(inverse_for_ranging(a), b, spec)[..., None, :]
    return np.asarray(product_scale(a / matrix_scale(a)[:, None, None], b, spec)[..., None, :])


def _in_ngspice(circuit: str, spec: Spec, r: Realisation, volts: F64, r0: float) -> tuple[float, float]:
    topology = INV if circuit == "inv" else MVM
    model = build(topology, spec, r, r0)
    point = model.operating_point(volts[:, None])
    end = topology.sign * point.u[: model.answers, 0]
    stop = max(3.0 * float(model.settling_time(point.u, spec.converters.settling_tolerance)[0]), 1e-8)
    settling, power, _ = read(topology, spec, r, volts, end, stop)
    return settling, power


def written_cell(cells: int, seed: int = 0, *, bits: int = 6) -> dict[str, Any]:
    """Write-verify in ngspice to within half of one of 2^bits states of 20 to 220 uS, means over 8 targets."""
    tolerance = 200e-6 / 2**bits / 2
    found = write_verify(STATES, cells, tolerance, Key(seed, (1,)), cell=preset("pku_350nm").cell)
    return {
        "bits": bits,
        "tolerance": tolerance,
        "cells": int(found.reads.size),
        "reached": float(found.reached.mean()),
        "pulses": float(found.pulses.mean()),
        "time": float(found.time.mean()),
        "energy": float(found.energy.mean()),
    }
