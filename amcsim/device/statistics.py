"""What a written cell does later, as distributions: relaxation, telegraph noise, retention, endurance, stuck cells.

Each model names where its form comes from and says which numbers are assumed: the paper shows its cells' retention
(Fig. 6, above 1e5 s, 8 states) and endurance (Fig. 10, above 1e4 cycles) in figures without giving spreads.
Read disturb is not statistical here: amcsim.device.gap integrates the compact model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amcsim._types import F64, I64
from amcsim.device.gap import gap_model
from amcsim.streams import Key
from amcsim.variation import telegraph_amplitude

__all__ = ["Endurance", "Relaxation", "Retention", "StuckCells", "TelegraphNoise"]

_BOLTZMANN = 8.617333e-5
"""eV/K."""


def _gap_spread(conductance: F64) -> F64:
    """G g/g0, S: what a relative spread of the gap makes of the conductance; largest at 131 uS, where g = g0."""
    model = gap_model()
    return np.asarray(conductance * np.maximum(model.gap(conductance), model.gmin) / model.g0, dtype=np.float64)


@dataclass(frozen=True)
class Relaxation:
    """Spread of conductances after they were verified, fast at first and slower with time.

    sigma(G, t) = gap_sigma (G g/g0) ln(1 + t/onset) / ln(1 + reference/onset). Form: the standard deviation depends
    on the state and grows ever more slowly (Wan et al., Nature 608, 504 (2022), Extended Data Fig. 3d).
    """

    gap_sigma: float = 0.015
    """Standard deviation of the relative gap at the reference time (assumed: 2 uS in the middle of the range)."""
    onset: float = 1e-2
    """Time from which on the spread grows as the logarithm, s (assumed)."""
    reference: float = 600.0
    """s."""

    def sigma(self, conductance: F64, time: float) -> F64:
        """Standard deviation of the change after `time` (s), S, same shape."""
        growth = np.log1p(time / self.onset) / np.log1p(self.reference / self.onset)
        sigma: F64 = self.gap_sigma * growth * _gap_spread(conductance)
        return sigma

    def draw(self, conductance: F64, time: float, key: Key) -> F64:
        """Conductances (S) a time (s) after they were verified."""
        changed = conductance + self.sigma(conductance, time) * key.generator().normal(size=conductance.shape)
        return np.maximum(changed, 0.0)


@dataclass(frozen=True)
class TelegraphNoise:
    """Two-level noise: a trap at the filament's neck lowers the conductance while it is filled.

    Relative amplitude a = largest r/(1 + r), r = G_half/G: proportional to the resistance of thick filaments,
    saturating for thin ones, as the depletion of a filament by one trap gives (Ambrogio et al., IEEE Trans. Electron
    Devices 61, 2920 (2014), doi 10.1109/TED.2014.2330202).
    """

    largest: float = 0.2
    """Relative amplitude in the limit of high resistance (assumed)."""
    half: float = 5e-6
    """Conductance at which half of it is reached, S (assumed: 0.5 % at 200 uS, 4 % at 20 uS)."""
    share: float = 0.3
    """Part of the cells that have an active trap (assumed)."""
    shortest: float = 1e-6
    """Mean dwell times are log-uniform from here, s (assumed)."""
    longest: float = 1.0
    """to here, s."""

    def amplitude(self, conductance: F64) -> F64:
        """Relative amplitude, same shape."""
        return telegraph_amplitude(conductance, self.largest, self.half)

    def read(self, conductance: F64, key: Key) -> F64:
        """Conductances (S) found by one read: with a trap that is filled half of the time on average."""
        generator = key.generator()
        active = generator.random(conductance.shape) < self.share
        filled = generator.random(conductance.shape) < generator.random(conductance.shape)
        return conductance * (1.0 - self.amplitude(conductance) * (active & filled))

    def trace(self, conductance: float, times: F64, key: Key) -> F64:
        """Conductance of one cell with an active trap at ascending times (t,), s: a two-state Markov chain."""
        generator = key.generator()
        up, down = np.exp(generator.uniform(np.log(self.shortest), np.log(self.longest), 2))
        rate = 1.0 / up + 1.0 / down
        share = down / (up + down)
        state = np.empty(times.size, dtype=bool)
        state[0] = generator.random() < share
        chance = generator.random(times.size)
        kept = np.exp(-np.diff(times) * rate)
        for k in range(1, times.size):
            state[k] = chance[k] < share + (float(state[k - 1]) - share) * kept[k - 1]
        return conductance * (1.0 - float(self.amplitude(np.array(conductance))) * state)


@dataclass(frozen=True)
class Retention:
    """Slow loss: a drift of the mean and a growing spread with the logarithm of time, accelerated by temperature.

    At t > onset: mean G (1 - drift d), sigma = spread (G g/g0) d, d = log10(1 + t_eff/onset),
    t_eff = t exp(ea/k (1/300 - 1/T)). Form: the distribution of an analog filamentary RRAM drifts and broadens with
    time and temperature (Zhao et al., IEDM 2017, "Investigation of statistical retention of filamentary analog RRAM").
    """

    drift: float = 2e-3
    """Relative loss a decade (assumed: 1 % over the paper's 1e5 s)."""
    spread: float = 2e-3
    """Relative spread of the gap a decade (assumed)."""
    onset: float = 1.0
    """s."""
    ea: float = 1.2
    """Activation energy, eV: the hopping barrier of circuits/rram_gap.lib."""

    def decades(self, time: float, temperature: float = 300.0) -> float:
        """Equivalent decades of time at 300 K."""
        faster = np.exp(self.ea / _BOLTZMANN * (1.0 / 300.0 - 1.0 / temperature))
        return float(np.log10(1.0 + time * faster / self.onset))

    def draw(self, conductance: F64, time: float, key: Key, temperature: float = 300.0) -> F64:
        """Conductances (S) after a time (s) at a temperature (K)."""
        decades = self.decades(time, temperature)
        noise = self.spread * decades * _gap_spread(conductance) * key.generator().normal(size=conductance.shape)
        return np.maximum(conductance * (1.0 - self.drift * decades) + noise, 0.0)


@dataclass(frozen=True)
class Endurance:
    """Cycles until a cell is stuck: Weibull, as breakdown of oxides is.

    The paper's cell works after 1e4 cycles between 20 and 200 uS (Fig. 10), a lower bound for one device; with these
    numbers 99.9 % of cells do.
    """

    scale: float = 1e6
    """Cycles after which 63 % are stuck (assumed)."""
    shape: float = 1.5
    """Weibull slope, wear-out above 1 (assumed)."""
    on: float = 0.8
    """Part of the worn cells that is stuck in the low-resistance state (assumed: oxide traps accumulate)."""

    def alive(self, cycles: float) -> float:
        """Part of the cells that still switches."""
        return float(np.exp(-((cycles / self.scale) ** self.shape)))

    def draw(self, cells: tuple[int, ...], cycles: float, key: Key) -> I64:
        """For each cell: 0 works, 1 stuck at the highest, -1 at the lowest conductance."""
        generator = key.generator()
        worn = generator.random(cells) >= self.alive(cycles)
        return np.where(worn, np.where(generator.random(cells) < self.on, 1, -1), 0)


@dataclass(frozen=True)
class StuckCells:
    """Cells that never switched.

    Over-formed cells stick in the low-resistance state (Chen et al., IEEE Trans. Comput. 64, 180 (2015), a first-cut
    4-Mb HfO2 chip, usually quoted with 9.04 % and 1.75 %: the upper end). `programming.stuck_on` and `stuck_off` take
    these.
    """

    on: float = 0.0904
    """Stuck at the highest conductance."""
    off: float = 0.0175
    """Stuck at the lowest."""

    def draw(self, cells: tuple[int, ...], key: Key) -> I64:
        """For each cell: 0 works, 1 stuck at the highest, -1 at the lowest conductance."""
        chance = key.generator().random(cells)
        return np.where(chance < self.on, 1, np.where(chance < self.on + self.off, -1, 0))
