"""The analyses by name, all asked in the same way, as Monte-Carlo, corners and spec tables ask them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from amcsim._types import F64
from amcsim.analysis.array import operating_points
from amcsim.analysis.dc import dc
from amcsim.analysis.linearised import AnalysisError, Problem
from amcsim.analysis.noise import noise
from amcsim.analysis.result import Axis, Measure, Result, Trace
from amcsim.analysis.smallsignal import ac, supply
from amcsim.analysis.stability import stability
from amcsim.analysis.step import step
from amcsim.mapping import matrix_scale
from amcsim.netlist.conditions import NOMINAL, Conditions
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.circuit import Topology

__all__ = ["ANALYSES", "analyse", "check_names", "exact_volts", "op"]


def op(
    topology: Topology,
    spec: Spec,
    r: Realisation,
    b: F64,
    *,
    wanted: F64 | None = None,
    conditions: Conditions = NOMINAL,
) -> Result:
    """The answers at ngspice's operating point, and how far they are from `wanted`, (m,), V.

    Measures: `error`, relative, of the answers' norm; `worst_error` (V); `x0`, ... (V). A DC point is no answer by
    itself: stability is another analysis. Raises AnalysisError without convergence, NgspiceError.
    """
    problem = Problem(topology, spec, r, b, conditions)
    names = problem.outputs
    x = topology.sign * operating_points(topology, spec, r, b[:, None], conditions)[: len(names), 0]
    if not np.isfinite(x).all():
        raise AnalysisError(f"{problem.title}: ngspice found no operating point")
    measures = {name: Measure(v, "V") for name, v in zip(names, x.tolist(), strict=True)}
    traces = {"answer": Trace(x, "V")}
    if wanted is not None:
        off, size = x - wanted, float(np.linalg.norm(wanted))
        measures["error"] = Measure(float(np.linalg.norm(off)) / size if size else np.nan)
        measures["worst_error"] = Measure(float(np.abs(off).max()), "V")
        traces |= {"wanted": Trace(wanted, "V")}
    axis = Axis("output", "", np.arange(float(len(names))), points=names)
    return Result("op", f"{problem.title}: operating point", axis, traces, measures)


ANALYSES: Mapping[str, Callable[..., Result]] = {
    "op": op,
    "dc": dc,
    "tran": step,
    "ac": ac,
    "noise": noise,
    "stability": stability,
    "supply": supply,
}


def check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of analyses, each once. Raises ValueError for another or for none."""
    for name in names:
        if name not in ANALYSES:
            raise ValueError(f"analysis {name!r} is unknown; there are {', '.join(ANALYSES)}")
    if not names:
        raise ValueError(f"no analysis is named; there are {', '.join(ANALYSES)}")
    return tuple(dict.fromkeys(names))


def analyse(name: str, problem: Problem, wanted: F64 | None = None, **options: Any) -> Result:
    """That analysis of a circuit, with its own options. Raises what the analysis raises, ValueError for its name."""
    check_names((name,))
    if name == "op":
        options["wanted"] = wanted
    p = problem
    return ANALYSES[name](p.topology, p.spec, p.realisation, p.b, conditions=p.conditions, **options)


def exact_volts(topology: Topology, a: F64, b: F64) -> F64:
    """What exact amplifiers and conductances would answer to input voltages b, (m,), V; NaN for a singular matrix."""
    scaled = a / matrix_scale(a)
    if topology.name != "inv":
        return np.asarray(scaled @ b)
    try:
        return np.asarray(np.linalg.solve(scaled, b))
    except np.linalg.LinAlgError:
        return np.full(a.shape[0], np.nan)
