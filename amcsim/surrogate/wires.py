"""Arrays with wires seen from bit-line drivers and summing nodes, batched.

Cell currents I under port voltages V solve (diag(1/g) + R_w) I = P V, g the cells' small-signal conductances, R_w the
fixed matrix of shared wire resistances: same column, R_bl (min(row, row') + 1), plus same source-line,
R_sl (min(position, position') + 1), which is two running sums along each line. R_w g is small in small arrays:
I = (1 + z)^-1 g P V with z = g R_w as a polynomial of z. Where it is not small, the nodal room eliminates the wires.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from amcsim._compile import compiled
from amcsim._types import F64
from amcsim.nodal.lines import port_admittance
from amcsim.small_matrices import batch_last
from amcsim.specs import Spec, WireSpec

__all__ = ["transfer"]

_TOLERANCE = 1e-7
"""Relative error of a cell's current at which the polynomial ends."""
_SMALL = 0.8
"""Norm of R_w g up to which the polynomial costs less than the elimination: 32 x 32 at an ohm a cell."""
_SIDE_BY_SIDE = 64
"""Arrays handled together; their currents stay in the cache up to 8 x 8."""


def transfer(spec: Spec, g: F64, *, exact: bool = False) -> F64:
    """Currents out of the summing nodes' wires per volt, (N, m, 2n + m), S: on the n bit-lines of G+, of G-, and (with
    the opposite sign: current into the array) on the m summing nodes; input and feedback resistors are left out.

    g: conductances of the cells, access devices included, (N, 2, m, n), S. The result is laid out in memory with N
    last, (m, 2n + m, N), and quickest where g is, too (amcsim.small_matrices.batch_last). `exact` eliminates the wires
    of small arrays, too: to rounding, not to 1e-7.
    """
    count, _, m, n = g.shape
    wire = spec.wire
    wired = wire.bl_resistance > 0 or wire.sl_resistance > 0
    if wired and exact:
        return np.stack([_eliminated(wire, one) for one in g])
    # by powers of two of what cells may have: an array's answer must not depend on those beside it
    most = 1.25 * spec.cell.g_max
    top = most * 2.0 ** math.ceil(math.log2(max(float(g.max(initial=0.0)), 1e-300) / most))
    norm = top * _longest(wire, m, n)
    if norm > _SMALL:
        return np.stack([_eliminated(wire, one) for one in g])
    total = np.empty((m, 2 * n + m, count))
    powers = _coefficients(norm) if wired else np.ones(1)
    shared = wire.layout == "shared"
    _currents(batch_last(g), powers, wire.bl_resistance, wire.sl_resistance, shared, _SIDE_BY_SIDE, total)
    return np.moveaxis(total, -1, 0)


def _longest(wire: WireSpec, m: int, n: int) -> float:
    """Largest sum of a row of R_w, ohm: that of the cell farthest from its driver and its amplifier."""
    along = 2 * n if wire.layout == "shared" else n
    return 0.5 * (wire.bl_resistance * m * (m + 1) + wire.sl_resistance * along * (along + 1))


@lru_cache(maxsize=64)
def _coefficients(norm: float) -> F64:
    """Of the polynomial nearest to 1/(1 + z) on 0 to norm, to _TOLERANCE: at the zeros of a Chebyshev polynomial.

    The error of degree k is 2 (norm/4)^(k + 1), where that of the plain series is norm^(k + 1).
    """
    degree = 1
    while 2.0 * (norm / 4.0) ** (degree + 1) > _TOLERANCE:
        degree += 1
    nodes = 0.5 * (1.0 + np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1)))
    powers = np.linalg.solve(np.vander(nodes, increasing=True), 1.0 / (1.0 + norm * nodes))
    return np.asarray(powers / norm ** np.arange(degree + 1), dtype=np.float64)


@compiled
def _currents(g: F64, powers: F64, bl: float, sl: float, shared: bool, width: int, out: F64) -> None:
    """`out`, (m, 2n + m, N), by the polynomial of `powers` c_0, c_1, ..., of cells g, (2, m, n, N).

    Row i is c_0 h + z (c_1 h + z (c_2 h + ...)), h the cells' conductances on source-line i and zero elsewhere, summed
    by bit-line and by source-line. A row of cells of both arrays lies in one piece, `width` of the N side by side; the
    last of them reach back to be as many.
    """
    _, m, n, count = g.shape
    width, last = min(width, count), len(powers) - 1
    cells, length = 2 * n, 2 * n * width
    along = cells if shared else n  # cells of a row on one source-line
    h, x, y = np.empty((m, length)), np.empty((m, length)), np.empty((m, length))
    by_cell, currents, drops = h.reshape(m, cells, width), x.reshape(m, cells, width), y.reshape(m, cells, width)
    line, total = np.empty((cells, width)), np.empty(width)
    for piece in range(0, count, width):
        first = min(piece, count - width)
        for r in range(m):
            for p in range(cells):
                cell = g[p // n, r, p % n, first : first + width]
                for z in range(width):
                    by_cell[r, p, z] = cell[z]
        for i in range(m):
            for r in range(m):
                drop = bl * (min(r, i) + 1)
                for q in range(length):
                    x[r, q] = h[i, q] if r == i else 0.0
                    y[r, q] = drop * h[i, q]
            for d in range(last, 0, -1):
                if d < last:
                    for q in range(length):
                        y[m - 1, q] = bl * x[m - 1, q]
                    for r in range(m - 2, -1, -1):
                        for q in range(length):
                            y[r, q] = bl * x[r, q] + y[r + 1, q]
                    for r in range(1, m):
                        for q in range(length):
                            y[r, q] += y[r - 1, q]
                for r in range(m):
                    if d < last or r == i:  # at first only this source-line carries currents
                        for begin in range(0, cells, along):
                            total[:] = 0.0
                            for p in range(begin + along - 1, begin - 1, -1):
                                for z in range(width):
                                    total[z] += sl * currents[r, p, z]
                                    line[p, z] = total[z]
                            total[:] = 0.0
                            for p in range(begin, begin + along):
                                for z in range(width):
                                    total[z] += line[p, z]
                                    drops[r, p, z] += total[z]
                    scale, own = (powers[d] if d == last else 1.0), (powers[d - 1] if r == i else 0.0)
                    for q in range(length):
                        x[r, q] = h[r, q] * (scale * y[r, q] + own)
            for p in range(cells):
                total[:] = 0.0
                for r in range(m):
                    for z in range(width):
                        total[z] += currents[r, p, z]
                for z in range(width):
                    out[i, p, first + z] = total[z]
            for r in range(m):
                total[:] = 0.0
                for p in range(cells):
                    for z in range(width):
                        total[z] += currents[r, p, z]
                for z in range(width):
                    out[i, cells + r, first + z] = total[z]


def _eliminated(wire: WireSpec, g: F64) -> F64:
    """The same of one array, g (2, m, n), line by line."""
    n = g.shape[2]
    rows = port_admittance(wire, g)[2 * n :]
    rows[:, : 2 * n] *= -1.0
    return rows
