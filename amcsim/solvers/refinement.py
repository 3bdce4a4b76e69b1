"""Step lengths and directions of refinement: from an analog answer d = A_lp^-1 r to a correction that cuts |r| most.

Flexible GCR, truncated: with q = A d, d and q are made orthogonal to the kept pairs (p_i, q_i), |q_i| = 1, of before,

    q <- q - (q_i.q) q_i,   d <- d - (q_i.q) p_i,   then p = d / |q|, q <- q / |q|, and x <- x + (r.q) p,

so that |r| is the smallest over the kept directions together, and never grows. Keeping none is minimal residual.
GCR alone stalls where r.q = 0: the next r, hence the next d, would be the last one. There the array is asked for q
instead of r (Orthodir), which enlarges the same Krylov space: an array that answers linearly is done after n passes at
most, if n directions are kept, whatever rho(I - A_lp^-1 A). (Eisenstat, Elman and Schultz, SIAM J. Numer. Anal. 20,
1983; van der Vorst and Vuik, "GMRESR", Numer. Linear Algebra Appl. 1, 1994.)

Residuals need no p. Until directions have to be dropped, the d are kept as they came, and x is formed only where it is
asked for: with the parts taken off as columns of a triangle, d_j = sum_i p_i R_ij, R_jj = |q| of pass j, it is

    x = sum_j y_j d_j,    R y = (r.q of each pass).
"""

from __future__ import annotations

import math

import numpy as np

from amcsim._compile import compiled
from amcsim._types import F64, I64, Bool
from amcsim.columns import copied
from amcsim.solvers.base import column_norms

__all__ = ["STALL", "Directions"]

STALL = 0.1
"""Cosine between r and q below which a pass has gained next to nothing (half a per cent of |r|)."""

_LANES = 32
"""Vectors side by side, at most, in a block of kept directions: innermost loops run along them."""
_LEAST = (10 * float(np.finfo(np.float64).eps)) ** 2
"""Share of |A d|^2 above which what is left of it is a new direction."""


