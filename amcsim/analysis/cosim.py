"""A digital controller inside one ngspice transient: it drives DACs, samples through ADCs at exact instants, decides.

The controller is Python. Between two samples the sources hold what it last asked for, reached by a ramp; every corner
of the ramps and every sampling instant is a time point of the transient, so nothing is interpolated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from amcsim._types import F64
from amcsim.analysis.result import Axis, Measure, Result, Trace
from amcsim.mapping import quantise
from amcsim.netlist.deck import RISE_TIME
from amcsim.ngspice.messages import NgspiceError
from amcsim.ngspice.session import Session

__all__ = ["Controller", "Converter", "Cosimulation", "Drive", "Sample", "Scripted", "cosimulate"]

_PUNCTUAL = 1e-13
"""How far from its instant a sample may be taken, s: rounding of times that ngspice adds up."""


@dataclass(frozen=True, eq=False)
class Drive:
    """What a controller wants: these voltages from now on, and to be asked again after so long."""

    volts: F64
    """(sources,), V."""
    wait: float
    """From now to the next sample, s."""


class Controller(Protocol):
    """A digital controller."""

    def decide(self, time: float, sampled: F64) -> Drive | None:
        """Called with what the ADCs read at `time` (s), (senses,), V: what to drive next, None to stop.

        The first call is at time 0, with the operating point at rest (all sources at 0 V). A call takes no time in the
        circuit: a controller that needs some drives what it drove before and waits.
        """
        ...


class Scripted:
    """A controller written as a generator: it yields what to drive, and gets what was read at the end of that wait."""

    def __init__(self, steps: Generator[Drive, F64, None]) -> None:
        self._steps = steps
        self._begun = False

    def decide(self, time: float, sampled: F64) -> Drive | None:
        """See Controller; the operating point at rest is not passed on."""
        try:
            if self._begun:
                return self._steps.send(sampled)
            self._begun = True
            return next(self._steps)
        except StopIteration:
            return None


@dataclass(frozen=True)
class Converter:
    """A DAC's or ADC's levels: mid-tread, clipped at the full scale."""

    bits: int | None = None
    """None is ideal."""
    full_scale: float = 1.0
    """The range is +-full_scale, V."""

    def __post_init__(self) -> None:
        if self.bits is not None and not 1 <= self.bits <= 32:
            raise ValueError(f"a converter of {self.bits} bits: allowed is 1 to 32, None for an ideal one")
        if not (0 < self.full_scale < math.inf):
            raise ValueError(f"a converter's full scale of {self.full_scale!r} V: it must be positive and finite")

    @property
    def step(self) -> float:
        """Volts from level to level; 0 for an ideal one."""
        return 0.0 if self.bits is None else 2.0 * self.full_scale / 2**self.bits

    def __call__(self, volts: F64) -> F64:
        """The nearest levels, V."""
        return quantise(volts, self.bits, self.full_scale)


@dataclass(frozen=True, eq=False)
class Sample:
    """One sampling instant: what was there, what was read, what was driven then."""

    time: float
    """s."""
    volts: F64
    """(senses,), V: at the ADCs' inputs."""
    read: F64
    """(senses,), V: what the ADCs said."""
    driven: F64 | None
    """(sources,), V: what the DACs drove from then on; None after the last decision."""


@dataclass(frozen=True, eq=False)
class Cosimulation:
    """A transient with its controller's samples; it ends at the last one where the controller stopped."""

    time: F64
    """(t,), s."""
    signals: Mapping[str, F64]
    """name -> (t,), V (A for currents)."""
    samples: tuple[Sample, ...]
    """The operating point at 0 first."""

    def result(
        self, title: str, shown: Sequence[str] | None = None, measures: Mapping[str, Measure] | None = None
    ) -> Result:
        """As traces over time, those named by `shown` drawn (all by default)."""
        traces = {
            name: Trace(values, "A" if re.match(r"i\(|.*#branch$", name) else "V", shown=shown is None or name in shown)
            for name, values in self.signals.items()
        }
        instants = [sample.time for sample in self.samples]
        return Result("cosim", title, Axis("time", "s", self.time), traces, measures or {}, {"samples_s": instants})


