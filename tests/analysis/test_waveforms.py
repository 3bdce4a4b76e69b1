"""Measures of waveforms with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.analysis.waveforms import Waveforms

TIME = np.linspace(0.0, 20e-6, 4001)


def decay(step: float = 0.0, tau: float = 1e-6) -> Waveforms:
    """Two outputs that approach 0.3 and -0.4 V (norm 0.5) together from `step` on, and a signal of another name."""
    rise = np.where(step < TIME, 1.0 - np.exp(-np.maximum(TIME - step, 0.0) / tau), 0.0)
    return Waveforms(TIME, {"v(x0)": 0.3 * rise, "v(x1)": -0.4 * rise, "v(xn0)": -0.3 * rise}, step)


@pytest.mark.parametrize("tolerance", [0.1, 0.01, 0.001])
def test_an_exponential_settles_in_the_logarithm_of_the_tolerance(tolerance: float) -> None:
    assert decay().settling_time("x", tolerance) == pytest.approx(1e-6 * np.log(1 / tolerance), rel=1e-3)


def test_settling_counts_from_the_step() -> None:
    assert decay(2e-6).settling_time() == pytest.approx(decay().settling_time(), rel=1e-3)


def test_what_keeps_moving_never_settles() -> None:
    assert Waveforms(TIME, {"v(x0)": np.sin(1e7 * TIME) + 0.01 * TIME}).settling_time() == float("inf")


def test_what_never_moves_has_settled_at_once() -> None:
    assert Waveforms(TIME, {"v(x0)": np.full(TIME.size, 0.2)}).settling_time() == 0.0


def test_overshoot_is_relative_to_each_end_value() -> None:
    ring = 1.0 - np.exp(-TIME / 1e-6) * np.cos(2 * np.pi * TIME / 1e-6)
    smooth = 1.0 - np.exp(-TIME / 1e-6)
    found = Waveforms(TIME, {"v(x0)": -0.2 * ring, "v(x1)": 0.1 * smooth, "v(x2)": 0.0 * TIME}).overshoot()
    # the largest excursion lies just before the half period, where the slope of the decay is made up for
    assert found[0] == pytest.approx((ring / ring[-1]).max() - 1.0)
    assert 0.6 < found[0] < 0.65
    assert found[1:].tolist() == [0.0, 0.0]


def test_a_prefix_names_its_own_signals_only() -> None:
    waves = decay()
    assert waves.matrix("x").shape == (TIME.size, 2)
    np.testing.assert_array_equal(waves.matrix("xn")[:, 0], waves.signals["v(xn0)"])
