"""How an INV circuit ends, told from its small matrices: no poles of the full state matrix, microseconds an array.

With q = s (1 + s/w2)/wu for the amplifiers (wu, w2: gain-bandwidth product and second pole, rad/s), inverters
-1/(1 + s tau), tau = 2/wu + R C, and S the load of each summing node, KCL there is

    [s C_fb (1 + q) + G+ - G-/(1 + s tau) + q (S + s C_sum)] x = 0.

To first order in s this is (s E + M) x = 0 with M = G+ - G- and E = C_fb + S/wu + tau G-. For a unit x let
x* M x = d + ik and x* G- x = p + ik'. The mode turns at k/C, C = C_fb + S/wu, and its real part is negative where

    d > -k k' tau/C + k^2 theta/C^2,    theta = (C_fb + C_sum)/wu + S/(wu w2),

theta the terms of second order, which take damping from what turns. |k| is at most the largest singular value of M's
skew part, whose square is at most half its Frobenius norm squared, as those values come in pairs.
"""

from __future__ import annotations

import math

import numpy as np

from amcsim._types import F64, Bool
from amcsim.nodal.verdict import SLEWING
from amcsim.specs import Spec

__all__ = ["calm", "certificate_conductance", "certified"]

_MARGIN = 1.5
"""On the terms of lag, for what is left out. At 1 none of 4,000 skewed arrays was unstable, at 0.7 one in 50 was."""


def certificate_conductance(spec: Spec, within: F64) -> F64:
    """Least eigenvalue (S) of the symmetric part of M at which a mode settles in the read window, (n,).

    A mode of conductance lambda decays with time constant (C_fb + 2 S/wu)/lambda, S the largest load of a summing node
    (diagonal of `within`, (n, m, m)); the factor 2 is for the inverters' lag. It must fall to settling_tolerance, after
    a transient growth of at most e^4, within the read window.
    """
    load = np.diagonal(within, axis1=-2, axis2=-1).max(axis=-1)
    capacitance = spec.opamp.feedback_capacitance + 2 * load / (2 * math.pi * spec.opamp.gbw)
    least: F64 = capacitance * (4.0 - math.log(spec.converters.settling_tolerance)) / spec.converters.read_window
    return least


def certified(to_pos: F64, to_neg: F64, within: F64, spec: Spec) -> Bool:
    """(n,): stable, settled in the read window and free of latched states.

    G+, G- and the loads of the summing nodes, wires and access devices included, are (n, m, m) each. The symmetric part
    of M must exceed `certificate_conductance` and the lag's share in the positive-definite sense (Cholesky's pivots).
    """
    m = to_pos.shape[-1]
    tau, theta, least = _lags(within, spec)
    whole = to_pos - to_neg
    turning, inverted = _skew_norm_squared(whole), _skew_norm_squared(to_neg)
    lag = 0.5 * tau / least * (turning + inverted) + theta / least**2 * turning  # |k k'| <= (k^2 + k'^2)/2
    s = 0.5 * (whole + np.swapaxes(whole, -1, -2))
    s[:, np.arange(m), np.arange(m)] -= (certificate_conductance(spec, within) + _MARGIN * lag)[:, None]
    op = spec.opamp
    slews = op.model == "behavioral" and SLEWING * op.swing > spec.converters.read_window * op.slew_rate
    good = np.full(len(s), not slews)
    for k in range(m):
        pivot = s[:, k, k]
        good &= pivot > 0
        column = s[:, k + 1 :, k]
        s[:, k + 1 :, k + 1 :] -= column[:, :, None] * (column / np.where(good, pivot, 1.0)[:, None])[:, None, :]
    return good


def calm(matrix: F64, to_neg: F64, within: F64, spec: Spec) -> Bool:
    """(n,): no pole in the right half-plane, by -eig(E^-1 M) and the same terms of lag; M = `matrix`, (n, m, m)."""
    m = matrix.shape[-1]
    unity = 2 * math.pi * spec.opamp.gbw
    tau, theta, least = _lags(within, spec)
    moment = tau * to_neg
    moment[:, np.arange(m), np.arange(m)] += (
        spec.opamp.feedback_capacitance + np.diagonal(within, axis1=-2, axis2=-1) / unity
    )
    mu = np.linalg.eigvals(np.linalg.solve(moment, matrix))
    lag = (_MARGIN * (tau + theta / least))[:, None] * np.abs(mu.imag) * np.abs(mu)
    return np.asarray((mu.real > lag).all(axis=-1))


def _lags(within: F64, spec: Spec) -> tuple[float, F64, F64]:
    """(tau in s, theta in F s (n,), smallest C in F (n,))."""
    op, load = spec.opamp, np.diagonal(within, axis1=-2, axis2=-1)
    unity = 2 * math.pi * op.gbw
    second = 2 * math.pi * op.second_pole if op.second_pole else math.inf
    tau = 2.0 / unity + spec.inverter.resistance * spec.inverter.feedback_capacitance
    theta = (op.feedback_capacitance + spec.wire.summing_capacitance + load.max(axis=-1) / second) / unity
    return tau, theta, op.feedback_capacitance + load.min(axis=-1) / unity


def _skew_norm_squared(g: F64) -> F64:
    """Bound on the square of the largest singular value of the skew part of each (n, m, m)."""
    skew = 0.5 * (g - np.swapaxes(g, -1, -2))
    bound: F64 = 0.5 * np.einsum("nij,nij->n", skew, skew)
    return bound
