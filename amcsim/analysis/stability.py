"""Stability of the whole multi-loop circuit: poles, one margin of all loops together, margins of each loop alone.

With a voltage d in series with every amplifier's inverting input, the inputs see (I + L)^-1 d: S = (I + L)^-1
(amcsim.nodal.response). Then

    margin       alpha = min over w of sigma_min(I + L(jw)) = 1 / max sigma_max(S(jw)): the distance from instability
                 that all loops share. Safonov and Athans (IEEE AC-26, 415 (1981)): any phase lag below 2 asin(alpha/2)
                 and any gain factor from 1/(1 + alpha) to 1/(1 - alpha), at once and unequal in all loops, leave it
                 stable.
    loop k       with all other loops closed, its return ratio is l_k = 1/S_kk - 1; phase margin where |l_k| = 1,
                 gain margin where l_k is real and negative.

In ngspice (`backend="ngspice"`) S is measured: an ac voltage at each amplifier's offset source in turn, the only thing
done to the circuit. That is Middlebrook's voltage injection (Int. J. Electronics 38, 485 (1975)), exact where the
amplifier's input draws no current, as in the behavioural op-amps; a transistor's gate draws jw C_g, small beside the
summing node's capacitance. Margins say nothing where a pole lies to the right already. Without poles to look at,
Nyquist counts those: the amplifiers alone are stable, so that det(I + L) from w = 0 to infinity turns by -pi for each.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from amcsim._types import C128, F64
from amcsim.analysis.linearised import Backend, Problem, decibel
from amcsim.analysis.result import Axis, Measure, Result, Trace
from amcsim.netlist.conditions import NOMINAL, Conditions
from amcsim.ngspice.frequencies import decades
from amcsim.ngspice.session import Session
from amcsim.nodal.response import SmallSignal
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.circuit import Topology

__all__ = ["gain_margin", "phase_margin", "stability", "unstable_poles", "valley"]

_SHOWN = 8
"""Loops that a figure shows: those of the least phase margin."""


def stability(
    topology: Topology,
    spec: Spec,
    r: Realisation,
    b: F64,
    *,
    backend: Backend | None = None,
    start: float = 1.0,
    stop: float = 1e9,
    per_decade: int = 40,
    conditions: Conditions = NOMINAL,
) -> Result:
    """Return ratios of all loops (dB, deg) and sigma_min(I + L) over frequency, at inputs b.

    Measures: `stable` (1 or 0), by the poles or, in ngspice, by `unstable_poles` as Nyquist counts them, NaN for a
    sweep that is too short (`details["note"]`); nodal also
    `damping` (least) and `slowest_pole` (Hz, real part; positive where it grows); `margin` (alpha above),
    `guaranteed_phase_margin` (deg), `phase_margin` and `gain_margin` of the worst loop, `phase_margin_a0` ... of each:
    a0 is amplifier 0, i0 inverter 0. `details["poles"]`: [real, imaginary] in rad/s. Raises AnalysisError,
    NgspiceError.
    """
    problem = Problem(topology, spec, r, b, conditions)
    backend = problem.backend(backend)
    f = decades(start, stop, per_decade)
    measures: dict[str, Measure] = {}
    details: dict[str, Any] = {"backend": backend}
    if backend == "nodal":
        model = problem.model()
        sensitivity = SmallSignal(model, f).sensitivity()
        poles = model.poles
        measures |= _pole_measures(poles)
        details["poles"] = [[p.real, p.imag] for p in poles.tolist()]
    else:
        sensitivity = _injected(problem, f)
        right = unstable_poles(sensitivity)
        measures["unstable_poles"] = Measure(math.nan if right is None else float(right))
        measures["stable"] = Measure(math.nan if right is None else float(right == 0))
        if right is None:
            details["note"] = [
                "the sweep does not reach from the loops' dc gain to where none is left: no Nyquist count"
            ]
    alpha = 1.0 / np.linalg.norm(sensitivity, ord=2, axis=(1, 2))
    lowest, at = valley(f, alpha)
    if backend == "nodal":
        near = at * np.geomspace(f[0] / f[1], f[1] / f[0], 41)
        lowest, at = valley(near, 1.0 / np.linalg.norm(SmallSignal(model, near).sensitivity(), ord=2, axis=(1, 2)))
    loops = 1.0 / np.diagonal(sensitivity, axis1=1, axis2=2).T - 1.0
    names = problem.loops
    phases = [phase_margin(f, loop) for loop in loops]
    order = np.argsort([p for p, _ in phases], kind="stable")
    shown = {names[k] for k in order[:_SHOWN]}
    traces = {f"|{n}|": Trace(decibel(loop), "dB", shown=n in shown) for n, loop in zip(names, loops, strict=True)}
    traces |= {f"arg {n}": Trace(_phase(loop), "deg", shown=n in shown) for n, loop in zip(names, loops, strict=True)}
    traces["sigma_min(I + L)"] = Trace(alpha, "", log=True)
    gains = [gain_margin(f, loop) for loop in loops]
    worst = int(order[0])
    measures |= {
        "margin": Measure(lowest, "", ("sigma_min(I + L)", at)),
        "guaranteed_phase_margin": Measure(math.degrees(2 * math.asin(min(lowest / 2, 1.0))), "deg"),
        "phase_margin": Measure(phases[worst][0], "deg", (f"arg {names[worst]}", phases[worst][1])),
        "gain_margin": Measure(min(g for g, _ in gains), "dB"),
    }
    measures |= {f"phase_margin_{name}": Measure(p, "deg") for name, (p, _) in zip(names, phases, strict=True)}
    measures |= {f"gain_margin_{name}": Measure(g, "dB") for name, (g, _) in zip(names, gains, strict=True)}
    measures |= {
        f"crossover_{name}": Measure(at, "Hz", (f"|{name}|", at) if len(names) <= 4 else None)
        for name, (_, at) in zip(names, phases, strict=True)
    }
    title = f"{problem.title}: return ratios, each with the other loops closed"
    return Result("stability", title, Axis("frequency", "Hz", f, log=True), traces, measures, details)


def unstable_poles(sensitivity: C128) -> int | None:
    """Poles to the right that S, (f, N, N), tells by Nyquist, from where all loops are at DC to where none is left.

    The determinant turns by the sum of the angles of the eigenvalues of (I + L)_k+1 (I + L)_k^-1, each a small one.
    None where the first frequency finds loops that have turned already, or the last one loops with gain.
    """
    first, last = np.linalg.inv(sensitivity[[0, -1]]) - np.eye(sensitivity.shape[1])
    if np.linalg.norm(first.imag) > 0.5 * np.linalg.norm(first.real) or np.abs(np.linalg.eigvals(last)).max() > 0.7:
        return None
    turns = np.linalg.eigvals(np.linalg.solve(sensitivity[1:], sensitivity[:-1]))
    return round(-float(np.angle(turns).sum()) / math.pi)


def valley(f: F64, alpha: F64) -> tuple[float, float]:
    """The minimum of alpha, (f,), and where it is, Hz: between frequencies, alpha^2 is a parabola.

    Near the edge of stability alpha is the distance of j w from a pole beside the axis: sharper than any sweep is fine.
    """
    k = int(np.argmin(alpha))
    if not 0 < k < alpha.size - 1:
        return float(alpha[k]), float(f[k])
    over, square = f[k - 1 : k + 2] / f[k] - 1.0, alpha[k - 1 : k + 2] ** 2
    bend, slope, _ = np.linalg.solve(np.vander(over, 3), square)
    shift = -slope / (2 * bend) if bend > 0 else 0.0
    return math.sqrt(max(float(square[1] - bend * shift**2), 0.0)), float(f[k] * (1.0 + shift))


def phase_margin(f: F64, loop: C128) -> tuple[float, float]:
    """The smallest distance from -180 deg, deg, over all crossings of |loop| = 1, and where it is, Hz.

    Infinite, at NaN, where the magnitude never crosses 1.
    """
    level, angle = np.log(np.abs(loop)), np.unwrap(np.angle(loop))
    best = (math.inf, math.nan)
    for k, share in _crossings(level):
        here = angle[k] + share * (angle[k + 1] - angle[k])
        margin = abs(math.degrees(math.remainder(here - math.pi, 2 * math.pi)))
        best = min(best, (margin, _between(f, k, share)))
    return best


def gain_margin(f: F64, loop: C128) -> tuple[float, float]:
    """The smallest factor, dB, up or down, that takes the loop through -1, and where, Hz; infinite where none does."""
    best = (math.inf, math.nan)
    for k, share in _crossings(loop.imag):
        here = loop[k] + share * (loop[k + 1] - loop[k])
        if here.real < 0:
            best = min(best, (abs(20 * math.log10(abs(here))), _between(f, k, share)))
    return best


def _crossings(values: F64) -> list[tuple[int, float]]:
    """Where values, (t,), change their sign: the point before and the share of the step to the zero."""
    before = np.flatnonzero(np.signbit(values[:-1]) != np.signbit(values[1:]))
    return [(int(k), float(values[k] / (values[k] - values[k + 1]))) for k in before]


def _between(f: F64, k: int, share: float) -> float:
    return float(f[k] * (f[k + 1] / f[k]) ** share)


def _phase(loop: C128) -> F64:
    """Continuous phase, deg, which begins within +-180."""
    phase: F64 = np.degrees(np.unwrap(np.angle(loop)))
    return phase


def _pole_measures(poles: C128) -> dict[str, Measure]:
    """Of the pole farthest to the right, and the least damping ratio of all."""
    if poles.size == 0:
        return {"stable": Measure(1.0)}
    slow = poles[int(np.argmax(poles.real))]
    return {
        "stable": Measure(float(slow.real < 0)),
        "slowest_pole": Measure(float(slow.real) / (2 * math.pi), "Hz"),
        "damping": Measure(float((-poles.real / np.abs(poles)).min())),
    }


def _injected(problem: Problem, f: F64) -> C128:
    """S measured in ngspice by a voltage at each amplifier's input in turn, (f, N, N)."""
    m, n = problem.realisation.g_pos.shape
    network = problem.topology.network(m, n, problem.spec)
    nodes = [*network.amplifiers.inverting.tolist(), *network.inverter_inputs.tolist()]
    senses = [network.nodes[node] for node in nodes]
    sources = [*(f"v.x{n}.vos" for n in network.amplifiers.names), *(f"v.x{n}.xo.vos" for n in network.inverters.names)]

    def inject(session: Session) -> C128:
        return np.stack([session.ac(f, senses, {source: 1.0}) for source in sources], axis=-1)

    seen = problem.settled(inject, repeated=True)  # (senses, f, injections)
    measured: C128 = np.eye(len(senses)) - np.swapaxes(seen, 0, 1)
    return measured
