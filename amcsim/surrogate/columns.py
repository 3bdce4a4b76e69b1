"""A pass through arrays as the surrogate sees them, in machine code: amcsim.columns with the circuit in between."""

from __future__ import annotations

import numpy as np

from amcsim._compile import compiled
from amcsim._types import F64, I64, Bool
from amcsim.columns import (
    F32,
    LOOPS,
    WIDTH,
    copied,
    product,
    put_back,
    ranged_piece,
    returned_piece,
    scaled_back,
    wrote,
)
from amcsim.status import Reason, Status

__all__ = ["bounds", "outputs", "packed", "solved"]

_SATURATED, _UNSTABLE = int(Status.SATURATED), int(Status.UNSTABLE)
_VOLTAGE, _DISTURB, _CURRENT, _POLE = (int(r) for r in (Reason.VOLTAGE, Reason.DISTURB, Reason.CURRENT, Reason.POLE))


@compiled
def _outputs_piece(
    response: F64,
    rest: F64,
    slope: F64,
    start: F64,
    correction: F64,
    single: F32,
    bend: F64,
    volts: F64,
    out: F64,
    room: F64,
    room32: F32,
) -> None:
    """out (2m, w): x and xn at inputs `volts` (m, w); bend: r_even and r_odd of the cells, ohm/V; room (3m, w).

    single: of `correction`, for its product in single precision in room32 (3m, w), or empty.
    """
    m, w = volts.shape
    product(response, volts, out[:m])
    for i in range(m):
        for z in range(w):
            out[i, z] += rest[i]
            out[m + i, z] = slope[i] * out[i, z] + start[i]
    if bend[0] == 0.0 and bend[1] == 0.0:
        return
    if single.size > 0:  # the cells' curvature is a thousandth of an answer
        _bent(single, bend, out, room32)
    else:
        _bent(correction, bend, out, room)
    for i in range(m):
        for z in range(w):
            out[m + i, z] = slope[i] * out[i, z] + start[i]


@compiled
def _bent(correction: F64 | F32, bend: F64, out: F64, room: F64 | F32) -> None:
    """Add to x, the first m rows of out (2m, w), what the cells' curvature takes of it at (x, xn); room (3m, w)."""
    (rows, w), m, even, odd = out.shape, correction.shape[0], bend[0], bend[1]
    bent, added = room[:rows], room[rows : rows + m]
    for i in range(rows):
        for z in range(w):
            bent[i, z] = (abs(out[i, z]) * odd + even * out[i, z]) * out[i, z]
    product(correction, bent, added)
    for i in range(m):
        for z in range(w):
            out[i, z] += added[i, z]


@compiled
def _single(v: F64) -> F32:
    """V (m, n) in single precision, or nothing where that has no room for it."""
    most = 0.0
    for i in range(v.shape[0]):
        for j in range(v.shape[1]):
            most = max(most, abs(v[i, j]))
    return v.astype(np.float32) if most < 1e30 else np.empty((0, 0), np.float32)


@compiled
def _bounds_piece(load: F64, limits: F64, volts: F64, out: F64, status: I64, reason: I64, room: F64) -> None:
    """Status and reason (w,) of x and xn, `out` (2m, w), at inputs `volts` (m, w); load (2m,), S; room (3, w).

    limits: of voltages on cells, of output currents and of outputs.
    """
    w = status.size
    peak, current, into = room[0], room[1], room[2]
    for z in range(w):
        peak[z] = current[z] = into[z] = 0.0
    for i in range(out.shape[0]):
        for z in range(w):
            size = abs(out[i, z])
            peak[z] = size if size > peak[z] or size != size else peak[z]
            drawn = load[i] * size
            current[z] = drawn if drawn > current[z] or drawn != drawn else current[z]
    for i in range(volts.shape[0]):
        for z in range(w):
            size = abs(volts[i, z])
            into[z] = size if size > into[z] or size != size else into[z]
    for z in range(w):
        why = _DISTURB if peak[z] > limits[0] or into[z] > limits[0] else 0
        why = _CURRENT if current[z] > limits[1] else why
        why = _VOLTAGE if peak[z] > limits[2] else why
        reason[z] = why
        status[z] = _SATURATED if why != 0 else 0


