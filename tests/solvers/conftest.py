"""Systems and leaves of known error, shared by the solver tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.solvers.base import Counts, Solution, answered
from amcsim.specs import Spec
from amcsim.status import Reason, Status
from amcsim.streams import Key


@dataclass(frozen=True)
class ErrorLeaf:
    """A leaf with a chosen iteration matrix: A_lp^-1 = (I - E) A^-1, so that x - x* becomes E (x - x*) at each pass.

    `errors` holds one E, (*batch, n, n), for each attempt at programming; where `dead` (*batch,) is true, the first
    attempt is unstable. Arrays that hold the number `hurt` in their first entry say `disturbed`
    in attempts before `intact_from`.
    """

    errors: tuple[F64, ...]
    dead: F64 | None = None
    hurt: float | None = None
    intact_from: int = 1

    def program(self, a: F64, key: Key) -> _ErrorProgrammed:
        attempt = key.path[-1] if key.path else 0
        error = self.errors[min(attempt, len(self.errors) - 1)]
        inverse = (np.eye(a.shape[-1]) - error) @ np.linalg.inv(a)
        dead = np.zeros(a.shape[:-2], np.bool_) if attempt or self.dead is None else np.asarray(self.dead, np.bool_)
        hurt = np.asarray(a[..., 0, 0] == self.hurt) & (attempt < self.intact_from)
        return _ErrorProgrammed(a, Counts(array_programmings=int(np.prod(a.shape[:-2]))), inverse, dead, hurt)


@dataclass(frozen=True)
class _ErrorProgrammed:
    a: F64
    counts: Counts
    inverse: F64
    dead: F64
    hurt: F64

    def solve(self, b: F64) -> Solution:
        dead = np.broadcast_to(np.asarray(self.dead)[..., None], b.shape[:-2] + b.shape[-1:])
        status = np.where(dead, Status.UNSTABLE, Status.OK).astype(np.int64)
        reason = np.where(dead, Reason.POLE, Reason.NONE).astype(np.int64)
        return answered(self.a, self.inverse @ b, b, status=status, reason=reason, disturbed=self.hurt.copy())


@pytest.fixture
def error_leaf() -> type[ErrorLeaf]:
    return ErrorLeaf


@pytest.fixture
def spd() -> Callable[..., F64]:
    """Symmetric positive-definite matrices of condition about ten, like damped K-FAC factors."""

    def make(n: int, batch: tuple[int, ...] = (), seed: int = 0) -> F64:
        m = np.random.default_rng(seed).normal(size=(*batch, n, 3 * n))
        return m @ np.swapaxes(m, -1, -2) / (3 * n) + 0.2 * np.eye(n)

    return make


@pytest.fixture
def rhs() -> Callable[..., F64]:
    def make(*shape: int, seed: int = 1) -> F64:
        return np.random.default_rng(seed).normal(size=shape)

    return make


@pytest.fixture
def written() -> Spec:
    """20-220 uS with +-10 uS of uniform write error: the paper's cells in an ideal circuit."""
    return Spec().replace(programming={"model": "uniform", "tolerance": 10e-6})
