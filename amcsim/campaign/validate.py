"""How far to trust a surrogate: fresh circuits, or the user's, in ngspice and in the surrogate, on the same draws."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from amcsim._types import F64, I64, Bool
from amcsim.campaign.beyond import straight
from amcsim.campaign.families import draw_system, families_of
from amcsim.campaign.fit import usable
from amcsim.campaign.sample import Samples, error_of_error, relative_distance, solve_in_ngspice, solve_in_nodal
from amcsim.campaign.timing import timing_errors, timing_figures
from amcsim.solvers.arrays import surrogate_array
from amcsim.solvers.mvm import MvmSolver
from amcsim.solvers.surrogate import SurrogateSolver
from amcsim.specs import Spec
from amcsim.status import Status
from amcsim.streams import Key
from amcsim.surrogate.model import Surrogate

__all__ = ["Group", "Validation", "validate"]

_VALIDATION_STREAM = 2**31
"""First number of the path of validation streams; campaigns use the sample ids, all below it."""
_REPEATED_SOLVES = 200_000
_TIMED = 40
"""Transients of 4x4 circuits."""
_PROGRAMMED = 20_000
"""Of 4x4."""
_BLOCK = 2_500
"""Arrays programmed in one call: they stay in the cache."""


@dataclass(frozen=True)
class Group:
    """The samples of one matrix shape, and the surrogate on them."""

    samples: Samples
    x: F64
    """The surrogate's answers, (n, rows), V."""
    status: I64
    """The surrogate's statuses, (n,)."""
    linear: F64
    """x_lin, (n, rows), V."""
    bound: F64
    """Bounds on ||x - x_spice||, (n,), V; NaN where the surrogate's file records no confidence."""

    @property
    def compared(self) -> Bool:
        """(n,): samples that both answer."""
        both: Bool = usable(self.samples) & np.isfinite(self.x).all(axis=1)
        return both

    @property
    def distance(self) -> F64:
        """||x - x_spice||, (n,), V; NaN where one of the two has no answer."""
        return np.where(self.compared, np.linalg.norm(self.x - self.samples.x, axis=1), np.nan)


