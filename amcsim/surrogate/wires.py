"""Arrays with wires seen from bit-line drivers and summing nodes, batched.

Cell currents I under port voltages V solve (diag(1/g) + R_w) I = P V, g the cells' small-signal conductances, R_w the
fixed matrix of shared wire resistances: same column, R_bl (min(row, row') + 1), plus same source-line,
R_sl (min(position, position') + 1). R_w g is small in small arrays: the series I <- g (P V - R_w I) converges by its
norm at each term. Where it is not small, or R_w is large, the nodal room eliminates the wires.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from amcsim._types import F64
from amcsim.nodal.lines import port_admittance
from amcsim.specs import Spec

__all__ = ["transfer"]

_TOLERANCE = 1e-7
"""Relative error of a cell's current at which the series stops."""
_SMALL = 0.2
"""Norm of R_w g up to which the series is used."""
_MANY = 600
"""Cells above which R_w, full, costs more than the elimination: two arrays of 17 x 17."""
_BLOCK = 2**14
"""Currents handled at a time: they stay in the cache."""
_LEAST = 16
"""Arrays handled at a time, at least: R_w itself is read once for all of them."""


def transfer(spec: Spec, g: F64) -> F64:
    """Currents out of the summing nodes' wires per volt, (N, m, 2n + m), S: on the n bit-lines of G+, of G-, and (with
    the opposite sign: current into the array) on the m summing nodes; input and feedback resistors are left out.

    g: conductances of the cells, access devices included, (N, 2, m, n), S.
    """
    count, _, m, n = g.shape
    cells, wire = 2 * m * n, spec.wire
    wired = wire.bl_resistance > 0 or wire.sl_resistance > 0
    if wired and cells > _MANY:
        return np.stack([_eliminated(spec, one) for one in g])
    shared, longest = _wires(m, n, wire.layout, wire.bl_resistance, wire.sl_resistance)
    norm = longest * float(g.max())
    if norm > _SMALL:
        return np.stack([_eliminated(spec, one) for one in g])
    flat, sums = g.reshape(count, cells), _sums(m, n)
    rows = np.ascontiguousarray(sums[:, 2 * n :].T)[:, None, :]
    total = np.empty((m, count, 2 * n + m))
    step = max(_LEAST, _BLOCK // (m * cells))
    for block in (slice(k, k + step) for k in range(0, count, step)):
        weight = flat[block]
        direct = found = rows * weight  # (m, block, cells): the long axes last, so that numpy's inner loops are long
        error = norm
        while error > _TOLERANCE:
            found = (found.reshape(-1, cells) @ shared).reshape(direct.shape)
            found *= weight
            np.subtract(direct, found, out=found)
            error *= norm
        total[:, block] = (found.reshape(-1, cells) @ sums).reshape(m, -1, 2 * n + m)
    return np.ascontiguousarray(np.swapaxes(total, 0, 1))


def _eliminated(spec: Spec, g: F64) -> F64:
    """The same of one array, g (2, m, n), line by line."""
    n = g.shape[2]
    rows = port_admittance(spec.wire, g)[2 * n :]
    rows[:, : 2 * n] *= -1.0
    return rows


@lru_cache(maxsize=16)
def _wires(m: int, n: int, layout: str, bl: float, sl: float) -> tuple[F64, float]:
    """R_w, (2mn, 2mn), ohm, over cells in the order (array, row, column), and its largest sum of a row."""
    array, row, column = (part.ravel() for part in np.indices((2, m, n)))
    same_column = (array[:, None] == array) & (column[:, None] == column)
    position = column + (n * array if layout == "shared" else 0)
    same_line = row[:, None] == row
    if layout == "separate":
        same_line &= array[:, None] == array
    shared = bl * same_column * (np.minimum(row[:, None], row) + 1.0)
    total: F64 = shared + sl * same_line * (np.minimum(position[:, None], position) + 1.0)
    return total, float(total.sum(axis=1).max())


@lru_cache(maxsize=16)
def _sums(m: int, n: int) -> F64:
    """(2mn, 2n + m): adds cells up by bit-line of both arrays (2n columns), then by row (m columns)."""
    array, row, column = (part.ravel() for part in np.indices((2, m, n)))
    bit_line, source_line = array * n + column, 2 * n + row
    lines = np.arange(2 * n + m)
    adds: F64 = ((bit_line[:, None] == lines) | (source_line[:, None] == lines)).astype(np.float64)
    return adds
