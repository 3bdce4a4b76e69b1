"""Dc sweep: all inputs scaled together, from -reach to reach times b; how straight the answers are, where they clip."""

from __future__ import annotations

import math

import numpy as np

from amcsim._types import F64
from amcsim.analysis.array import array_deck, loaded, operating_points
from amcsim.analysis.linearised import AnalysisError, Backend, Problem
from amcsim.analysis.result import Axis, Measure, Result, Trace
from amcsim.netlist.conditions import NOMINAL, Conditions
from amcsim.ngspice.messages import NgspiceDied, NgspiceError
from amcsim.nodal.build import build
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.circuit import Topology

__all__ = ["dc"]

_CLIPPED = 0.01
"""Part of the straight line by which an answer that clips has departed from it."""


def dc(
    topology: Topology,
    spec: Spec,
    r: Realisation,
    b: F64,
    *,
    reach: float = 1.0,
    points: int = 41,
    backend: Backend | None = None,
    conditions: Conditions = NOMINAL,
) -> Result:
    """Answers x(s) for inputs s b, s from -reach to reach. NaN where a point has no solution.

    `points` (odd) lie evenly over that range; where reach > 1, as many again within +-1.

    Measures, over |s| <= 1: `linearity_error`, the largest distance of an answer from its least-squares line, in units
    of the largest answer's excursion; `linearity_error_x0`, of each alone in units of its own. `clips_at`: the
    smallest |s| at which an answer is 1 % (of the largest answer's tangent) off its tangent at 0, or without solution;
    infinite where none is. `offset_x0`: answer without input (V); `gain_x0`: slope at 0, per unit of s (V). Nodal
    equations end where amplifiers clip; ngspice (default) goes on. A DC point is no answer by itself: stability is
    another analysis. Raises AnalysisError, NgspiceError, ValueError.
    """
    if points < 5 or points % 2 == 0 or not 0 < reach <= 1e4:
        raise ValueError(f"points = {points}, reach = {reach:g}: wanted an odd number from 5 on, and 0 < reach <= 1e4")
    problem = Problem(topology, spec, r, b, conditions)
    backend = problem.backend(backend or "ngspice")
    whole, inner = np.linspace(-reach, reach, points), np.linspace(-1.0, 1.0, points if reach > 1 else 1)
    scale = np.unique(np.round(np.append(whole, inner if reach > 1 else 0.0), 12))
    columns = b[:, None] * scale
    m = len(problem.outputs)
    if backend == "nodal":
        point = build(topology, spec, r, problem.series).operating_point(columns)
        found = np.where(point.converged, point.u[:m], np.nan)
    else:
        found = _swept(problem, columns)
    found = topology.sign * found
    middle = scale.size // 2
    around = found[:, middle - 1 : middle + 2]
    if not np.isfinite(around).all():
        raise AnalysisError(f"{problem.title}: no operating point without input")
    slope = (around[:, 2] - around[:, 0]) / (scale[middle + 1] - scale[middle - 1])
    tangent = around[:, [1]] + slope[:, None] * scale
    most = max(float(np.abs(slope).max()), 1e-300)
    used = np.abs(scale) <= 1.0 + 1e-12
    straight = np.polynomial.polynomial.polyfit(scale[used], found[:, used].T, 1)
    off = np.abs(found[:, used] - (straight[0][:, None] + straight[1][:, None] * scale[used])).max(axis=1)
    span = np.maximum(np.abs(straight[1]) * scale[used].max(), 1e-300)
    departure = np.abs(found - tangent) / (_CLIPPED * most * np.abs(scale) + 1e-6)
    names = problem.outputs
    clips = min(_beyond(scale[middle:], departure[:, middle:]), _beyond(-scale[middle::-1], departure[:, middle::-1]))
    measures = {
        "linearity_error": Measure(float(off.max() / span.max())),
        "clips_at": Measure(clips[0], "", (names[clips[1]], clips[0]) if math.isfinite(clips[0]) else None),
    }
    for i, name in enumerate(names):
        measures[f"gain_{name}"] = Measure(float(slope[i]), "V")
        measures[f"offset_{name}"] = Measure(float(around[i, 1]), "V")
        measures[f"linearity_error_{name}"] = Measure(float(off[i] / span[i]))
    traces = {name: Trace(x, "V") for name, x in zip(names, found, strict=True)}
    title = f"{problem.title}: answers over the scale of the inputs"
    return Result("dc", title, Axis("input scale", "", scale), traces, measures, {"backend": backend, "inputs": b})


def _beyond(scale: F64, departure: F64) -> tuple[float, int]:
    """Where on rising scales (k,) a departure, (m, k), first exceeds 1, between points, and whose; inf if none does."""
    worst = np.where(np.isnan(departure).any(axis=0), np.inf, departure.max(axis=0))
    gone = np.flatnonzero(worst > 1)
    if gone.size == 0 or gone[0] == 0:
        return (math.inf, 0) if gone.size == 0 else (float(scale[0]), 0)
    k = int(gone[0])
    share = (1 - worst[k - 1]) / (worst[k] - worst[k - 1])  # 0 at a point without solution
    return float(scale[k - 1] + share * (scale[k] - scale[k - 1])), int(np.argmax(np.nan_to_num(departure[:, k])))


def _swept(problem: Problem, columns: F64) -> F64:
    """ngspice's operating points for input voltages, (inputs, k), (m, k), V: from the middle to either end.

    Each point starts from the one before, which is 15 times faster for a 16x16 with amplifiers of transistors.
    A point that cannot be reached so is looked for by itself; NaN where there is none.
    """
    topology, r = problem.topology, problem.realisation
    deck = array_deck(topology, problem.spec, r, np.zeros(len(columns)), conditions=problem.conditions)
    session = loaded(topology, deck)
    names = [f"v{name}" for name in deck.network.sources.names]
    outputs = [f"v({name})" for name in problem.outputs]
    volts = (topology.drive(*r.g_pos.shape) @ columns).T
    found = np.full((len(volts), len(outputs)), np.nan)
    middle = len(volts) // 2
    for rows in (np.arange(middle, len(volts)), np.arange(middle, -1, -1)):
        try:
            found[rows] = session.variations("vsample", names, volts[rows], outputs)
        except NgspiceDied:
            raise
        except NgspiceError:  # not even the first point: all are looked for by themselves
            break
    lost = np.flatnonzero(np.isnan(found).any(axis=1))
    if lost.size:
        alone = operating_points(topology, problem.spec, r, columns[:, lost], problem.conditions)
        found[lost] = alone[: len(outputs)].T
    return found.T
