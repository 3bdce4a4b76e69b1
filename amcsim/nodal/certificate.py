"""How an INV circuit ends, told from its small matrices: no poles of the full state matrix, microseconds an array.

With q = s (1 + s/w2)/wu for the amplifiers (wu, w2: gain-bandwidth product and second pole, rad/s), inverters
-1/(1 + s tau), tau = 2/wu + R C, and S the load of each summing node, KCL there is

    [s C_fb (1 + q) + G+ - G-/(1 + s tau) + q (S + s C_sum)] x = 0.

To first order in s this is (s E + M) x = 0 with M = G+ - G- and E = C_fb + S/wu + tau G-. For a unit x let
x* M x = d + ik and x* G- x = p + ik'. The mode turns at k/C, C = C_fb + S/wu, and its real part is negative where

    d > -k k' tau/C + k^2 theta/C^2,    theta = (C_fb + C_sum)/wu + S/(wu w2),

theta the terms of second order, which take damping from what turns. With K the skew part of M, k^2 = |x* K x|^2 is at
most x* K* K x, so that the bound holds for all x where a matrix is positive definite.

All of this holds as well in other units for each unknown, x = T y with a diagonal T > 0, M and G- becoming T^-1 M T and
T^-1 G- T: amplifiers that saturate do so one by one, in any units. An array that is not certified as it stands may be
in units that make M more nearly symmetric.
"""

from __future__ import annotations

import math

import numpy as np

from amcsim._compile import compiled
from amcsim._types import F64, Bool
from amcsim.small_matrices import batch_last
from amcsim.specs import Spec

__all__ = [
    "LINEAR_RANGE",
    "MARGIN",
    "SLEWING",
    "certificate_conductance",
    "certified",
    "certified_lines",
    "certified_scaled",
    "lags",
    "lags_suffice",
    "slews",
]

LINEAR_RANGE = 0.25
"""Fraction of the amplifier's linear input range, swing and output current within which its limits bend it by 2 %."""
SLEWING = 10.0
"""Times |x| / slew rate that a slewing array may take: where that is longer than the read window, it is run."""

MARGIN = 1.5
"""On the terms of lag, for what is left out. At 1 none of 4,000 skewed arrays was unstable, at 0.7 one in 50 was."""
_SIDE_BY_SIDE = 32
"""Arrays handled together."""
_ROUNDS, _STEP = 4, 0.7
"""Steps towards the best units, and their length: part of what would reach the goal if the slope stayed."""

Technology = tuple[float, float, float, float, float, float, float]


def certificate_conductance(spec: Spec, within: F64) -> F64:
    """Least eigenvalue (S) of the symmetric part of M at which a mode settles in the read window, (n,).

    A mode of conductance lambda decays with time constant (C_fb + 2 S/wu)/lambda, S the largest load of a summing node
    (diagonal of `within`, (n, m, m)); the factor 2 is for the inverters' lag. It must fall to settling_tolerance, after
    a transient growth of at most e^4 (and what an array's own units add), within the read window.
    """
    capacitance = spec.opamp.feedback_capacitance + 2 * _loads(within).max(axis=0) / (2 * math.pi * spec.opamp.gbw)
    least: F64 = capacitance * _fall(spec) / spec.converters.read_window
    return least


def _fall(spec: Spec) -> float:
    """Time constants that a mode which has grown by e^4 needs to settle."""
    return 4.0 - math.log(spec.converters.settling_tolerance)


def certified(to_pos: F64, to_neg: F64, within: F64, spec: Spec) -> Bool:
    """(n,): stable, settled in the read window and free of latched states.

    G+, G- and the loads of the summing nodes, wires and access devices included, are (n, m, m) each. What is left of
    the symmetric part of M must be positive definite (Cholesky's pivots).
    """
    return certified_lines(batch_last(np.concatenate([to_pos, to_neg], axis=-1)), _loads(within), spec)


