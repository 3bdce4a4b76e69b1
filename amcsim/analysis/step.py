"""Transient of an input step in ngspice: settling, overshoot, slewing; overload, DAC settling, ADC kick-back if asked.

Settling counts from the step (from the end of an overload) until an answer stays within a tolerance of its end;
overall it is that of the answers' norm. An amplifier slews while its input is beyond its linear range, slew_rate / (2
pi gbw).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from amcsim._types import F64
from amcsim.analysis.array import array_deck, loaded
from amcsim.analysis.linearised import Problem
from amcsim.analysis.result import Axis, Measure, Result, Trace
from amcsim.netlist.conditions import NOMINAL, Conditions
from amcsim.netlist.deck import RISE_TIME, deck_text
from amcsim.ngspice.session import Session, session_for
from amcsim.nodal.build import build
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.circuit import Topology

__all__ = ["Disturbances", "step"]

_BEFORE = 0.05
"""Part of the transient that lies before the step."""


@dataclass(frozen=True)
class Disturbances:
    """What may come with an input step besides the step. Raises ValueError out of range."""

    overload: float = 1.0
    """Factor by which the inputs are too large first, for `overload_time`; 1: no overload."""
    overload_time: float = 5e-6
    """s"""
    dac_time_constant: float = 0.0
    """Of the inputs' exponential settling, s; 0: they step in 10 ns."""
    adc_capacitance: float = 0.0
    """Sampling capacitor, at 0 V before, that each answer charges from the middle of the transient on, F; 0: none."""
    adc_resistance: float = 1e3
    """Of the sampling switch, ohm."""

    def __post_init__(self) -> None:
        ranges = {
            "overload": (-1e4, 1e4),
            "overload_time": (1e-9, 1.0),
            "dac_time_constant": (0.0, 1.0),
            "adc_capacitance": (0.0, 1e-6),
            "adc_resistance": (1.0, 1e9),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} = {getattr(self, name):g}: allowed is {low:g} to {high:g}")
        if self.overload != 1.0 and self.dac_time_constant:
            raise ValueError("overload and dac_time_constant exclude each other")

    def waveform(self, volts: float, at: float) -> tuple[Literal["pulse", "pwl", "exp"], tuple[float, ...]]:
        """Kind and numbers of a source's waveform that steps to `volts` at that instant."""
        if self.overload != 1.0:
            end = at + self.overload_time
            high = self.overload * volts
            return "pwl", (0.0, 0.0, at, 0.0, at + RISE_TIME, high, end, high, end + RISE_TIME, volts)
        if self.dac_time_constant:
            return "exp", (0.0, volts, at, self.dac_time_constant, 1.0, 1.0)
        return "pulse", (0.0, volts, at, RISE_TIME, RISE_TIME, 1.0, 2.0)


NONE = Disturbances()


