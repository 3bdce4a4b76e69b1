"""What every solver is: `program` an array once (dear), `solve` many right-hand sides on it (cheap), count both."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np

from amcsim._types import F64, I64
from amcsim.status import Reason, Status
from amcsim.streams import Key

__all__ = ["Counts", "Programmed", "Solution", "Solver", "worst_status"]


@dataclass(frozen=True)
class Counts:
    """What was spent. Leaves create counts, wrappers add them; batches count every matrix and every vector."""

    array_programmings: int = 0
    """Arrays written for the first time."""
    reprogrammings: int = 0
    """Arrays written again after a bad solve."""
    analog_solves: int = 0
    """Vectors put through an analog array, passes of HP-INV included."""
    high_precision_vectors: int = 0
    """Vectors that HP-INV refined to its target."""
    digital_fallbacks: int = 0
    """Vectors that the digital host had to solve."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return {f.name: int(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True)
class Solution:
    """Answers to A x = b for a batch of matrices and right-hand sides."""

    x: F64
    """(*batch, n, k); NaN where the status has no answer."""
    status: I64
    """(*batch, k) of Status."""
    reason: I64
    """(*batch, k) of Reason."""
    residual: F64
    """(*batch, k): ||b - A x|| / ||b|| with the caller's A; 0 where b is 0."""
    iterations: I64
    """(*batch, k): analog passes a vector took."""
    counts: Counts
    """Spent by this call."""


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


def worst_status(status: I64, reason: I64) -> tuple[Status, Reason]:
    """The gravest status of an array of them, with its reason (ok < saturated < unsettled < unstable < not_converged)."""
    order = np.array([0, 1, 3, 2, 4])[status].ravel()
    worst = int(np.argmax(order)) if order.size else 0
    if not order.size:
        return Status.OK, Reason.NONE
    return Status(int(status.ravel()[worst])), Reason(int(reason.ravel()[worst]))