class Directions:
    """Directions of vectors that are refined side by side, each column of (*batch, n, k) by itself, in float64."""

    def __init__(self, kept: int, shape: tuple[int, ...], *, direct: bool = False) -> None:
        """`kept`: how many pairs (p, q = A p), |q| = 1, are; 0 is minimal residual. `shape`: of x, (*batch, n, k).

        `direct`: x is up to date after each pass, not only after `bring`.
        """
        self.kept, self.passes, self._direct = kept, 0, direct or kept == 0
        n, k = shape[-2:]
        lanes = math.prod(shape[:-2]) * k
        width = max(1, min(lanes, _LANES))
        blocks = -(-lanes // width)
        self._pairs = np.empty((kept, blocks, 2, n, width))
        """P, or d as it came, and q of each pass."""
        self._parts = np.empty((0 if self._direct else kept, blocks, kept + 2, width))
        """Of d along the q before; 1/|q|; r.q."""
        self._columns = np.full(blocks * width, -1)
        self._columns[:lanes] = np.arange(lanes)
        self.stalled = np.zeros((*shape[:-2], k), np.bool_)

    def ask(self, r: F64) -> F64:
        """What the array is asked for: r, or the newest q, as large as r, where the last pass stalled."""
        if not np.count_nonzero(self.stalled):
            return r
        newest = self._pairs[(self.passes - 1) % self.kept, :, 1].transpose(1, 0, 2).reshape(r.shape[-2], -1)
        there = self._columns >= 0
        instead = np.empty((r.shape[-2], self.stalled.size))
        instead[:, self._columns[there]] = newest[:, there]
        instead = np.moveaxis(instead.reshape(-1, *self.stalled.shape), 0, -2) * column_norms(r)[..., None, :]
        return np.where(self.stalled[..., None, :], instead, r)

    def take(self, d: F64, product: F64, x: F64, r: F64) -> F64:
        """Correct r = b - A x in its place, and x where that is direct, by the array's answer d to `ask(r)`.

        `product` is A d.
        All (*batch, n, k), x and r contiguous. Returns |r|, (*batch, k), as the recursion has it.
        """
        if self.passes == self.kept and not self._direct:  # from now on the oldest pair is dropped
            self.bring(x)
            _orthogonal(self._columns, self._pairs, self._parts)
            self._direct = True
        norms = np.empty(self.stalled.shape)
        d, product = np.ascontiguousarray(d), np.ascontiguousarray(product)
        d, product, x, r = (v.reshape(-1, *v.shape[-2:]) for v in (d, product, x, r))
        slot = self.passes % self.kept if self.kept else 0
        held, stalled = min(self.passes, self.kept), self.stalled.ravel()
        state = self._columns, self._pairs, self._parts, self._direct
        _take(d, product, x, r, *state, held, slot, stalled, norms.ravel())
        self.passes += 1
        return norms

    def bring(self, x: F64) -> None:
        """Bring x, (*batch, n, k), up to date in its place."""
        if not self._direct:
            _formed(x.reshape(-1, *x.shape[-2:]), self._columns, self._pairs, self._parts, self.passes)

    def keep(self, columns: Bool) -> None:
        """Go on with these columns only, (k,)."""
        kept = np.where(columns, np.cumsum(columns) - 1, -1)
        there = self._columns >= 0
        member, column = np.divmod(self._columns[there], columns.size)
        now = kept[column]
        self._columns[there] = np.where(now < 0, -1, member * np.count_nonzero(columns) + now)
        self.stalled = np.ascontiguousarray(self.stalled[..., columns])


@compiled
def _take(
    d: F64,
    product: F64,
    x: F64,
    r: F64,
    columns: I64,
    pairs: F64,
    parts: F64,
    direct: bool,
    used: int,
    slot: int,
    stalled: Bool,
    norms: F64,
) -> None:
    """See Directions.take; arrays are (N, n, k) and (N k,). columns: what each lane of the pairs holds, or -1."""
    kept, blocks, _, n, w = pairs.shape
    p, q, rest = np.empty((n, w)), np.empty((n, w)), np.empty((n, w))
    before, size, part, norm = np.empty(w), np.empty(w), np.empty(w), np.empty(w)
    for block in range(blocks):
        own = columns[block * w : (block + 1) * w]
        if _empty(own):
            continue
        _load(d, own, p)
        _load(product, own, q)
        _load(r, own, rest)
        _products(q, q, before)
        _products(rest, rest, size)
        for i in range(used):
            _products(pairs[i, block, 1], q, part)
            _take_off(part, pairs[i, block, 1], q)
            if direct:
                _take_off(part, pairs[i, block, 0], p)
            else:
                for z in range(w):
                    parts[slot, block, i, z] = part[z]
        _products(q, q, norm)
        for z in range(w):
            norm[z] = 1.0 / math.sqrt(norm[z]) if norm[z] > _LEAST * before[z] else 0.0
        _scale(norm, q)
        if direct:
            _scale(norm, p)
        if kept:
            copied(p, 0, pairs[slot, block, 0])
            copied(q, 0, pairs[slot, block, 1])
        _products(rest, q, part)
        _take_off(part, q, rest)
        _store(r, own, rest)
        _products(rest, rest, before)
        for z in range(w):
            if own[z] >= 0:
                norms[own[z]] = math.sqrt(before[z])
                stalled[own[z]] = kept > 0 and norm[z] > 0.0 and part[z] * part[z] < STALL * STALL * size[z]
            if not direct:
                parts[slot, block, kept, z], parts[slot, block, kept + 1, z] = norm[z], part[z]
            part[z] = -part[z]
        if direct:
            _load(x, own, rest)
            _take_off(part, p, rest)
            _store(x, own, rest)


@compiled
def _formed(x: F64, columns: I64, pairs: F64, parts: F64, passes: int) -> None:
    """x (N, n, k) of `passes` passes, by back substitution; see Directions for the others."""
    kept, blocks, _, n, w = pairs.shape
    y, total = np.empty((kept, w)), np.empty((n, w))
    for block in range(blocks):
        own = columns[block * w : (block + 1) * w]
        if _empty(own):
            continue
        for i in range(n):
            for z in range(w):
                total[i, z] = 0.0
        for j in range(passes - 1, -1, -1):
            for z in range(w):
                rest = parts[j, block, kept + 1, z]
                for i in range(j + 1, passes):
                    rest += parts[i, block, j, z] * y[i, z]
                y[j, z] = -rest * parts[j, block, kept, z]
            _take_off(y[j], pairs[j, block, 0], total)
        _store(x, own, total)


@compiled
def _orthogonal(columns: I64, pairs: F64, parts: F64) -> None:
    """From every d its p, in their places."""
    kept, blocks, w = pairs.shape[0], pairs.shape[1], pairs.shape[4]
    for block in range(blocks):
        if _empty(columns[block * w : (block + 1) * w]):
            continue
        for j in range(kept):
            for i in range(j):
                _take_off(parts[j, block, i], pairs[i, block, 0], pairs[j, block, 0])
            _scale(parts[j, block, kept], pairs[j, block, 0])


@compiled
def _empty(own: I64) -> bool:
    """Whether all lanes have left."""
    alive = 0
    for z in range(own.size):
        alive += own[z] >= 0
    return alive == 0


@compiled
def _scale(factor: F64, v: F64) -> None:
    """V (n, w) times factors (w,)."""
    for i in range(v.shape[0]):
        for z in range(factor.size):
            v[i, z] *= factor[z]


@compiled
def _products(a: F64, b: F64, total: F64) -> None:
    """Of each lane's vectors: (n, w), (n, w), (w,)."""
    for z in range(total.size):
        total[z] = 0.0
    for i in range(a.shape[0]):
        for z in range(total.size):
            total[z] += a[i, z] * b[i, z]


@compiled
def _take_off(part: F64, along: F64, v: F64) -> None:
    """V less its parts, (w,), along others: (n, w) both."""
    for i in range(v.shape[0]):
        for z in range(part.size):
            v[i, z] -= part[z] * along[i, z]


@compiled
def _load(v: F64, own: I64, lanes: F64) -> None:
    """Columns `own` of v (N, n, k) into lanes (n, w); zeros for those that have left."""
    (n, w), (member, first) = lanes.shape, divmod(max(own[0], 0), v.shape[2])
    if _side_by_side(own, first, v.shape[2]):
        for i in range(n):
            row, lane = v[member, i, first : first + w], lanes[i]
            for z in range(w):
                lane[z] = row[z]
        return
    for z in range(w):
        member, first = divmod(max(own[z], 0), v.shape[2])
        for i in range(n):
            lanes[i, z] = v[member, i, first] if own[z] >= 0 else 0.0


@compiled
def _store(v: F64, own: I64, lanes: F64) -> None:
    """The way back."""
    (n, w), (member, first) = lanes.shape, divmod(max(own[0], 0), v.shape[2])
    if _side_by_side(own, first, v.shape[2]):
        for i in range(n):
            row, lane = v[member, i, first : first + w], lanes[i]
            for z in range(w):
                row[z] = lane[z]
        return
    for z in range(w):
        member, first = divmod(max(own[z], 0), v.shape[2])
        if own[z] >= 0:
            for i in range(n):
                v[member, i, first] = lanes[i, z]


@compiled
def _side_by_side(own: I64, first: int, k: int) -> bool:
    """Whether all lanes are columns of one matrix, next to each other: they never change their order."""
    return own[0] >= 0 and own[-1] - own[0] == own.size - 1 and first + own.size <= k
