"""Noise: a case by hand to 1 %, ngspice against the state matrix, quiet decks elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amcsim.analysis.array import array_deck, operating_points
from amcsim.analysis.linearised import Problem
from amcsim.analysis.noise import effective_bits, integrated, noise
from amcsim.netlist.conditions import Conditions
from amcsim.netlist.deck import deck_text
from amcsim.realisation import realise
from amcsim.specs import preset
from amcsim.streams import Key
from amcsim.topology.inv import INV
from amcsim.topology.mvm import MVM

PKU = preset("pku_350nm")
A = np.array([[1.0, -0.3, 0.2], [-0.25, 0.9, 0.1], [0.15, 0.0, 0.8]])
B = np.array([0.1, -0.05, 0.08])
R = realise(A, PKU, Key(1))
K = 1.380649e-23


@pytest.mark.parametrize("backend", ["nodal", "ngspice"])
@pytest.mark.parametrize("temperature", [27.0, 100.0])
def test_a_transimpedance_amplifier_by_hand(backend: str, temperature: float) -> None:
    """Below the bandwidth: 4 k T (g_u + G)/g_u^2 + e_n^2 (1 + G/g_u)^2 (T/T0 + f_c/f)."""
    spec = preset("ideal").replace(opamp={"noise_density": 16e-9, "noise_corner": 300.0})
    r = realise(np.array([[1.0, -0.5]]), spec, Key(0))
    where = Conditions(temperature)
    found = noise(MVM, spec, r, np.array([0.1, 0.1]), backend=backend, conditions=where, stop=1e5)  # type: ignore[arg-type]
    total, unit, kelvin = float((r.g_pos + r.g_neg).sum()), spec.g_unit, temperature + 273.15
    f = found.axis.values
    amplifier = (16e-9 * (1 + total / unit)) ** 2 * (kelvin / 300.15 + 300.0 / f)
    hand = np.sqrt(4 * K * kelvin * (unit + total) / unit**2 + amplifier)
    np.testing.assert_allclose(found.traces["y0"].values, hand, rtol=1e-3)


def test_inverters_access_transistors_and_wires_in_ngspice_and_in_the_state_matrix() -> None:
    nodal, spice = (noise(INV, PKU, R, B, backend=name, per_decade=5) for name in ("nodal", "ngspice"))
    for i in range(3):
        np.testing.assert_allclose(nodal.traces[f"x{i}"].values, spice.traces[f"x{i}"].values, rtol=2e-3)
    assert nodal.measures["integrated"].value == pytest.approx(spice.measures["integrated"].value, rel=2e-3)
    parts = nodal.details["parts_rms"]
    whole = nodal.measures["integrated"].value
    assert math.sqrt(sum(rms**2 for rms in parts.values())) == pytest.approx(whole, rel=1e-9)


def test_access_transistors_make_thermal_noise() -> None:
    """ngspice 39's own is 0 without drain current: the explicit source adds what R_on + 1/g in series would make."""
    quiet = PKU.replace(opamp={"noise_density": 0.0}, wire={"bl_resistance": 0.0, "sl_resistance": 0.0})
    small = quiet.replace(cell={"w": 2e-6})  # about 1 kohm beside 5 kohm and more
    r = realise(np.eye(2), small, Key(0))
    nodal, spice = (noise(INV, small, r, 0.05 * np.ones(2), backend=name, stop=1e5) for name in ("nodal", "ngspice"))
    assert nodal.measures["integrated"].value == pytest.approx(spice.measures["integrated"].value, rel=5e-3)


def test_noise_sources_do_not_move_the_operating_point() -> None:
    """So that a noise analysis works around the answer of the usual deck."""
    problem = Problem(INV, PKU, R, B)
    noisy = problem.session(noise=True).op([f"v({n})" for n in problem.outputs])
    np.testing.assert_allclose(noisy, operating_points(INV, PKU, R, B[:, None])[:3, 0], rtol=0, atol=1e-7)
    assert ".subckt opamp_noise" not in deck_text(array_deck(INV, PKU, R, B))


def test_white_noise_through_one_pole_integrates_to_pi_over_two_bandwidths() -> None:
    f = np.geomspace(1.0, 1e9, 2001)
    power = 1e-16 / (1 + (f / 1e5) ** 2)
    assert integrated(f, power) == pytest.approx(math.sqrt(1e-16 * 1e5 * math.pi / 2), rel=1e-4)


def test_effective_bits_are_those_of_a_converter_with_the_same_noise() -> None:
    step = 2 * 0.3 / 2**10
    assert effective_bits(step / math.sqrt(12), 0.3) == pytest.approx(10.0)
    assert effective_bits(0.0, 0.3) == math.inf
    coarse = PKU.replace(converters={"adc_full_scale": 0.15})
    bits = [noise(INV, spec, R, B).measures["effective_bits"].value for spec in (PKU, coarse)]
    assert bits[0] - bits[1] == pytest.approx(1.0)
