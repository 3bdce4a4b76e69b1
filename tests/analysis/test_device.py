"""One cell on the bench: gates limit SET, SET is abrupt and RESET gradual, heat helps, reads disturb as predicted."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.access import card_parameters
from amcsim.analysis.device import GATES, abruptness, iv_family, long_read, pulse_train, temperature_response
from amcsim.specs import SpecError, preset

CELL = preset("pku_350nm").cell


def test_the_gate_limits_set_to_the_transistors_saturation_current() -> None:
    found = iv_family(CELL)
    current = np.array([found.measures[f"SET current at {g:.4g} V"].value for g in GATES])
    card = card_parameters("nmos_350n")
    overdrive = GATES - card["vto"] - card["gamma"] * (np.sqrt(card["phi"] + 5.0) - np.sqrt(card["phi"]))
    square_law = 0.5 * card["kp"] * 40 * overdrive**2 / (1 + card["theta"] * overdrive)
    # the body effect along the channel takes 6 % of the square law's current
    np.testing.assert_allclose(current, 0.94 * square_law, rtol=0.04)
    left = np.array([found.measures[f"G after SET at {g:.4g} V"].value for g in GATES])
    assert (np.diff(left) > 10e-6).all()
    assert left[0] < 25e-6 < 220e-6 < left[-1]


def test_an_iv_loop_comes_back_to_the_high_resistance_state() -> None:
    found = iv_family(CELL, [1.9])
    name = "at 1.9 V"
    assert found.measures[f"G after RESET {name}"].value < 15e-6
    assert 0.9 < found.measures[f"SET voltage {name}"].value < 1.3
    assert -1.2 < found.measures[f"RESET voltage {name}"].value < -0.8
    np.testing.assert_allclose(found.axis.values[[0, -1]], 0.0, atol=1e-9)
    assert (found.axis.values.max(), found.axis.values.min()) == pytest.approx((1.6, -1.6), abs=0.02)


def test_set_is_abrupt_and_reset_gradual() -> None:
    found = abruptness(CELL).measures
    assert found["SET width"].value < 0.05
    assert found["RESET width"].value > 4 * found["SET width"].value


def test_pulses_of_one_polarity_go_one_way_and_stronger_ones_go_further() -> None:
    for polarity, sign, volts in (("set", 1, [1.1, 1.3]), ("reset", -1, [0.95, 1.05])):
        found = pulse_train(CELL, polarity=polarity, voltages=volts, pulses=8)
        weak, strong = (t.values * sign for t in found.traces.values())
        assert (np.diff(weak) > -1e-12).all()
        assert strong[-1] > weak[-1] + 20e-6
    with pytest.raises(ValueError, match="allowed is set or reset"):
        pulse_train(CELL, polarity="up", voltages=[1.0])


def test_a_reset_pulse_goes_further_in_the_heat() -> None:
    after = temperature_response(CELL, (280.0, 320.0, 360.0)).traces["after RESET"].values
    assert (np.diff(after) < -10e-6).all()


def test_predicted_read_disturb_is_what_a_long_read_in_ngspice_does() -> None:
    found = long_read(CELL)
    for volts, largest in ((0.2, 1e-9), (0.3, 1e-7), (0.5, 1e-4), (0.7, 0.1)):
        simulated, predicted = (found.traces[f"{who} {volts:g} V"].values for who in ("ngspice", "predicted"))
        assert 0 < predicted[-1] < largest
        # the on-resistance is taken linear, the gap's rate changes by 3 % a millivolt
        np.testing.assert_allclose(simulated[10:], predicted[10:], rtol=5e-3)


def test_a_cell_without_a_transistor_is_refused() -> None:
    with pytest.raises(SpecError, match=r'cell\.access = "none"'):
        iv_family(preset("ideal").cell)
