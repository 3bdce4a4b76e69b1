"""What every solver is: `program` an array once (dear), `solve` many right-hand sides on it (cheap), count both."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from amcsim._types import F64, I64, Bool
from amcsim.columns import flattened, returned
from amcsim.status import Reason, Status
from amcsim.streams import Key

__all__ = [
    "NO_ANSWER",
    "SEVERITY",
    "Counts",
    "Programmed",
    "Solution",
    "Solver",
    "answered",
    "check_rhs",
    "column_norms",
    "relative_residual",
    "worst_status",
]

SEVERITY: I64 = np.array([0, 1, 3, 2, 4])
"""Rank of each Status: ok < saturated < unsettled < unstable < not_converged."""

NO_ANSWER = int(SEVERITY[Status.UNSTABLE])
"""SEVERITY from which on a status has no answer."""


class Counts(NamedTuple):
    """What was spent. Leaves create counts, wrappers add them; batches count every matrix and every vector."""

    array_programmings: int = 0
    """Arrays written for the first time."""
    reprogrammings: int = 0
    """Arrays written again after a bad solve."""
    analog_solves: int = 0
    """Vectors put through an analog array, passes of HP-INV included. Zero vectors need none and do not count."""
    high_precision_vectors: int = 0
    """Vectors that HP-INV was asked for and refined (a single pass refines none); digital fallbacks are among them."""
    digital_fallbacks: int = 0
    """Vectors that the digital host had to solve."""

    def __add__(self, other: Counts) -> Counts:  # type: ignore[override]
        return Counts(  # spelled out: it runs once a pass
            self.array_programmings + other.array_programmings,
            self.reprogrammings + other.reprogrammings,
            self.analog_solves + other.analog_solves,
            self.high_precision_vectors + other.high_precision_vectors,
            self.digital_fallbacks + other.digital_fallbacks,
        )

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return {name: int(count) for name, count in self._asdict().items()}

    @property
    def as_rewriting(self) -> Counts:
        """These, with every array written for the first time as one that is written again."""
        return self._replace(array_programmings=0, reprogrammings=self.array_programmings + self.reprogrammings)


class Solution(NamedTuple):
    """Answers to A x = b for a batch of matrices and right-hand sides."""

    x: F64
    """(*batch, n, k); NaN where the status has no answer."""
    status: I64
    """(*batch, k) of Status."""
    reason: I64
    """(*batch, k) of Reason."""
    residual: F64
    """(*batch, k): ||b - A x|| / ||b|| with the caller's A; 0 where b is 0, NaN where there is no answer."""
    iterations: I64
    """(*batch, k): analog passes a vector took."""
    counts: Counts
    """Spent by this call."""
    disturbed: Bool
    """(*batch,): arrays that the call drove beyond cell.v_disturb, or that went unstable: their cells are written, and
    the handle must be programmed again before its next call."""
    product: F64 | None = None
    """A x with the caller's A, (*batch, n, k), where the solver formed it for the residual and x stayed as it was."""


@runtime_checkable
class Programmed(Protocol):
    """A matrix written into arrays: immutable, picklable, holds the realisation and no session."""

    @property
    def a(self) -> F64:
        """The wanted matrix, (*batch, n, n)."""
        ...

    @property
    def counts(self) -> Counts:
        """Spent by programming."""
        ...

    def solve(self, b: F64) -> Solution:
        """Solve for b of shape (*batch, n, k)."""
        ...


class Solver(Protocol):
    """A frozen dataclass of specs and inner solvers."""

    def program(self, a: F64, key: Key) -> Programmed:
        """Write a, (*batch, n, n), drawing errors from `key`; re-programming is `program(a, key.child(attempt))`."""
        ...


def check_rhs(a: F64, b: F64) -> F64:
    """`b` as float64 (*batch, n, k) that fits `a`, (*batch, n, n), or ValueError with one sentence."""
    array = np.asarray(b, dtype=np.float64)
    if array.ndim != a.ndim or array.shape[:-1] != a.shape[:-1]:
        wanted = ", ".join(map(str, (*a.shape[:-1], "k")))
        raise ValueError(f"right-hand sides have shape {array.shape}; this matrix needs ({wanted})")
    return array


def column_norms(v: F64) -> F64:
    """Euclidean norm of each column, (*batch, n, k) -> (*batch, k)."""
    squares = np.einsum("...nk,...nk->...k", v, v) if v.ndim > 2 else np.add.reduce(v * v, axis=0)
    norms: F64 = np.sqrt(squares)
    return norms


def relative_residual(a: F64, x: F64, b: F64) -> F64:
    """||b - A x|| / ||b|| of each column, (*batch, k); 0 where b and x are 0."""
    size = column_norms(b)
    residual: F64 = column_norms(b - a @ x) / (size + (size == 0.0))
    return residual


def answered(
    a: F64,
    x: F64,
    b: F64,
    *,
    passes: int = 1,
    status: I64 | None = None,
    reason: I64 | None = None,
    disturbed: Bool | None = None,
) -> Solution:
    """The Solution of a direct solve: residual, NaN where there is no answer, a pass counted for each non-zero vector.

    a (*batch, n, n), x and b (*batch, n, k); status and reason (*batch, k), ok where absent; disturbed (*batch,), none
    where absent. An answer with NaN or infinite entries becomes not_converged, unless its status already says that
    there is none. passes = 0 is digital.
    """
    batch, columns = b.shape[:-2], b.shape[:-2] + b.shape[-1:]
    flat, found = flattened(b), flattened(x).copy()
    words, residual = np.zeros((3, len(flat), columns[-1]), np.int64), np.empty((len(flat), columns[-1]))
    if status is not None:
        words[0] = status.reshape(residual.shape)
    if reason is not None:
        words[1] = reason.reshape(residual.shape)
    products = np.empty(flat.shape)
    solves = returned(flattened(a), flat, found, words, residual, products) * passes
    status, reason, iterations = (v.reshape(columns) for v in words)
    return Solution(
        found.reshape(b.shape),
        status,
        reason,
        residual.reshape(columns),
        iterations * passes,
        Counts(analog_solves=solves),
        np.zeros(batch, np.bool_) if disturbed is None else disturbed,
        None if np.isnan(residual).any() else products.reshape(b.shape),
    )


def worst_status(status: I64, reason: I64) -> tuple[Status, Reason]:
    """The gravest status of an array of them, with its reason; see SEVERITY."""
    if not status.size:
        return Status.OK, Reason.NONE
    worst = int(np.argmax(SEVERITY[status]))
    return Status(int(status.ravel()[worst])), Reason(int(reason.ravel()[worst]))
