"""What a written cell does later: draws follow the stated laws, and the laws their sources' shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amcsim.device.statistics import Endurance, Relaxation, Retention, StuckCells, TelegraphNoise
from amcsim.streams import Key

STATES = np.linspace(20e-6, 220e-6, 8)


def test_relaxation_spreads_fast_at_first_and_most_in_the_middle() -> None:
    law = Relaxation()
    sigma = law.sigma(STATES, 600.0)
    assert np.argmax(sigma) not in (0, 7)
    assert sigma.max() == pytest.approx(2e-6, rel=0.05)
    grown = [float(law.sigma(np.array(120e-6), t)) for t in (0.0, 1.0, 2.0, 600.0)]
    assert grown[0] == 0.0
    assert grown[1] - grown[0] > 5 * (grown[2] - grown[1])
    many = law.draw(np.full(20000, 120e-6), 600.0, Key(1))
    assert many.std() == pytest.approx(grown[3], rel=0.02)  # 0.5 % standard error
    assert many.mean() == pytest.approx(120e-6, rel=1e-3)


def test_telegraph_noise_is_larger_in_thin_filaments_and_has_two_levels() -> None:
    law = TelegraphNoise()
    amplitude = law.amplitude(STATES)
    assert (np.diff(amplitude) < 0).all()
    assert amplitude[0] == pytest.approx(0.2 * 0.2, rel=1e-12)  # half/G = 1/4: 1/(1 + 4) of the largest
    times = np.arange(4000) * 1e-3
    trace = law.trace(50e-6, times, Key(3))
    assert set(np.round(trace / 50e-6, 12)) == {1.0, round(1 - float(law.amplitude(np.array(50e-6))), 12)}
    reads = law.read(np.full(20000, 50e-6), Key(4))
    # an active trap in 30 % of the cells, filled half of the time
    assert np.mean(reads < 50e-6) == pytest.approx(0.15, abs=0.01)


def test_dwell_times_are_exponential_with_their_means() -> None:
    law = TelegraphNoise(shortest=1e-2, longest=1.0001e-2)
    trace = law.trace(50e-6, np.arange(200000) * 1e-4, Key(5))
    changes = np.flatnonzero(np.diff(trace))
    dwell = np.diff(changes) * 1e-4
    assert dwell.mean() == pytest.approx(1e-2, rel=0.06)  # 2,000 dwells: 2.2 % standard error
    assert dwell.std() == pytest.approx(dwell.mean(), rel=0.1)


def test_retention_drifts_with_the_logarithm_of_time_and_heat_speeds_it_up() -> None:
    law = Retention()
    assert law.decades(1e5) == pytest.approx(5.0, abs=1e-4)
    # 1.2 eV from 300 K to 358 K: exp(1.2/k (1/300 - 1/358)) = 1860 times as fast
    assert law.decades(1e5, 358.0) - law.decades(1e5) == pytest.approx(math.log10(1860), rel=0.01)
    kept = law.draw(np.full(20000, 200e-6), 1e5, Key(6))
    assert kept.mean() == pytest.approx(200e-6 * (1 - 0.01), rel=1e-3)
    # all 8 states of the paper stay apart for 1e5 s: neighbours are 28.6 uS from each other
    assert max(law.draw(np.full(5000, g), 1e5, Key(7)).std() for g in STATES) < 28.6e-6 / 6


def test_cells_wear_out_by_weibull() -> None:
    law = Endurance()
    assert law.alive(1e4) == pytest.approx(0.999, abs=1e-4)
    state = law.draw((20000,), 1e6, Key(8))
    assert np.mean(state == 0) == pytest.approx(math.exp(-1), abs=0.011)
    assert np.mean(state == 1) == pytest.approx(4 * np.mean(state == -1), rel=0.1)


def test_stuck_cells_come_in_their_shares() -> None:
    state = StuckCells().draw((200, 200), Key(9))
    assert np.mean(state == 1) == pytest.approx(0.0904, abs=0.006)
    assert np.mean(state == -1) == pytest.approx(0.0175, abs=0.003)
