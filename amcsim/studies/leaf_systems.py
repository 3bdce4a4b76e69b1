"""The 4x4 systems of a digital K-FAC run, and how analog arrays under one condition solve them.

Refinement makes the update vectors those of the digital run, so that the leaf systems of a whole training can be met
again by any circuit without training anew: 2,800 arrays and 13,900 vectors in about a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from amcsim._types import F64
from amcsim.solvers.base import Counts, Solution, Solver
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.exact import Exact, ExactProgrammed, solve_or_nan
from amcsim.solvers.hp_inv import FixedPoint, HpInv
from amcsim.solvers.record import Recorded, Recorder
from amcsim.status import Status
from amcsim.streams import Key
from amcsim.training.data import Dataset
from amcsim.training.loop import TrainConfig, train

__all__ = ["Systems", "leaf_figures", "leaf_systems"]

Systems = Mapping[int, tuple[F64, F64]]
"""By the number k of right-hand sides: matrices (count, m, m), right-hand sides (count, m, k), in order of visits."""


@dataclass(frozen=True)
class _Kept:
    """A digital handle that notes what it is asked."""

    exact: ExactProgrammed
    visits: list[tuple[F64, F64]]

    @property
    def a(self) -> F64:
        return self.exact.a

    @property
    def counts(self) -> Counts:
        return self.exact.counts

    def solve(self, b: F64) -> Solution:
        self.visits.append((self.a, b))
        return self.exact.solve(b)


@dataclass(frozen=True)
class _Keeping:
    """The digital solver, which remembers what it was asked."""

    visits: list[tuple[F64, F64]] = field(default_factory=list)

    def program(self, a: F64, key: Key) -> _Kept:
        return _Kept(Exact().program(a, key), self.visits)


def leaf_systems(dataset: Dataset, epochs: int, seed: int) -> Systems:
    """All leaf visits of `epochs` epochs of digital K-FAC at the paper's settings, by the paper's schedule."""
    leaf = _Keeping()
    train(TrainConfig(dataset, solver=BlockAmc(leaf, schedule="paper"), epochs=epochs, seed=seed))
    found = {}
    for k in sorted({b.shape[1] for _, b in leaf.visits}):
        of_k = [(a, b) for a, b in leaf.visits if b.shape[1] == k]
        found[k] = np.stack([a for a, _ in of_k]), np.stack([b for _, b in of_k])
    return found


def leaf_figures(
    leaf: Solver, systems: Systems, key: Key, *, number_format: FixedPoint | None = None
) -> dict[str, float | int | None]:
    """Refine every system on arrays of `leaf`, one programming each and no digital help.

    `lp_*`, by every definition of Recorder.summary; `hp_mean_by_vector` and `hp_pooled` of the vectors that converged;
    `passes_mean` over all; `arrays`, and `diverging_arrays`, on which some vector did not reach the stop rule;
    `vectors` and `vectors_lost` of these.
    """
    low, high = Recorder(), Recorder()
    refine = HpInv(Recorded(leaf, low), number_format=number_format, max_reprograms=0, fallback=False)
    arrays = diverging = vectors = lost = passes = 0
    for k, (a, b) in systems.items():
        handle = refine.program(a, key.child(k))
        answer = handle.solve(b)
        failed = answer.status != Status.OK
        arrays, vectors = arrays + len(a), vectors + failed.size
        diverging, lost = diverging + int(failed.any(axis=-1).sum()), lost + int(failed.sum())
        passes += int(answer.iterations.sum())
        kept = np.where(failed[:, None, :], np.nan, answer.x)
        high.add(high.arrays, solve_or_nan(a, b), answer._replace(x=kept))
        high.arrays += len(a)
    named = {
        f"lp_{name}": value for name, value in low.summary().items() if name.startswith(("mean", "median", "pool"))
    }
    refined = high.summary()
    return {
        **named,
        "hp_mean_by_vector": refined["mean_by_vector"],
        "hp_pooled": refined["pooled"],
        "passes_mean": passes / vectors,
        "arrays": arrays,
        "diverging_arrays": diverging,
        "vectors": vectors,
        "vectors_lost": lost,
    }
