"""Linear cells behind resistive wires, by the structure of their lines.

The currents I of the cells, conductances g, under bit-line drivers V and sense nodes v solve

    (diag(1/g) + R_w) I = V(column) - v(row),

R_w I the voltage that wires drop on the way to each cell.

For a few right-hand sides, `cell_currents`. Along a line whose segment k carries the current of all cells from k on,
the drop is a running sum of running sums, O(1) a cell: no matrix, no factorisation. The system is symmetric positive
definite, its condition (scaled by its diagonal) of the order of R g n^2, 20 for 256 cells of 220 uS at 2 ohm: conjugate
gradients take tens of steps. The bound on the error is that of the residual in the energy norm: the smallest eigenvalue
of the scaled matrix is at least min (1/g)/(1/g + diag R_w).

For all of them, `port_admittance`: the bit-line of a column leaves a matrix between the source-lines there,
-K_c s + k_c V; source-line segments g_s join the columns, and block elimination from the far end,
D_c = K_c + (1 + D_c+1/g_s)^-1 D_c+1, costs a few dense products a column, O(m^4) for m by m cells, without the
cancellation of g_s against itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.linalg import lapack
from threadpoolctl import ThreadpoolController

from amcsim._types import F64
from amcsim.specs import WireSpec

__all__ = [
    "Capacitors",
    "CellCurrents",
    "LinesNotConverged",
    "cell_currents",
    "port_admittance",
    "port_capacitance",
]


class LinesNotConverged(RuntimeError):
    """The iteration ended above its tolerance: one sentence with how far it got."""


@dataclass(frozen=True)
class CellCurrents:
    """Currents of all cells."""

    currents: F64
    """(2, m, n, k), A: of the positive and the negative array, from bit-line to source-line."""
    iterations: int
    error: F64
    """Bound on the relative error of the currents in the norm of sqrt(1/g + diag R_w), (k,)."""

    @property
    def sensed(self) -> F64:
        """Currents into the sense nodes, (m, k), A."""
        total: F64 = self.currents.sum(axis=(0, 2))
        return total


def cell_currents(
    wire: WireSpec, g: F64, bit_lines: F64, senses: F64, *, tolerance: float = 1e-12, steps: int = 10_000
) -> CellCurrents:
    """Solve for drivers at bit_lines, (2, n, k), and sense nodes at senses, (m, k), V.

    g: conductances of the cells, access devices included, (2, m, n), S, above 0. `tolerance` bounds
    `CellCurrents.error`. Raises LinesNotConverged after so many steps, ValueError for shapes that do not fit.
    """
    _, m, n = g.shape
    k = bit_lines.shape[-1]
    if bit_lines.shape != (2, n, k) or senses.shape != (m, k) or not g.min(initial=np.inf) > 0:
        what = f"bit-lines {bit_lines.shape} and senses {senses.shape}"
        raise ValueError(f"{what} do not fit cells {g.shape}, or a cell does not conduct")
    # (m, k, arrays, n) or, where one source-line passes both arrays, (m, k, 1, 2n)
    lines = (1, 2 * n) if wire.layout == "shared" else (2, n)
    resistance = 1.0 / np.moveaxis(g, 0, 1).reshape(m, 1, *lines)
    drive = np.moveaxis(bit_lines, -1, 0).reshape(1, k, *lines) - senses[:, :, None, None]
    down, along = np.arange(1, m + 1)[:, None, None, None], np.arange(1, lines[1] + 1)
    diagonal = resistance + wire.bl_resistance * down + wire.sl_resistance * along
    floor = float((resistance / diagonal).min())

    def apply(current: F64) -> F64:
        out = resistance * current
        if wire.bl_resistance > 0:
            out += wire.bl_resistance * _down(current)
        if wire.sl_resistance > 0:
            out += wire.sl_resistance * _along(current)
        return out

    def bound(left: F64, current: F64) -> F64:
        return np.sqrt(_ratio(left, _dots(current, diagonal * current))) / floor

    # preconditioned conjugate gradients on all right-hand sides side by side
    solution = drive / diagonal
    residual = drive - apply(solution)
    scaled = residual / diagonal
    direction, product = scaled.copy(), _dots(residual, scaled)
    taken = 0
    while np.any((error := bound(product, solution)) > tolerance):
        if taken == steps:
            worst = float(error.max())
            raise LinesNotConverged(f"wired array {m}x{n}: error {worst:.3g} after {steps} steps, above {tolerance:g}")
        image = apply(direction)
        step = _ratio(product, _dots(direction, image))
        solution += step * direction
        taken += 1
        if taken % _RENEW == 0:
            residual = drive - apply(solution)
        else:
            residual -= step * image
        scaled = residual / diagonal
        before, product = product, _dots(residual, scaled)
        direction *= _ratio(product, before)
        direction += scaled
    currents = np.moveaxis(solution.reshape(m, k, 2, n), (1, 2), (3, 0))
    residual = drive - apply(solution)
    return CellCurrents(currents, taken, bound(_dots(residual, residual / diagonal), solution).ravel())


def port_admittance(wire: WireSpec, g: F64) -> F64:
    """Y at the bit-line drivers of both arrays and the sense nodes, (2n + m, 2n + m), S: currents into the arrays.

    g: conductances of the cells, access devices included, (2, m, n), S.
    """
    return _at_ports(wire, g, None)[0]


@dataclass(frozen=True)
class Capacitors:
    """Capacitances of an array's inner nodes, F."""

    bl: float
    """To ground at each cell's end of its bit-line."""
    sl: float
    """To ground at each cell's end of its source-line."""
    inner: float
    """To ground between RRAM and access device."""
    share: F64
    """Part of the bit-line's voltage in that node's, the rest being the source-line's, (2, m, n)."""


