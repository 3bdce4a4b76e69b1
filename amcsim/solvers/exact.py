"""The digital reference: float64 Gaussian elimination with partial pivoting (LAPACK gesv), no analog array."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from amcsim._types import F64, I64
from amcsim.mapping import check_matrix
from amcsim.solvers.base import Counts, Solution, answered, check_rhs
from amcsim.streams import Key

__all__ = ["Exact", "ExactProgrammed", "solve_or_nan"]


def solve_or_nan(a: F64, b: F64) -> F64:
    """A^-1 b for a (*batch, n, n) and b (*batch, n, k); NaN for those members of the batch whose A is singular."""
    try:
        x = np.asarray(np.linalg.solve(a, b), np.float64)
    except np.linalg.LinAlgError:
        # gesv gives up exactly where a pivot is 0, and there slogdet's sign is 0: one member must not spoil the others.
        regular = (np.linalg.slogdet(a)[0] != 0.0)[..., None, None]
        x = np.where(regular, np.linalg.solve(np.where(regular, a, np.eye(a.shape[-1])), b), np.nan)
    return x


_LARGE = 64
"""Rows from which on a single matrix is factorised once for all its calls."""


@dataclass(frozen=True)
class ExactProgrammed:
    """A matrix in the digital host's memory."""

    a: F64
    """(*batch, n, n)."""
    counts: Counts = field(default_factory=Counts)
    """All zero: no array is written."""

    def solve(self, b: F64) -> Solution:
        """Solve by elimination.

        Anew at each call for batches and small matrices, as batched LAPACK does millions of 4x4 a second and keeps no
        factors. A singular member of the batch, and a right-hand side with NaN or infinite entries, end in
        not_converged. Raises ValueError for a right-hand side of another shape.
        """
        b = check_rhs(self.a, b)
        if self._factors is None:
            return answered(self.a, solve_or_nan(self.a, b), b, passes=0)
        from scipy.linalg.lapack import dgetrs

        x, _ = dgetrs(*self._factors, b)
        return answered(self.a, np.asarray(x, np.float64), b, passes=0)

    @cached_property
    def _factors(self) -> tuple[F64, I64] | None:
        """LU and pivots of a large regular matrix; None of any other."""
        if self.a.ndim > 2 or len(self.a) < _LARGE or not np.isfinite(self.a).all():
            return None
        from scipy.linalg.lapack import dgetrf

        lu, pivots, singular = dgetrf(self.a)
        return None if singular else (lu, pivots)


@dataclass(frozen=True)
class Exact:
    """Digital float64 solver; spends nothing analog."""

    def program(self, a: F64, key: Key) -> ExactProgrammed:
        """Keep a, (*batch, n, n); `key` is not drawn from. Raises ValueError for what is no real square matrix."""
        return ExactProgrammed(check_matrix(a))
