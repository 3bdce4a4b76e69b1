"""Op-amps measured: a behavioural one is found again, transistors agree with hand calculation, loads tell apart."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import amcsim
from amcsim.analysis.array import operating_points, transient
from amcsim.analysis.opamp import OpampReport, characterise, sub_circuit
from amcsim.netlist.deck import circuit_file
from amcsim.ngspice import SpiceRefused
from amcsim.realisation import Realisation, realise
from amcsim.specs import TRANSISTOR_OPAMPS, Spec
from amcsim.topology.inv import INV
from amcsim.topology.mvm import MVM

Card = dict[str, float]


@lru_cache
def report(name: str) -> OpampReport:
    return characterise(sub_circuit(name))


def value(name: str, measure: str) -> float:
    return report(name).measures[measure].value


def against_load(name: str, trace: str) -> dict[float, float]:
    load = report(name).results["load"]
    return dict(zip(load.axis.values.tolist(), load.traces[trace].values.tolist(), strict=True))


@lru_cache
def card(name: str) -> Card:
    text = circuit_file("cmos_350n.lib").replace("\n+", " ")
    line = next(line for line in text.splitlines() if line.startswith(f".model {name} "))
    return {key: float(number) for key, number in re.findall(r"(\w+) = (\S+)", line)}


N, P = card("nmos_350n_amp"), card("pmos_350n_amp")
COX = 3.9 * 8.8541878e-12 / 12.5e-9


def bulk(c: Card, vsb: float) -> float:
    """1 + fb of level 3, by which the bulk charge divides the current."""
    return 1 + c["gamma"] / (4 * math.sqrt(c["phi"] + vsb))


def gm(c: Card, ratio: float, i: float, vsb: float = 0.0) -> float:
    return math.sqrt(2 * c["kp"] * ratio * i / bulk(c, vsb))


def gds(c: Card, length: float, i: float, v: float) -> float:
    """-I dL/dv / L, of the channel that v beyond saturation shortens."""
    return i * (length - shortened(c, length, v)) / (2 * v * length)


def shortened(c: Card, length: float, v: float) -> float:
    """Length of the channel with v beyond saturation, m: level 3 takes sqrt(kappa 2 eps/(q nsub) v) off."""
    return length - math.sqrt(c["kappa"] * 2 * 11.7 * 8.8541878e-12 / (1.602e-19 * 1e6 * c["nsub"]) * v)


def bias(rb: float, ratio: float) -> float:
    """Current of a diode-connected NMOS through rb from 10 V."""
    i = 10.0 / rb
    for _ in range(50):
        i = (10.0 - N["vto"] - math.sqrt(2 * i * bulk(N, 0.0) / (N["kp"] * ratio))) / rb
    return i


def test_the_miller_amplifier_is_what_a_hand_calculation_makes_it() -> None:
    """To 10 %, since mobility reduction and the mirrors' finite output resistance are left out by hand."""
    i8 = bias(440e3, 10)
    i1, i7 = i8, 6 * i8
    gm1, gm6 = gm(N, 20, i1, vsb=3.5), gm(P, 240 / 2.5, i7)
    # Drains of the pair sit a PMOS's 1.2 V below vdd, its sources 1.5 V below ground.
    first = gm1 / (gds(N, 2e-6, i1, 5.1) + gds(P, 2.5e-6, i1, 0.9))
    assert value("opamp_miller", "gain_column") == pytest.approx(20 * math.log10(first * gm6 * 500), abs=1.0)
    alone = first * gm6 / (gds(N, 2e-6, i7, 4.8) + gds(P, 2.5e-6, i7, 4.7))
    assert value("opamp_miller", "gain") == pytest.approx(20 * math.log10(alone), abs=1.5)
    assert value("opamp_miller", "gain_bandwidth") == pytest.approx(gm1 / (2 * math.pi * 10e-12), rel=0.1)
    # The Miller effect is down to 1 + gm6 R: the column slows the amplifier.
    slowed = gm1 * gm6 * 500 / (2 * math.pi * (1 + gm6 * 500) * 10e-12)
    assert value("opamp_miller", "gain_bandwidth_column") == pytest.approx(slowed, rel=0.1)
    for edge in ("slew_rise", "slew_fall"):
        assert value("opamp_miller", edge) == pytest.approx(2 * i8 / 10e-12, rel=0.1)
    assert value("opamp_miller", "swing_column") == pytest.approx(500 * i7, rel=0.1)
    assert value("opamp_miller", "current_low") == pytest.approx(-i7, rel=0.1)
    assert value("opamp_miller", "supply_current") == pytest.approx(9 * i8, rel=0.1)