def certified_lines(lines: F64, loads: F64, spec: Spec) -> Bool:
    """The same of arrays side by side along the last axis: `lines`, (m, 2m or more, n): G+, then G-; `loads`, (m, n).

    At first with half the squared Frobenius norm of K, as its singular values come in pairs, in the place of K* K.
    """
    m, good = len(lines), np.zeros(lines.shape[2], np.bool_)
    if slews(spec) or not good.size:
        return good
    loads, technology = np.ascontiguousarray(loads), _technology(spec)
    _coarsely_certified(lines, loads, technology, _SIDE_BY_SIDE, good)
    left = np.flatnonzero(~good)
    if left.size:
        some = np.ascontiguousarray(np.moveaxis(lines[:, : 2 * m, left], -1, 0))
        good[left] = _positive(_damping(some, loads[:, left].T.copy(), technology, np.zeros((left.size, m))))
    return good


@compiled
def _coarsely_certified(lines: F64, loads: F64, technology: Technology, width: int, good: Bool) -> None:
    """`good`, (n,), `width` arrays at a time; the last of them reach back to be as many."""
    (m, _, count), (feedback, summing, unity, second, tau, fall, window) = lines.shape, technology
    width = min(width, count)
    s, needed = np.empty((m, m, width)), np.empty(width)
    low, high, whole_skew, skew = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    for piece in range(0, count, width):
        first = min(piece, count - width)
        low[:], high[:], whole_skew[:], skew[:] = np.inf, 0.0, 0.0, 0.0
        for i in range(m):
            load = loads[i, first : first + width]
            for z in range(width):
                low[z], high[z] = min(low[z], load[z]), max(high[z], load[z])
            for j in range(i, m):
                pos, neg = lines[i, j, first : first + width], lines[i, m + j, first : first + width]
                pos_t, neg_t = lines[j, i, first : first + width], lines[j, m + i, first : first + width]
                for z in range(width):
                    turns, whole, mirrored = neg[z] - neg_t[z], pos[z] - neg[z], pos_t[z] - neg_t[z]
                    skew[z] += turns * turns
                    whole_skew[z] += (whole - mirrored) * (whole - mirrored)
                    s[i, j, z] = 0.5 * (whole + mirrored)
        for z in range(width):
            least = feedback + low[z] / unity
            half, of_both = 0.5 * tau / least, (summing + high[z] * second) / unity / (least * least)
            needed[z] = (feedback + 2.0 * high[z] / unity) * fall / window
            needed[z] += 0.25 * MARGIN * ((half + of_both) * whole_skew[z] + half * skew[z])
            low[z] = 1.0
        for k in range(m):
            for z in range(width):
                s[k, k, z] -= needed[z]
                low[z] = low[z] if s[k, k, z] > 0.0 else 0.0
            for i in range(k + 1, m):
                for z in range(width):
                    high[z] = s[k, i, z] / s[k, k, z]
                for j in range(i, m):
                    for z in range(width):
                        s[i, j, z] -= high[z] * s[k, j, z]
        for z in range(width):
            good[first + z] = low[z] > 0.0


@compiled
def _damping(lines: F64, loads: F64, technology: Technology, scale: F64) -> F64:
    """Symmetric part of M less what settling and the lag take of it, (n, m, m), in units exp(scale), (n, m).

    lines: G+ and G- side by side, (n, m, 2m); loads, (n, m).
    """
    (n, m, _), (feedback, summing, unity, second, tau, fall, window) = lines.shape, technology
    found, skew, units = np.empty((n, m, m)), np.empty((2, m, m)), np.empty(m)
    for q in range(n):
        low, high = loads[q].min(), loads[q].max()
        least = feedback + low / unity
        half, of_both = 0.5 * tau / least, (summing + high * second) / unity / (least * least)
        weights = MARGIN * (half + of_both), MARGIN * half  # |k k'| <= (k^2 + k'^2)/2
        fall_here = fall + (scale[q].max() - scale[q].min())
        for i in range(m):
            units[i] = math.exp(scale[q, i])
        for i in range(m):
            for j in range(m):
                there, back = units[j] / units[i], units[i] / units[j]
                neg, neg_t = lines[q, i, m + j] * there, lines[q, j, m + i] * back
                whole, mirrored = lines[q, i, j] * there - neg, lines[q, j, i] * back - neg_t
                skew[0, i, j], skew[1, i, j] = 0.5 * (whole - mirrored), 0.5 * (neg - neg_t)
                found[q, i, j] = 0.5 * (whole + mirrored)
            found[q, i, i] -= (feedback + 2.0 * high / unity) * fall_here / window
        for part in range(2):
            for k in range(m):
                for i in range(m):
                    weight = weights[part] * skew[part, k, i]
                    for j in range(m):
                        found[q, i, j] -= weight * skew[part, k, j]
    return found