def port_capacitance(wire: WireSpec, g: F64, capacitors: Capacitors) -> F64:
    """C at the ports of `port_admittance`, F: C = T' C_i T, T what inner nodes follow of the ports at DC."""
    return _at_ports(wire, g, capacitors)[1]


def _at_ports(wire: WireSpec, g: F64, capacitors: Capacitors | None) -> tuple[F64, F64]:
    """(Y, C); C is 0 without capacitors. On one thread: products of lines this short lose by being shared out."""
    with _blas().limit(limits=1):
        return _both_arrays(wire, g, capacitors)


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _both_arrays(wire: WireSpec, g: F64, capacitors: Capacitors | None) -> tuple[F64, F64]:
    _, m, n = g.shape
    if wire.layout == "shared":
        whole = None if capacitors is None else replace(capacitors, share=np.concatenate([*capacitors.share], axis=1))
        return _chain(wire, np.concatenate([*g], axis=1), whole)
    y, c = np.zeros((2, 2 * n + m, 2 * n + m))
    senses = np.arange(2 * n, 2 * n + m)
    for array in (0, 1):
        ports = np.concatenate([np.arange(array * n, (array + 1) * n), senses])
        here = np.ix_(ports, ports)
        one = None if capacitors is None else replace(capacitors, share=capacitors.share[array])
        found = _chain(wire, g[array], one)
        y[here] += found[0]
        c[here] += found[1]
    return y, c


@dataclass(frozen=True)
class _Columns:
    """Bit-lines, cells and capacitors of each column. Its m source-line nodes s and its driver V carry K s - k V, and
    own V - k' s, into it.
    """

    between: F64
    """K, (columns, m, m)."""
    drive: F64
    """k, (columns, m)."""
    own: F64
    """(columns,)"""


