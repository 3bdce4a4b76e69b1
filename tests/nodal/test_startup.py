"""The clipped start-up transient against ngspice's, from rest, into slewing, clamping and current limits."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.analysis.inv import transient
from amcsim.nodal.inv import build
from amcsim.nodal.startup import start_up
from amcsim.realisation import realise
from amcsim.specs import Spec, preset
from amcsim.streams import Key

# Offsets would act 5 ns before the middle of ngspice's input ramp.
PKU = preset("pku_350nm").replace(cell={"v_read_max": 2.0}, opamp={"offset_sigma": 0.0})
A = np.array([[1.0, -0.4, 0.1], [0.3, 0.7, -0.2], [-0.1, 0.2, 0.9]])


def both(spec: Spec, a: F64, b: F64, stop: float, points: int = 200) -> tuple[F64, F64, F64]:
    """(times, x by nodal, x by ngspice), x (t, m)."""
    r = realise(a, spec, Key(0))
    waves = transient(spec, r, b, stop, step=stop / 1000, from_rest=True)
    times = np.linspace(stop / points, stop, points)
    nodal = start_up(build(spec, r), b, times)[:, : b.size]
    x = waves.matrix("x")
    # ngspice's input rises within 10 ns: its middle is the step
    spice = np.stack([np.interp(times + 5e-9, waves.time, x[:, i]) for i in range(b.size)], axis=1)
    return times, nodal, spice


@pytest.mark.parametrize(
    ("b", "change"),
    [
        ([0.05, -0.02, 0.03], {}),
        ([1.0, -0.8, 0.9], {}),
        ([1.0, -0.8, 0.9], {"slew_rate": 2e6}),
        ([2.0, -2.0, 2.0], {"swing": 1.5}),
        ([1.0, 0.0, 1.0], {"output_current": 1e-3}),
    ],
    ids=["small", "large", "slewing", "clamped", "current-limited"],
)
def test_overloads_go_as_in_ngspice(b: list[float], change: dict[str, float]) -> None:
    spec = PKU.replace(opamp=change)
    _, nodal, spice = both(spec, A, np.array(b), 6e-6)
    span = np.abs(spice).max()
    # From rest means from dark: in ngspice the word-lines rise with the input and kick the summing nodes by 2 mV.
    assert np.abs(nodal - spice).max() < 0.005 * span + 3e-3
    assert np.abs(nodal[-1] - spice[-1]).max() < 1e-3 * span


def test_the_slew_rate_is_kept() -> None:
    spec = PKU.replace(opamp={"slew_rate": 1e6})
    times, nodal, _ = both(spec, A, np.array([1.5, 0.0, 0.0]), 3e-6)
    speed = np.abs(np.diff(nodal, axis=0)).max() / (times[1] - times[0])
    assert 0.8e6 < speed < 1.02e6  # tanh reaches it only under full overload


def test_an_array_without_an_answer_goes_to_the_rails_in_both() -> None:
    a = np.array([[1.0, 0.8], [0.8, -0.6]])
    spec = PKU.replace(programming={"model": "ideal"})
    _, nodal, spice = both(spec, a, np.array([0.2, 0.1]), 20e-6)
    assert np.abs(spice[-1]).max() > 0.7 * spec.opamp.swing
    np.testing.assert_allclose(nodal[-1], spice[-1], rtol=0.03, atol=0.03)


def test_a_linear_circuit_is_its_own_step_response() -> None:
    spec = PKU.replace(opamp={"model": "linear"})
    model = build(spec, realise(A, spec, Key(0)))
    b, times = np.array([0.1, 0.2, -0.1]), np.linspace(2e-7, 6e-6, 30)
    u = model.operating_point(b[:, None]).u
    wanted = u[:3, 0] + model.step_residue(u, times)[:, :3, 0]
    np.testing.assert_allclose(start_up(model, b, times)[:, :3], wanted, rtol=0, atol=2e-5)


def test_no_input_and_no_offset_stay_at_rest() -> None:
    model = build(PKU, realise(A, PKU, Key(0)))
    np.testing.assert_array_equal(start_up(model, np.zeros(3), np.array([1e-6, 1e-4])), 0.0)


def test_curved_cells_at_the_rails_end_as_in_ngspice_and_in_seconds() -> None:
    """Indefinite: it ends at 2 V, where sinh cells of V0 = 0.41 V carry sixteen times the current of linear ones.

    Left are the access devices, whose drop of 0.2 V is no longer that of a resistor.
    """
    spec = PKU.replace(cell={"iv": "sinh", "v0": 0.41}, programming={"model": "ideal"})
    a = np.array([[1.0, 0.0, -1.1], [0.3, 0.8, 0.2], [-1.0, 0.4, 0.9]])
    _, nodal, spice = both(spec, a, np.array([0.1, 0.05, -0.1]), 20e-6)
    assert np.abs(spice[-1]).min() > 2.0
    assert np.abs(nodal[-1] - spice[-1]).max() < 0.01 * np.abs(spice).max()
