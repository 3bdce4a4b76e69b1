"""The write error's fit gives back what it was fitted to, and its judge sees a difference where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.device.writes import agreement, fit_write_error, quantile_interval
from amcsim.streams import Key

STATES = np.array([50e-6, 150e-6])


def sample(seed: int, shift: float = 0.0, cells: int = 400) -> np.ndarray:
    """Errors of two states, the second twice as wide."""
    drawn = Key(seed).generator().uniform(-1e-6, 1e-6, (2, cells)) * np.array([[1.0], [2.0]])
    return np.asarray(drawn + shift)


def test_a_fit_draws_what_it_was_fitted_to_and_interpolates_between_states() -> None:
    fit = fit_write_error(STATES, sample(1), 2e-6, "cell")
    p = np.linspace(0, 1, 1001)
    assert fit.quantile(np.array(50e-6), p).std() == pytest.approx(1e-6 / np.sqrt(3), rel=0.05)
    assert fit.quantile(np.array(100e-6), p).std() == pytest.approx(1.5e-6 / np.sqrt(3), rel=0.05)
    assert (np.diff(fit.quantile(np.array(120e-6), p)) >= 0).all()


def test_fresh_samples_of_the_same_law_agree_and_shifted_ones_do_not() -> None:
    fit = fit_write_error(STATES, sample(1), 2e-6, "cell")
    same, shifted = agreement(fit, STATES, sample(2)), agreement(fit, STATES, sample(2, shift=0.5e-6))
    assert same.inside.mean() >= 0.8
    assert np.abs(same.cliffs_delta).max() < 0.147
    # uniform on +-1, shifted by 0.5: P(>) - P(<) = 1 - 2 (1.5^2/8) = 0.4375
    assert shifted.cliffs_delta[0] == pytest.approx(0.4375, abs=0.08)
    assert shifted.inside[0].sum() == 0
    assert shifted.standardised[0].max() < -0.5


def test_the_interval_of_a_median_holds_it_as_often_as_it_says() -> None:
    held = 0
    for k in range(400):
        low, high = quantile_interval(Key(3).child(k).generator().normal(size=60), 0.5)
        held += low <= 0.0 <= high
    assert held / 400 == pytest.approx(0.95, abs=0.035)  # 1.1 % standard error; order statistics are a little wide