def test_its_noise_is_the_pairs_and_the_mirrors() -> None:
    """4 k T (2/3) of four transistors over gm1^2 and kf I/(gm1^2 W L Cox^2 f): to 5 % of density, 10 % of corner."""
    i1 = bias(440e3, 10)
    gm1, gm3 = gm(N, 20, i1, vsb=3.5), gm(P, 40 / 2.5, i1)
    white = 2 * 4 * 1.380649e-23 * 300.15 * (2 / 3) * (gm1 + gm3) / gm1**2
    flicker = 2 * i1 * (N["kf"] / 80e-12 + P["kf"] / 100e-12) / (gm1 * COX) ** 2
    assert value("opamp_miller", "noise_density") == pytest.approx(math.sqrt(white), rel=0.05)
    assert value("opamp_miller", "noise_corner") == pytest.approx(flicker / white, rel=0.1)


def test_the_class_ab_amplifier_is_what_a_hand_calculation_makes_it() -> None:
    """To 15 %, as above; the followers' channels are a third shorter, at 4.8 V, than the masks make them."""
    i8 = bias(176e3, 25)
    gm1 = gm(N, 50, i8, vsb=3.5)
    assert value("opamp_classab", "gain_bandwidth") == pytest.approx(gm1 / (2 * math.pi * 6e-12), rel=0.15)
    assert value("opamp_classab", "slew_fall") == pytest.approx(2 * i8 / 6e-12, rel=0.15)
    n, p, replica = shortened(N, 0.6e-6, 4.8), shortened(P, 0.6e-6, 4.8), shortened(N, 0.6e-6, 1.65)
    i11 = 4 * i8 * 6 * replica / n
    gm11, gm12 = gm(N, 240e-6 / n, i11, vsb=5.0), gm(P, 720e-6 / p, i11)
    body = N["gamma"] / (2 * math.sqrt(N["phi"] + 5.0))
    assert value("opamp_classab", "output_resistance") == pytest.approx(1 / (gm11 * (1 + body) + gm12), rel=0.15)


def test_into_a_column_a_plain_two_stage_amplifier_falls_and_a_class_ab_one_holds() -> None:
    gain, swing = against_load("opamp_miller", "gain"), against_load("opamp_miller", "swing")
    assert value("opamp_miller", "gain") > 100.0
    # columns of 4x4 and 16x16 arrays with their inverters are 200 ohm to 2 kohm
    assert 37 < gain[200.0] < gain[500.0] < 46 < 51 < gain[1000.0] < gain[2000.0] < 58
    assert swing[500.0] == pytest.approx(0.065, abs=0.001)
    assert swing[200.0] < swing[500.0] < 0.3  # less than cell.v_read_max asks for
    held, reached = against_load("opamp_classab", "gain"), against_load("opamp_classab", "swing")
    assert value("opamp_classab", "gain") - held[500.0] < 1.0
    assert held[50.0] > 85.0
    assert reached[50.0] > 1.8
    assert all(margin > 60 for margin in against_load("opamp_classab", "phase margin").values())


def test_the_behavioral_amplifier_is_found_again() -> None:
    """Gain, bandwidth and output resistance to 1e-3; second pole to 1 % (read from a phase); slew rate to 2 % (output
    clamp); swing to 1 % and current to 1 % (the input is driven by 1 V and not by more)."""
    found = report("opamp_behavioral").section
    wanted = {"gain": 45e3, "gbw": 16e6, "output_resistance": 50.0, "quiescent_current": 3.5e-3}
    for key, number in wanted.items():
        assert found[key] == pytest.approx(number, rel=1e-3), key
    assert found["second_pole"] == pytest.approx(40e6, rel=0.01)
    assert found["slew_rate"] == pytest.approx(22e6, rel=0.02)
    assert found["swing"] == pytest.approx(3.5, rel=0.01)
    assert found["output_current"] == pytest.approx(15e-3, rel=0.01)
    assert found["noise_density"] == pytest.approx(0.0, abs=1e-15)
    assert value("opamp_behavioral", "rejection_vdd") == math.inf


