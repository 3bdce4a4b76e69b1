"""Relative errors of a solver's answers, measured against the exact solutions of the same systems.

`Recorded(leaf, recorder)` inside HpInv sees every low-precision pass, against A^-1 r of that pass; around HpInv it sees
the high-precision answers. "The relative error" is not one number, so `Recorder.summary` names each definition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from amcsim._compile import compiled
from amcsim._types import F64, I64
from amcsim.columns import flattened
from amcsim.mapping import check_matrix
from amcsim.solvers.base import SEVERITY, Counts, Programmed, Solution, Solver
from amcsim.solvers.exact import solve_or_nan
from amcsim.streams import Key

__all__ = ["Recorded", "RecordedProgrammed", "Recorder"]

ROOM = 4096
"""Vectors that there is room for at first; it doubles when it is used up."""


@dataclass
class Recorder:
    """Collects answers: the one mutable thing among the solvers. A pickled copy collects apart from its original."""

    arrays: int = 0
    """Matrices programmed through it."""
    counts: Counts = field(default_factory=Counts)
    """Spent by the recorded programmings and solves."""
    vectors: int = 0
    """Recorded."""
    _vectors: F64 = field(default_factory=lambda: np.empty((5, ROOM)), repr=False)
    """Of each: its array's number, ||x - x*||, ||x*||, max |x*|, passes."""
    _diverging: set[int] = field(default_factory=set, repr=False)
    _diverging_in_batches: int = field(default=0, repr=False)
    statuses: I64 = field(default_factory=lambda: np.zeros(len(SEVERITY), dtype=np.int64), repr=False)
    """How many vectors ended in each Status."""

    def add(self, first: int, wanted: F64, answer: Solution) -> None:
        """Record a solve: wanted is x*, (*batch, n, k); the batch's matrices are numbered from `first`."""
        counts, x, count = answer.counts, flattened(answer.x), answer.status.size
        self.counts += counts
        failed = counts.reprogrammings or counts.digital_fallbacks
        if failed and wanted.ndim > 2:
            self._diverging_in_batches += min(failed, len(x))
        elif failed:
            self._diverging.add(first)
        self._make_room(count)
        words = answer.iterations.reshape(-1), answer.status.reshape(-1)
        _noted(first, x, flattened(wanted), *words, self._vectors, self.vectors, self.statuses)
        self.vectors += count

    def _make_room(self, vectors: int) -> None:
        """For so many more."""
        if self.vectors + vectors > self._vectors.shape[1]:
            more = np.empty((5, 2 * (self.vectors + vectors)))
            more[:, : self.vectors] = self._known
            self._vectors = more

    @property
    def _known(self) -> F64:
        return self._vectors[:, : self.vectors]

    def contents(self) -> dict[str, npt.NDArray[Any]]:
        """What it holds, counts apart, as arrays that `extend` takes."""
        head = np.array([self.arrays, self._diverging_in_batches], dtype=np.float64)
        diverging = np.array(sorted(self._diverging), dtype=np.float64)
        return {"head": head, "vectors": self._known, "diverging": diverging, "statuses": self.statuses}

    def extend(self, contents: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add the `contents` of another recorder, of a later part of the same run."""
        later = contents["vectors"].copy()
        later[0] += self.arrays
        self._make_room(later.shape[1])
        self.vectors += later.shape[1]
        self._known[:, self.vectors - later.shape[1] :] = later
        self._diverging |= {int(number) + self.arrays for number in contents["diverging"]}
        self.arrays += int(contents["head"][0])
        self._diverging_in_batches += int(contents["head"][1])
        self.statuses += contents["statuses"]

    def summary(self) -> dict[str, float | int | None]:
        """Named figures over all recorded vectors with an answer and x* != 0; None where there are none.

        With e = ||x - x*|| / ||x*|| of one vector: `mean_by_vector`, `median_by_vector`; `mean_by_array`, the mean over
        arrays of their means, which bad arrays with their many passes weigh on less; `pooled`, sqrt(sum ||x - x*||^2 /
        sum ||x*||^2); `pooled_unit_range`, the same after dividing each vector by max |x*|. Further `iterations_mean`;
        `arrays`, `vectors`, `vectors_without_answer`; and `diverging_arrays`: those that a recorded HpInv had to write
        again or leave to the digital host (in batches the call's re-programmings, exact for max_reprograms = 1).
        """
        array, error, size, top, iterations = self._known[:, self._known[2] != 0.0]
        known = np.isfinite(error) & np.isfinite(size)
        figures: dict[str, float | int | None] = {
            "arrays": self.arrays,
            "diverging_arrays": len(self._diverging) + self._diverging_in_batches,
            "vectors": int(known.sum()),
            "vectors_without_answer": int((~known).sum()),
        }
        names = (
            "mean_by_vector",
            "median_by_vector",
            "mean_by_array",
            "pooled",
            "pooled_unit_range",
            "iterations_mean",
        )
        if not known.any():
            return figures | dict.fromkeys(names)
        array, error, size, top, iterations = (row[known] for row in (array, error, size, top, iterations))
        relative = error / size
        _, index = np.unique(array, return_inverse=True)
        values = (
            relative.mean(),
            np.median(relative),
            (np.bincount(index, relative) / np.bincount(index)).mean(),
            np.sqrt(np.sum(error**2) / np.sum(size**2)),
            np.sqrt(np.sum((error / top) ** 2) / np.sum((size / top) ** 2)),
            iterations.mean(),
        )
        return figures | dict(zip(names, map(float, values), strict=True))


@compiled
def _noted(
    first: int, x: F64, wanted: F64, passes: I64, status: I64, vectors: F64, recorded: int, statuses: I64
) -> None:
    """Write the answers x (N, n, k) to `vectors`, from number `recorded` on, as Recorder keeps them; passes (N k,)."""
    count, n, k = x.shape
    for i in range(count):
        for z in range(k):
            error = size = top = 0.0
            for j in range(n):
                error += (x[i, j, z] - wanted[i, j, z]) ** 2
                size += wanted[i, j, z] ** 2
                entry = abs(wanted[i, j, z])
                top = top if entry <= top else entry
            at = recorded + i * k + z
            vectors[0, at], vectors[1, at], vectors[2, at] = first + i, math.sqrt(error), math.sqrt(size)
            vectors[3, at], vectors[4, at] = top, passes[i * k + z]
            statuses[status[i * k + z]] += 1


@dataclass(frozen=True)
class RecordedProgrammed:
    """An inner handle with the exact inverse of its matrix."""

    inner: Programmed
    inverse: F64
    """A^-1, (*batch, n, n); NaN where A is singular."""
    recorder: Recorder
    first: int
    """Number of the batch's first matrix."""

    @property
    def a(self) -> F64:
        """The wanted matrix, (*batch, n, n)."""
        return self.inner.a

    @property
    def counts(self) -> Counts:
        """Of the inner programming."""
        return self.inner.counts

    def solve(self, b: F64) -> Solution:
        """The inner solver's Solution, recorded."""
        answer = self.inner.solve(b)
        self.recorder.add(self.first, self.inverse @ b, answer)
        return answer


@dataclass(frozen=True)
class Recorded:
    """Passes everything through to `inner` and notes it in `recorder`."""

    inner: Solver
    recorder: Recorder

    def program(self, a: F64, key: Key) -> RecordedProgrammed:
        """Program `inner`. Raises what it raises, and ValueError for what is no real square matrix."""
        a = check_matrix(a)
        handle, first = self.inner.program(a, key), self.recorder.arrays
        self.recorder.arrays += int(np.prod(a.shape[:-2]))
        self.recorder.counts += handle.counts
        return RecordedProgrammed(
            handle, solve_or_nan(a, np.broadcast_to(np.eye(a.shape[-1]), a.shape)), self.recorder, first
        )