@dataclass(frozen=True)
class Validation:
    """Figures of one comparison, and the samples behind them."""

    groups: tuple[Group, ...]
    """By matrix shape."""
    errors: F64
    """error_of_error of the samples that both answer, (n_used,)."""
    relative: F64
    """||x - x_spice|| / ||x_spice||, (n_used,)."""
    rates: dict[str, float | None]
    """Solves a second on one core."""
    against: str
    """What judged: ngspice or nodal."""
    timing: dict[str, float | int | None]
    """Errors of settling time, power and energy (amcsim.campaign.timing)."""

    @property
    def covered(self) -> float | None:
        """Part of the samples compared whose distance is within its bound; None without bounds."""
        bound = np.concatenate([g.bound[g.compared] for g in self.groups])
        distance = np.concatenate([g.distance[g.compared] for g in self.groups])
        return None if np.isnan(bound).all() else float((distance <= bound).mean())

    def by_matrix(self, vectors: int) -> list[dict[str, Any]]:
        """A line a matrix, where each stands for `vectors` samples one after the other; medians of those compared.

        Names: matrix (its number), rows, columns, condition, compared, statuses (ngspice's, by name),
        status_disagreements, error_of_error, relative_error, error_bound (relative, the largest), within_bound.
        """
        lines = []
        for g in self.groups:
            size = np.linalg.norm(g.samples.x, axis=1)
            numbers = g.samples.ids // vectors
            for number in np.unique(numbers):
                mine = numbers == number
                used, a = mine & g.compared, g.samples.a[mine][0]
                off = error_of_error(g.x[used], g.samples.x[used], g.linear[used])
                status = g.samples.status[mine]
                lines.append(
                    {
                        "matrix": int(number),
                        "rows": a.shape[0],
                        "columns": a.shape[1],
                        "condition": float(np.linalg.cond(a)),
                        "vectors": int(mine.sum()),
                        "compared": int(used.sum()),
                        "statuses": {str(s): int((status == s).sum()) for s in Status if (status == s).any()},
                        "status_disagreements": int((g.status[mine] != status).sum()),
                        "error_of_error": _median(off),
                        "relative_error": _median(g.distance[used] / size[used]),
                        "error_bound": _median(g.bound[used] / size[used]),
                        "within_bound": int((g.distance[used] <= g.bound[used]).sum()),
                    }
                )
        return sorted(lines, key=lambda line: line["matrix"])

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of `amcsim validate`."""
        status = np.concatenate([g.samples.status for g in self.groups])
        mine = np.concatenate([g.status for g in self.groups])
        return {
            "error_of_error_median": float(np.median(self.errors)),
            "error_of_error_p95": float(np.percentile(self.errors, 95)),
            "relative_error_median": float(np.median(self.relative)),
            "against": self.against,
            "samples": int(status.size),
            "samples_compared": int(self.errors.size),
            "within_error_bound": self.covered,
            "status_disagreements": int((mine != status).sum()),
            "statuses": {str(s): int((status == s).sum()) for s in Status},
            **self.rates,
            **self.timing,
        }


def _median(values: F64) -> float:
    return float(np.median(values)) if values.size else float("nan")


def validate(
    surrogate: Surrogate,
    spec: Spec,
    *,
    m: int,
    seed: int,
    count: int = 200,
    matrices: tuple[F64, F64] | None = None,
    recorded: F64 | None = None,
    timed: int | None = None,
    against: str = "ngspice",
    progress: Callable[[int], None] = lambda done: None,
) -> Validation:
    """Compare on `count` fresh circuits of all families in turn, or on the user's (a (k, m, n), vectors (k, n)).

    The reads of the first `timed` are timed as well, by transients (default: as many as take seconds). The circuit is
    the surrogate's. `against` "nodal" takes the nodal equations for ngspice, and their access devices without curvature
    for the surrogate's: sizes that ngspice takes minutes for (amcsim.campaign.beyond). Raises DomainError outside its
    domain, ValueError where no circuit has an answer, NgspiceError.
    """
    key, circuit = Key(seed, (_VALIDATION_STREAM,)), surrogate.circuit
    if matrices is None:
        families = [*families_of(circuit), *(["recorded"] if recorded is not None else [])]
        kinds = ((families[i % len(families)], i // len(families)) for i in range(count))
        systems = [draw_system(circuit, f, m, number, key.child(i), recorded) for i, (f, number) in enumerate(kinds)]
    else:
        systems = [(a, b, key.child(i, 2)) for i, (a, b) in enumerate(zip(*matrices, strict=True))]
    whole_range = np.array([spec.cell.g_min, spec.cell.g_max])
    for shape in {a.shape for a, _, _ in systems}:
        surrogate.require(spec, shape, whole_range, circuit)
    side = max(max(a.shape) for a, _, _ in systems)
    nodal = against == "nodal"
    if nodal:
        surrogate = straight(surrogate, spec)
    if timed is None:
        timed = int(_TIMED * min(1.0, (4 / side) ** 2))
    found, elapsed = {}, 0.0
    # one shape after the other: ngspice keeps one circuit loaded
    for done, i in enumerate(sorted(range(len(systems)), key=lambda i: systems[i][0].shape), 1):
        begin = time.perf_counter()
        found[i] = (solve_in_nodal if nodal else solve_in_ngspice)(circuit, spec, *systems[i])
        elapsed += time.perf_counter() - begin
        if i < timed and not nodal:
            found[i] = solve_in_ngspice(circuit, spec, *systems[i], timed=True)
        progress(done)
    results = [found[i] for i in range(len(systems))]
    by_shape = Samples.by_shape(circuit, range(len(results)), results)
    groups = tuple(_group(surrogate, spec, s) for s in by_shape.values())
    errors, relative = [], []
    for g in groups:
        x, spice, linear = (part[g.compared] for part in (g.x, g.samples.x, g.linear))
        errors.append(error_of_error(x, spice, linear))
        relative.append(relative_distance(x, spice))
    if not any(map(len, errors)):
        raise ValueError("none of the circuits has an answer both in ngspice and in the surrogate")
    rows, columns = max(by_shape, key=lambda shape: by_shape[shape].ids.size)
    a, b = (np.stack(part) for part in zip(*(s[:2] for s in systems if s[0].shape == (rows, columns)), strict=True))
    rates = _rates(surrogate, spec, a, b, key.child(len(results)))
    return Validation(
        groups=groups,
        errors=np.concatenate(errors),
        relative=np.concatenate(relative),
        rates=rates | {"ngspice_solves_per_s": None, f"{against}_solves_per_s": len(results) / elapsed},
        against=against,
        timing=timing_figures(timing_errors(surrogate, spec, s) for s in by_shape.values()),
    )


def _group(surrogate: Surrogate, spec: Spec, samples: Samples) -> Group:
    array, volts = surrogate_array(surrogate, spec, samples.a, samples.realisation), samples.volts[..., None]
    x, status, _ = array.answer(volts)
    bound = np.full(len(x), np.nan)
    if surrogate.confidence is not None:
        with np.errstate(invalid="ignore"):
            bound = surrogate.confidence.bound(array.features(volts, x))[:, 0]
    return Group(samples, x[..., 0], status[:, 0], samples.linear_answer(spec), bound)


def _rates(surrogate: Surrogate, spec: Spec, a: F64, b: F64, key: Key) -> dict[str, float | None]:
    """Solves a second of the surrogate on these circuits of one shape: many vectors an array, and one array a solve.

    Both with ranging, bounds and verdict; the second with the drawing of the circuit and the full verdict where the
    fast one does not vouch. The best of five runs each: other load on the machine only ever slows one down.
    """

    def program(matrices: F64, draw: Key) -> Callable[[F64], object]:
        if surrogate.circuit == "mvm":
            return MvmSolver(spec, "surrogate", surrogate).program(matrices, draw).multiply
        return SurrogateSolver(surrogate, spec).program(matrices, draw).solve

    def fastest(run: Callable[[], object]) -> float:
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            run()
            times.append(time.perf_counter() - begin)
        return min(times)

    solve = program(a, key)
    solve(b[..., None])
    share = 4 / max(a.shape[1:])  # larger arrays cost more
    columns = -(-int(_REPEATED_SOLVES * min(share, 1.0)) // len(a))
    vectors = np.moveaxis(key.generator().standard_normal((columns, *b.shape)), 0, -1)
    repeated = fastest(lambda: solve(vectors))
    tiles = -(-max(int(_PROGRAMMED * share**4), 1) // len(a))
    many, rhs = np.tile(a, (tiles, 1, 1)), np.tile(b, (tiles, 1))[..., None]
    blocks = [(key.child(k), slice(k, k + _BLOCK)) for k in range(0, len(many), _BLOCK)]
    programmed = fastest(lambda: [program(many[block], draw)(rhs[block]) for draw, block in blocks])
    return {
        "surrogate_solves_per_s": vectors.shape[0] * vectors.shape[-1] / repeated,
        "surrogate_solves_with_programming_per_s": len(many) / programmed,
    }
