"""The loops behind amcsim.surrogate.inv.program: arrays side by side along the last axis, a piece of them at a time.

The last piece reaches back to be as many, so that all loops along arrays are the processor's vectors. No array's
numbers depend on those beside it.
"""

from __future__ import annotations

import numpy as np

from amcsim._compile import compiled
from amcsim._types import F64

__all__ = ["answers", "cells", "nodes"]

_WIDTH = 64
"""Arrays of a piece."""


@compiled
def cells(g_pos: F64, g_neg: F64, r0: float, g: F64) -> None:
    """`g`, (2, m, m, n): conductances of cells with devices G+ and G-, (n, m, m), S."""
    n, m, _ = g_pos.shape
    for first in range(0, n, _WIDTH):
        for i in range(m):
            for j in range(m):
                for z in range(first, min(first + _WIDTH, n)):
                    g[0, i, j, z], g[1, i, j, z] = g_pos[z, i, j], g_neg[z, i, j]
                    g[0, i, j, z] /= 1.0 + g[0, i, j, z] * r0
                    g[1, i, j, z] /= 1.0 + g[1, i, j, z] * r0


@compiled
def nodes(
    g: F64,
    lines: F64,
    drawn: tuple[F64, F64, F64],
    amplifier: tuple[float, float, float],
    bend: float,
    matrix: F64,
    known: F64,
    slope: F64,
    start: F64,
    load: F64,
) -> None:
    """M and what is known at b = 0; slope and start of the inverters; loads of both (InvArray's shapes, (n, ...)).

    g (2, m, m, n), lines (m, 3m, n); drawn: offsets, the inverters', and their ratios, (n, m) each; amplifier: leak, Ro
    and the inverters' conductance; bend: 2 r_even, as a summing node away from ground shifts the channels' potential.
    """
    (m, _, n), (leak, ro, conductance), (offset, inverter_offset, ratio) = lines.shape, amplifier, drawn
    width = min(_WIDTH, n)
    loads, steep, rise = np.empty((2, m, width)), np.empty((m, width)), np.empty((m, width))
    loss, away, here, total = np.empty((m, width)), np.empty((m, width)), np.empty((m, width)), np.empty(width)
    for piece in range(0, n, width):
        first = min(piece, n - width)
        for z in range(width):
            for j in range(m):
                away[j, z], rise[j, z], steep[j, z] = (
                    offset[first + z, j],
                    inverter_offset[first + z, j],
                    ratio[first + z, j],
                )
        for j in range(m):
            for z in range(width):
                loads[0, j, z], loads[1, j, z] = conductance, conductance / steep[j, z]
            for i in range(m):
                pos, neg = g[0, i, j, first : first + width], g[1, i, j, first : first + width]
                for z in range(width):
                    loads[0, j, z] += pos[z]
                    loads[1, j, z] += neg[z]
            for z in range(width):
                noise_gain = 1.0 + steep[j, z]
                share = 1.0 / (1.0 + noise_gain * leak * (1.0 + ro * loads[1, j, z]))
                steep[j, z] *= -share
                rise[j, z] *= noise_gain * share
                loss[j, z] = leak * (1.0 + ro * loads[0, j, z])
        for z in range(width):
            for j in range(m):
                slope[first + z, j], start[first + z, j] = steep[j, z], rise[j, z]
                load[first + z, j], load[first + z, m + j] = loads[0, j, z], loads[1, j, z]
        for i in range(m):
            total[:] = 0.0
            for j in range(m):
                to_pos, to_neg = lines[i, j, first : first + width], lines[i, m + j, first : first + width]
                within = lines[i, 2 * m + j, first : first + width]
                pos, neg = g[0, i, j, first : first + width], g[1, i, j, first : first + width]
                for z in range(width):
                    here[j, z] = to_pos[z] + to_neg[z] * steep[j, z] + within[z] * loss[j, z]
                for z in range(width):
                    here[j, z] -= bend * away[i, z] * (pos[z] * pos[z] + neg[z] * neg[z] * steep[j, z])
                for z in range(width):
                    total[z] += within[z] * away[j, z] - to_neg[z] * rise[j, z]
            for z in range(width):
                known[first + z, i] = total[z]
                for j in range(m):
                    matrix[first + z, i, j] = here[j, z]


@compiled
def answers(
    inverse: F64, known: F64, g: F64, unit: float, r0: float, response: F64, rest: F64, correction: F64
) -> None:
    """M^-1 g_unit, M^-1 known, and M^-1 r0 g^3 of inverse, (n, m, m), known, (n, m), and cells g, (2, m, m, n)."""
    n, m, _ = inverse.shape
    width = min(_WIDTH, n)
    here, cube, total = np.empty((m, m, width)), np.empty((m, width)), np.empty((m, width))
    for piece in range(0, n, width):
        first = min(piece, n - width)
        for z in range(width):
            for i in range(m):
                rest[first + z, i] = 0.0
                for k in range(m):
                    one = inverse[first + z, i, k]
                    here[i, k, z], response[first + z, i, k] = one, unit * one
                    rest[first + z, i] += one * known[first + z, k]
        for p in range(2 * m):
            total[:] = 0.0
            for k in range(m):
                cell = g[p // m, k, p % m, first : first + width]
                for z in range(width):
                    cube[k, z] = r0 * cell[z] * cell[z] * cell[z]
                for i in range(m):
                    for z in range(width):
                        total[i, z] += here[i, k, z] * cube[k, z]
            for z in range(width):
                for i in range(m):
                    correction[first + z, i, p] = total[i, z]