@compiled
def outputs(
    response: F64, rest: F64, slope: F64, start: F64, correction: F64, bend: F64, volts: F64, x: F64, xn: F64
) -> None:
    """x and xn, (N, m, k), of arrays (N, ...) at inputs `volts`, (N, m, k): see InvArray."""
    count, m, k = volts.shape
    for first in range(0, k, WIDTH):
        w = min(WIDTH, k - first)
        piece, out, room = np.empty((m, w)), np.empty((2 * m, w)), np.empty((3 * m, w))
        none = np.empty((0, 0), np.float32)
        for i in range(count):
            copied(volts[i], first, piece)
            _outputs_piece(response[i], rest[i], slope[i], start[i], correction[i], none, bend, piece, out, room, none)
            for j in range(m):
                for z in range(w):
                    x[i, j, first + z], xn[i, j, first + z] = out[j, z], out[m + j, z]


@compiled
def bounds(load: F64, limits: F64, volts: F64, x: F64, xn: F64, status: I64, reason: I64) -> None:
    """Status and reason, (N, k), of outputs (N, m, k): see InvArray."""
    count, m, k = volts.shape
    for first in range(0, k, WIDTH):
        w = min(WIDTH, k - first)
        piece, out, room = np.empty((m, w)), np.empty((2 * m, w)), np.empty((3, w))
        for i in range(count):
            copied(volts[i], first, piece)
            copied(x[i], first, out[:m])
            copied(xn[i], first, out[m:])
            own = slice(first, first + w)
            _bounds_piece(load[i], limits, piece, out, status[i, own], reason[i, own], room)


def packed(*parts: F64 | Bool) -> F64:
    """What `solved` asks for of arrays, (N, ...): an argument less is a quarter of a microsecond.

    a, its inverse, response, correction, rest, slope, start, load, unit of a scale of 1, unstable or not, left or not.
    """
    return np.concatenate([part.reshape(parts[-1].size, -1) for part in parts], axis=1, dtype=np.float64)


@compiled
def solved(arrays: F64, limits: F64, b: F64, x: F64, residual: F64, words: I64, hurt: Bool, products: F64) -> int:
    """Solutions of A x = b for `packed` arrays and b (N, m, k): x, residual (N, k), words (3, N, k), hurt (N,).

    words: status, reason, passes; hurt: arrays whose cells were written. limits: those of `ranged_piece`, the ADC's
    (`returned`), of voltages on cells, output currents and outputs, r_even and r_odd, and of what cells bear without
    being written. Arrays that are left are for others to solve. products: A x, (N, m, k), or empty: not asked for.
    Returns how many vectors were not zero.
    """
    count, m, k = b.shape
    solves, bend, most, square, large = 0, limits[12:14], limits[9:12], m * m, m > LOOPS
    width, none = 4 * WIDTH if large else WIDTH, np.empty((0, 0), np.float32)
    for first in range(0, k, width):
        own = slice(first, min(first + width, k))
        w = own.stop - first
        piece, volts, out = np.empty((m, w)), np.empty((m, w)), np.empty((2 * m, w))
        unit, room, found = np.empty((3 + m, w)), np.empty((3 * m + 3, w)), out[:m]
        room32 = np.empty((3 * m if large else 0, w), np.float32)
        for i in range(count):
            row = arrays[i]
            vectors = row[5 * square :]
            factor, unstable, left = vectors[5 * m], vectors[5 * m + 1] > 0.0, vectors[5 * m + 2] > 0.0
            if left:
                continue
            a, inverse = row[:square].reshape(m, m), row[square : 2 * square].reshape(m, m)
            response = row[2 * square : 3 * square].reshape(m, m)
            rest, slope, start, load = vectors[:m], vectors[m : 2 * m], vectors[2 * m : 3 * m], vectors[3 * m : 5 * m]
            correction = row[3 * square : 5 * square].reshape(m, 2 * m)
            status, reason = words[0, i, own], words[1, i, own]
            copied(b[i], first, piece)
            inverse32 = _single(inverse) if large else none
            ranged_piece(inverse, inverse32, factor, piece, limits, volts, unit, room32)
            correction32 = _single(correction) if large else none
            _outputs_piece(response, rest, slope, start, correction, correction32, bend, volts, out, room, room32)
            if unstable:
                for z in range(w):
                    status[z], reason[z] = _UNSTABLE, _POLE
            else:
                _bounds_piece(load, most, volts, out, status, reason, room)
            hurt[i] |= wrote(piece, volts, found, status, limits[14])
            scaled_back(found, unit[0], limits[6], limits[7], limits[8])
            solves += returned_piece(a, piece, found, status, reason, words[2, i, own], residual[i, own], room, True)
            put_back(x[i], first, found)
            if products.size > 0:
                put_back(products[i], first, room[1 : 1 + m])
    return solves
