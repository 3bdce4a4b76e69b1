"""Currents of linear cells behind resistive wires, for a few right-hand sides: conjugate gradients by running sums.

The currents I of the cells, conductances g, under bit-line drivers V and sense nodes v solve

    (diag(1/g) + R_w) I = V(column) - v(row),

R_w I the voltage that wires drop on the way to each cell. Along a line whose segment k carries the current of all cells
from k on, that drop is a running sum of running sums, O(1) a cell: no matrix, no factorisation. The system is symmetric
positive definite, its condition (scaled by its diagonal) of the order of R g n^2, 20 for 256 cells of 220 uS at 2 ohm:
conjugate gradients take tens of steps. The bound on the error is that of the residual in the energy norm: the smallest
eigenvalue of the scaled matrix is at least min (1/g)/(1/g + diag R_w).

For all right-hand sides at once see `amcsim.nodal.lines`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amcsim._compile import compiled
from amcsim._types import F64
from amcsim.specs import WireSpec

__all__ = ["CellCurrents", "LinesNotConverged", "cell_currents"]


class LinesNotConverged(RuntimeError):
    """The iteration ended above its tolerance: one sentence with how far it got."""


@dataclass(frozen=True)
class CellCurrents:
    """Currents of all cells."""

    currents: F64
    """(2, m, n, k), A: of the positive and the negative array, from bit-line to source-line."""
    iterations: int
    """Most that a right-hand side took."""
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
    `CellCurrents.error`. Raises LinesNotConverged after so many steps or where no number comes out, ValueError for
    shapes that do not fit.
    """
    _, m, n = g.shape
    k = bit_lines.shape[-1]
    if bit_lines.shape != (2, n, k) or senses.shape != (m, k) or not g.min(initial=np.inf) > 0:
        what = f"bit-lines {bit_lines.shape} and senses {senses.shape}"
        raise ValueError(f"{what} do not fit cells {g.shape}, or a cell does not conduct")
    # one array of 2n columns where one source-line passes both arrays
    whole = np.concatenate([*g], axis=1)[None] if wire.layout == "shared" else g
    drivers = bit_lines.reshape(len(whole), -1, k)
    resistance = 1.0 / whole
    down, along = np.arange(1, m + 1)[:, None], np.arange(1, whole.shape[2] + 1)
    weight = 1.0 / (resistance + wire.bl_resistance * down + wire.sl_resistance * along)
    floor = float((resistance * weight).min())
    solution, work = np.empty((k, *whole.shape)), np.empty((4, *whole.shape[1:]))
    errors, taken = np.zeros((k, len(whole))), 0
    for at in np.ndindex(k, len(whole)):
        vector, array = at
        drive, weights = work[0], weight[array]
        np.subtract(drivers[array, :, vector], senses[:, vector, None], out=drive)
        wires = resistance[array], wire.bl_resistance, wire.sl_resistance
        number, error = _conjugate_gradients(*wires, drive, weights, tolerance * floor, steps, solution[at], work[1:])
        taken, errors[at] = max(taken, number), error / floor
        if not errors[at] <= tolerance:
            how = f"error {errors[at]:.3g} after {number} steps, above {tolerance:g}"
            raise LinesNotConverged(f"wired array {m}x{n}: {how}")
    # (k, arrays, m, columns) as (2, m, n, k)
    by_array = np.moveaxis(solution.reshape(k, m, 2, n), 2, 1) if wire.layout == "shared" else solution
    return CellCurrents(np.moveaxis(by_array, 0, -1), taken, errors.max(axis=1, initial=0.0))


_RENEW = 50
"""Steps after which the residual is computed anew, so that rounding does not pile up in it."""


