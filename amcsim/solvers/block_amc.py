"""BlockAMC: a large INV as INVs of arrays of a size that exists, by recursive partitioning.

For A = [[A1, A2], [A3, A4]] and the Schur complement S = A4 - A3 A1^-1 A2, formed digitally when A is programmed,

    y1 = A1^-1 b1,    x2 = S^-1 (b2 - A3 y1),    x1 = A1^-1 (b1 - A2 x2),

with digital products, so each split costs three inner INVs, two of them on the same array. (Zhang et al., "First
Demonstration of Second-order Training", Fig. 11c and 13.) A leaf visit takes all right-hand sides at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from amcsim._types import F64, I64, Bool
from amcsim.mapping import check_matrix
from amcsim.solvers.base import NO_ANSWER, SEVERITY, Counts, Programmed, Solution, Solver, check_rhs, relative_residual
from amcsim.solvers.exact import solve_or_nan
from amcsim.status import Reason, Status
from amcsim.streams import Key

__all__ = ["BlockAmc", "BlockAmcProgrammed", "even_split", "paper_split"]


def paper_split(n: int, leaf: int) -> int:
    """Size of A1 so that A4 is the largest leaf * 2^p below n: 25 = 9 + 16, 9 = 1 + 8, 16 = 8 + 8, 8 = 4 + 4."""
    second = leaf
    while 2 * second < n:
        second *= 2
    return n - second


def even_split(n: int, leaf: int) -> int:
    """Size of A1 so that the halves differ by one at most: 25 = 12 + 13."""
    return n // 2


@dataclass(frozen=True)
class BlockAmc:
    """BlockAMC over any inner solver.

    A block of at most `leaf` rows goes to the inner solver at its own size, a block of one is divided by digitally and
    not counted. Random streams are named flat, in order of execution: with "paper" the i-th leaf visit of a solve
    programs with `key.child(i)`, with "reuse" the j-th leaf (A1 before S) is programmed with `key.child(j)`.
    """

    inner: Solver
    leaf: int = 4
    """Largest matrix an array takes."""
    schedule: Literal["paper", "reuse"] = "reuse"
    """paper: one physical array, written anew at each leaf visit, in `solve`; reuse: every leaf has its own array,
    written in `program` and visited again where it is an A1."""
    split: Callable[[int, int], int] = paper_split
    """(n, leaf) -> size of A1, 1 to n - 1; a module's function, so that handles can be pickled."""

    def __post_init__(self) -> None:
        if self.leaf < 1:
            raise ValueError(f"leaf = {self.leaf} must be 1 or more")
        if self.schedule not in ("paper", "reuse"):
            raise ValueError(f"schedule {self.schedule!r} is neither 'paper' nor 'reuse'")

    def program(self, a: F64, key: Key) -> BlockAmcProgrammed:
        """Partition a, (*batch, n, n), form the Schur complements, and with "reuse" write the leaves.

        A member of the batch with a singular A1 has no Schur complement: all its solves end in not_converged.
        Raises ValueError for what is no real square matrix.
        """
        a = check_matrix(a)
        singular = np.zeros(a.shape[:-2], np.bool_)
        with np.errstate(all="ignore"):
            root = self._node(a, singular)
        if self.schedule == "paper":
            return BlockAmcProgrammed(a, Counts(), self, key, root, None, singular)
        arrays = tuple(self.inner.program(leaf, key.child(j)) for j, leaf in enumerate(_leaves(root)))
        counts = sum((array.counts for array in arrays), Counts())
        return BlockAmcProgrammed(a, counts, self, key, root, arrays, singular)

    def _node(self, a: F64, singular: Bool) -> _Node:
        n = a.shape[-1]
        if n <= self.leaf or n == 1:
            return _Node(a)
        m = self.split(n, self.leaf)
        if not 0 < m < n:
            raise ValueError(f"split({n}, {self.leaf}) = {m} is outside 1 to {n - 1}")
        a1, a2, a3, a4 = a[..., :m, :m], a[..., :m, m:], a[..., m:, :m], a[..., m:, m:]
        s = a4 - a3 @ solve_or_nan(a1, a2)
        lost: Bool = np.logical_not(np.isfinite(s).all(axis=(-2, -1)))
        singular |= lost
        s = np.where(lost[..., None, None], np.eye(n - m), s)
        return _Node(a, self._node(np.ascontiguousarray(a1), singular), self._node(s, singular))


@dataclass(frozen=True)
class _Node:
    """A block: a leaf, or A with the nodes of A1 and S."""

    a: F64
    first: _Node | None = None
    second: _Node | None = None

    @property
    def arrays(self) -> int:
        """Leaves below that are arrays."""
        return sum(1 for _ in _leaves(self))


def _leaves(node: _Node) -> Iterator[F64]:
    """The matrices that arrays are written with, A1 before S; scalars are none."""
    if node.first and node.second:
        yield from _leaves(node.first)
        yield from _leaves(node.second)
    elif node.a.shape[-1] > 1:
        yield node.a


