"""What an analog read does to vectors, in machine code: ranging and DAC before it, ADC, scaling and verdict after.

Vectors are columns, (m, k), handled in pieces of at most WIDTH that stay in the processor's first caches. The innermost
loop runs along the columns, and each column's sums go in one order, so that no answer depends on those beside it.
Slices and expressions of whole arrays are avoided: each takes seconds to compile.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from amcsim._compile import compiled
from amcsim._types import F64, I64
from amcsim.status import Reason, Status

F32 = npt.NDArray[np.float32]

__all__ = [
    "F32",
    "LOOPS",
    "WIDTH",
    "copied",
    "flattened",
    "product",
    "put_back",
    "ranged",
    "ranged_piece",
    "returned",
    "returned_piece",
    "scaled_back",
    "wrote",
]

WIDTH = 128
"""Columns of a piece."""
LOOPS = 16
"""Side up to which plain loops beat BLAS."""
_FEW = 4
"""Columns below which each is multiplied by itself."""
_UNSTABLE, _NOT_CONVERGED, _NONFINITE = int(Status.UNSTABLE), int(Status.NOT_CONVERGED), int(Reason.NONFINITE)


def flattened(v: F64) -> F64:
    """V, (*batch, n, k), as contiguous (N, n, k)."""
    if v.ndim == 2:
        return np.ascontiguousarray(v, dtype=np.float64)[None]
    return np.ascontiguousarray(v, dtype=np.float64).reshape(math.prod(v.shape[:-2]), *v.shape[-2:])


@compiled
def product(a: F64 | F32, x: F64 | F32, out: F64 | F32) -> None:
    """out = a x: (m, n), (n, w), (m, w), all contiguous."""
    (m, n), w = a.shape, x.shape[1]
    if n > LOOPS:
        if w == 1:
            np.dot(a, x.reshape(n), out.reshape(m))
        else:
            np.dot(a, x, out)
    elif w < _FEW:
        for i in range(m):
            for z in range(w):
                total = a[i, 0] * x[0, z]
                for j in range(1, n):
                    total += a[i, j] * x[j, z]
                out[i, z] = total
    else:
        for i in range(m):
            for z in range(w):
                out[i, z] = a[i, 0] * x[0, z]
            for j in range(1, n):
                for z in range(w):
                    out[i, z] += a[i, j] * x[j, z]


@compiled
def copied(source: F64, first: int, out: F64) -> None:
    """out = source[:, first:], as many columns as out (n, w) has."""
    for j in range(out.shape[0]):
        row, to = source[j, first : first + out.shape[1]], out[j]  # an index that might be negative makes no vectors
        for z in range(to.size):
            to[z] = row[z]


@compiled
def put_back(out: F64, first: int, piece: F64) -> None:
    """The way back: out[:, first:], as many columns as `piece` (n, w) has, = piece."""
    for j in range(piece.shape[0]):
        row, source = out[j, first : first + piece.shape[1]], piece[j]
        for z in range(source.size):
            row[z] = source[z]


@compiled
def _peaks(v: F64 | F32, top: F64) -> None:
    """top = max |v| of each column: (m, w), (w,). NaN where there is one."""
    for z in range(v.shape[1]):
        top[z] = 0.0
    for j in range(v.shape[0]):
        for z in range(v.shape[1]):
            size = abs(v[j, z])
            top[z] = size if size > top[z] or size != size else top[z]


@compiled
def _converted(v: F64, step: float, low: float, high: float) -> None:
    """V in steps of a mid-tread converter, in its place: (m, w). Step 0 is ideal."""
    if step > 0.0:
        for j in range(v.shape[0]):
            for z in range(v.shape[1]):
                word = np.rint(v[j, z] / step)
                word = low if word < low else word
                v[j, z] = (high if word > high else word) * step


@compiled
def ranged_piece(
    response: F64, single: F32, factor: float, b: F64, limits: F64, volts: F64, room: F64, room32: F32
) -> None:
    """The largest power of two that keeps inputs and predicted outputs in range, and the inputs as the DAC gives them.

    response (m, n) gives outputs from b (n, w); volts (n, w) and room[0], volts at the outputs for one unit, are
    filled; room (3 + m, w). limits: of inputs and outputs, V; whether one gain is set for all b as large (1) or for
    each b (0); the DAC's step, lowest and highest word. factor: unit of a scale of 1.
    NaN where no such power of two exists: below 1e-301, or where the prediction overflows.
    single: of `response`, for predictions in single precision in room32 (n + m, w), or empty: HEADROOM is wider.
    """
    (n, w), m = b.shape, response.shape[0]
    scale, need, top, predicted = room[0], room[1], room[2], room[3 : 3 + response.shape[0]]
    _peaks(b, need)
    if limits[2] > 0.0:
        norm = 0.0
        for i in range(response.shape[0]):
            total = 0.0
            for j in range(response.shape[1]):
                total += abs(response[i, j])
            norm = max(norm, total)
        for z in range(w):
            top[z] = norm * need[z]
    elif single.size > 0:
        scaled, found = room32[:n], room32[n : n + m]
        for z in range(w):
            scale[z] = 1.0 / need[z] if need[z] > 0.0 else 0.0
        for j in range(n):
            for z in range(w):
                scaled[j, z] = b[j, z] * scale[z]
        product(single, scaled, found)
        _peaks(found, top)
        for z in range(w):
            top[z] *= need[z]
    else:
        product(response, b, predicted)
        _peaks(predicted, top)
    words, powers, rare = need.view(np.int64), scale.view(np.int64), 0
    for z in range(w):
        into, out = need[z] / limits[0], top[z] / limits[1]
        need[z] = out if out > into or out != out else into
    for z in range(w):
        exponent = (words[z] >> 52) - 1022  # of need = f 2^exponent, f from 0.5 to 1
        powers[z] = (1023 - exponent) << 52
        rare += 1 if exponent < -1000 or exponent > 1000 else 0
    if rare > 0:
        for z in range(w):
            if need[z] == 0.0:
                scale[z] = 1.0
            else:
                exponent = math.frexp(need[z])[1] if need[z] < np.inf else -1001
                # scaled by less than it needs, a column would sink below the amplifiers' offsets and come back as noise
                scale[z] = math.ldexp(1.0, -exponent) if exponent >= -1000 else np.nan
    for j in range(b.shape[0]):
        for z in range(w):
            volts[j, z] = b[j, z] * scale[z]
    _converted(volts, limits[3], limits[4], limits[5])
    for z in range(w):
        scale[z] *= factor


@compiled
def ranged(response: F64, factor: F64, b: F64, limits: F64, volts: F64, unit: F64) -> None:
    """`ranged_piece` of matrices and all their vectors: (N, m, n), (N,), (N, n, k), (6,), (N, n, k), (N, k)."""
    count, n, k = b.shape
    none = np.empty((0, 0), np.float32)
    for first in range(0, k, WIDTH):
        w = min(WIDTH, k - first)
        piece, scaled, room = np.empty((n, w)), np.empty((n, w)), np.empty((3 + response.shape[1], w))
        for i in range(count):
            copied(b[i], first, piece)
            ranged_piece(response[i], none, factor[i], piece, limits, scaled, room, none)
            put_back(volts[i], first, scaled)
            for z in range(w):
                unit[i, first + z] = room[0, z]


@compiled
def returned_piece(
    a: F64, b: F64, x: F64, status: I64, reason: I64, passes: I64, residual: F64, room: F64, zeros: bool
) -> int:
    """What is said of answers x to A x = b, (m, m), (m, w), (m, w): passes, residual, NaN where there is no answer.

    status, reason, passes and residual are (w,), room (1 + m, w): A x is left in it from its second row on, for answers
    that stay as they are. `zeros`: a zero vector's answer is 0, whatever x was. An answer with NaN or infinite entries
    becomes not_converged, unless its status already says that there is none. Returns how many vectors were not zero.
    """
    m, w = b.shape
    size, work = room[0], room[1 : 1 + m]
    product(a, x, work)
    for z in range(w):
        size[z] = residual[z] = 0.0
        passes[z] = 1
    for i in range(m):
        for z in range(w):
            left = b[i, z] - work[i, z]
            residual[z] += left * left
            size[z] += b[i, z] * b[i, z]
    rare = 0
    for z in range(w):
        residual[z] = math.sqrt(residual[z]) / math.sqrt(size[z])
        rare += 0 if residual[z] < np.inf and status[z] == 0 else 1
    if rare == 0:
        return int(w)
    count = 0
    for z in range(w):
        if residual[z] < np.inf and status[z] == 0:
            count += 1
            continue
        top, asked = 0.0, False
        for i in range(m):
            asked |= b[i, z] != 0.0
            top = max(top, abs(b[i, z]))
        passes[z] = 1 if asked else 0
        count += 1 if asked else 0
        if zeros and not asked:
            residual[z], status[z], reason[z] = 0.0, 0, 0
            for i in range(m):
                x[i, z] = work[i, z] = 0.0
            continue
        for attempt in range(2):  # squares of 1e200 are infinite: once more with b near 1
            if not residual[z] < np.inf:
                unit = math.ldexp(1.0, -math.frexp(top)[1]) if attempt == 1 and top < np.inf else 1.0
                residual[z] = _residual(a, x, b, z, unit)
        none = status[z] == _UNSTABLE or status[z] == _NOT_CONVERGED
        if none or not residual[z] < np.inf:
            residual[z] = np.nan
            for i in range(m):
                x[i, z] = np.nan
            if not none:
                status[z], reason[z] = _NOT_CONVERGED, _NONFINITE
    return count


@compiled
def _residual(a: F64, x: F64, b: F64, z: int, unit: float) -> float:
    """||b - A x|| / ||b|| of column z in those units; ||A x|| where b is 0."""
    left = size = 0.0
    for i in range(b.shape[0]):
        rest = b[i, z] * unit
        size += rest * rest
        total = 0.0
        for j in range(b.shape[0]):
            total += a[i, j] * (x[j, z] * unit)
        left += (rest - total) ** 2
    return math.sqrt(left) / (math.sqrt(size) if size != 0.0 else 1.0)


@compiled
def returned(a: F64, b: F64, x: F64, words: I64, residual: F64, products: F64) -> int:
    """`returned_piece` of matrices and all their vectors: a (N, n, n), b and x (N, n, k), residual (N, k).

    words (3, N, k): status, reason, passes; products: A x, (N, n, k). Zero vectors' answers stay as they are.
    """
    count, n, k = b.shape
    solves = 0
    for first in range(0, k, WIDTH):
        own = slice(first, min(first + WIDTH, k))
        w = own.stop - first
        piece, found, room = np.empty((n, w)), np.empty((n, w)), np.empty((1 + n, w))
        for i in range(count):
            copied(b[i], first, piece)
            copied(x[i], first, found)
            status, reason, passes = words[0, i, own], words[1, i, own], words[2, i, own]
            solves += returned_piece(a[i], piece, found, status, reason, passes, residual[i, own], room, False)
            for j in range(n):
                for z in range(w):
                    x[i, j, first + z], products[i, j, first + z] = found[j, z], room[1 + j, z]
    return solves


@compiled
def scaled_back(x: F64, unit: F64, step: float, low: float, high: float) -> None:
    """Outputs x, (m, w), V, as the ADC reads them, over unit (w,), in their place."""
    _converted(x, step, low, high)
    for j in range(x.shape[0]):
        for z in range(x.shape[1]):
            x[j, z] /= unit[z]


@compiled
def wrote(b: F64, volts: F64, outputs: F64, status: I64, limit: float) -> bool:
    """Whether reads wrote their array's cells: beyond `limit`, V, or by ringing.

    b and volts (n, w), outputs (m, w), status (w,). Zero vectors are not read.
    """
    for z in range(status.size):
        if status[z] != 0:
            top, asked = 0.0, False
            for j in range(volts.shape[0]):
                asked |= b[j, z] != 0.0
                top = max(top, abs(volts[j, z]))
            for i in range(outputs.shape[0]):
                top = max(top, abs(outputs[i, z]))
            if asked and (status[z] == _UNSTABLE or top > limit):
                return True
    return False
