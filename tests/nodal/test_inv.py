"""The nodal INV model against Kirchhoff's law, the un-reduced network, and ngspice."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg

from amcsim._types import C128, F64
from amcsim.access import channel_capacitances, on_resistance
from amcsim.analysis.inv import inv_deck, operating_points, transient
from amcsim.netlist.deck import deck_text
from amcsim.ngspice import run_batch
from amcsim.nodal.inv import build
from amcsim.nodal.inv import rows as rows_of
from amcsim.nodal.loop import LoopModel
from amcsim.realisation import Realisation, realise
from amcsim.specs import Spec, preset
from amcsim.streams import Key
from amcsim.topology.inv import closed_form

PKU = preset("pku_350nm")
QUIET = PKU.replace(programming={"model": "ideal"}, opamp={"offset_sigma": 0.0})
NO_CURE = QUIET.replace(opamp={"feedback_capacitance": 0.0}, inverter={"resistance": 10e3, "feedback_capacitance": 0.0})
LINEAR = Spec().replace(
    opamp={"model": "linear", "gain": 1e4, "offset_sigma": 1e-3},
    inverter={"mismatch_sigma": 0.01},
    programming={"model": "uniform", "tolerance": 10e-6},
)


def regular(m: int, seed: int = 0) -> F64:
    """A matrix with its diagonal ahead, so that every circuit of it is stable."""
    return Key(seed, (m,)).generator().normal(size=(m, m)) / (2 * math.sqrt(m)) + 1.5 * np.eye(m)


def spd(condition: float, seed: int, m: int = 4) -> F64:
    q, _ = np.linalg.qr(Key(seed).generator().normal(size=(m, m)))
    a: F64 = (q * np.geomspace(1.0, 1.0 / condition, m)) @ q.T
    return a


def volts(m: int, seed: int = 0, k: int = 2) -> F64:
    return Key(seed, (m, 1)).generator().uniform(-0.1, 0.1, (m, k))


def relative(x: F64, reference: F64) -> float:
    return float(np.linalg.norm(x - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize("m", [3, 4, 9, 16])
def test_without_wires_ngspice_and_nodal_equal_the_closed_form(m: int) -> None:
    """Linear amplifiers, finite gain, offsets on amplifiers and inverters."""
    r, b = realise(regular(m), LINEAR, Key(m)), volts(m)
    x, xn = closed_form(r, b, LINEAR)
    model = build(LINEAR, r)
    u = model.operating_point(b).u
    simulated = operating_points(LINEAR, r, b)
    for part, wanted in (("x", x), ("xn", xn)):
        rows = rows_of(model.answers, part)
        assert relative(u[rows], wanted) < 1e-12  # the same algebra in another order
        # ngspice gives its linear amplifiers 1 mohm, which the gain divides
        assert relative(simulated[rows], wanted) < 1e-6


@pytest.mark.parametrize("m", [4, 8, 16])
@pytest.mark.parametrize("layout", ["shared", "separate"])
@pytest.mark.parametrize(("access", "tolerance"), [("none", 1e-5), ("nmos_350n", 1e-3)])
@pytest.mark.parametrize("model", ["linear", "behavioral"])
def test_wired_ngspice_equals_nodal(m: int, layout: str, access: str, tolerance: float, model: str) -> None:
    """1 ohm a cell. Nodal has no curvature of the access transistor: that is the looser tolerance."""
    spec = PKU.replace(wire={"layout": layout}, cell={"access": access}, opamp={"model": model})
    r, b = realise(regular(m), spec, Key(m)), volts(m, k=1)
    point = build(spec, r).operating_point(b)
    assert point.converged.all()
    assert relative(point.u[: 2 * m], operating_points(spec, r, b)[: 2 * m]) < tolerance


def test_wires_change_the_answer_by_more_than_the_tolerance() -> None:
    """Else the comparisons above would not see them."""
    r, b = realise(regular(8), PKU, Key(8)), volts(8)
    bare = {"bl_resistance": 0.0, "sl_resistance": 0.0}
    wirings: list[dict[str, Any]] = [{}, {"layout": "separate"}, {"sl_resistance": 0.0}, bare]
    answers = [build(PKU.replace(wire=wire), r).operating_point(b).u[:8] for wire in wirings]
    for one, other in itertools.combinations(answers, 2):
        assert relative(one, other) > 1e-3


def test_swing_and_current_limits_bend_the_answer_as_in_ngspice() -> None:
    """Outputs at a third of the swing and two thirds of the output current."""
    spec = QUIET.replace(cell={"access": "none", "v_read_max": 2.0}, opamp={"output_current": 3e-3})
    r, b = realise(np.array([[1.0, -0.3], [0.2, 0.8]]), spec, Key(0)), np.array([[0.8], [-0.9]])
    model = build(spec, r)
    point = model.operating_point(b)
    assert point.converged.all()
    assert np.abs(point.current).max() > 0.4 * 3e-3
    unlimited = build(spec.replace(opamp={"model": "linear"}), r).operating_point(b).u[:2]
    simulated = operating_points(spec, r, b)[:2]
    assert relative(point.u[:2], simulated) < 1e-6
    assert relative(unlimited, simulated) > 3 * relative(point.u[:2], simulated)


def test_output_currents_are_those_of_ngspice() -> None:
    r, b = realise(regular(3), PKU, Key(0)), volts(3, k=1)
    model = build(PKU, r)
    point = model.operating_point(b)
    expected = point.u[rows_of(model.answers, "x"), 0], point.u[rows_of(model.answers, "xn"), 0]
    text = deck_text(inv_deck(PKU, r, b[:, 0], expected), [".options savecurrents", ".op"])
    plot = run_batch(text).plot("operating")
    sensors = [f"xa{i}" for i in range(3)] + [f"xi{i}.xo" for i in range(3)]
    sensed = [plot[f"i(v.{name}.vs)"][0].real for name in sensors]
    np.testing.assert_allclose(point.current[:, 0], sensed, rtol=1e-4, atol=1e-9)


class Pencil:
    """The whole linearised circuit, no node eliminated: (C s + G) u = 0; written from the design, not topology/."""

    def __init__(self, spec: Spec, r: Realisation) -> None:
        self.index: dict[str, int] = {}
        self.entries: list[tuple[str, str, float, float]] = []
        m, wire, op = r.offset.size, spec.wire, spec.opamp
        ron, (inner, outer) = on_resistance(spec.cell), channel_capacitances(spec.cell)
        ro, resistance = op.output_resistance, spec.inverter.resistance
        integrator = 1 / (2 * math.pi * op.gbw)
        second = 1 / (2 * math.pi * op.second_pole) if op.second_pole else 0.0
        for i in range(m):
            self.two(f"sl{i}", "0", g=spec.g_unit, c=wire.summing_capacitance)
            self.two(f"sl{i}", f"x{i}", c=op.feedback_capacitance)
            self.two(f"x{i}", f"q{i}", g=1 / resistance)
            self.two(f"xn{i}", f"q{i}", 1 / (resistance * r.inverter_ratio[i]), spec.inverter.feedback_capacitance)
            self.two(f"q{i}", "0", c=wire.inverter_capacitance)
            for out, sense in ((f"x{i}", f"sl{i}"), (f"xn{i}", f"q{i}")):
                self.row(out, {out: 1 / ro, "y" + out: -1 / ro})
                self.row("y" + out, {"y" + out: 1.0, "p" + out: -1.0}, second)
                self.row("p" + out, {"p" + out: 1 / op.gain, sense: 1.0}, integrator)
            towards = {"x": f"sl{i}", "xn": f"sl{i}" if wire.layout == "separate" else f"sx{i},{m - 1}"}
            for sign, array in (("x", r.g_pos), ("xn", r.g_neg)):
                for j in range(m):
                    bl, n, sl = f"b{sign}{i},{j}", f"n{sign}{i},{j}", f"s{sign}{i},{j}"
                    self.two(bl, f"b{sign}{i - 1},{j}" if i else f"{sign}{j}", 1 / wire.bl_resistance)
                    self.two(sl, f"s{sign}{i},{j - 1}" if j else towards[sign], 1 / wire.sl_resistance)
                    self.two(bl, "0", c=wire.bl_capacitance)
                    self.two(sl, "0", c=wire.sl_capacitance + outer)
                    self.two(bl, n, g=array[i, j])
                    self.two(n, sl, g=1 / ron)
                    self.two(n, "0", c=inner)

    def two(self, a: str, b: str, g: float = 0.0, c: float = 0.0) -> None:
        for one, other in ((a, b), (b, a)):
            self.entries += [(one, one, g, c), (one, other, -g, -c)]

    def row(self, name: str, g: dict[str, float], c: float = 0.0) -> None:
        self.entries += [(name, other, value, 0.0) for other, value in g.items()] + [(name, name, 0.0, c)]

    def poles(self) -> C128:
        for one, other, _, _ in self.entries:
            for name in (one, other):
                if name != "0":
                    self.index.setdefault(name, len(self.index))
        n = len(self.index)
        g, c = np.zeros((n, n)), np.zeros((n, n))
        for one, other, conductance, capacitance in self.entries:
            if "0" not in (one, other):
                g[self.index[one], self.index[other]] += conductance
                c[self.index[one], self.index[other]] += capacitance
        found = scipy.linalg.eigvals(g, -c)
        return np.asarray(found[np.isfinite(found)], dtype=np.complex128)


@pytest.mark.parametrize("layout", ["shared", "separate"])
@pytest.mark.parametrize("base", [PKU, NO_CURE], ids=["preset", "no feedback capacitors"])
def test_poles_are_those_of_the_whole_network(base: Spec, layout: str) -> None:
    """Every pole below 160 MHz to 1e-3; wires and inner nodes are a thousand times faster."""
    spec = base.replace(wire={"layout": layout, "bl_capacitance": 50e-15, "sl_capacitance": 50e-15})
    r = realise(spd(30, seed=3), spec, Key(0))
    whole = Pencil(spec, r).poles()
    ours = build(spec, r).poles
    slow = whole[np.abs(whole) < 1e9]
    assert slow.size >= 16
    for pole in slow:
        assert np.abs(ours - pole).min() < 1e-3 * abs(pole)
    assert (ours[np.abs(ours) < 1e9]).size == slow.size


def test_a_pole_pair_rings_in_ngspice_at_its_frequency_and_damping() -> None:
    spec = NO_CURE.replace(opamp={"model": "linear"}, cell={"access": "none"})
    r = realise(spd(30, seed=3), spec, Key(0))
    model = build(spec, r)
    pole = model.poles[0]
    assert 5 < abs(pole.imag / pole.real) < 500  # it rings, and is the slowest
    period = 2 * math.pi / abs(pole.imag)
    b = np.array([0.01, 0.0, 0.0, 0.0])
    waves = transient(spec, r, b, 40 * period, step=period / 100)
    x = waves.matrix("x")
    end = model.operating_point(b[:, None]).u[:4, 0]
    signal = (x - end) @ (x - end)[x.shape[0] // 2]  # along one direction of the ringing mode
    late = waves.time > 15 * period  # the real poles are gone
    time, signal = waves.time[late], signal[late]
    up = np.flatnonzero((signal[:-1] < 0) & (signal[1:] >= 0))
    crossing = time[up] - signal[up] * (time[up + 1] - time[up]) / (signal[up + 1] - signal[up])
    peaks = [signal[one:other].max() for one, other in itertools.pairwise(up)]
    measured = complex(np.log(peaks[-1] / peaks[0]) / (len(peaks) - 1), 2 * math.pi) / np.diff(crossing).mean()
    assert measured.imag == pytest.approx(abs(pole.imag), rel=1e-3)
    assert measured.real == pytest.approx(pole.real, rel=0.03)  # trapezoids add no damping; interpolation a little


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tolerance", [0.01, 0.001])
def test_settling_time_is_that_of_a_small_step_in_ngspice(seed: int, tolerance: float) -> None:
    r = realise(spd(10, seed), QUIET, Key(0))
    model = build(QUIET, r)
    b = 0.01 * Key(seed, (1,)).generator().normal(size=4)
    wanted = model.settling_time(model.operating_point(b[:, None]).u, tolerance)[0]
    waves = transient(QUIET, r, b, 4 * wanted, step=wanted / 200)
    measured = waves.settling_time("x", tolerance) - 5e-9  # from the middle of the input's ramp
    assert wanted == pytest.approx(measured, rel=0.03)


def test_a_step_response_starts_at_rest_and_ends_at_the_answer() -> None:
    model = build(PKU, realise(spd(10, 1), PKU, Key(0)))
    u = model.operating_point(volts(4)).u
    start = model.step_residue(u, np.array([0.0]))[0]
    states = np.abs(np.diag(model.capacitance)) > 0
    np.testing.assert_allclose(start[states], -u[states], atol=1e-6)
    end = model.step_residue(u, np.array([50.0 / -model.poles[0].real]))[0]
    assert np.abs(end).max() < 1e-12


def test_a_circuit_of_one_cell_a_side_has_the_poles_of_hand_arithmetic() -> None:
    """m = 1, ideal amplifier with feedback capacitor only: the poles are those of a quadratic.

    Ideal integrator p' = -2 pi gbw v, x = p, and KCL at v: G (x - v) + g_unit (-b - v) + C_fb (x' - v') = 0, with the
    negative array at its floor driven by xn = -x: G+ (x - v) + G- (-x - v) - g_unit v + C (x' - v') = 0.
    """
    c_fb, gbw = 22e-12, 16e6
    spec = Spec().replace(opamp={"gbw": gbw, "feedback_capacitance": c_fb}, inverter={"resistance": 1.0})
    r = realise(np.array([[1.0]]), spec, Key(0))
    gp, gn, gu = r.g_pos.item(), r.g_neg.item(), spec.g_unit
    # v = -x'/w: C/w s^2 + (C + S/w) s + (G+ - G-) = 0, the inverter itself taken as infinitely fast
    w, load = 2 * math.pi * gbw, gp + gn + gu
    wanted = np.roots([c_fb / w, c_fb + load / w, gp - gn])
    slow = wanted[np.argmax(wanted.real)]
    # the inverter's own pole at gbw/2 delays G- x by 2/w: a correction of (G-/C) 2/w = 0.02
    assert build(spec, r).poles[0] == pytest.approx(slow, rel=0.03)


def test_many_right_hand_sides_are_the_single_ones() -> None:
    model = build(PKU, realise(regular(4), PKU, Key(0)))
    b = volts(4, k=5)
    together = model.operating_point(b).u
    for k in range(5):
        np.testing.assert_allclose(model.operating_point(b[:, k : k + 1]).u[:, 0], together[:, k], rtol=0, atol=1e-12)
    assert model.operating_point(b[:, :0]).u.shape == (32, 0)


def test_a_solution_beyond_the_limits_is_said_not_to_converge() -> None:
    model: LoopModel = build(QUIET, realise(spd(1000, 0), QUIET, Key(0)))
    point = model.operating_point(np.stack([np.full(4, 0.3), np.full(4, 1e-3)], axis=1))
    assert point.converged.tolist() == [False, True]