@pytest.mark.parametrize("name", TRANSISTOR_OPAMPS)
def test_the_shipped_equivalent_is_what_is_measured(name: str) -> None:
    text = (files("amcsim.circuits") / f"{name}.toml").read_text(encoding="utf-8")
    shipped = tomllib.loads(text)["opamp"]
    found = report(name).section
    assert list(shipped) == list(found)
    # Another version of ngspice takes other time steps: 1 %.
    for key, number in found.items():
        assert shipped[key] == (number if isinstance(number, str) else pytest.approx(number, rel=0.01)), key
    written = {"schema_version": 1, "base": "pku_350nm", "opamp": dict(found)}
    assert tomllib.loads(report(name).toml("pku_350nm")) == written


def inv_case(model: str, m: int, largest: float, seed: int = 0) -> tuple[Spec, Realisation, np.ndarray]:
    """A well-conditioned system on the preset's array, its largest |x| so many volts, without write errors."""
    spec = amcsim.preset("pku_350nm").replace(
        programming={"model": "ideal"}, opamp={"model": model, "offset_sigma": 0.0}
    )
    draw = amcsim.Key(seed).generator()
    q = draw.normal(size=(m, m))
    a = q @ q.T / m + 0.5 * np.eye(m)
    x = draw.uniform(-1.0, 1.0, m)
    return spec, realise(a, spec, amcsim.Key(seed)), a / np.abs(a).max() @ x * largest / np.abs(x).max()


def with_offset(r: Realisation, offset: float) -> Realisation:
    return replace(r, offset=r.offset + offset, inverter_offset=r.inverter_offset + offset)


@pytest.mark.parametrize(
    ("model", "m", "largest", "solution", "settling"),
    [
        # A linear output stage: what is left is the curvature of its gain over 0.3 V.
        ("opamp_classab", 4, 0.3, 1e-5, 0.01),
        # Half of its swing into this column, where gm6 varies with the output current (the gain by a third), and a
        # Miller effect that the equivalent has for one load only.
        ("opamp_miller", 4, 0.03, 5e-3, 0.15),
        pytest.param("opamp_classab", 16, 0.2, 1e-5, 0.01, marks=pytest.mark.slow),
        pytest.param("opamp_miller", 16, 0.02, 5e-3, 0.15, marks=pytest.mark.slow),
    ],
)
def test_inv_by_transistors_and_by_their_equivalent(
    model: str, m: int, largest: float, solution: float, settling: float
) -> None:
    """Same solution, once the equivalent is given the systematic offset, and same settling times."""
    spec, r, b = inv_case(model, m, largest)
    stands_for, offset = spec.equivalent(), with_offset(r, value(model, "offset"))
    real = operating_points(INV, spec, r, b[:, None])[:m, 0]
    modelled = operating_points(INV, stands_for, offset, b[:, None])[:m, 0]
    assert np.linalg.norm(modelled - real) < solution * np.linalg.norm(real)
    waves = transient(INV, spec, r, b, 30e-6)
    other = transient(INV, stands_for, offset, b, 30e-6)
    np.testing.assert_allclose(waves.matrix("x")[-1], real, atol=1e-5)
    for tolerance in (0.01, 0.001):
        slow = waves.settling_time("x", tolerance)
        assert 1e-6 < slow < 25e-6
        assert other.settling_time("x", tolerance) == pytest.approx(slow, rel=settling)


@pytest.mark.parametrize("m", [4, 16])
def test_a_column_beyond_the_millers_current_pulls_its_summing_node_away(m: int) -> None:
    spec, r, b = inv_case("opamp_miller", m, 0.3)
    found = operating_points(INV, spec, r, b[:, None])[:, 0]
    assert np.abs(found[2 * m : 3 * m]).max() > 0.01
    held, r, b = inv_case("opamp_classab", m, 0.3)
    assert np.abs(operating_points(INV, held, r, b[:, None])[2 * m : 3 * m, 0]).max() < 1e-4


