"""The circuits in which an op-amp is measured, each one run of ngspice, and what is read from the curves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amcsim._types import C128, F64
from amcsim.ngspice.batch import BatchResult, run_batch

__all__ = ["SHORT", "Bench", "Gain", "crossing"]

SHORT = 1.0
"""Load that counts as a short circuit, ohm."""
_OVERDRIVE = 1.0
"""Input voltage that drives an output to its limits, V."""


@dataclass(frozen=True)
class Gain:
    """Open-loop gain at one load, read from its curve."""

    frequency: F64
    """(f,), Hz."""
    curve: C128
    """-v(out)/v(inn), (f,)."""

    @property
    def dc(self) -> float:
        """At the lowest frequency."""
        return float(np.abs(self.curve[0]))

    @property
    def corner(self) -> float:
        """Frequency of the dominant pole (-3 dB), Hz."""
        return crossing(self.frequency, np.abs(self.curve), self.dc / math.sqrt(2.0))

    @property
    def bandwidth(self) -> float:
        """Gain-bandwidth product, DC gain times the dominant pole, Hz."""
        return self.dc * self.corner

    @property
    def unity(self) -> float:
        """Frequency where the gain is 1, Hz; NaN where it never is."""
        return crossing(self.frequency, np.abs(self.curve), 1.0)

    @property
    def phase(self) -> F64:
        """(f,), deg, from 0 downwards."""
        degrees: F64 = np.degrees(np.unwrap(np.angle(self.curve)))
        return degrees

    @property
    def margin(self) -> float:
        """Phase margin at unity gain, deg."""
        if math.isnan(self.unity):
            return math.nan
        return 180.0 + float(np.interp(math.log(self.unity), np.log(self.frequency), self.phase))

    def second_pole(self, tau: float = 0.0) -> float:
        """Pole (Hz) which beside the dominant one, and one of time constant tau (s), gives the phase at unity gain.

        Infinite where no more lags, NaN where there is no unity gain or the lag is more than one pole's.
        """
        known = math.atan(self.unity / self.corner) + math.atan(2 * math.pi * self.unity * tau)
        lag = math.radians(180.0 - self.margin) - known
        if not lag < 0.99 * math.pi / 2:
            return math.nan
        return self.unity / math.tan(lag) if lag > 1e-3 else math.inf


@dataclass(frozen=True)
class Bench:
    """One op-amp under test."""

    name: str
    text: str
    """The definitions that the sub-circuit of that name needs, itself included."""
    supply: float
    """Supplies are +-supply, V."""
    capacitance: float
    """From the output to ground, F."""
    loads: tuple[float, ...]
    """Resistors from the output to ground, ohm; infinite = none."""

    def _run(self, lines: Sequence[str], analyses: Sequence[str]) -> BatchResult:
        supplies = [f"Vdd vdd 0 {self.supply!r}", f"Vss vss 0 {-self.supply!r}"]
        text = [f"{self.name}: bench", self.text, *supplies, *lines, ".options reltol=1e-5 gmin=1e-15", *analyses]
        return run_batch("\n".join([*text, ".end", ""]))

    def _loaded(self, k: int | str, ohm: float, capacitance: float) -> list[str]:
        lines = [] if math.isinf(ohm) else [f"R{k} o{k} 0 {ohm!r}"]
        return [*lines, f"Cl{k} o{k} 0 {capacitance!r}"]

    def small_signals(self) -> tuple[dict[str, C128], dict[str, F64], dict[str, float]]:
        """Small signals over frequency, noise densities over theirs, operating points; by ngspice's names.

        Nodes o0, o1, ...: outputs at each load for 1 V at the inputs a0, a1, ...; oz: for 1 A into the output; op, on:
        for 1 V on the positive, the negative supply. A low-pass of 1e9 s closes the loop at DC and loads nothing.
        """
        supplies = {"p": "vddp vss", "n": "vdd vssn"}
        lines = [f"Vddp vddp 0 dc {self.supply!r} ac 1", f"Vssn vssn 0 dc {-self.supply!r} ac 1"]
        lines += ["Iz 0 oz dc 0 ac 1", *self._loaded("p", math.inf, self.capacitance)]
        lines += self._loaded("n", math.inf, self.capacitance)
        for k, ohm in enumerate(self.loads):
            lines += self._loaded(k, ohm, self.capacitance)
        for k in (*map(str, range(len(self.loads))), *"zpn"):
            lines += [f"X{k} a{k} o{k} {supplies.get(k, 'vdd vss')} {self.name}"]
            lines += [
                f"Eo{k} e{k} 0 o{k} 0 1",
                f"Rf{k} e{k} f{k} 1e6",
                f"Cf{k} f{k} 0 1e3",
                f"Ea{k} a{k} b{k} f{k} 0 1",
            ]
            lines += [f"Vb{k} b{k} 0 {'dc 0 ac 1' if k.isdigit() else 0}"]
        run = self._run(lines, [".op", ".ac dec 20 10m 10g", ".noise v(o0) Vb0 dec 10 100m 1g"])
        small, noise, point = run.plot("ac"), run.plot("noise spectral"), run.plot("operating")
        return (
            {_plain(name): np.asarray(small[name], dtype=np.complex128) for name in small},
            {_plain(name): np.abs(noise[name]) for name in noise},
            {_plain(name): float(np.real(point[name][0])) for name in point},
        )

    def swings(self) -> F64:
        """Highest and lowest output at each load, then into a short circuit, (2, loads + 1), V."""
        lines: list[str] = []
        loads = (*self.loads, SHORT)
        for k, (volts, ohm) in enumerate(itertools.product((-_OVERDRIVE, _OVERDRIVE), loads)):
            lines += [f"Va{k} a{k} 0 {volts!r}", f"X{k} a{k} o{k} vdd vss {self.name}", *self._loaded(k, ohm, 0.0)]
        point = self._run(lines, [".op"]).plot("operating")
        volts_out = np.array([float(np.real(point[f"v(o{k})"][0])) for k in range(2 * len(loads))])
        return volts_out.reshape(2, -1)

    def edges(self, bandwidth: float) -> tuple[F64, list[F64]]:
        """Time (t,), s, and outputs at each load, (t,) each, V, driven from below to above and back at half time.

        Half lasts as long as an amplifier takes across its supplies that slews at 2 pi bandwidth times 50 mV, which is
        the thermal voltage's limit of a bipolar pair; transistors in strong inversion are faster.
        """
        half = 40.0 * self.supply / (2 * math.pi * bandwidth)
        low = half / 20
        lines = [f"Vin in 0 pulse({_OVERDRIVE!r} {-_OVERDRIVE!r} {low!r} {low / 100!r} {low / 100!r} {half!r} 1)"]
        for k, ohm in enumerate(self.loads):
            lines += [f"X{k} in o{k} vdd vss {self.name}", *self._loaded(k, ohm, self.capacitance)]
        plot = self._run(lines, [f".tran {half / 400!r} {2.05 * half!r} 0 {half / 400!r}"]).plot("transient")
        return np.real(plot["time"]), [np.real(plot[f"v(o{k})"]) for k in range(len(self.loads))]


def _plain(name: str) -> str:
    return name.lower().removeprefix("v(").removesuffix(")") if name.lower().startswith("v(") else name.lower()


def crossing(x: F64, y: F64, level: float) -> float:
    """First x (positive, rising) where y falls through level, interpolated on logarithmic axes; NaN without one."""
    below = np.flatnonzero(y < level)
    if not below.size or below[0] == 0:
        return math.nan
    k = int(below[0])
    part = math.log(y[k - 1] / level) / math.log(y[k - 1] / y[k])
    return float(x[k - 1] * (x[k] / x[k - 1]) ** part)


def slew_rates(time: F64, volts: F64, within: float) -> tuple[float, float]:
    """Rates (V/s) at which an output rises and falls through -within .. within (V), above 0; NaN where it does not."""
    rates = []
    for sign in (1.0, -1.0):
        half = time < time[-1] / 2 if sign > 0 else time >= time[-1] / 2
        t, v = time[half], sign * volts[half]
        above, start = np.flatnonzero(v > within), np.flatnonzero(v < -within)
        if not above.size or not start.size:
            rates.append(math.nan)
            continue
        last = int(above[0])
        first = int(start[start < last][-1]) if (start < last).any() else 0
        enters, leaves = (_at(t, v, k, level) for k, level in ((first, -within), (last - 1, within)))
        rates.append(2 * within / (leaves - enters))
    return rates[0], rates[1]


def _at(t: F64, v: F64, k: int, level: float) -> float:
    """Instant between points k and k + 1 where v reaches level."""
    return float(t[k] + (t[k + 1] - t[k]) * (level - v[k]) / (v[k + 1] - v[k]))
