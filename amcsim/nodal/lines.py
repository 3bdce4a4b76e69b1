"""Linear cells behind resistive wires seen from their ports, by the structure of their lines.

The bit-line of a column leaves a matrix between the source-lines there, -K_c s + k_c V; source-line segments g_s join
the columns, and block elimination from the far end, D_c = K_c + (1 + D_c+1/g_s)^-1 D_c+1, costs a few dense products a
column, O(m^4) for m by m cells, without the cancellation of g_s against itself.

For a few right-hand sides see `amcsim.nodal.currents`.
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
    "port_admittance",
    "port_capacitance",
]


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