@dataclass(frozen=True)
class BlockAmcProgrammed:
    """A partitioned matrix.

    With "paper" each solve repeats the write errors of the last: program again, with another key, for fresh ones.
    """

    a: F64
    """(*batch, n, n)."""
    counts: Counts
    """Of the leaves' programming; zero with "paper", where solves write the array."""
    solver: BlockAmc
    key: Key
    root: _Node
    arrays: tuple[Programmed, ...] | None
    singular: Bool
    """(*batch,): members without a Schur complement."""

    def solve(self, b: F64) -> Solution:
        """Solve for b, (*batch, n, k); a vector's iterations are summed over its leaf visits.

        Its status is the gravest of its leaf solves', or that of the first leaf solve without an answer.
        Raises ValueError for a right-hand side of another shape.
        """
        b = check_rhs(self.a, b)
        lost = self.singular[..., None] | ~np.isfinite(b).all(axis=-2)
        none = np.zeros(lost.shape, np.int64)
        run = _Run(self, lost, np.where(lost, Status.NOT_CONVERGED, none), np.where(lost, Reason.NONFINITE, none), none)
        with np.errstate(all="ignore"):
            x = run.solve(self.root, b, 0)
            if run.lost.any():
                x = np.where(run.lost[..., None, :], np.nan, x)
            residual = relative_residual(self.a, x, b)
        return Solution(x, run.status, run.reason, residual, run.iterations, run.counts, run.disturbed)


@dataclass
class _Run:
    """One call's state, (*batch, k). Vectors without an answer go on as zeros, which leaves neither solve nor count."""

    handle: BlockAmcProgrammed
    lost: Bool
    status: I64
    reason: I64
    iterations: I64
    counts: Counts = field(default_factory=Counts)
    visits: int = 0
    hurt: dict[int, Bool] = field(default_factory=dict)
    """Arrays by leaf, (*batch,), that their last visit disturbed."""

    @property
    def disturbed(self) -> Bool:
        """(*batch,): members with an array that is disturbed."""
        none = np.zeros(self.lost.shape[:-1], np.bool_)
        return np.asarray(np.logical_or.reduce([none, *self.hurt.values()]))

    def solve(self, node: _Node, b: F64, leaf: int) -> F64:
        """A^-1 b of a block whose first leaf has number `leaf`."""
        if node.first is None or node.second is None:
            return self._leaf(node.a, b, leaf)
        m = node.first.a.shape[-1]
        b1, b2 = b[..., :m, :], b[..., m:, :]
        y1 = self.solve(node.first, b1, leaf)
        x2 = self.solve(node.second, b2 - node.a[..., m:, :m] @ y1, leaf + node.first.arrays)
        x1 = self.solve(node.first, b1 - node.a[..., :m, m:] @ x2, leaf)
        return np.concatenate([x1, x2], axis=-2)

    def _leaf(self, a: F64, b: F64, leaf: int) -> F64:
        if self.lost.any():
            b = np.where(self.lost[..., None, :], 0.0, b)
        if a.shape[-1] == 1:
            x = b / a
            bad = ~np.isfinite(x[..., 0, :])
            if bad.any():
                x = self._merge(x, np.where(bad, Status.NOT_CONVERGED, 0), np.where(bad, Reason.NONFINITE, 0))
            return x
        if self.handle.arrays is None:
            array = self.handle.solver.inner.program(a, self.handle.key.child(self.visits))
            self.visits += 1
            self.counts += array.counts
            self.hurt.clear()  # what one array was before
        else:
            array = self.handle.arrays[leaf]
        hurt = leaf in self.hurt and self.hurt[leaf].any()
        answer = self._written_again(array, b, leaf) if hurt else array.solve(b)
        self.hurt[leaf] = answer.disturbed
        self.counts += answer.counts
        self.iterations = self.iterations + answer.iterations
        return self._merge(answer.x, answer.status, answer.reason) if answer.status.any() else answer.x

    def _written_again(self, array: Programmed, b: F64, leaf: int) -> Solution:
        """Solve on a kept array some of whose members the visit before disturbed: those are programmed again."""
        part = self.hurt[leaf]
        single = part.ndim == 0
        self.visits += 1
        key = self.handle.key.child(len(self.handle.arrays or ()) + self.visits - 1)
        again = self.handle.solver.inner.program(array.a if single else array.a[part], key)
        self.counts += again.counts.as_rewriting
        if single:
            return again.solve(b)
        new, kept = again.solve(b[part]), array.solve(np.where(part[..., None, None], 0.0, b))
        for name in ("x", "status", "reason", "residual", "iterations", "disturbed"):
            getattr(kept, name)[part] = getattr(new, name)
        return kept._replace(counts=kept.counts + new.counts)

    def _merge(self, x: F64, status: I64, reason: I64) -> F64:
        """Keep the graver status of each vector, and of two without an answer the first; zeros for those."""
        graver = ~self.lost & (SEVERITY[status] > SEVERITY[self.status])
        self.status, self.reason = np.where(graver, status, self.status), np.where(graver, reason, self.reason)
        self.lost = SEVERITY[self.status] >= NO_ANSWER
        return np.where(self.lost[..., None, :], 0.0, x)
