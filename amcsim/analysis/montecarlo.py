"""Monte-Carlo: the same matrix drawn again and again, analysed in persistent sessions, one a core.

Samples go in blocks of a fixed size, each drawn from one stream of the key and each the same whatever worker takes it
and in whatever order, so that results do not depend on the number of workers. Operating points of a block are one dc
sweep of ngspice, altered from point to point (Session.variations); other analyses are run sample by sample.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from amcsim._types import F64
from amcsim.analysis.array import array_deck
from amcsim.analysis.linearised import AnalysisError, Problem
from amcsim.analysis.result import Axis, Measure, Result, Trace
from amcsim.analysis.suite import analyse, check_names, exact_volts
from amcsim.analysis.table import Limit, check_unit, yield_interval
from amcsim.netlist.conditions import NOMINAL, Conditions
from amcsim.netlist.deck import alterations, deck_text
from amcsim.ngspice.messages import NgspiceDied, NgspiceError
from amcsim.ngspice.session import Session, session_for
from amcsim.realisation import Realisation, realise
from amcsim.runs import ReplaceWorker, default_workers, run
from amcsim.specs import Spec, VariationSpec
from amcsim.streams import Key
from amcsim.topology.circuit import Topology
from amcsim.topology.inv import INV
from amcsim.topology.mvm import MVM

__all__ = ["BLOCK", "montecarlo", "realisations"]

BLOCK = 50
"""Samples of a block."""
_WORTH_WORKERS = 3.0
"""Seconds of work on one core from which on the start of workers, about one second, pays."""
_SHOWN = 0.05, 0.5, 0.95
"""Quantiles among the measures."""
_CIRCUITS = {"inv": INV, "mvm": MVM}


@dataclass(frozen=True, eq=False)
class _Job:
    """What every worker knows."""

    circuit: str
    spec: Spec
    a: F64
    b: F64
    key: Key
    analyses: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]]
    conditions: Conditions
    samples: int

    def drawn(self, block: int) -> tuple[int, Realisation]:
        """How many samples a block has, and all of them."""
        return _drawn(self.a, self.spec, self.samples, self.key, block)


def _drawn(a: F64, spec: Spec, samples: int, key: Key, block: int) -> tuple[int, Realisation]:
    count = min(BLOCK, samples - block * BLOCK)
    return count, realise(np.broadcast_to(a, (count, *a.shape)), spec, key.child(block))


def realisations(a: F64, spec: Spec, samples: int, key: Key) -> Realisation:
    """The circuits that `montecarlo` analyses, all arrays (samples, ...): for other backends on the same draws."""
    blocks = [_drawn(a, spec, samples, key, block)[1] for block in range(math.ceil(samples / BLOCK))]
    return Realisation(*map(np.concatenate, zip(*(vars(r).values() for r in blocks), strict=True)))


_Found = list[dict[str, tuple[float, str]]]
"""Of each sample: value and unit by `analysis.measure`."""


def montecarlo(
    topology: Topology,
    spec: Spec,
    a: F64,
    b: F64,
    samples: int,
    key: Key,
    *,
    analyses: Sequence[str] = ("op",),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    table: Sequence[Limit] = (),
    workers: int | None = None,
    conditions: Conditions = NOMINAL,
    progress: Callable[[int], object] | None = None,
) -> Result:
    """Draw a matrix a, (m, n), `samples` times and analyse each circuit with input voltages b, (inputs,).

    `analyses` by name (amcsim.analysis.suite), those of the table besides; `options` by analysis. At most `workers`
    processes (default: one a core), which start only where they pay: this one begins. A trace for each measure over
    the samples, `op.error`, NaN where a sample has no answer. Measures: of each trace its mean, sigma, 5 %, 50 % and
    95 % quantile of the samples that have it, `op.error.mean`; `failed`: samples without answer to some analysis; with
    a table `yield` and its 95 % interval `yield_low`, `yield_high` (Clopper and Pearson), and
    `details["yield_by_row"]`. A sample without answer passes no row. `progress(1)` for each sample. Raises ValueError;
    WorkerFailure and TaskError of amcsim.runs.
    """
    if not 1 <= samples <= 10_000_000:
        raise ValueError(f"samples = {samples}: allowed is 1 to 10000000")
    names = check_names((*analyses, *(row.analysis for row in table)))
    options = dict(options or {})
    job = _Job(topology.name, spec.require_supported(), a, b, key, names, options, conditions, samples)
    blocks = range(math.ceil(samples / BLOCK))
    step = progress or (lambda _: None)
    found: dict[int, _Found] = {}

    def take(block: int, result: _Found) -> None:
        found[block] = result
        step(len(result))

    left = list(blocks)
    if "op" in names:
        _session(job)  # so that a first block's time is that of a block
    count = workers or default_workers()
    while left:
        begun, elsewhere = time.perf_counter(), False
        try:
            take(left[0], _block(left[0], job))
            left.pop(0)
            seconds = (time.perf_counter() - begun) * len(left)
            elsewhere = min(count, len(left)) > 1 and seconds > _WORTH_WORKERS
        except NgspiceDied:  # this process has no ngspice any more; others may
            elsewhere = True
        if elsewhere:
            items = ((block, block) for block in left)
            run(_in_worker, items, workers=min(count, len(left)), on_result=take, kwargs={"job": job})
            break
    return _summary(job, [sample for block in blocks for sample in found[block]], table)


def _in_worker(block: int, job: _Job) -> _Found:
    try:
        return _block(block, job)
    except NgspiceDied as error:
        raise ReplaceWorker(str(error)) from None


def _block(block: int, job: _Job) -> _Found:
    """All analyses of a block's samples."""
    topology, (count, drawn) = _CIRCUITS[job.circuit], job.drawn(block)
    wanted = exact_volts(topology, job.a, job.b)
    rows: _Found = [{} for _ in range(count)]
    for name in job.analyses:
        if name == "op":
            _operating_points(job, drawn, wanted, rows)
            continue
        for k, row in enumerate(rows):
            problem = Problem(topology, job.spec, drawn[k], job.b, job.conditions)
            try:
                result = analyse(name, problem, wanted, **job.options.get(name, {}))
            except NgspiceDied:
                raise
            except (AnalysisError, NgspiceError):
                continue
            row |= {f"{name}.{measure}": (m.value, m.unit) for measure, m in result.measures.items()}
    return rows