def step(
    topology: Topology,
    spec: Spec,
    r: Realisation,
    b: F64,
    *,
    stop: float | None = None,
    tolerance: float = 0.01,
    disturbances: Disturbances = NONE,
    conditions: Conditions = NOMINAL,
) -> Result:
    """Answers over time after the inputs step from 0 to b, (inputs,).

    Measures: `settling` and `settling_x0` (s; infinite where the end is not reached early enough to tell), `overshoot`
    of the worst answer and `overshoot_x0` (relative to the answers' largest end value), `slew_fraction`: the largest
    drive of an amplifier, tanh(|input| / linear range), 1 while it slews, `slew_limited` (1 or 0: above 0.9), `slew`
    (V/s, the steepest of all answers), `end_x0` (V). With an overload `recovery`, settling from its end on, and no
    overshoot. With an ADC `kick`: the largest departure of an answer after sampling, V, and `kick_recovery` (s).
    `stop` in s; default: four times the linearised circuit's settling to 0.1 %, at most the read window. Raises
    NgspiceError, ValueError.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance = {tolerance:g}: allowed is above 0, below 1")
    problem = Problem(topology, spec, r, b, conditions)
    length = _length(problem, disturbances) if stop is None else stop
    if not 1e-9 <= length <= 10.0:
        raise ValueError(f"stop = {length:g} s: allowed is 1e-9 to 10 s")
    start, names = _BEFORE * length, problem.outputs
    time, x, senses = _run(problem, disturbances, start, length)
    origin = start + (disturbances.overload_time if disturbances.overload != 1.0 else 0.0)
    sampled = 0.5 * length if disturbances.adc_capacitance else length
    before = time <= sampled
    t, y = time[before], x[:, before]
    size = float(np.linalg.norm(y[:, -1]))
    settling = _settled(t, np.linalg.norm(y - y[:, [-1]], axis=0), tolerance * size, origin)
    each = [_settled(t, np.abs(row - row[-1]), tolerance * abs(row[-1]), origin) for row in y]
    after = t >= origin
    largest = max(float(np.abs(y[:, -1]).max()), 1e-300)
    beyond = ((y - y[:, [-1]]) * np.sign(y[:, [-1]]))[:, after].max(axis=1) / largest
    over = np.maximum(beyond, 0.0)  # with an overload it says nothing: the answers come from beyond
    worst = int(np.argmax(over))
    stepped = disturbances.overload == 1.0
    reach = spec.opamp.slew_rate / (2 * math.pi * spec.opamp.gbw)
    drive = float(np.tanh(np.abs(senses[:, : t.size]).max() / reach))
    peak = float(t[after][int(np.argmax((y[worst] * np.sign(y[worst, -1]))[after]))])
    measures = {
        "settling": Measure(settling, "s"),
        "slew": Measure(float(np.abs(np.diff(y) / np.diff(t)).max()), "V/s"),
        "slew_fraction": Measure(drive),
        "slew_limited": Measure(float(drive > 0.9)),
    }
    if stepped:
        measures["overshoot"] = Measure(float(over[worst]), "", (names[worst], peak) if over[worst] > 0 else None)
    else:
        measures["recovery"] = measures["settling"]
    if disturbances.adc_capacitance:
        late, kicked = time >= sampled, np.abs(x - y[:, [-1]])
        hit = int(np.argmax(kicked[:, late].max(axis=1)))
        when = float(time[late][int(np.argmax(kicked[hit, late]))])
        measures["kick"] = Measure(float(kicked[hit, late].max()), "V", (names[hit], when))
        norm = np.linalg.norm(x[:, late] - y[:, [-1]], axis=0)
        measures["kick_recovery"] = Measure(_settled(time[late], norm, tolerance * size, sampled), "s")
    for name, seconds, share, row in zip(names, each, over.tolist(), y, strict=True):
        where = (name, origin + seconds) if math.isfinite(seconds) and len(names) <= 8 else None
        measures[f"settling_{name}"] = Measure(seconds, "s", where)
        if stepped:
            measures[f"overshoot_{name}"] = Measure(share)
        measures[f"end_{name}"] = Measure(float(row[-1]), "V")
    traces = {name: Trace(row, "V") for name, row in zip(names, x, strict=True)}
    details = {"step_s": start, "tolerance": tolerance, "stop_s": length}
    return Result("tran", f"{problem.title}: input step", Axis("time", "s", time), traces, measures, details)


def _length(problem: Problem, disturbances: Disturbances) -> float:
    window, extra = problem.spec.converters.read_window, 8 * disturbances.dac_time_constant
    if disturbances.overload != 1.0:
        op = problem.spec.opamp
        extra += 2 * disturbances.overload_time + 4 * op.swing / op.slew_rate
    model = build(problem.topology, problem.spec, problem.realisation)
    if not model.stable:
        return window
    settled = float(model.settling_time(model.operating_point(problem.b[:, None]).u, 1e-3)[0])
    share = 2 if disturbances.adc_capacitance else 1
    return float(f"{share * min(max(4 * settled, 1e-6) + extra, window):.2e}")


def _run(problem: Problem, disturbances: Disturbances, start: float, stop: float) -> tuple[F64, F64, F64]:
    """Times (t,), answers (m, t) in their own sign, and all amplifiers' inputs (N, t) less their offsets."""
    topology, r = problem.topology, problem.realisation
    deck = array_deck(topology, problem.spec, r, problem.b, conditions=problem.conditions)
    net = deck.network
    session: Session
    if disturbances.adc_capacitance:
        session = session_for(deck_text(deck, _sampler(problem.outputs, disturbances, 0.5 * stop)))
    else:
        session = loaded(topology, deck)
    for name, volts in zip(net.sources.names, deck.sources.tolist(), strict=True):
        session.alter_waveform(f"v{name}", *disturbances.waveform(volts, start))
    senses = [net.nodes[i] for group in topology.senses for i in net.ports[group].tolist()]
    found = session.tran(stop / 400, stop, [*problem.outputs, *senses], max_step=stop / 400)
    answers = topology.sign * np.stack([found[name] for name in problem.outputs])
    return found["time"], answers, np.stack([found[name] for name in senses]) - topology.offset(r)[:, None]


def _sampler(outputs: Sequence[str], disturbances: Disturbances, at: float) -> list[str]:
    """Deck lines: at that instant a switch connects a capacitor to each answer."""
    lines = [
        f".model adcswitch sw vt=0.5 vh=0.1 ron={disturbances.adc_resistance:.12g} roff=1e12",
        f"Vadc adcclock 0 pulse(0 1 {at:.12g} 1n 1n 1 2)",
    ]
    for k, node in enumerate(outputs):
        lines += [
            f"Sadc{k} {node} adc{k} adcclock 0 adcswitch",
            f"Cadc{k} adc{k} 0 {disturbances.adc_capacitance:.12g}",
        ]
        lines += [f"Radc{k} adc{k} 0 1e9"]
    return lines


def _settled(time: F64, error: F64, bound: float, origin: float) -> float:
    """When `error`, (t,), is within `bound` for good, counted from `origin`, s; inf where not before the end."""
    outside = np.flatnonzero(error > bound)
    if outside.size == 0:
        return 0.0
    last = int(outside[-1])
    if last >= 0.98 * time.size or time[last] > origin + 0.98 * (time[-1] - origin):
        return math.inf
    share = (error[last] - bound) / (error[last] - error[last + 1])
    return max(float(time[last] + share * (time[last + 1] - time[last])) - origin, 0.0)
