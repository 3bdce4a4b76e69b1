from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from amcsim.ngspice import Session

Bench = Callable[[str], Session]

A0, GBW, F2, SLEW, VSAT, RO, IMAX, IQ = 45e3, 16e6, 40e6, 22e6, 3.5, 50.0, 15e-3, 3.5e-3
LINEAR = f"a0={A0} gbw={GBW} f2={F2} ro={RO}"
PARAMETERS = {
    "ideal": f"gbw={GBW}",
    "linear": LINEAR,
    "behavioral": f"{LINEAR} sr={SLEW} vsat={VSAT} imax={IMAX} iq={IQ}",
}
MODELS = list(PARAMETERS)


def inverting(model: str, source: str, more: str = "", parameters: str | None = None) -> str:
    """An inverting amplifier of gain -1 out of single elements, with its amplifier Xo."""
    chosen = PARAMETERS[model] if parameters is None else parameters
    return f"Vin in 0 {source}\nRa in q 1k\nRb q out 1k\nXo q out vdd vss opamp_{model} {chosen} {more}\n"


@pytest.mark.parametrize("vin", [-0.3, -0.05, 0.2, 1.0])
def test_ideal_at_dc_holds_its_input_at_the_offset(bench: Bench, vin: float) -> None:
    session = bench(inverting("ideal", f"{vin}", "vos=1m") + "Rl out 0 500")
    q, out = session.op(["q", "out"])
    assert q == pytest.approx(1e-3, abs=1e-15)
    assert out == pytest.approx(2e-3 - vin, abs=1e-14)


@pytest.mark.parametrize("vin", [-0.3, -0.05, 0.2, 1.0])
def test_linear_dc_equation(bench: Bench, vin: float) -> None:
    session = bench(inverting("linear", f"{vin}", "vos=1m") + "Rl out 0 500")
    q, out, p, y, e = session.op(["q", "out", "xo.p", "xo.y", "xo.e"])
    current = out / 500 + (out - q) / 1e3
    assert e == pytest.approx(q - 1e-3, abs=1e-15)
    assert p == pytest.approx(A0 * (1e-3 - q), abs=1e-10)
    assert y == pytest.approx(p, abs=1e-14)
    assert out + RO * current == pytest.approx(p, abs=1e-14)


@pytest.mark.parametrize("vin", [-0.3, -0.05, 0.2])
def test_behavioral_dc_equation_in_the_read_range(bench: Bench, vin: float) -> None:
    session = bench(inverting("behavioral", f"{vin}", "vos=1m") + "Rl out 0 1k")
    q, out, p = session.op(["q", "out", "xo.p"])
    current = out / 1e3 + (out - q) / 1e3
    # Slew limit: relative (gm v/isl)^2/3 = 3e-10 at 0.3 V.
    assert p == pytest.approx(A0 * (1e-3 - q), abs=1e-9)
    # The current limit bends ro by (i/imax)^4/4 = 6e-7 of 30 mV at 0.6 mA, to be divided by A0 at the input.
    assert out + RO * current == pytest.approx(VSAT * math.tanh(p / VSAT), abs=1e-7)
    assert out + RO * current / (1 - (current / IMAX) ** 4) ** 0.25 == pytest.approx(
        VSAT * math.tanh(p / VSAT), abs=1e-13
    )
    # So the closed loop obeys x + ro i = vsat tanh(A0 (vos - v)/vsat) to 1e-9 V.
    loop = (VSAT * math.atanh((out + RO * current) / VSAT)) / A0
    assert 1e-3 - loop == pytest.approx(q, abs=1e-11)


@pytest.mark.parametrize("model", MODELS)
def test_offset_is_altered_in_a_session(bench: Bench, model: str) -> None:
    session = bench(inverting(model, "0.1", "vos=0"))
    before = session.op(["out"])[0]
    session.alter({"v.xo.vos": 2e-3})
    # Noise gain 2, loop gain A0/2.
    assert session.op(["out"])[0] - before == pytest.approx(4e-3, rel=1e-4)


