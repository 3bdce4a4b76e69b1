"""Relative errors of a solver's answers, measured against the exact solutions of the same systems.

`Recorded(leaf, recorder)` inside HpInv sees every low-precision pass, against A^-1 r of that pass; around HpInv it sees
the high-precision answers. "The relative error" is not one number, so `Recorder.summary` names each definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from amcsim._types import F64, I64
from amcsim.mapping import check_matrix
from amcsim.solvers.base import SEVERITY, Counts, Programmed, Solution, Solver, column_norms
from amcsim.solvers.exact import solve_or_nan
from amcsim.streams import Key

__all__ = ["Recorded", "RecordedProgrammed", "Recorder"]

FLUSH = 4096
"""Solves kept as they came before they are reduced to five numbers a vector."""


@dataclass
class Recorder:
    """Collects answers: the one mutable thing among the solvers. A pickled copy collects apart from its original."""

    arrays: int = 0
    """Matrices programmed through it."""
    counts: Counts = field(default_factory=Counts)
    """Spent by the recorded programmings and solves."""
    _raw: list[tuple[int, F64, Solution]] = field(default_factory=list, repr=False)
    _vectors: F64 = field(default_factory=lambda: np.zeros((5, 0)), repr=False)
    _diverging: set[int] = field(default_factory=set, repr=False)
    _diverging_in_batches: int = field(default=0, repr=False)
    _statuses: I64 = field(default_factory=lambda: np.zeros(len(SEVERITY), dtype=np.int64), repr=False)

    def add(self, first: int, wanted: F64, answer: Solution) -> None:
        """Record a solve: wanted is x*, (*batch, n, k); the batch's matrices are numbered from `first`."""
        self.counts += answer.counts
        failed = answer.counts.reprogrammings or answer.counts.digital_fallbacks
        if failed and wanted.ndim > 2:
            self._diverging_in_batches += min(failed, answer.iterations.size // wanted.shape[-1])
        elif failed:
            self._diverging.add(first)
        self._raw.append((first, wanted, answer))
        if len(self._raw) >= FLUSH:
            self._reduce()

    @property
    def statuses(self) -> I64:
        """How many vectors ended in each Status."""
        self._reduce()
        return self._statuses

    def contents(self) -> dict[str, npt.NDArray[Any]]:
        """What it holds, counts apart, as arrays that `extend` takes."""
        self._reduce()
        head = np.array([self.arrays, self._diverging_in_batches], dtype=np.float64)
        diverging = np.array(sorted(self._diverging), dtype=np.float64)
        return {"head": head, "vectors": self._vectors, "diverging": diverging, "statuses": self._statuses}

    def extend(self, contents: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add the `contents` of another recorder, of a later part of the same run."""
        self._reduce()
        later = contents["vectors"].copy()
        later[0] += self.arrays
        self._vectors = np.concatenate([self._vectors, later], axis=1)
        self._diverging |= {int(number) + self.arrays for number in contents["diverging"]}
        self.arrays += int(contents["head"][0])
        self._diverging_in_batches += int(contents["head"][1])
        self._statuses += contents["statuses"]

    def _reduce(self) -> None:
        """Turn raw solves into columns of (array, ||x - x*||, ||x*||, max |x*|, iterations)."""
        for n in {wanted.shape[-2] for _, wanted, _ in self._raw}:
            rows = [_row(*raw) for raw in self._raw if raw[1].shape[-2] == n]
            array, x, wanted, iterations, status = (np.concatenate(parts, axis=-1) for parts in zip(*rows, strict=True))
            top = np.abs(wanted).max(axis=0)
            new = np.stack([array, column_norms(x - wanted), column_norms(wanted), top, iterations])
            self._vectors = np.concatenate([self._vectors, new], axis=1)
            self._statuses += np.bincount(status, minlength=len(SEVERITY))
        self._raw.clear()

    def summary(self) -> dict[str, float | int | None]:
        """Named figures over all recorded vectors with an answer and x* != 0; None where there are none.

        With e = ||x - x*|| / ||x*|| of one vector: `mean_by_vector`, `median_by_vector`; `mean_by_array`, the mean over
        arrays of their means, which bad arrays with their many passes weigh on less; `pooled`, sqrt(sum ||x - x*||^2 /
        sum ||x*||^2); `pooled_unit_range`, the same after dividing each vector by max |x*|. Further `iterations_mean`;
        `arrays`, `vectors`, `vectors_without_answer`; and `diverging_arrays`: those that a recorded HpInv had to write
        again or leave to the digital host (in batches the call's re-programmings, exact for max_reprograms = 1).
        """
        self._reduce()
        array, error, size, top, iterations = self._vectors[:, self._vectors[2] != 0.0]
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


def _row(first: int, wanted: F64, answer: Solution) -> tuple[I64, F64, F64, I64, I64]:
    """Arrays' numbers, x, x*, iterations, statuses of a solve: one row of vectors, as unbatched solves have it."""
    n, k = wanted.shape[-2:]
    x, count = answer.x, answer.iterations.size
    if wanted.ndim > 2:
        x, wanted = (np.moveaxis(v, -2, 0).reshape(n, -1) for v in (x, wanted))
    return first + np.arange(count) // max(k, 1), x, wanted, answer.iterations.ravel(), answer.status.ravel()


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
