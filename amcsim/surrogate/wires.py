"""Arrays with wires seen from bit-line drivers and summing nodes, batched.

Cell currents I under port voltages V solve (diag(1/g) + R_w) I = P V, g the cells' small-signal conductances, R_w the
fixed matrix of shared wire resistances: same column, R_bl (min(row, row') + 1), plus same source-line,
R_sl (min(position, position') + 1). R_w g is small in small arrays: I = (1 + z)^-1 g P V with z = g R_w as a polynomial
of z, of which all terms but the first fit single precision. Where it is not small, or R_w is large, the nodal room
eliminates the wires.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from amcsim._types import F64
from amcsim.nodal.lines import port_admittance
from amcsim.small_matrices import batch_last
from amcsim.specs import Spec

__all__ = ["transfer"]

F32 = npt.NDArray[np.float32]

_TOLERANCE = 1e-7
"""Relative error of a cell's current at which the polynomial ends."""
_SMALL = 0.2
"""Norm of R_w g up to which the series is used."""
_MANY = 600
"""Cells above which R_w, full, costs more than the elimination: two arrays of 17 x 17."""
_BLOCK = 2**15
"""Currents handled at a time: they stay in the cache."""
_LEAST = 16
"""Arrays handled at a time, at least: R_w itself is read once for all of them."""


def transfer(spec: Spec, g: F64, *, exact: bool = False) -> F64:
    """Currents out of the summing nodes' wires per volt, (N, m, 2n + m), S: on the n bit-lines of G+, of G-, and (with
    the opposite sign: current into the array) on the m summing nodes; input and feedback resistors are left out.

    g: conductances of the cells, access devices included, (N, 2, m, n), S. The result is laid out in memory with N
    last, (m, 2n + m, N), and quickest where g is, too (amcsim.small_matrices.batch_last). `exact` eliminates the wires
    of small arrays, too: to rounding, not to 1e-7.
    """
    count, _, m, n = g.shape
    cells, wire = 2 * m * n, spec.wire
    wired = wire.bl_resistance > 0 or wire.sl_resistance > 0
    if wired and (exact or cells > _MANY):
        return np.stack([_eliminated(spec, one) for one in g])
    series = _series(m, n, wire.layout, wire.bl_resistance, wire.sl_resistance)
    # by powers of two of what cells may have: an array's answer must not depend on those beside it
    most = 1.25 * spec.cell.g_max
    norm = series.longest * most * 2.0 ** math.ceil(math.log2(max(float(g.max(initial=0.0)), 1e-300) / most))
    if norm > _SMALL:
        return np.stack([_eliminated(spec, one) for one in g])
    last, rows = batch_last(g), np.arange(m)
    total = np.zeros((m, 2 * n + m, count))
    total[:, :n], total[:, n : 2 * n] = last
    total[rows, 2 * n + rows] = np.add.reduce(total[:, : 2 * n], axis=1)
    if wired:
        first, *more = _coefficients(norm)
        if abs(first - 1.0) > 0.1 * _TOLERANCE:
            total *= first
        step = max(_LEAST, _BLOCK // (m * cells))
        for block in (slice(k, k + step) for k in range(0, count, step)):
            total[..., block] += _taken(series, last[..., block].astype(np.float32), more)
    return np.moveaxis(total, -1, 0)


def _taken(series: _Series, g: F32, powers: list[float]) -> F32:
    """What wires add, (m, 2n + m, N): z (c_1 + z (c_2 + ...)) by `powers` c_1, c_2, ..., of cells g, (2, m, n, N)."""
    _, m, n, count = g.shape
    weight = g.reshape(-1, count)
    lines = np.ascontiguousarray(np.swapaxes(g, 0, 1))  # (m, 2, n, N)
    found = series.from_lines @ _scaled(powers[-1], lines).reshape(m, 2 * n, count)
    found *= weight
    for c in powers[-2::-1]:
        arrays, added = found.reshape(m, 2, m, n, count), _scaled(c, lines)
        for row in range(m):
            arrays[row, :, row] += added[row]
        found = series.shared @ found
        found *= weight
    return np.asarray(series.sums @ found)


def _scaled(c: float, lines: F32) -> F32:
    return lines * np.float32(c)


@lru_cache(maxsize=64)
def _coefficients(norm: float) -> tuple[float, ...]:
    """Of the polynomial nearest to 1/(1 + z) on 0 to norm, to _TOLERANCE: at the zeros of a Chebyshev polynomial.

    The error of degree k is 2 (norm/4)^(k + 1), where that of the plain series is norm^(k + 1).
    """
    degree = 1
    while 2.0 * (norm / 4.0) ** (degree + 1) > _TOLERANCE:
        degree += 1
    nodes = 0.5 * (1.0 + np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1)))
    powers = np.linalg.solve(np.vander(nodes, increasing=True), 1.0 / (1.0 + norm * nodes))
    return tuple((powers / norm ** np.arange(degree + 1)).tolist())


def _eliminated(spec: Spec, g: F64) -> F64:
    """The same of one array, g (2, m, n), line by line."""
    n = g.shape[2]
    rows = port_admittance(spec.wire, g)[2 * n :]
    rows[:, : 2 * n] *= -1.0
    return rows


@dataclass(frozen=True)
class _Series:
    """Cells in the order (array, row, column); single precision."""

    from_lines: F32
    """Columns of R_w of the cells on each source-line, (m, 2mn, 2n), ohm."""
    shared: F32
    """R_w, (2mn, 2mn), ohm."""
    sums: F32
    """(2n + m, 2mn): adds cells up by bit-line of both arrays (2n rows), then by source-line (m rows)."""
    longest: float
    """Largest sum of a row of R_w, ohm."""


@lru_cache(maxsize=16)
def _series(m: int, n: int, layout: str, bl: float, sl: float) -> _Series:
    array, row, column = (part.ravel() for part in np.indices((2, m, n)))
    same_column = (array[:, None] == array) & (column[:, None] == column)
    position = column + (n * array if layout == "shared" else 0)
    same_line = row[:, None] == row
    if layout == "separate":
        same_line &= array[:, None] == array
    shared = bl * same_column * (np.minimum(row[:, None], row) + 1.0)
    total: F64 = shared + sl * same_line * (np.minimum(position[:, None], position) + 1.0)
    lines = np.arange(2 * n + m)
    adds = ((array * n + column)[:, None] == lines) | ((2 * n + row)[:, None] == lines)
    on_line = total.reshape(2, m, n, -1).transpose(1, 3, 0, 2).reshape(m, -1, 2 * n)
    on_lines, shared32, sums = (np.ascontiguousarray(part, dtype=np.float32) for part in (on_line, total, adds.T))
    return _Series(on_lines, shared32, sums, longest=float(total.sum(axis=1).max()))