def test_slew_rate_is_that_of_the_parameter(bench: Bench) -> None:
    # The input is overdriven by 1 V: tanh(4.6) = 0.9998 of the limit.
    session = bench(
        f"Vin q 0 dc 0 pulse(1 -1 1u 1n 1n 1 2)\nXo q out vdd vss opamp_behavioral {PARAMETERS['behavioral']}"
    )
    found = session.tran(2e-9, 2e-6, ["xo.p", "out"])
    middle = (np.abs(found["xo.p"]) < 2.5) & (found["time"] > 1e-6)
    assert np.polyfit(found["time"][middle], found["xo.p"][middle], 1)[0] == pytest.approx(SLEW, rel=2e-3)
    near = (np.abs(found["out"]) < 0.5) & (found["time"] > 1e-6)
    # The output clamp's tanh has lost (0.5/3.5)^2 = 2 % of its slope at 0.5 V.
    assert np.polyfit(found["time"][near], found["out"][near], 1)[0] == pytest.approx(SLEW, rel=0.02)


@pytest.mark.parametrize("model", MODELS)
def test_gain_bandwidth_by_the_closed_loop_step(bench: Bench, model: str) -> None:
    """One pole (f2 = 0 takes the second away), gain -1: time constant 2/(2 pi gbw); 1 mV steps do not slew."""
    fast = PARAMETERS[model].replace(f"f2={F2}", "f2=0").replace(f"ro={RO}", "ro=1")
    session = bench(inverting(model, "dc 0 pulse(0 1m 10n 0.1n 0.1n 1 2)", parameters=fast))
    found = session.tran(2e-10, 3e-7, ["out"])
    left = 1 - found["out"] / found["out"][-1]
    decay = (left > 0.02) & (left < 0.9)
    rate = -np.polyfit(found["time"][decay], np.log(left[decay]), 1)[0]
    assert rate * 2 / (2 * math.pi) == pytest.approx(GBW, rel=2e-3)


@pytest.mark.parametrize("model", ["linear", "behavioral"])
def test_the_second_pole_delays_the_output_stage(bench: Bench, model: str) -> None:
    session = bench(inverting(model, "dc 0 pulse(0 1m 10n 0.1n 0.1n 1 2)"))
    found = session.tran(1e-10, 2e-7, ["xo.p", "xo.y"])
    slope = np.gradient(found["xo.y"], found["time"])
    # tau dy/dt = p - y.
    steep = np.abs(slope) > 0.2 * np.abs(slope).max()
    tau = np.median((found["xo.p"] - found["xo.y"])[steep] / slope[steep])
    assert tau == pytest.approx(1 / (2 * math.pi * F2), rel=0.01)


def test_a_tiny_second_pole_capacitor_and_none_at_all_agree(bench: Bench) -> None:
    step = "dc 0 pulse(0 1m 10n 0.1n 0.1n 1 2)"
    waves = []
    for f2 in ("0", "1e12"):
        session = bench(inverting("linear", step, parameters=LINEAR.replace(f"f2={F2}", f"f2={f2}")))
        found = session.tran(1e-10, 1e-7, ["out"])
        waves.append(np.interp(np.linspace(0, 1e-7, 200), found["time"], found["out"]))
    # 1e12 Hz against a closed loop of 8 MHz: a delay of 0.16 ps on an edge of 20 ns.
    np.testing.assert_allclose(waves[0], waves[1], atol=2e-8)


def test_output_current_is_limited_and_drawn_from_the_supplies(bench: Bench) -> None:
    session = bench(f"Vin q 0 -1\nXo q out vdd vss opamp_behavioral {PARAMETERS['behavioral']}\nRl out 0 1")
    out, current, up, down = session.op(["out", "i(v.xo.vs)", "i(vdd)", "i(vss)"])
    assert current == pytest.approx(out / 1.0, rel=1e-9)
    # vsat tanh(1.04)/ro = 54 mA would flow; the fourth-power limit is within 0.2 % of imax there.
    assert 0.995 * IMAX < current < IMAX
    assert -up == pytest.approx(IQ + current, rel=1e-6)
    assert down == pytest.approx(IQ, rel=1e-6)
    session.alter({"vin": 1.0})
    assert session.op(["i(v.xo.vs)", "i(vss)"]) == pytest.approx([-current, IQ + current], rel=1e-6)


def test_at_rest_it_draws_its_quiescent_current(bench: Bench) -> None:
    session = bench(inverting("behavioral", "0"))
    # Half the smoothing of 1 uA flows besides.
    assert session.op(["i(vdd)", "i(vss)"]) == pytest.approx([-IQ, IQ], abs=0.6e-6)


