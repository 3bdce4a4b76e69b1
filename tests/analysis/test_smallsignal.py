"""Closed-loop response and supply rejection: nodal against ngspice, both against what can be calculated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amcsim.analysis.linearised import AnalysisError
from amcsim.analysis.smallsignal import ac, supply
from amcsim.netlist.conditions import Conditions
from amcsim.realisation import realise
from amcsim.specs import SpecError, preset
from amcsim.streams import Key
from amcsim.topology.inv import INV
from amcsim.topology.mvm import MVM

PKU = preset("pku_350nm")
A = np.array([[1.0, -0.3, 0.2], [-0.25, 0.9, 0.1], [0.15, 0.0, 0.8]])
B = np.array([0.1, -0.05, 0.08])
R = realise(A, PKU, Key(1))


@pytest.mark.parametrize("only", [None, 1])
def test_nodal_and_ngspice_agree(only: int | None) -> None:
    """Wires, access devices, capacitances, poles: 0.02 dB and 0.2 deg up to 10 MHz, beyond all bandwidths here."""
    nodal, spice = (ac(INV, PKU, R, B, only=only, backend=name, per_decade=10) for name in ("nodal", "ngspice"))
    below = nodal.axis.values < 1e7
    for name, trace in nodal.traces.items():
        tolerance = 0.02 if trace.unit == "dB" else 0.2
        np.testing.assert_allclose(trace.values[below], spice.traces[name].values[below], rtol=0, atol=tolerance)
    assert nodal.measures["bandwidth"].value == pytest.approx(spice.measures["bandwidth"].value, rel=1e-3)


def test_the_bandwidth_of_a_single_pole_is_that_pole() -> None:
    """MVM, one row, ideal amplifier: f_c = gbw g_u/(g_u + G); no peaking; gain is the matrix entry."""
    spec = preset("ideal")
    r = realise(np.array([[1.0]]), spec, Key(0))
    corner = spec.opamp.gbw * spec.g_unit / (spec.g_unit + float((r.g_pos + r.g_neg).sum()))
    for backend in ("nodal", "ngspice"):
        found = ac(MVM, spec, r, np.array([0.1]), backend=backend).measures  # type: ignore[arg-type]
        assert found["bandwidth"].value == pytest.approx(corner, rel=2e-3)  # interpolated between 20 a decade
        assert found["gain"].value == pytest.approx(1.0, rel=1e-3)
        assert found["peaking"].value == 0.0


def test_a_slow_sweep_ends_below_the_bandwidth_which_is_then_infinite() -> None:
    assert ac(INV, PKU, R, B, stop=1e4).measures["bandwidth"].value == math.inf


def test_word_line_ripple_comes_through_the_access_transistors() -> None:
    """At low frequency it is what moving the word-lines' voltage does to the operating point, in ngspice itself."""
    from amcsim.analysis.array import operating_points

    found = supply(INV, PKU, R, B, start=1.0, stop=1e3, per_decade=2)
    step = 1e-2
    ends = [operating_points(INV, PKU.replace(cell={"wordline": 5.0 + s}), R, B[:, None])[:3, 0] for s in (step, -step)]
    slope = np.abs(ends[0] - ends[1]).max() / (2 * step)
    assert found.measures["rejection_wl"].value == pytest.approx(-20 * math.log10(slope), abs=0.2)


def test_behavioural_amplifiers_reject_everything_and_the_result_says_why() -> None:
    found = supply(INV, PKU, R, B, stop=1e4, per_decade=1)
    assert found.measures["rejection_vdd"].value == math.inf
    assert "vdd" not in found.traces
    assert "no path" in found.details["note"][0]


def test_transistor_amplifiers_have_a_finite_rejection() -> None:
    spec = PKU.replace(opamp={"model": "opamp_classab", "offset_sigma": 0.0})
    r = realise(A, spec, Key(0))
    found = supply(INV, spec, r, B, stop=1e6, per_decade=1)
    assert 20 < found.measures["rejection_vdd"].value < 140
    assert "note" not in found.details
    with pytest.raises(SpecError, match="transistors"):
        ac(INV, spec, r, B, backend="nodal")


def test_inputs_beyond_the_amplifiers_limits_have_no_nodal_response() -> None:
    with pytest.raises(AnalysisError, match="beyond their limits"):
        ac(INV, PKU, R, 100 * B)


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="inputs 0 to 2"):
        ac(INV, PKU, R, B, only=3)
    with pytest.raises(ValueError, match="no direction"):
        ac(INV, PKU, R, 0 * B)
    with pytest.raises(ValueError, match="wanted 0 < start < stop"):
        ac(INV, PKU, R, B, start=1e3, stop=1e2)
    with pytest.raises(ValueError, match="supply pin 'vcc'"):
        supply(INV, PKU, R, B, pins=["vcc"])
    with pytest.raises(ValueError, match="allowed is -200 to 300"):
        Conditions(temperature=1000.0)
    with pytest.raises(ValueError, match="process 'tt' is unknown"):
        Conditions(process="tt")


def test_the_nodal_circuit_in_the_heat_has_ngspice_s_access_transistors() -> None:
    hot = Conditions(temperature=125.0, process="slow")
    nodal, spice = (
        ac(INV, PKU, R, B, backend=name, conditions=hot, stop=1e5, per_decade=2).measures
        for name in ("nodal", "ngspice")
    )
    cold = ac(INV, PKU, R, B, stop=1e5, per_decade=2).measures
    assert nodal["gain"].value == pytest.approx(spice["gain"].value, rel=1e-4)
    assert abs(cold["gain"].value / nodal["gain"].value - 1) > 1e-3
