"""The compact model in NumPy: its closed forms, and what a read does to a cell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amcsim.device.gap import gap_model, read_disturb

MODEL = gap_model()


def test_numbers_come_from_the_library_and_cover_the_range() -> None:
    assert (MODEL.i0, MODEL.rth, MODEL.ea) == (pytest.approx(142e-6), 400e3, 1.2)
    ends = MODEL.conductance(np.array([MODEL.gmin, MODEL.gmax]))
    assert ends[1] < 20e-6 < 220e-6 < ends[0]
    np.testing.assert_allclose(MODEL.gap(MODEL.conductance(np.array([0.2, 0.7]))), [0.2, 0.7], rtol=1e-12)


def test_the_rate_by_hand() -> None:
    # 120 uS at 1 V: I = 120u*0.4*sinh(2.5) = 0.2904 mA, T = 300.15 + 400k*0.2904m = 416.3 K, kT = 35.88 meV;
    # gamma = 16.5 - 1.25*0.3254^3 = 16.457, F = 16.457*0.05 = 0.8228 eV; rate = -12.5e9 exp((0.8228 - 1.2)/kT) nm/s
    gap = MODEL.gap(np.array(120e-6))
    assert MODEL.current(np.array(1.0), gap) == pytest.approx(120e-6 * 0.4 * math.sinh(2.5), rel=1e-12)
    assert MODEL.temperature(np.array(1.0), gap) == pytest.approx(416.3, rel=1e-3)
    assert MODEL.rate(np.array(1.0), gap) == pytest.approx(-12.5e9 * math.exp((0.8228 - 1.2) / 35.875e-3), rel=0.01)


def test_set_closes_the_gap_reset_opens_it_and_nothing_moves_at_rest() -> None:
    gap = np.array([0.3, 0.6])
    assert (MODEL.rate(np.array(0.9), gap) < 0).all()
    assert (MODEL.rate(np.array(-0.9), gap) > 0).all()
    np.testing.assert_allclose(MODEL.rate(np.array(0.0), gap), 0.0, atol=1e-9)
    assert abs(MODEL.at(350.0).rate(np.array(0.7), gap)[0]) > 10 * abs(MODEL.rate(np.array(0.7), gap)[0])


def test_reads_up_to_the_range_of_the_circuit_leave_cells_alone() -> None:
    gap = MODEL.gap(np.array([20e-6, 120e-6, 220e-6]))
    times = np.array([1e-3])

    def moved(v: float) -> float:
        return float(np.abs(read_disturb(MODEL, gap, v, times)[:, 0] / MODEL.conductance(gap) - 1).max())

    assert moved(0.3) < 1e-7
    assert moved(0.5) < 1e-4
    assert 0.01 < moved(0.7) < 0.2
    # an access resistance takes its part of the voltage, and of the disturb
    behind = read_disturb(MODEL, gap, 0.7, times, 500.0)[:, 0] / MODEL.conductance(gap) - 1
    assert 0 < behind[2] < 0.5 * moved(0.7)


def test_a_short_read_moves_as_fast_as_the_rate_says() -> None:
    gap = np.array([0.4])
    times = np.array([1e-6])
    change = read_disturb(MODEL, gap, -0.6, times)[0, 0] / MODEL.conductance(gap)[0] - 1
    assert change == pytest.approx(-MODEL.rate(np.array(-0.6), gap)[0] * 1e-6 / MODEL.g0, rel=1e-3)


def test_times_must_ascend() -> None:
    with pytest.raises(ValueError, match="ascend"):
        read_disturb(MODEL, np.array([0.4]), 0.3, np.array([1.0, 0.5]))