@compiled
def _positive(s: F64) -> Bool:
    """(n,): positive definite, by the pivots of Cholesky's elimination, which overwrites s, (n, m, m)."""
    n, m, _ = s.shape
    good = np.ones(n, np.bool_)
    for q in range(n):
        for k in range(m):
            if not s[q, k, k] > 0.0:
                good[q] = False
                break
            for i in range(k + 1, m):
                factor = s[q, k, i] / s[q, k, k]
                for j in range(i, m):
                    s[q, i, j] -= factor * s[q, k, j]
    return good


def certified_scaled(lines: F64, loads: F64, spec: Spec) -> Bool:
    """(n,): the same in units T of each array's own, found in a few steps up the least eigenvalue, of eigenvector w.

    `lines`, (n, m, 2m): G+ and then G-; `loads`, (n, m).
    """
    n, m, _ = lines.shape
    scale, good = np.zeros((n, m)), np.zeros(n, np.bool_)
    goal = np.linalg.eigvals(lines[..., :m] - lines[..., m:]).real.min(axis=-1)  # no units do better
    left, technology = np.flatnonzero((goal > 0) & (not slews(spec))), _technology(spec)
    for _ in range(_ROUNDS):
        if not left.size:
            break
        some = lines[left], loads[left], scale[left]
        values, vectors = np.linalg.eigh(_damping(some[0], some[1], technology, some[2]))
        scale[left] = _climbed(some[0], values, vectors, goal[left], some[2])
        good[left] = values[:, 0] > 0
        left = left[values[:, 0] <= 0]
    return good


@compiled
def _climbed(lines: F64, values: F64, vectors: F64, goal: F64, scale: F64) -> F64:
    """The next units: the least eigenvalue, of w, changes with ln T_j by w_j (M^T w - M w)_j, the lag's share aside."""
    n, m = scale.shape
    slope = np.empty(m)
    for q in range(n):
        size = 0.0
        for j in range(m):
            slope[j] = 0.0
            for i in range(m):
                to_j = (lines[q, i, j] - lines[q, i, m + j]) * math.exp(scale[q, j] - scale[q, i])
                of_j = (lines[q, j, i] - lines[q, j, m + i]) * math.exp(scale[q, i] - scale[q, j])
                slope[j] += vectors[q, j, 0] * (to_j - of_j) * vectors[q, i, 0]
            size += slope[j] * slope[j]
        step = _STEP * abs(goal[q] - values[q, 0]) / max(size, 1e-12 * goal[q] * goal[q])
        for j in range(m):
            scale[q, j] = min(max(scale[q, j] + step * slope[j], -3.0), 3.0)
    return scale


