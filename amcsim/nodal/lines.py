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

from dataclasses import dataclass

import numpy as np

from amcsim._types import F64
from amcsim.specs import WireSpec

__all__ = [
    "Capacitors",
    "CellCurrents",
    "LinesNotConverged",
    "cell_currents",
    "port_admittance",
    "port_matrices",
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
    return port_matrices(wire, g)[0]


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


def port_matrices(wire: WireSpec, g: F64, capacitors: Capacitors | None = None) -> tuple[F64, F64]:
    """(Y, C) at the ports of `port_admittance`: C = T' C_i T, T what inner nodes follow of the ports at DC; S and F."""
    _, m, n = g.shape
    share = np.zeros_like(g) if capacitors is None else capacitors.share
    if wire.layout == "shared":
        return _chain(wire, np.concatenate([*g], axis=1), np.concatenate([*share], axis=1), capacitors)
    y, c = np.zeros((2, 2 * n + m, 2 * n + m))
    senses = np.arange(2 * n, 2 * n + m)
    for array in (0, 1):
        ports = np.concatenate([np.arange(array * n, (array + 1) * n), senses])
        here = np.ix_(ports, ports)
        found = _chain(wire, g[array], share[array], capacitors)
        y[here] += found[0]
        c[here] += found[1]
    return y, c


def _chain(wire: WireSpec, g: F64, share: F64, capacitors: Capacitors | None) -> tuple[F64, F64]:
    """(Y, C) of one array, g and share (m, columns): drivers of its bit-lines, then its sense nodes."""
    m, columns = g.shape
    inverse = _bit_lines(wire, g) if wire.bl_resistance > 0 else None
    one, cells = np.eye(m), g.T
    # by column: currents -K s + k V into the source-lines, and the driver's own conductance
    if inverse is None:
        between, drive, own = cells[:, :, None] * one, cells, cells.sum(axis=1)
    else:
        front = 1.0 / wire.bl_resistance
        between = cells[:, :, None] * (one - inverse * cells[:, None, :])
        drive, own = cells * inverse[:, :, 0] * front, front - front**2 * inverse[:, 0, 0]
    # from the far end: what a column sees beyond its segment, and what all drivers there send towards it
    segment = 1.0 / wire.sl_resistance if wire.sl_resistance > 0 else np.inf
    seen, sent = np.empty((columns, m, m)), np.zeros((columns, m, columns))
    if segment < np.inf:
        far, coming = np.zeros((m, m)), np.zeros((m, columns))
        for c in range(columns - 1, -1, -1):
            d = between[c] + far
            coming[:, c] = drive[c]
            seen[c] = np.linalg.inv(segment * one + d)
            sent[c] = coming
            far, coming = segment * seen[c] @ d, segment * seen[c] @ coming
    # and back: the source-lines' voltages per volt at each port
    y, capacitance = np.zeros((2, columns + m, columns + m))
    y[np.arange(columns), np.arange(columns)] = own
    s = np.concatenate([np.zeros((m, columns)), one], axis=1)
    for c in range(columns):
        if segment < np.inf:
            s *= segment
            s[:, :columns] += sent[c]
            s = seen[c] @ s
            if c == 0:
                y[columns:] -= segment * s
        else:
            y[columns:] += between[c] @ s
            y[columns:, c] -= drive[c]
        y[c] -= drive[c] @ s
        if capacitors is not None:
            if inverse is None:
                u = np.zeros_like(s)
                u[:, c] = 1.0
            else:
                u = inverse[c] @ (cells[c][:, None] * s)
                u[:, c] += inverse[c, :, 0] / wire.bl_resistance
            part = share[:, c, None]
            middle = part * u + (1.0 - part) * s
            stacked = np.concatenate([u, s, middle])
            weights = np.repeat([capacitors.bl, capacitors.sl, capacitors.inner], m)[:, None]
            capacitance += stacked.T @ (weights * stacked)
    if segment < np.inf:
        y[columns:, columns:] += segment * one
    return y, capacitance


def _bit_lines(wire: WireSpec, g: F64) -> F64:
    """Inverse of the conductance matrix of each bit-line, its cells' other ends grounded, (columns, m, m), ohm."""
    m, columns = g.shape
    segment, row = 1.0 / wire.bl_resistance, np.arange(m)
    line = np.zeros((columns, m, m))
    line[:, row, row] = g.T + segment * (1.0 + (row < m - 1))
    line[:, row[1:], row[:-1]] = line[:, row[:-1], row[1:]] = -segment
    return np.asarray(np.linalg.inv(line), dtype=np.float64)


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
