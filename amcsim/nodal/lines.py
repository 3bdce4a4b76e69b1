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

__all__ = ["CellCurrents", "LinesNotConverged", "cell_currents", "port_admittance"]


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
    _, m, n = g.shape
    if wire.layout == "shared":
        return _chain(wire, np.concatenate([g[0], g[1]], axis=1))
    total = np.zeros((2 * n + m, 2 * n + m))
    senses = np.arange(2 * n, 2 * n + m)
    for array in (0, 1):
        ports = np.concatenate([np.arange(array * n, (array + 1) * n), senses])
        total[np.ix_(ports, ports)] += _chain(wire, g[array])
    return total


def _chain(wire: WireSpec, g: F64) -> F64:
    """Y of one array, g (m, columns): drivers of its bit-lines, then its sense nodes."""
    m, columns = g.shape
    between, drive, own = _bit_lines(wire, g)
    y = np.zeros((columns + m, columns + m))
    if wire.sl_resistance == 0:
        y[:columns, :columns] = np.diag(own)
        y[:columns, columns:] = -drive
        y[columns:, :columns] = -drive.T
        y[columns:, columns:] = between.sum(axis=0)
        return y
    segment, one = 1.0 / wire.sl_resistance, np.eye(m)
    # from the far end: what a column sees beyond its segment, and what all drivers there send towards it
    seen, sent = np.empty((columns, m, m)), np.zeros((columns, m, columns))
    far, coming = np.zeros((m, m)), np.zeros((m, columns))
    for c in range(columns - 1, -1, -1):
        d = between[c] + far
        coming[:, c] = drive[c]
        seen[c] = np.linalg.inv(segment * one + d)
        sent[c] = coming
        far, coming = segment * seen[c] @ d, segment * seen[c] @ coming
    # and back: the source-lines' voltages per volt at each port
    s = np.concatenate([np.zeros((m, columns)), one], axis=1)
    for c in range(columns):
        s *= segment
        s[:, :columns] += sent[c]
        s = seen[c] @ s
        if c == 0:
            y[columns:] = -segment * s
        y[c] = -drive[c] @ s
    y[np.arange(columns), np.arange(columns)] += own
    y[columns:, columns:] += segment * one
    return y


def _bit_lines(wire: WireSpec, g: F64) -> tuple[F64, F64, F64]:
    """By column: K (columns, m, m) and k (columns, m) of the currents -K s + k V into the source-lines, S, and the
    drivers' own conductances, (columns,), S.
    """
    m, columns = g.shape
    cells, row = g.T, np.arange(m)
    if wire.bl_resistance == 0:
        between = np.zeros((columns, m, m))
        between[:, row, row] = cells
        return between, cells.copy(), cells.sum(axis=1)
    segment = 1.0 / wire.bl_resistance
    line = np.zeros((columns, m, m))
    line[:, row, row] = cells + segment * (1.0 + (row < m - 1))
    line[:, row[1:], row[:-1]] = line[:, row[:-1], row[1:]] = -segment
    inverse = np.linalg.inv(line)
    between = -cells[:, :, None] * inverse * cells[:, None, :]
    between[:, row, row] += cells
    own: F64 = np.asarray(segment - segment**2 * inverse[:, 0, 0], dtype=np.float64)
    return between, cells * inverse[:, :, 0] * segment, own


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