def lags_suffice(
    to_pos: F64, to_neg: F64, within: F64, spec: Spec, load: tuple[F64, F64], stray: tuple[float, float]
) -> bool:
    """Whether the terms of lag that `certified` reckons with are all that this one array's circuit can have.

    G+ and G- (inverter ratios inside) and the summing nodes' loads are (m, m). `load`: conductances (S) at the outputs
    of amplifiers and inverters, (m,) each; `stray`: capacitances (F) of a source-line's and a bit-line's inner nodes.

    With h = (1 + Ro (L + s C_L))/a(s), a(s) the amplifier's gain, L and C_L its load, and H the inverter's whole
    transfer, a unit x of a pole s obeys f(s) + d + ik + (1 + H)(p + ik') = 0, f = s C_fb (1 + h) + h (S + s C_sum). On
    the imaginary axis s and (p, k', S) fix d and k. A certified array has d > alpha k^2 + beta k'^2 at every x; where
    that contradicts them for all s and all (d, k, p, k', S) that the matrices can have, no pole crosses the axis, down
    to an array of no conductance on loads as these, which is stable.
    """
    op, wire = spec.opamp, spec.wire
    unity, ideal = 2 * math.pi * op.gbw, op.model == "ideal"
    leak, ro = (0.0, 0.0) if ideal else (1.0 / op.gain, op.output_resistance)
    second = 0.0 if ideal or op.second_pole is None else 1.0 / (2 * math.pi * op.second_pole)
    s = 1j * unity * np.geomspace(1e-6, 1e3, 181)[:, None, None, None, None]
    amplifier = (leak + s / unity) * (1.0 + s * second)
    # axes: s, p, k', S, loads
    of_whole, of_neg, of_sums = (np.linalg.eigvalsh(0.5 * (g + g.T)) for g in (to_pos - to_neg, to_neg, within))
    skew, negative_skew = (float(np.linalg.norm(g - g.T)) / math.sqrt(8.0) for g in (to_pos - to_neg, to_neg))
    p = np.linspace(min(of_neg[0], 0.0), max(of_neg[-1], 0.0), 9)[:, None, None, None]
    turn = np.linspace(-1.0, 1.0, 9)[:, None, None] * negative_skew
    sums = np.array([of_sums[0], of_sums[-1]])[:, None]
    of_x, of_xn = (np.array([each.min(), each.max()]) for each in load)
    h = amplifier * (1.0 + ro * (of_x + s * (stray[1] + op.feedback_capacitance)))
    at_inverter = amplifier * (1.0 + ro * (of_xn + s * (stray[1] + spec.inverter.feedback_capacitance)))
    r, across = spec.inverter.resistance, spec.inverter.feedback_capacitance
    lag = s * r * across + at_inverter * (2.0 + s * r * (across + wire.inverter_capacitance))
    own = s * op.feedback_capacitance * (1.0 + h) + h * (sums + s * (wire.summing_capacitance + stray[0]))
    rest = own + (lag / (1.0 + lag)) * (p + 1j * turn)
    tau, theta, least = (float(np.squeeze(each)) for each in lags(_loads(within[None]), spec))
    half, of_both = 0.5 * tau / least, theta / least**2
    allowed = MARGIN * ((half + of_both) * rest.imag**2 + half * turn**2)
    known = (np.abs(rest.imag) <= skew) & (-rest.real <= of_whole[-1])
    return not bool((known & (-rest.real > allowed)).any())


def slews(spec: Spec) -> bool:
    """Whether amplifiers may slew for so long that the read window sees it."""
    op = spec.opamp
    return op.model == "behavioral" and SLEWING * op.swing > spec.converters.read_window * op.slew_rate


def _technology(spec: Spec) -> Technology:
    """C_fb and C_fb + C_sum (F), wu (rad/s), 1/w2 and tau (s), time constants that settling takes, read window (s)."""
    op, (tau, second) = spec.opamp, _delays(spec)
    summing = op.feedback_capacitance + spec.wire.summing_capacitance
    return op.feedback_capacitance, summing, 2 * math.pi * op.gbw, second, tau, _fall(spec), spec.converters.read_window


def lags(loads: F64, spec: Spec) -> tuple[float, F64, F64]:
    """(tau in s, theta in F s (n,), smallest C in F (n,)) of loads, (m, n)."""
    op, (tau, second) = spec.opamp, _delays(spec)
    unity, low, high = 2 * math.pi * op.gbw, loads.min(axis=0), loads.max(axis=0)
    theta = (op.feedback_capacitance + spec.wire.summing_capacitance + high * second) / unity
    return tau, theta, op.feedback_capacitance + low / unity


def _delays(spec: Spec) -> tuple[float, float]:
    """s: tau, and 1/w2."""
    op, inverter = spec.opamp, spec.inverter
    tau = 2.0 / (2 * math.pi * op.gbw) + inverter.resistance * inverter.feedback_capacitance
    return tau, 1.0 / (2 * math.pi * op.second_pole) if op.second_pole else 0.0


def _loads(within: F64) -> F64:
    """Diagonals, (m, n)."""
    return batch_last(np.diagonal(within, axis1=-2, axis2=-1))
