"""Small-signal analyses, waveforms and paused sweeps of a session: circuits with closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amcsim.ngspice import NgspiceError, Session
from amcsim.ngspice.frequencies import decades

LOW_PASS = """low-pass with a quiet resistor beside
V1 a 0 dc 1 pulse(0 1 0 1n 1n 1 2)
V2 c 0 0
R1 a b 1k
C1 b 0 1u
R2 c d 1k noisy=0
R3 d 0 1k
Vsample s 0 0
.end
"""
BENT = """a diode from a resistor
V1 a 0 1
R1 a b 1k
D1 b 0 plain
.model plain d(is=1e-14)
Vsample s 0 0
.end
"""
CORNER = 1 / (2 * math.pi * 1e-3)
BOLTZMANN = 1.380649e-23


def loaded(deck: str) -> Session:
    session = Session()
    session.load(deck)
    return session


def test_decades_hold_both_ends() -> None:
    f = decades(10.0, 1e4, 5)
    assert (f.size, f[0], f[-1]) == (16, 10.0, pytest.approx(1e4))
    assert decades(1.0, 5e3, 3)[-1] == pytest.approx(10 ** (11 / 3))
    for wrong in ((0.0, 1.0, 1), (2.0, 1.0, 1), (1.0, math.inf, 1), (1.0, 2.0, 0)):
        with pytest.raises(ValueError, match="wanted 0 < start < stop"):
            decades(*wrong)


def test_ac_is_the_low_pass_s_closed_form_and_leaves_the_sources_quiet() -> None:
    session, f = loaded(LOW_PASS), decades(1.0, 1e5, 7)
    b, d = session.ac(f, ["v(b)", "v(d)"], {"v1": 2.0})
    np.testing.assert_allclose(b, 2.0 / (1 + 1j * f / CORNER), rtol=1e-9)
    np.testing.assert_array_equal(d, 0.0)
    b, d = session.ac(f, ["v(b)", "v(d)"], {"v2": 1.0})
    np.testing.assert_array_equal(b, 0.0)
    np.testing.assert_allclose(d, 0.5, rtol=1e-12)
    with pytest.raises(NgspiceError, match="no vector"):
        session.ac(f, ["v(nowhere)"], {"v1": 1.0})
    with pytest.raises(NgspiceError):
        session.ac(f, ["v(b)"], {"v9": 1.0})
    np.testing.assert_allclose(session.ac(f, ["v(b)"], {"v1": 1.0})[0], 1.0 / (1 + 1j * f / CORNER), rtol=1e-9)


def test_noise_is_that_of_a_resistor_behind_a_pole_and_of_half_a_divider() -> None:
    session, f = loaded(LOW_PASS), decades(1.0, 1e5, 7)
    b, d = session.noise(f, ["v(b)", "v(d)"], "v1")
    density = math.sqrt(4 * BOLTZMANN * 300.15 * 1e3)
    np.testing.assert_allclose(b, density / np.hypot(1, f / CORNER), rtol=2e-5)
    np.testing.assert_allclose(d, density / 2, rtol=2e-5)  # the other one is declared quiet
    with pytest.raises(ValueError, match="not the voltage of a node"):
        session.noise(f, ["v(b);quit"], "v1")


def test_waveforms_are_what_they_are_told_to_be() -> None:
    session = loaded(LOW_PASS)
    session.alter_waveform("v1", "pwl", (0.0, 0.0, 1e-3, 2.0, 2e-3, -1.0))
    found = session.tran(1e-5, 3e-3, ["v(a)"])
    np.testing.assert_allclose(
        found["v(a)"], np.interp(found["time"], [0, 1e-3, 2e-3], [0.0, 2.0, -1.0]), rtol=0, atol=1e-9
    )
    session.alter_waveform("v1", "exp", (0.0, 1.0, 1e-3, 5e-4, 1.0, 1.0))
    found = session.tran(1e-5, 3e-3, ["v(a)"])
    late = np.maximum(found["time"] - 1e-3, 0.0)
    np.testing.assert_allclose(found["v(a)"], 1 - np.exp(-late / 5e-4), rtol=0, atol=1e-9)


def test_variations_are_operating_points_one_by_one() -> None:
    session = loaded(BENT)
    volts = np.array([1.0, 0.2, -3.0, 5.0, 0.7, 0.7, 2.0])
    values = np.stack([volts, np.geomspace(100.0, 1e5, 7)], axis=1)
    found = session.variations("vsample", ["v1", "r1"], values, ["v(b)", "i(v1)"])
    for row, (v, ohm) in zip(found, values.tolist(), strict=True):
        session.alter({"v1": v, "r1": ohm})
        np.testing.assert_allclose(row, session.op(["v(b)", "i(v1)"]), rtol=2e-3, atol=1e-9)
    np.testing.assert_array_equal(session.variations("vsample", ["v1", "r1"], values, ["v(b)", "i(v1)"]), found)
    assert session.variations("vsample", ["v1", "r1"], values[:1], ["v(b)"])[0, 0] == found[0, 0]
    assert session.variations("vsample", ["v1", "r1"], values[:0], ["v(b)"]).shape == (0, 1)


def test_a_session_goes_on_as_before_after_variations() -> None:
    """No breakpoint, no list of vectors to save, no remembered value stays behind."""
    session = loaded(LOW_PASS)
    session.alter({"v1": 4.0})
    session.variations("vsample", ["v1"], np.array([[1.0], [2.0], [3.0]]), ["v(b)"])
    session.alter({"v1": 4.0})
    assert session.op(["v(b)", "v(a)"]).tolist() == [4.0, 4.0]
    assert session.tran(1e-4, 5e-3, ["v(d)"])["time"][-1] == pytest.approx(5e-3)


def test_variations_say_what_they_cannot_do() -> None:
    session = loaded(BENT)
    with pytest.raises(ValueError, match="must be finite"):
        session.variations("vsample", ["v1"], np.array([[1.0], [np.nan]]), ["v(b)"])
    with pytest.raises(NgspiceError):
        session.variations("vsample", ["v7"], np.array([[1.0], [2.0]]), ["v(b)"])
    with pytest.raises(NgspiceError, match="no data saved"):
        session.variations("vsample", ["v1"], np.array([[1.0], [2.0]]), ["v(nowhere)"])
    with pytest.raises(NgspiceError, match="no vector"):
        session.variations("vsample", ["v1"], np.array([[1.0], [2.0]]), ["v(a)", "v(nowhere)"])
    session.alter({"v1": 3.0})
    assert session.op(["v(a)"])[0] == 3.0


def test_variations_end_at_a_point_without_solution() -> None:
    """A tunnel of positive feedback: beyond some gain Newton does not come to an end."""
    deck = "no way\nV1 a 0 1\nB1 b 0 V={V(a) > 2 ? V(b)*V(b) + 1 + V(a) : V(a)}\nR1 b 0 1k\nVsample s 0 0\n.end\n"
    session = loaded(deck)
    found = session.variations("vsample", ["v1"], np.array([[1.0], [1.5], [3.0], [1.0]]), ["v(b)"])[:, 0]
    np.testing.assert_allclose(found[:2], [1.0, 1.5], rtol=1e-6)
    assert np.isnan(found[2:]).all()
    session.alter({"v1": 0.5})
    assert session.op(["v(b)"])[0] == pytest.approx(0.5)


def test_node_voltages_are_the_operating_point_of_all_nodes() -> None:
    found = loaded(LOW_PASS).node_voltages()
    assert {name: round(v, 9) for name, v in found.items()} == {"a": 1.0, "b": 1.0, "c": 0.0, "d": 0.0, "s": 0.0}
