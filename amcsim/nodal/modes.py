"""The modes of an INV circuit to first order, for arrays that the certificate of their matrices leaves open.

To first order (s E + M) x = 0 (amcsim.nodal.certificate); with E^-1 M = V diag(mu) V^-1, what is left of a start decays
as V exp(-mu t) V^-1.
"""

from __future__ import annotations

import math

import numpy as np

from amcsim._compile import compiled
from amcsim._types import C128, F64, Bool
from amcsim.nodal.certificate import LINEAR_RANGE, MARGIN, lags
from amcsim.specs import Spec

__all__ = ["calm", "stays_linear"]

_RATIO = 1.1
"""Of times that follow each other, where excursions are looked at one by one."""


def calm(matrix: F64, to_neg: F64, loads: F64, spec: Spec) -> tuple[Bool, C128, C128]:
    """(n,): no pole in the right half-plane, by -eig(E^-1 M) and the same terms of lag; and the modes of E^-1 M: their
    rates, (n, m), 1/s, and vectors, (n, m, m).

    M = `matrix` and `to_neg` are (n, m, m), the loads (n, m).
    """
    m = matrix.shape[-1]
    tau, theta, least = lags(loads.T, spec)
    moment = tau * to_neg
    moment[:, np.arange(m), np.arange(m)] += spec.opamp.feedback_capacitance + loads / (2 * math.pi * spec.opamp.gbw)
    mu, vectors = np.linalg.eig(np.linalg.solve(moment, matrix))
    lag = (MARGIN * (tau + theta / least))[:, None] * np.abs(mu.imag) * np.abs(mu)
    return (mu.real > lag).all(axis=-1), mu.astype(np.complex128), vectors.astype(np.complex128)


def stays_linear(mu: C128, vectors: C128, x: F64, spec: Spec) -> Bool:
    """(k,): whether a calm array's outputs (m, k), V, are reached and settle without coming near any limit.

    With the modes of E^-1 M = V diag(mu) V^-1, x(t) = x - V exp(-mu t) V^-1 x: its excursions, slopes and what is left
    at the end of the read window are bounded by the modes' amounts added up, excursions where that says too much by a
    grid of times and what modes may do between them. Half of what the full verdict allows, in 0.8 of the window, for
    what the first order leaves out. Away from all limits the circuit is linear, and a calm one has nowhere else to go.
    """
    op, good = spec.opamp, np.zeros(x.shape[1], np.bool_)
    clamps = op.model == "behavioral"
    peak, slope = (0.5 * LINEAR_RANGE * limit if clamps else np.inf for limit in (op.swing, op.slew_rate))
    window, tolerance = 0.8 * spec.converters.read_window, 0.5 * spec.converters.settling_tolerance
    amounts: C128 = np.asarray(np.linalg.solve(vectors, x), dtype=np.complex128)
    _settles(mu, vectors, amounts, np.ascontiguousarray(x), (window, tolerance, peak, slope), good)
    return good


@compiled
def _settles(
    mu: C128, vectors: C128, amounts: C128, x: F64, limits: tuple[float, float, float, float], good: Bool
) -> None:
    """`good`, (k,), of rates (m,), vectors (m, m), amounts V^-1 x and x, (m, k); limits: s, the tolerance, V, V/s."""
    (m, k), (window, tolerance, top, steepest) = x.shape, limits
    for z in range(k):
        size = rest = peak = slope = 0.0
        for i in range(m):
            sums = here = late = 0.0
            for j in range(m):
                part = abs(vectors[i, j] * amounts[j, z])
                sums += part
                here += part * abs(mu[j])
                late += part * math.exp(-mu[j].real * window)
            size += x[i, z] * x[i, z]
            rest += late * late
            peak, slope = max(peak, abs(x[i, z]) + sums), max(slope, here)
        if slope < steepest and rest < tolerance * tolerance * size:
            good[z] = peak < top or _stays_below(top, mu, vectors, amounts, x, z)


@compiled
def _stays_below(top: float, mu: C128, vectors: C128, amounts: C128, x: F64, z: int) -> bool:
    """Whether all |x(t)| do: at times in the ratio _RATIO, with what each mode changes at most until the next."""
    m, slowest, now, after = len(x), mu.real.min(), 0.0, 0.01 / np.abs(mu).max()
    size, left, change = np.abs(vectors), np.empty(m, np.complex128), np.empty(m)
    while now * slowest < 20.0:
        for j in range(m):
            left[j] = amounts[j, z] * np.exp(-mu[j] * now)
            fall = math.exp(-mu[j].real * now) - math.exp(-mu[j].real * after)
            change[j] = abs(amounts[j, z]) * abs(mu[j]) / mu[j].real * fall
        for i in range(m):
            value, moved = x[i, z] + 0.0j, 0.0
            for j in range(m):
                value -= vectors[i, j] * left[j]
                moved += size[i, j] * change[j]
            if not max(abs(value) + moved, abs(x[i, z])) < top:
                return False
        now, after = after, (after * _RATIO if after * _RATIO * slowest < 20.0 else np.inf)
    return True