@compiled
def _conjugate_gradients(
    resistance: F64, bl: float, sl: float, drive: F64, weight: F64, goal: float, steps: int, solution: F64, work: F64
) -> tuple[int, float]:
    """Solve for one array and vector, all (m, n), in `solution`, preconditioned by `weight`; `work` is (3, m, n).

    Gives the steps taken and the norm of the last residual over that of the solution, in the preconditioner's.
    """
    m, n = drive.shape
    residual, direction, image = work
    # sums column by column: no chain of additions waits for another
    lines, left, size = np.empty((5, n)), np.empty(n), np.empty(n)
    size[:] = 0.0
    for i in range(m):
        for j in range(n):
            solution[i, j] = drive[i, j] * weight[i, j]
            size[j] += solution[i, j] * drive[i, j]
            direction[i, j] = 0.0
    product = _residual(resistance, bl, sl, drive, weight, solution, residual, image, lines, left)
    share, norm, taken = 0.0, size.sum(), 0
    while taken < steps and np.isfinite(product) and product > goal * goal * norm:
        for i in range(m):
            for j in range(n):
                direction[i, j] = residual[i, j] * weight[i, j] + share * direction[i, j]
        step = product / _image(resistance, bl, sl, direction, image, lines, left)
        left[:] = 0.0
        size[:] = 0.0
        for i in range(m):
            for j in range(n):
                solution[i, j] += step * direction[i, j]
                size[j] += solution[i, j] ** 2 / weight[i, j]
            for j in range(n):
                residual[i, j] -= step * image[i, j]
                left[j] += residual[i, j] ** 2 * weight[i, j]
        taken += 1
        before, product, norm = product, left.sum(), size.sum()
        if taken % _RENEW == 0:
            product = _residual(resistance, bl, sl, drive, weight, solution, residual, image, lines, left)
        share = product / before
    product = _residual(resistance, bl, sl, drive, weight, solution, residual, image, lines, left)
    return taken, np.sqrt(product / norm) if product > 0.0 else product


@compiled
def _residual(
    resistance: F64,
    bl: float,
    sl: float,
    drive: F64,
    weight: F64,
    solution: F64,
    residual: F64,
    image: F64,
    lines: F64,
    left: F64,
) -> float:
    """Computed anew; its square in the preconditioner's norm."""
    _image(resistance, bl, sl, solution, image, lines, left)
    m, n = drive.shape
    left[:] = 0.0
    for i in range(m):
        for j in range(n):
            residual[i, j] = drive[i, j] - image[i, j]
            left[j] += residual[i, j] ** 2 * weight[i, j]
    return float(left.sum())


@compiled
def _image(resistance: F64, bl: float, sl: float, current: F64, image: F64, lines: F64, power: F64) -> float:
    """What drops under `current`, (m, n), in `image`; and their inner product, the power.

    `lines`, (5, n), and `power`, (n,), are space.
    """
    m, n = current.shape
    image[m - 1] = current[m - 1]
    for i in range(m - 2, -1, -1):
        for j in range(n):
            image[i, j] = image[i + 1, j] + current[i, j]
    lines[4], power[:] = 0.0, 0.0
    for first in range(0, m, 4):  # four source-lines side by side, as a running sum waits for itself
        a, b, c, d = first, min(first + 1, m - 1), min(first + 2, m - 1), min(first + 3, m - 1)
        at_a = at_b = at_c = at_d = 0.0
        for j in range(n - 1, -1, -1):
            at_a += current[a, j]
            at_b += current[b, j]
            at_c += current[c, j]
            at_d += current[d, j]
            lines[0, j], lines[1, j], lines[2, j], lines[3, j] = at_a, at_b, at_c, at_d
        at_a = at_b = at_c = at_d = 0.0
        for j in range(n):
            at_a += lines[0, j]
            at_b += lines[1, j]
            at_c += lines[2, j]
            at_d += lines[3, j]
            lines[0, j], lines[1, j], lines[2, j], lines[3, j] = at_a, at_b, at_c, at_d
        for i in range(first, min(first + 4, m)):
            for j in range(n):
                lines[4, j] += image[i, j]
                image[i, j] = bl * lines[4, j] + sl * lines[i - first, j] + resistance[i, j] * current[i, j]
                power[j] += image[i, j] * current[i, j]
    return float(power.sum())