def test_overload_is_left_behind_at_once(bench: Bench) -> None:
    """After ten volts at the input it comes back about as soon as after a step inside its swing: no wind-up."""

    def recovery(step: float) -> tuple[float, float]:
        session = bench(inverting("behavioral", f"dc 0 pulse(0 {step} 0.1u 1n 1n 2u 10)"))
        found = session.tran(2e-9, 4e-6, ["out", "xo.p"])
        late = np.flatnonzero(np.abs(found["out"]) > 0.01 * 2.3)[-1]
        return found["time"][late] - 2.1e-6, float(np.abs(found["xo.p"]).max())

    inside, _ = recovery(2.3)
    overload, wound = recovery(10.0)
    assert 1e-7 < inside < 3e-7
    assert overload < 2 * inside
    assert wound < 1.06 * VSAT


@pytest.mark.parametrize("model", MODELS)
def test_the_inverter_is_its_parts_and_its_inside_has_the_documented_names(bench: Bench, model: str) -> None:
    step = "dc 0.2 pulse(0 0.2 10n 1n 1n 1 2)"
    offset, nodes = "vos=1m", ["out", "xi.xo.p", "xi.q"]
    whole = bench(
        f"Vin in 0 {step}\nRl out 0 3k\n"
        f"Xi in out vdd vss inverter_{model} r=2k rratio=1.01 cf=10p cq=5p {PARAMETERS[model]} {offset}"
    )
    found, wave = whole.op(nodes), whole.tran(1e-9, 3e-7, ["out"])
    whole.alter({"v.xi.xo.vos": 0.0, "r.xi.ra": 1e3, "r.xi.rb": 1.01e3})
    altered = whole.op(nodes)
    parts = bench(
        f"Vin in 0 {step}\nRa in q 2k\nRb q out 2.02k\nCf q out 10p\nCq q 0 5p\n"
        f"Xo q out vdd vss opamp_{model} {PARAMETERS[model]} {offset}\nRl out 0 3k"
    )
    np.testing.assert_allclose(parts.op(["out", "xo.p", "q"]), found, rtol=1e-9, atol=1e-12)
    other = parts.tran(1e-9, 3e-7, ["out"])
    np.testing.assert_allclose(np.interp(wave["time"], other["time"], other["out"]), wave["out"], atol=1e-5)
    # out = -1.01 vin, less the share of the loop gain (and of the tanh) that each model leaves.
    assert altered[0] == pytest.approx(-1.01 * 0.2, rel=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_capacitors_of_zero_farad_are_no_capacitors(bench: Bench, model: str) -> None:
    step = "dc 0 pulse(0 0.1 10n 1n 1n 1 2)"
    zero = bench(f"Vin in 0 {step}\nXi in out vdd vss inverter_{model} r=1k cf=0 cq=0 {PARAMETERS[model]}")
    assert not [line for line in zero.messages if "warning" in line.lower()]
    with_zero = zero.tran(1e-9, 2e-7, ["out"])
    without = bench(inverting(model, step)).tran(1e-9, 2e-7, ["out"])
    np.testing.assert_array_equal(with_zero["time"], without["time"])
    np.testing.assert_allclose(with_zero["out"], without["out"], rtol=1e-9, atol=1e-15)


def test_a_nodeset_on_the_integrator_saves_newton_iterations(bench: Bench) -> None:
    """With a transistor in the loop; the same hint on the output saves less."""
    loop = (
        "Vwl wl 0 5\nVbulk bulk 0 -5\nVin in 0 0.2\nRin in sl 5k\nXc x sl wl bulk cell_1t1r g=200u w=20u l=0.5u\n"
        f"Xa sl x vdd vss opamp_behavioral {PARAMETERS['behavioral']}\n"
    )
    iterations = []
    for nodeset in ("", ".nodeset v(xa.p)=-0.2", ".nodeset v(x)=-0.2"):
        session = bench(loop + nodeset)
        assert session.op(["x"])[0] == pytest.approx(-0.2 * (5e3 + 98.7) / 5e3, rel=1e-3)
        session._library.lines.clear()
        session._library.command(b"rusage totiter")
        iterations.append(int(session.messages[-1].split("=")[1]))
    assert iterations[1] <= 12
    assert min(iterations[0], iterations[2]) > 3 * iterations[1]