def _chain(wire: WireSpec, g: F64, capacitors: Capacitors | None) -> tuple[F64, F64]:
    """(Y, C) of one array, g (m, columns): drivers of its bit-lines, then its sense nodes.

    From the far end, `far` is what a column's source-lines see beyond it, `sent` (m, columns) what the drivers there
    send towards it, `among` (columns, columns) the drivers' own; far_s and so on are their slopes by s, from 0 on.
    """
    m, columns = g.shape
    y, capacitance = np.zeros((2, columns + m, columns + m))
    segment = 1.0 / wire.sl_resistance if wire.sl_resistance > 0 else np.inf
    far, far_s, sent, sent_s = np.zeros((m, m)), np.zeros((m, m)), np.zeros((m, columns)), np.zeros((m, columns))
    among, among_s = y[:columns, :columns], capacitance[:columns, :columns]
    step = max(1, _BLOCK // (m * m))
    for stop in range(columns, 0, -step):
        block = slice(max(0, stop - step), stop)
        inverse = _bit_lines(wire, g[:, block]) if wire.bl_resistance > 0 else None
        at_dc = _conductances(wire, g[:, block], inverse)
        slopes = None if capacitors is None else _capacitances(wire, g[:, block], inverse, capacitors, block)
        for c in range(block.stop - 1, block.start - 1, -1):
            k = c - block.start
            far += at_dc.between[k]
            sent[:, c] = at_dc.drive[k]
            among[c, c] = at_dc.own[k]
            if slopes is not None:
                far_s += slopes.between[k]
                sent_s[:, c] = slopes.drive[k]
                among_s[c, c] = slopes.own[k]
            if segment == np.inf:
                continue
            seen = _inverse_positive(far, segment)
            reached = seen @ sent[:, c:]
            if slopes is not None:
                half = far_s @ reached
                change = (sent_s[:, c:] - 0.5 * half).T @ reached
                among_s[c:, c:] -= change + change.T
                sent_s[:, c:] = segment * (seen @ (sent_s[:, c:] - half))
                far_s = segment**2 * (seen @ far_s @ seen)
            among[c:, c:] -= sent[:, c:].T @ reached
            sent[:, c:] = segment * reached
            far = segment * (seen @ far)
    for matrix, edge, rest in ((y, sent, far), (capacitance, sent_s, far_s)):
        matrix[columns:, :columns] = -edge
        matrix[:columns, columns:] = -edge.T
        matrix[columns:, columns:] = rest
    return y, capacitance


def _conductances(wire: WireSpec, g: F64, inverse: F64 | None) -> _Columns:
    cells, row = g.T, np.arange(len(g))
    if inverse is None:
        between = np.zeros((*cells.shape, len(g)))
        between[:, row, row] = cells
        return _Columns(between, cells, cells.sum(axis=1))
    front = 1.0 / wire.bl_resistance
    between = inverse * -cells[:, None, :]
    between[:, row, row] += 1.0
    between *= cells[:, :, None]
    drive = cells * inverse[:, :, 0] * front
    return _Columns(between, drive, drive.sum(axis=1))  # a line's cells carry away what its driver gives


def _capacitances(wire: WireSpec, g: F64, inverse: F64 | None, capacitors: Capacitors, block: slice) -> _Columns:
    """The same of T' C_i T, T what bit-lines follow of source-lines and drivers."""
    cells, share, row = g.T, capacitors.share[:, block].T, np.arange(len(g))
    on_bl = capacitors.bl + capacitors.inner * share**2
    mutual = capacitors.inner * share * (1.0 - share)
    on_sl = capacitors.sl + capacitors.inner * (1.0 - share) ** 2
    if inverse is None:
        between = np.zeros((*cells.shape, len(g)))
        between[:, row, row] = on_sl
        return _Columns(between, -mutual, on_bl.sum(axis=1))
    of_driver = inverse[:, :, 0] / wire.bl_resistance
    of_source = inverse * cells[:, None, :]
    weighted = of_source * on_bl[:, :, None]
    half = of_source * mutual[:, :, None]
    between = np.swapaxes(of_source, 1, 2) @ weighted + half + np.swapaxes(half, 1, 2)
    between[:, row, row] += on_sl
    drive = -np.einsum("cij,ci->cj", weighted, of_driver) - mutual * of_driver
    return _Columns(between, drive, (on_bl * of_driver**2).sum(axis=1))


def _inverse_positive(matrix: F64, more: float) -> F64:
    """Inverse of matrix + more 1, symmetric and positive definite, (m, m)."""
    whole, row = matrix.copy(), np.arange(len(matrix))
    whole[row, row] += more
    factor = lapack.dpotrf(whole.T, lower=1, overwrite_a=1)[0]
    lower = lapack.dpotri(factor, lower=1, overwrite_c=1)[0]
    inverse: F64 = lower + lower.T
    inverse[row, row] *= 0.5
    return inverse


def _bit_lines(wire: WireSpec, g: F64) -> F64:
    """Inverse of the conductance matrix of each bit-line, its cells' other ends grounded, (columns, m, m), ohm.

    With L D L' the factors of the tridiagonal matrix, l_i = -segment/d_i-1 below the diagonal, rows of the inverse Z
    follow from the last: Z_ij = -l_i+1 Z_i+1,j for j > i, Z_ii = 1/d_i + l_i+1^2 Z_i+1,i+1 (Takahashi's equations).
    """
    m, columns = g.shape
    segment = 1.0 / wire.bl_resistance
    # d_i = segment (1 + w_i): no segment is taken from itself
    beyond = np.empty((m, columns))
    beyond[0] = g[0] * wire.bl_resistance + 1.0
    for i in range(1, m):
        beyond[i] = g[i] * wire.bl_resistance + beyond[i - 1] / (1.0 + beyond[i - 1])
    last = np.arange(m) == m - 1
    pivot = segment * (beyond + ~last[:, None])
    inverse = np.empty((m, m, columns))
    inverse[m - 1, m - 1] = 1.0 / pivot[m - 1]
    for i in range(m - 2, -1, -1):
        share = segment / pivot[i]
        inverse[i, i + 1 :] = inverse[i + 1 :, i] = share * inverse[i + 1, i + 1 :]
        inverse[i, i] = 1.0 / pivot[i] + share * inverse[i, i + 1]
    return np.ascontiguousarray(np.moveaxis(inverse, 2, 0))


_BLOCK = 2**20
"""Entries of bit-lines' inverses held at a time."""
_RENEW = 50
"""Steps after which the residual is computed anew, so that rounding does not pile up in it."""


def _down(current: F64) -> F64:
    """What one ohm a segment drops along the rows' axis, the first, up to each cell from the driver at row 0."""
    total = current.copy()
    for row in range(len(total) - 2, -1, -1):  # numpy's own accumulation jumps from row to row for each column
        total[row] += total[row + 1]
    for row in range(1, len(total)):
        total[row] += total[row - 1]
    return total


def _along(current: F64) -> F64:
    """The same along the last axis, up to each cell from the amplifier at its start."""
    total = np.cumsum(current[..., ::-1], axis=-1)[..., ::-1]
    return np.cumsum(total, axis=-1)


def _dots(a: F64, b: F64) -> F64:
    """Inner products by right-hand side, (k, 1, 1)."""
    return np.asarray(np.einsum("mkan,mkan->k", a, b)[:, None, None])


def _ratio(a: F64, b: F64) -> F64:
    """a / b, 0 where b is (a right-hand side that is done, or zero)."""
    return a / np.where(b > 0, b, np.inf)