def test_mvm_by_transistors_needs_no_inverter() -> None:
    spec = amcsim.preset("pku_350nm").replace(
        programming={"model": "ideal"}, opamp={"model": "opamp_classab", "offset_sigma": 0.0}
    )
    a = np.array([[1.0, -0.5, 0.25], [0.2, 0.8, -0.6]])
    r, v = realise(a, spec, amcsim.Key(0)), np.array([0.1, -0.05, 0.2])
    real = operating_points(MVM, spec, r, v[:, None])[:2, 0]
    modelled = operating_points(MVM, spec.equivalent(), r, v[:, None])[:2, 0]
    # Not compensated here: the systematic offset of 43 uV times the noise gain of four or so.
    np.testing.assert_allclose(real, modelled, atol=4e-4)


OWN = """
.param wide=20u
.include parts.lib
.subckt helper a b
R1 a b 1k
.ends
.subckt follower in out vdd vss
E1 out 0 in 0 1
.ends
.subckt MyAmp inn out vdd vss
+ params: gain = 1k
Gm p 0 inn 0 1m
Rp p 0 {gain*1k}
Cp p 0 10p
Bc p 0 I=1m*(uramp(V(p)-4)-uramp(-V(p)-4))
Bo o 0 V=V(p)
Ro o out 100
Iq vdd vss 1m
.ends
"""


def test_an_amplifier_of_ones_own_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "own.lib"
    path.write_text(OWN)
    (tmp_path / "parts.lib").write_text(".model q npn (bf=100)\n")
    with pytest.raises(ValueError, match=r"which sub-circuit .* with four pins it holds follower, MyAmp"):
        sub_circuit(str(path))
    found = characterise(sub_circuit(str(path), "myamp"), loads=(1e3,), column=1e3, capacitance=0.0)
    assert found.section["gain"] == pytest.approx(1000.0, rel=1e-3)
    assert found.section["gbw"] == pytest.approx(1e-3 / (2 * math.pi * 10e-12), rel=2e-3)
    assert found.section["output_resistance"] == pytest.approx(100.0, rel=1e-3)
    assert "second_pole" not in found.section
    assert found.measures["gain_column"].value == pytest.approx(20 * math.log10(1000 / 1.1), abs=0.01)
    # The column divides what 1 V at the input does, 1 mA into 10 pF; half of the swing back, the clamp holds 5 V.
    assert found.section["slew_rate"] == pytest.approx(1e-3 / 10e-12, rel=0.02)
    assert found.section["swing"] == pytest.approx(5.0, rel=1e-3)
    assert found.measures["supply_current"].value == pytest.approx(1e-3, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (".control\nshell rm x\n.endc\n", "a .control has no place in a library"),
        (".subckt amp inn out vdd vss\nR1 inn out 1k\n", "nothing closes"),
        (".subckt amp inp inn out vdd vss\nR1 inn out 1k\n.ends\n", "it holds none with four pins"),
    ],
)
def test_what_is_no_amplifiers_library_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.lib"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        sub_circuit(str(path))


def test_what_cannot_be_characterised_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'lm741' is neither a file nor one of opamp_miller, opamp_classab"):
        sub_circuit("lm741")
    with pytest.raises(SpiceRefused):
        sub_circuit(str(tmp_path / "missing.lib"))
    with pytest.raises(ValueError, match=r"load = 0: allowed is 0\.1 to 1e\+09"):
        characterise(sub_circuit("opamp_miller"), loads=(0.0,))
    path = tmp_path / "other.lib"
    path.write_text(".subckt wire inn out vdd vss\nR1 inn out 1k\nR2 out 0 1k\n.ends\n")
    with pytest.raises(ValueError, match=r"wire has a gain of 0\.5 from its first pin to its second"):
        characterise(sub_circuit(str(path)))
    path.write_text(OWN.replace("inn 0 1m", "inn 0 -1m").replace(".include parts.lib", ""))
    with pytest.raises(ValueError, match=r"MyAmp has a gain of .* from its first pin to its second"):
        characterise(sub_circuit(str(path), "MyAmp"))


def test_a_load_may_be_a_number_of_numpys() -> None:
    report = characterise(sub_circuit("opamp_classab"), loads=(np.float64(800.0),), column=np.float64(800.0))
    assert 2.0 < report.measures["swing_column"].value < 3.0
