"""Margins: ngspice against the state matrix, and against where a transient starts to ring on and on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from amcsim._types import C128, F64
from amcsim.analysis.array import transient
from amcsim.analysis.stability import gain_margin, phase_margin, stability, unstable_poles, valley
from amcsim.ngspice.frequencies import decades
from amcsim.nodal.build import build
from amcsim.nodal.response import SmallSignal
from amcsim.realisation import realise
from amcsim.specs import Spec, preset
from amcsim.streams import Key
from amcsim.topology.inv import INV
from amcsim.topology.mvm import MVM

PKU = preset("pku_350nm")
A = np.array([[1.0, -0.3, 0.2], [-0.25, 0.9, 0.1], [0.15, 0.0, 0.8]])
B = np.array([0.1, -0.05, 0.08])
R = realise(A, PKU, Key(1))


def test_a_loop_of_two_poles_has_its_closed_form_margins() -> None:
    f = decades(1.0, 1e9, 50)
    loop: C128 = 1e6 / ((1 + 1j * f / 10) * (1 + 1j * f / 1e6) ** 2)
    cross = brentq(lambda x: 1e6 / (math.hypot(1, x / 10) * (1 + (x / 1e6) ** 2)) - 1, 1e3, 1e8)
    phase = 180 - math.degrees(math.atan(cross / 10) + 2 * math.atan(cross / 1e6))
    margin, at = phase_margin(f, loop)
    assert margin == pytest.approx(abs(phase), abs=0.05)
    assert at == pytest.approx(cross, rel=1e-3)
    turn = brentq(lambda x: math.atan(x / 10) + 2 * math.atan(x / 1e6) - math.pi, 1e5, 1e8)
    size = abs(1e6 / ((1 + 1j * turn / 10) * (1 + 1j * turn / 1e6) ** 2))
    assert gain_margin(f, loop)[0] == pytest.approx(abs(20 * math.log10(size)), abs=0.05)


def test_a_loop_that_never_crosses_has_infinite_margins() -> None:
    f = decades(1.0, 1e6, 10)
    low_pass: C128 = (1 + 0j) / (1 + 1j * f / 1e3)
    assert phase_margin(f, 0.1 * low_pass)[0] == math.inf
    assert gain_margin(f, 1e3 * low_pass)[0] == math.inf


@pytest.mark.parametrize("topology", [INV, MVM])
def test_injection_in_ngspice_measures_what_the_state_matrix_has(topology: object) -> None:
    circuit = INV if topology is INV else MVM
    nodal, spice = (stability(circuit, PKU, R, B, backend=name, per_decade=20) for name in ("nodal", "ngspice"))
    for name in ("margin", "guaranteed_phase_margin", "phase_margin", "phase_margin_a0", "gain_margin_a1", "stable"):
        assert nodal.measures[name].value == pytest.approx(spice.measures[name].value, rel=2e-3)
    for name in ("a0", "i2") if circuit is INV else ("a0", "a2"):
        difference = nodal.traces[f"|{name}|"].values - spice.traces[f"|{name}|"].values
        assert np.abs(difference).max() < 0.05  # dB, over nine decades


def test_one_amplifier_alone_is_a_textbook_loop() -> None:
    """MVM of one row, linear amplifier: L = a(jw) beta, beta = (g_u + jw C_f)/(g_u + G + jw (C_f + C_s))."""
    spec = PKU.replace(
        opamp={"model": "linear", "output_resistance": 0.0},
        cell={"access": "none"},
        wire={"bl_resistance": 0.0, "sl_resistance": 0.0, "bl_capacitance": 0.0, "sl_capacitance": 0.0},
    )
    r = realise(np.array([[1.0]]), spec, Key(0))
    found = stability(MVM, spec, r, np.array([0.1]), per_decade=50)
    op, s = spec.opamp, 2j * math.pi * found.axis.values
    assert op.second_pole is not None
    gain = 1 / ((1 / op.gain + s / (2 * math.pi * op.gbw)) * (1 + s / (2 * math.pi * op.second_pole)))
    total = spec.g_unit + float((r.g_pos + r.g_neg).sum())
    feedback = op.feedback_capacitance
    beta = (spec.g_unit + s * feedback) / (total + s * (feedback + spec.wire.summing_capacitance))
    np.testing.assert_allclose(found.traces["|a0|"].values, 20 * np.log10(np.abs(gain * beta)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("diagonal", [[1.0, 1.0, 1.0], [1.0, -0.5, 0.8], [-1.0, -1.0, 0.5]])
def test_nyquist_counts_the_poles_to_the_right(diagonal: list[float]) -> None:
    r = realise(np.diag(diagonal), PKU, Key(0))
    model = build(INV, PKU, r)
    right = int((model.poles.real > 0).sum())
    assert right == sum(d < 0 for d in diagonal)
    assert unstable_poles(SmallSignal(model, decades(1.0, 1e9, 40)).sensitivity()) == right
    measured = stability(INV, PKU, r, np.full(3, 1e-3), backend="ngspice").measures
    assert (measured["unstable_poles"].value, measured["stable"].value) == (right, float(right == 0))


def test_a_sweep_that_is_too_short_for_nyquist_says_so() -> None:
    """From 10 kHz on, the loops have turned by 90 deg each; up to 1 MHz, they have gain left."""
    for span in ({"start": 1e4, "stop": 1e9}, {"start": 1.0, "stop": 1e6}):
        found = stability(INV, PKU, R, B, backend="ngspice", per_decade=5, **span)  # type: ignore[arg-type]
        assert math.isnan(found.measures["stable"].value)
        assert "no Nyquist count" in found.details["note"][0]


def test_a_valley_between_two_frequencies_is_found() -> None:
    f = np.geomspace(1.0, 100.0, 41)
    depth, at = valley(f, np.hypot(1e-3, f / 10.3 - 1))
    assert depth == pytest.approx(1e-3, rel=1e-6)  # the nearest frequencies see 0.03 and more
    assert at == pytest.approx(10.3, rel=1e-6)
    assert valley(f, f) == (1.0, 1.0)


def ill_conditioned(inverter: float) -> tuple[Spec, F64]:
    """A 4x4 symmetric positive-definite array of condition 30 without feedback capacitors: slow inverters upset it."""
    q, _ = np.linalg.qr(Key(3).generator().normal(size=(4, 4)))
    a = q @ np.diag([1.0, 0.3, 0.1, 1 / 30]) @ q.T
    spec = PKU.replace(
        programming={"model": "ideal"},
        opamp={"offset_sigma": 0.0, "feedback_capacitance": 0.0},
        inverter={"resistance": inverter, "feedback_capacitance": 0.0},
    )
    return spec, a / np.abs(a).max()


def dominant(inverter: float) -> complex:
    spec, a = ill_conditioned(inverter)
    poles = build(INV, spec, realise(a, spec, Key(0))).poles
    return complex(poles[int(np.argmax(poles.real))])


def test_the_margin_is_zero_where_the_transient_starts_to_ring_on_and_on() -> None:
    """The inverters' resistance that puts a pole on the axis: ngspice rings on beyond it, at the pole's own rate."""
    critical = brentq(lambda ohm: dominant(ohm).real, 8e3, 20e3, xtol=1.0)
    spec, a = ill_conditioned(critical)
    at_the_edge = stability(INV, spec, realise(a, spec, Key(0)), np.zeros(4), start=3e6, stop=6e6, per_decade=3000)
    assert at_the_edge.measures["margin"].value < 1e-3
    assert at_the_edge.measures["phase_margin"].value < 0.1
    assert at_the_edge.measures["margin"].at is not None
    assert at_the_edge.measures["margin"].at[1] == pytest.approx(abs(dominant(critical).imag) / (2 * math.pi), rel=1e-3)
    for factor in (0.9, 1.1):
        spec, a = ill_conditioned(factor * critical)
        r = realise(a, spec, Key(0))
        waves = transient(INV, spec, r, a @ np.array([0.01, 0.005, -0.01, 0.008]), 7e-6, step=4e-9, delay=0.1e-6)
        x = waves.matrix("x")
        size = []
        for start in (3e-6, 5e-6):
            part = x[(waves.time > start) & (waves.time < start + 2e-6)]
            size.append(float(np.sqrt(np.mean((part - part.mean(axis=0)) ** 2))))
        pole = dominant(factor * critical)
        rate = math.log(size[1] / size[0]) / 2e-6
        assert (rate > 0) == (factor > 1) == (pole.real > 0)
        # trapezoidal steps of 4 ns at 4.4 MHz, and beyond the edge amplifiers that begin to bend
        assert rate == pytest.approx(pole.real, rel=0.1)
