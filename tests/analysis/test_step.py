"""Transient measures against the nodal step response and hand calculations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amcsim.analysis.step import Disturbances, step
from amcsim.nodal.build import build
from amcsim.realisation import realise
from amcsim.specs import preset
from amcsim.streams import Key
from amcsim.topology.inv import INV
from amcsim.topology.mvm import MVM

PKU = preset("pku_350nm")
A = np.array([[1.0, -0.3, 0.2], [-0.25, 0.9, 0.1], [0.15, 0.0, 0.8]])
B = np.array([0.1, -0.05, 0.08])
R = realise(A, PKU, Key(1))
FOLLOWER = preset("ideal"), realise(np.array([[1.0]]), preset("ideal"), Key(0))
TAU = (1 + float((FOLLOWER[1].g_pos + FOLLOWER[1].g_neg).sum()) / FOLLOWER[0].g_unit) / (2 * math.pi * 16e6)
"""Time constant of that one-row MVM with an ideal amplifier, s."""


def test_a_single_pole_settles_to_a_percent_in_ln_100_time_constants() -> None:
    """After the middle of the 10 ns ramp; it does not overshoot."""
    found = step(MVM, *FOLLOWER, np.array([0.1]), stop=40 * TAU).measures
    assert found["settling"].value == pytest.approx(5e-9 + TAU * math.log(100), rel=0.02)
    assert found["settling_y0"].value == found["settling"].value
    assert found["overshoot"].value < 1e-6


def test_settling_of_an_array_is_that_of_the_linear_step_response() -> None:
    model = build(INV, PKU, R)
    both = model.operating_point(np.stack([B, 0 * B], axis=1)).u
    ratio = np.linalg.norm(both[:3, 0]) / np.linalg.norm(both[:3, 0] - both[:3, 1])
    wanted = model.settling_time(both[:, :1] - both[:, 1:], 0.01 * float(ratio))[0] + 5e-9
    found = step(INV, PKU, R, B, stop=6e-6).measures
    assert found["settling"].value == pytest.approx(wanted, rel=0.002)
    assert found["slew_limited"].value == 0.0


def test_a_dac_that_settles_slowly_is_waited_for() -> None:
    """Well above TAU, the input's time constant tau sets the settling to 1 %: tau ln 100, and TAU later."""
    tau = 20 * TAU
    found = step(MVM, *FOLLOWER, np.array([0.1]), disturbances=Disturbances(dac_time_constant=tau), stop=12 * tau)
    assert found.measures["settling"].value == pytest.approx(tau * math.log(100) + TAU, rel=0.02)


def test_a_large_step_slews_at_the_slew_rate() -> None:
    spec = PKU.replace(programming={"model": "ideal"}, opamp={"offset_sigma": 0.0, "slew_rate": 1e5})
    r = realise(np.eye(2), spec, Key(0))
    result = step(INV, spec, r, np.array([0.25, 0.25]), stop=30e-6)
    found, x = result.measures, result.traces["x0"].values
    rising = (x > 0.2 * x[-1]) & (x < 0.8 * x[-1])
    slope = np.polyfit(result.axis.values[rising], x[rising], 1)[0]
    assert slope == pytest.approx(1e5, rel=0.1)  # tanh of the input over its range: just below 1
    assert found["slew_limited"].value == 1.0
    assert 1e5 < found["slew"].value < 1.3e5  # the first instant has the input's way through the capacitors besides
    assert found["settling"].value > 0.9 * 0.25 / 1e5


def test_an_overloaded_circuit_comes_back() -> None:
    calm = step(INV, PKU, R, B).measures
    found = step(INV, PKU, R, B, disturbances=Disturbances(overload=60.0, overload_time=4e-6))
    recovery = found.measures["recovery"].value
    assert calm["settling"].value < recovery < 20e-6
    assert "overshoot" not in found.measures
    for i in range(3):
        assert found.measures[f"end_x{i}"].value == pytest.approx(calm[f"end_x{i}"].value, abs=1e-5)
    assert max(np.abs(t.values).max() for t in found.traces.values()) > 2.0  # it was overloaded


def test_a_sampling_capacitor_kicks_the_answers_by_its_charge() -> None:
    """C over a switch of 10 kohm from an output resistance of 50 ohm: at first v 50/(10 k + 50) is missing."""
    kick = Disturbances(adc_capacitance=20e-12, adc_resistance=10e3)
    found = step(INV, PKU, R, B, disturbances=kick)
    quiet = step(INV, PKU, R, B).measures
    assert found.measures["settling"].value == pytest.approx(quiet["settling"].value, rel=0.02)
    largest = max(abs(found.measures[f"end_x{i}"].value) for i in range(3))
    assert 0.1 < found.measures["kick"].value / (largest * 50 / 10050) <= 1.05
    assert found.measures["kick"].at is not None
    assert found.measures["kick"].at[1] >= found.details["stop_s"] / 2


def test_an_end_that_is_not_reached_is_infinitely_far() -> None:
    assert step(MVM, *FOLLOWER, np.array([0.1]), stop=1.2 * TAU).measures["settling"].value == math.inf


def test_disturbances_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="adc_capacitance = -1: allowed is 0 to 1e-06"):
        Disturbances(adc_capacitance=-1.0)
    with pytest.raises(ValueError, match="exclude each other"):
        Disturbances(overload=2.0, dac_time_constant=1e-6)
    with pytest.raises(ValueError, match="stop = 100 s"):
        step(INV, PKU, R, B, stop=100.0)