@dataclass
class _Host:
    """The controller with its converters, as libngspice sees it (amcsim.ngspice.external)."""

    controller: Controller
    sources: dict[str, int]
    senses: Sequence[str]
    dac: Converter
    adc: Converter
    rise: float
    before: F64
    after: F64
    since: float = 0.0
    due: float = 0.0
    samples: list[Sample] = field(default_factory=list)

    def value(self, source: str, time: float) -> float:
        """A ramp from the voltage before the last decision to the one after it."""
        k = self.sources[source]
        part = min(max((time - self.since) / self.rise, 0.0), 1.0)
        return float(self.before[k] + (self.after[k] - self.before[k]) * part)

    def accepted(self, time: float, read: Callable[[str], float]) -> Iterable[float]:
        """Sample and decide where a sample is due."""
        if time < self.due - _PUNCTUAL:
            return ()
        if time > self.due + _PUNCTUAL:
            raise NgspiceError(f"the sample due at {self.due:g} s was taken at {time:.12g} s")
        volts = np.array([read(name) for name in self.senses])
        codes = self.adc(volts)
        drive = self.controller.decide(time, codes)
        if drive is None:
            self.samples.append(Sample(time, volts, codes, None))
            self.due = math.inf
            return ()
        wanted = np.asarray(drive.volts, dtype=np.float64)
        if wanted.shape != self.after.shape or not np.isfinite(wanted).all():
            raise ValueError(
                f"the controller drives {wanted} at {time:g} s; wanted are {self.after.size} finite voltages"
            )
        if not self.rise < drive.wait < math.inf:
            raise ValueError(
                f"the controller waits for {drive.wait!r} s at {time:g} s; it must be longer than the rise time of"
                f" {self.rise:g} s"
            )
        self.before, self.after, self.since = self.after, self.dac(wanted), time
        self.due = time + drive.wait
        self.samples.append(Sample(time, volts, codes, self.after))
        return time + self.rise, self.due


def cosimulate(
    deck: str,
    controller: Controller,
    *,
    sources: Sequence[str],
    senses: Sequence[str],
    stop: float,
    record: Sequence[str] = (),
    dac: Converter | None = None,
    adc: Converter | None = None,
    rise: float = RISE_TIME,
    max_step: float | None = None,
) -> Cosimulation:
    """Run one transient of a deck with a controller in it, until the controller stops, at most to `stop` (s).

    sources: names of voltage sources in the deck's top level, one line each (`Vin in 0 ...`), which the DACs take over;
    senses: nodes that the ADCs read, `v(out)`; record: further vectors to keep. rise: time a DAC takes to its new
    voltage, s; max_step: largest time step, s, stop/1000 by default. Ideal converters by default.
    Raises ValueError for a source that is not there, and for what a controller may not ask; NgspiceError as
    Session.tran; what the controller raises.
    """
    if not 0 < rise < stop < math.inf:
        raise ValueError(f"rise = {rise!r} s and stop = {stop!r} s: wanted is 0 < rise < stop")
    nodes = [_node(name) for name in senses]
    names = list(dict.fromkeys([*senses, *record]))
    rest = np.zeros(len(sources))
    places = {name.lower(): k for k, name in enumerate(sources)}
    host = _Host(controller, places, nodes, dac or Converter(), adc or Converter(), rise, rest, rest)
    limit = min(stop / 1000 if max_step is None else max_step, 5e3 * rise)  # breakpoints merge within 5e-5 of a step
    session = Session()
    session.load(_taken_over(deck, sources, names))
    try:
        found = session.tran(limit, stop, names, max_step=limit, external=host)
    finally:
        session.close()
    time = found.pop("time")
    count = time.size if host.due < math.inf else int(np.searchsorted(time, host.samples[-1].time + _PUNCTUAL))
    return Cosimulation(time[:count], {name: v[:count] for name, v in found.items()}, tuple(host.samples))


def _node(name: str) -> str:
    found = re.fullmatch(r"v\(([\w.#-]+)\)", name, flags=re.IGNORECASE)
    if found is None:
        raise ValueError(f"{name!r} is not the voltage of a node, such as v(out)")
    return found[1].lower()


def _taken_over(deck: str, sources: Sequence[str], vectors: Sequence[str]) -> str:
    """The deck with those sources `external` (nothing else: `dc 0 external` ends ngspice 39), saving `vectors`."""
    for name in sources:
        line = rf"^({re.escape(name)}\s+\S+\s+\S+)\b.*$"
        deck, count = re.subn(line, r"\1 external", deck, flags=re.IGNORECASE | re.MULTILINE)
        if count != 1 or not name.lower().startswith("v"):
            raise ValueError(f"the deck has {count} voltage sources {name!r}; wanted is one, on one line")
    text, end, rest = deck.rpartition("\n.end")
    if not end or rest.strip():
        raise ValueError("the deck does not end with a line .end")
    return f"{text}\n.save {' '.join(vectors)}\n.end\n"
