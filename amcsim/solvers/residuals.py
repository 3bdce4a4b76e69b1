"""Residuals of refinement in machine code: after each pass, which vectors go on; at the end, how each of them ended."""

from __future__ import annotations

import math

import numpy as np

from amcsim._compile import compiled
from amcsim._types import F64, I64, Bool
from amcsim.columns import product
from amcsim.status import Reason, Status

__all__ = ["GIVEN", "OF_CORRECTED", "OF_X", "booked", "passed"]

GIVEN, OF_X, OF_CORRECTED = 0, 1, 2
"""Residuals are known; are those of x; are those of x + d, which becomes x."""

_UNSTABLE, _NOT_CONVERGED, _UNSETTLED = int(Status.UNSTABLE), int(Status.NOT_CONVERGED), int(Status.UNSETTLED)
_NONFINITE, _REFINEMENT = int(Reason.NONFINITE), int(Reason.REFINEMENT)


@compiled
def passed(
    a: F64,
    b: F64,
    x: F64,
    d: F64,
    r: F64,
    norm: F64,
    best: F64,
    limit: F64,
    ceiling: F64,
    live: Bool,
    going: Bool,
    known: int,
) -> int:
    """The end of a pass: r = b - A x and its norm as `known` says, the smallest norm so far, and who goes on.

    a (N, n, n); b, x, d, r (N, n, k); the others (N, k). Vectors that are live go on while their norm is above `limit`
    and not above `ceiling`; of the others r is 0, which asks no array. Returns how many go on.
    """
    count, n, k = x.shape
    total = 0
    for i in range(count):
        if known == OF_CORRECTED:
            for j in range(n):
                for z in range(k):
                    x[i, j, z] += d[i, j, z]
        if known != GIVEN:
            product(a[i], x[i], r[i])
            for z in range(k):
                norm[i, z] = 0.0
            for j in range(n):
                for z in range(k):
                    r[i, j, z] = b[i, j, z] - r[i, j, z]
                    norm[i, z] += r[i, j, z] * r[i, j, z]
            for z in range(k):
                norm[i, z] = math.sqrt(norm[i, z])
        for z in range(k):
            best[i, z] = min(best[i, z], norm[i, z])
            going[i, z] = live[i, z] and norm[i, z] > limit[i, z] and norm[i, z] <= ceiling[i, z]
            total += 1 if going[i, z] else 0
            if not going[i, z]:
                for j in range(n):
                    r[i, j, z] = 0.0
    return total


@compiled
def booked(
    members: I64,
    columns: I64,
    over: Bool,
    passes: int,
    x: F64,
    norm: F64,
    ended: I64,
    limit: F64,
    size: F64,
    into_x: F64,
    into_norm: F64,
    words: I64,
    still: Bool,
) -> None:
    """Write how vectors ended, over (P, c), of matrices `members` (P,) and `columns` (c,): see amcsim.solvers.hp_inv.

    x (P, n, c), norm (P, c), ended (2, P, c): the array's status and reason. All else is of the whole batch: limit,
    size, norms (N, k), answers (N, n, k), words (3, N, k): status, reason, passes, and who is `still` open (N, k).
    """
    for p in range(members.size):
        for c in range(columns.size):
            if not over[p, c]:
                continue
            i, z = members[p], columns[c]
            error, status, reason, useless = norm[p, c], 0, 0, False
            done = error <= limit[i, z]
            if not done:
                useless = not error < size[i, z]
                status = _NOT_CONVERGED if useless else _UNSETTLED
                reason = _REFINEMENT if error < np.inf else _NONFINITE
                if ended[0, p, c] == _UNSTABLE or ended[0, p, c] == _NOT_CONVERGED:
                    status, reason = ended[0, p, c], ended[1, p, c]
            for j in range(x.shape[1]):
                into_x[i, j, z] = np.nan if useless else x[p, j, c]
            into_norm[i, z] = np.nan if useless else error
            words[0, i, z], words[1, i, z] = status, reason
            words[2, i, z] += passes
            still[i, z] = not done
