"""One vector for each of many arrays: the pass of amcsim.surrogate.columns with arrays, not columns, side by side."""

from __future__ import annotations

import math

import numpy as np

from amcsim._compile import compiled
from amcsim._types import F64, I64, Bool
from amcsim.surrogate.columns import solved

__all__ = ["solved_once"]

_WIDTH = 32
"""Arrays of a piece: a constant, as loops of a length that is known take a third of the time to compile."""


def solved_once(arrays: F64, limits: F64, b: F64, x: F64, residual: F64, words: I64, hurt: Bool, products: F64) -> int:
    """`solved` of one vector an array, b (N, m, 1), to the same bits; it is asked itself where an answer is not all."""
    plain = np.zeros(len(b), np.bool_)
    if limits[2] == 0.0:
        _plainly_solved(arrays, limits, b[..., 0], x[..., 0], residual[:, 0], plain)
        words[2, plain] = 1
    others = np.flatnonzero(~plain)
    some = x[others], residual[others], words[:, others], hurt[others]
    solves = solved(arrays[others], limits, b[others], *some, products)
    x[others], residual[others], words[:, others], hurt[others] = some
    return solves + len(b) - others.size


@compiled
def _plainly_solved(arrays: F64, limits: F64, b: F64, x: F64, residual: F64, plain: Bool) -> None:
    """Answers x, (N, m), to A x = b, (N, m), residuals, (N,), and where nothing is out of range, (N,)."""
    count, m = b.shape
    own, square, even, odd = 0, m * m, limits[12], limits[13]
    rest, load, flags = 5 * square, 5 * square + 3 * m, 5 * square + 5 * m
    t, asked = np.empty((arrays.shape[1], _WIDTH)), np.empty((m, _WIDTH))  # arrays along the last axis
    volts, out, room = np.empty((m, _WIDTH)), np.empty((2 * m, _WIDTH)), np.empty((2 * m, _WIDTH))
    need, scale, top, good = np.empty(_WIDTH), np.empty(_WIDTH), np.empty(_WIDTH), np.empty(_WIDTH)
    words, powers = need.view(np.int64), scale.view(np.int64)
    for first in range(0, count, _WIDTH):
        for z in range(_WIDTH):
            q = min(first + z, count - 1)
            for c in range(arrays.shape[1]):
                t[c, z] = arrays[q, c]
            for i in range(m):
                asked[i, z] = b[q, i]
            need[z] = top[z] = 0.0
        # the largest power of two that keeps inputs and predicted outputs in range
        _product(t, square, m, m, asked, room)
        for i in range(m):
            for z in range(_WIDTH):
                need[z] = max(need[z], abs(asked[i, z]) / limits[0], abs(room[i, z]) / limits[1])
        for z in range(_WIDTH):
            exponent = (words[z] >> 52) - 1022
            powers[z] = (1023 - exponent) << 52
            good[z] = 1.0 if -1000 <= exponent <= 1000 and t[flags + 1, z] + t[flags + 2, z] == 0.0 else 0.0
        for i in range(m):
            for z in range(_WIDTH):
                volts[i, z] = asked[i, z] * scale[z]
        _converted(volts, limits[3], limits[4], limits[5])
        # the circuit, and whether it stays within all bounds
        _product(t, 2 * square, m, m, volts, out)
        for i in range(m):
            for z in range(_WIDTH):
                good[z] = good[z] if abs(volts[i, z]) <= limits[9] else 0.0
                out[i, z] += t[rest + i, z]
                out[m + i, z] = t[rest + m + i, z] * out[i, z] + t[rest + 2 * m + i, z]
        for i in range(2 * m):
            for z in range(_WIDTH):
                room[i, z] = (abs(out[i, z]) * odd + even * out[i, z]) * out[i, z]
        _product(t, 3 * square, m, 2 * m, room, volts)
        for i in range(m):
            for z in range(_WIDTH):
                out[i, z] += volts[i, z]
                out[m + i, z] = t[rest + m + i, z] * out[i, z] + t[rest + 2 * m + i, z]
        for i in range(2 * m):
            for z in range(_WIDTH):
                size = abs(out[i, z])
                within = size <= limits[9] and size <= limits[11] and t[load + i, z] * size <= limits[10]
                good[z] = good[z] if within else 0.0
        _converted(out, limits[6], limits[7], limits[8])
        for z in range(_WIDTH):
            scale[z] *= t[flags, z]
            need[z] = top[z] = 0.0
        for i in range(m):
            for z in range(_WIDTH):
                out[i, z] /= scale[z]
        _product(t, own, m, m, out, room)
        for i in range(m):
            for z in range(_WIDTH):
                left = asked[i, z] - room[i, z]
                need[z] += left * left
                top[z] += asked[i, z] * asked[i, z]
        for z in range(min(_WIDTH, count - first)):
            residual[first + z] = math.sqrt(need[z]) / math.sqrt(top[z])
            plain[first + z] = good[z] > 0.0 and residual[first + z] < np.inf
            for i in range(m):
                x[first + z, i] = out[i, z]


@compiled
def _product(t: F64, row: int, m: int, n: int, v: F64, out: F64) -> None:
    """The first m rows of out: M v, M of m rows and n columns lying in rows of t from `row` on."""
    for i in range(m):
        for z in range(_WIDTH):
            out[i, z] = 0.0
        for j in range(n):
            for z in range(_WIDTH):
                out[i, z] += t[row + i * n + j, z] * v[j, z]


@compiled
def _converted(v: F64, step: float, low: float, high: float) -> None:
    """V in steps of a mid-tread converter, in its place; step 0 is ideal."""
    if step > 0.0:
        for j in range(v.shape[0]):
            for z in range(_WIDTH):
                v[j, z] = min(max(np.rint(v[j, z] / step), low), high) * step
