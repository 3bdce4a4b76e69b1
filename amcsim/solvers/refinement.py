"""Step lengths and directions of refinement: from an analog answer d = A_lp^-1 r to a correction that cuts |r| most.

Flexible GCR, truncated: with q = A d, d and q are made orthogonal to the kept pairs (p_i, q_i), |q_i| = 1, of before,

    q <- q - (q_i.q) q_i,   d <- d - (q_i.q) p_i,   then p = d / |q|, q <- q / |q|, and x <- x + (r.q) p,

so that |r| is the smallest over the kept directions together, and never grows. Keeping none is minimal residual.
GCR alone stalls where r.q = 0: the next r, hence the next d, would be the last one. There the array is asked for q
instead of r (Orthodir), which enlarges the same Krylov space: an array that answers linearly is done after n passes at
most, if n directions are kept, whatever rho(I - A_lp^-1 A). (Eisenstat, Elman and Schultz, SIAM J. Numer. Anal. 20,
1983; van der Vorst and Vuik, "GMRESR", Numer. Linear Algebra Appl. 1, 1994.)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from amcsim._types import F64, Bool
from amcsim.solvers.base import column_norms

__all__ = ["STALL", "Directions"]

STALL = 0.1
"""Cosine between r and q below which a pass has gained next to nothing (half a per cent of |r|)."""

_EPS = float(np.finfo(np.float64).eps)


@dataclass
class Directions:
    """Directions of vectors that are refined side by side, each column of (*batch, n, k) by itself, in float64."""

    kept: int
    """How many pairs are kept; 0 is minimal residual."""
    pairs: list[tuple[F64, F64]] = field(default_factory=list)
    """(p, q = A p), |q| = 1, newest last; zero where a pass gave no new direction."""
    stalled: Bool | None = None
    """(*batch, k): columns whose last pass gained nothing."""

    def ask(self, r: F64) -> F64:
        """What the array is asked for: r, or the newest q, as large as r, where the last pass stalled."""
        if not self.pairs or self.stalled is None or not np.count_nonzero(self.stalled):
            return r
        instead = self.pairs[-1][1] * column_norms(r)[..., None, :]
        return np.where(self.stalled[..., None, :], instead, r)

    def correct(self, a: F64, r: F64, d: F64) -> F64:
        """The correction of x, (*batch, n, k), from the array's answer d to `ask(r)`."""
        q = a @ d
        size = column_norms(q)
        for p_i, q_i in self.pairs:
            part = np.einsum("...nk,...nk->...k", q_i, q)[..., None, :]
            q, d = q - part * q_i, d - part * p_i
        norm = column_norms(q)
        new = norm > 10 * _EPS * size
        inverse = (new / (norm + (norm == 0.0)))[..., None, :]
        p, q = d * inverse, q * inverse
        length = np.einsum("...nk,...nk->...k", r, q)
        if self.kept:
            self.pairs = [*self.pairs[1 - self.kept or len(self.pairs) :], (p, q)]
            self.stalled = np.asarray(new & (np.abs(length) < STALL * column_norms(r)))
        return np.asarray(p * length[..., None, :])

    def keep(self, columns: Bool) -> None:
        """Go on with these columns only, (k,)."""
        self.pairs = [(p[..., columns], q[..., columns]) for p, q in self.pairs]
        if self.stalled is not None:
            self.stalled = self.stalled[..., columns]