def _operating_points(job: _Job, drawn: Realisation, wanted: F64, rows: _Found) -> None:
    """The measures of `op` of every sample."""
    topology, m = _CIRCUITS[job.circuit], job.a.shape[0]
    decks = [array_deck(topology, job.spec, drawn[k], job.b, conditions=job.conditions) for k in range(len(rows))]
    session = _session(job)
    outputs = [f"v({topology.outputs[0]}{i})" for i in range(m)]
    changes = [alterations(deck) for deck in decks]
    values = np.array([list(change.values()) for change in changes])
    x = np.full((len(rows), m), np.nan)
    start = 0
    while start < len(rows):  # a sample without solution ends a sweep: the next one begins after it
        try:
            x[start:] = session.variations("vsample", list(changes[0]), values[start:], outputs)
        except NgspiceDied:
            raise
        except NgspiceError:
            start += 1
            continue
        lost = np.flatnonzero(np.isnan(x[start:, 0]))
        start = len(rows) if lost.size == 0 else start + int(lost[0]) + 1
    off, size = topology.sign * x - wanted, float(np.linalg.norm(wanted))
    for row, answer, error in zip(rows, topology.sign * x, off, strict=True):
        if np.isfinite(answer).all():
            row |= {f"op.{topology.outputs[0]}{i}": (v, "V") for i, v in enumerate(answer.tolist())}
            row["op.error"] = (float(np.linalg.norm(error)) / size if size else math.nan, "")
            row["op.worst_error"] = (float(np.abs(error).max()), "V")


def _session(job: _Job) -> Session:
    """The session that all blocks of a process alter; `vsample` is what it sweeps."""
    deck = array_deck(
        _CIRCUITS[job.circuit], job.spec, _undrawn(job), job.b, title="Monte-Carlo", conditions=job.conditions
    )
    return session_for(deck_text(deck, ["Vsample sample 0 dc 0"]))


def _undrawn(job: _Job) -> Realisation:
    """The circuit that a session begins with: as wanted, so that the text is the same for all blocks."""
    exact = job.spec.replace(
        programming={"model": "ideal", "stuck_on": 0.0, "stuck_off": 0.0},
        opamp={"offset_sigma": 0.0},
        inverter={"mismatch_sigma": 0.0},
        variation=VariationSpec().model_dump(),
    )
    return realise(job.a, exact, Key(0))


def _summary(job: _Job, rows: _Found, table: Sequence[Limit]) -> Result:
    names = list(dict.fromkeys(name for row in rows for name in row))
    units = {name: unit for row in rows for name, (_, unit) in row.items()}
    columns = {name: np.array([row.get(name, (math.nan, ""))[0] for row in rows]) for name in names}
    missing = sum(any(not any(k.startswith(f"{a}.") for k in row) for a in job.analyses) for row in rows)
    measures = {"failed": Measure(float(missing))}
    details: dict[str, Any] = {"samples": len(rows), "analyses": list(job.analyses)}
    if table:
        for limit in table:
            head = f"{limit.analysis}."
            known = {name.removeprefix(head): units[name] for name in names if name.startswith(head)}
            if known:  # else no sample has an answer to this analysis, and none passes
                check_unit(limit, known)
        none = np.full(len(rows), np.nan)
        passed = {row.name: np.array([row.holds(v) for v in columns.get(row.name, none)]) for row in table}
        good = int(np.logical_and.reduce(list(passed.values())).sum())
        low, high = yield_interval(good, len(rows))
        measures |= {"yield": Measure(good / len(rows)), "yield_low": Measure(low), "yield_high": Measure(high)}
        details["passed"] = good
        details["yield_by_row"] = {name: float(ok.mean()) for name, ok in passed.items()}
    for name, column in columns.items():
        known = column[np.isfinite(column)]
        if known.size:
            values = [known.mean(), known.std(ddof=1) if known.size > 1 else 0.0, *np.quantile(known, _SHOWN)]
            labels = ["mean", "sigma", *(f"p{100 * q:.0f}" for q in _SHOWN)]
            measures |= {f"{name}.{k}": Measure(float(v), units[name]) for k, v in zip(labels, values, strict=True)}
    limited = {row.name for row in table}
    traces = {
        name: Trace(column, units[name], shown=name in limited if table else not name[-1].isdigit())
        for name, column in columns.items()
    }
    m, n = job.a.shape
    title = f"{job.circuit.upper()} {m}x{n}: {len(rows)} samples of {', '.join(job.analyses)}"
    axis = Axis("sample", "", np.arange(float(len(rows))), points=())
    return Result("montecarlo", title, axis, traces, measures, details)
