"""Dc sweeps: straight where the amplifiers are linear, clipped where their swing ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amcsim.analysis.dc import dc
from amcsim.realisation import realise
from amcsim.specs import preset
from amcsim.streams import Key
from amcsim.topology.inv import INV, closed_form
from amcsim.topology.mvm import MVM

PKU = preset("pku_350nm")
A = np.array([[1.0, -0.3, 0.2], [-0.25, 0.9, 0.1], [0.15, 0.0, 0.8]])
B = np.array([0.1, -0.05, 0.08])


def test_an_ideal_circuit_is_straight_with_the_closed_form_s_slope() -> None:
    spec = preset("ideal").replace(opamp={"offset_sigma": 1e-3})
    r = realise(A, spec, Key(0))
    both = np.stack([B, 0 * B], axis=1)
    x = closed_form(r, both, spec)[0]
    found = dc(INV, spec, r, B).measures
    assert found["linearity_error"].value < 1e-8
    assert found["clips_at"].value == math.inf
    for i in range(3):
        assert found[f"offset_x{i}"].value == pytest.approx(x[i, 1], abs=1e-9)
        assert found[f"gain_x{i}"].value == pytest.approx(x[i, 0] - x[i, 1], rel=1e-7)


def test_sinh_cells_bend_an_mvm_by_their_cubic_term() -> None:
    """Sinh cells: I/(g v) = 1 + (v/v0)^2/6 + ...; off the least-squares line of v + c v^3 on +-1 by at most c 0.4."""
    spec = preset("ideal").replace(cell={"iv": "sinh", "v0": 1.0})
    r = realise(np.array([[1.0]]), spec, Key(0))
    volts = 0.3
    found = dc(MVM, spec, r, np.array([volts]), points=401).measures
    cubic = volts**2 / 6
    assert found["linearity_error"].value == pytest.approx(0.4 * cubic / (1 + 0.6 * cubic), rel=0.03)


def test_an_answer_clips_where_its_amplifier_s_swing_ends() -> None:
    """The clamp sets in at 0.9 swing and leaves 0.78 swing to the output (circuits/opamp_behavioral.lib)."""
    spec = PKU.replace(programming={"model": "ideal"}, opamp={"offset_sigma": 0.0, "swing": 1.0})
    r = realise(np.eye(2), spec, Key(0))
    found = dc(INV, spec, r, np.array([0.1, 0.02]), reach=12.0, points=121)
    gain = found.measures["gain_x0"].value
    assert found.measures["clips_at"].value * gain == pytest.approx(0.75, abs=0.06)
    assert found.measures["clips_at"].at is not None
    assert found.measures["clips_at"].at[0] == "x0"
    assert np.nanmax(np.abs(found.traces["x0"].values)) < 0.85
    assert found.measures["linearity_error"].value < 1e-4  # within +-1 all is straight


def test_nodal_and_ngspice_agree_where_both_have_a_point() -> None:
    r = realise(A, PKU, Key(1))
    nodal, spice = (dc(INV, PKU, r, B, backend=name, points=11) for name in ("nodal", "ngspice"))
    for name, trace in nodal.traces.items():
        np.testing.assert_allclose(trace.values, spice.traces[name].values, rtol=0, atol=5e-6)


def test_bad_sweeps_are_refused() -> None:
    r = realise(A, PKU, Key(1))
    for wrong in ({"points": 4}, {"points": 3}, {"reach": 0.0}, {"reach": math.inf}):
        with pytest.raises(ValueError, match="wanted an odd number"):
            dc(INV, PKU, r, B, **wrong)  # type: ignore[arg-type]
