"""Write-verify in ngspice: cells reach their targets, what it took is counted, the shipped fit holds for others."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from amcsim.access import on_resistance
from amcsim.analysis.write_verify import STATES, Loop, Variation, write_verify
from amcsim.device.writes import agreement
from amcsim.specs import SpecError, preset
from amcsim.streams import Key
from amcsim.write_error import TABLE, load_write_errors

CELL = preset("pku_350nm").cell
ENDS = STATES[[0, 4, 7]]


def test_cells_reach_two_microsiemens_and_what_it_took_is_counted() -> None:
    done = write_verify(ENDS, 4, 2e-6, Key(1), cell=CELL)
    assert done.reached.all()
    assert np.abs(done.verified - ENDS[:, None]).max() <= 2e-6
    # The device's own conductance differs from what the controller saw by what R_on changes at 5 V: below 1e-3 of it.
    np.testing.assert_allclose(done.device, done.verified, rtol=2e-3)
    np.testing.assert_allclose(done.cell, 1 / (1 / done.device + on_resistance(CELL)), rtol=2e-3)
    np.testing.assert_array_equal(done.reads, done.pulses + 1)
    np.testing.assert_allclose(done.time, done.pulses * 120e-9 + done.reads * 1e-6, rtol=1e-12)
    # a pulse: 0.1 to 0.5 mA at about 1 V for 110 ns, so some 10 pJ; a read: 0.04 V^2 G 1 us, up to 9 pJ
    per_pulse = done.energy[done.pulses > 0] / done.pulses[done.pulses > 0]
    assert ((per_pulse > 2e-12) & (per_pulse < 2e-10)).all()
    for target, history in zip(ENDS, done.history, strict=True):
        assert abs(history[-1] - target) <= 2e-6
        assert (np.abs(history[:-1] - target) > 2e-6).all()


def test_the_whole_cell_can_be_what_is_verified() -> None:
    done = write_verify(ENDS, 3, 10e-6, Key(2), cell=CELL, verify="cell")
    assert done.reached.all()
    np.testing.assert_allclose(done.cell, done.verified, rtol=1e-6)
    assert (done.device > done.cell).all()


def test_the_key_names_the_cells() -> None:
    one, again = (write_verify(ENDS[:1], 2, 10e-6, Key(3), cell=CELL) for _ in range(2))
    np.testing.assert_array_equal(one.verified, again.verified)
    assert (one.verified != write_verify(ENDS[:1], 2, 10e-6, Key(4), cell=CELL).verified).any()


def test_a_cell_that_takes_too_many_pulses_is_given_up_and_not_called_reached() -> None:
    done = write_verify(ENDS[:1], 4, 2e-6, Key(1), cell=CELL, loop=Loop(max_pulses=2))
    assert (done.pulses <= 2).all()
    assert not done.reached.any()


def test_more_variation_takes_more_pulses() -> None:
    calm = Variation(device_speed=0.0, cycle_speed=0.0, cycle_gap=0.0, threshold=0.0)
    wild = Variation(cycle_gap=0.04)
    pulses = [write_verify(STATES[3:6], 4, 2e-6, Key(5), cell=CELL, variation=v).pulses.mean() for v in (calm, wild)]
    assert pulses[1] > 1.5 * pulses[0]


def test_its_result_is_a_distribution_with_measures() -> None:
    result = write_verify(ENDS[1:2], 3, 10e-6, Key(6), cell=CELL).result()
    assert list(result.traces) == ["134.3 uS"]
    assert (np.diff(result.traces["134.3 uS"].values) >= 0).all()
    assert result.measures["reached"].value == 1.0
    assert result.plot().axes


@pytest.mark.parametrize(
    ("targets", "tolerance", "said"),
    [(5e-6, 2e-6, "allowed is 11.46 to 238 uS"), (500e-6, 2e-6, "targets of"), (100e-6, 1e-3, "tolerance = 1000 uS")],
)
def test_what_cannot_be_reached_is_refused(targets: float, tolerance: float, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        write_verify(np.array([targets]), 1, tolerance, Key(0), cell=CELL)


@pytest.mark.slow
@pytest.mark.parametrize("verify", ["cell", "device"])
@pytest.mark.parametrize("tolerance", [10e-6, 2e-6])
def test_the_fitted_write_error_holds_for_fresh_cells_and_for_states_between(verify: str, tolerance: float) -> None:
    text = (files("amcsim.calibration") / TABLE).read_text(encoding="utf-8")
    fit = next(t for t in load_write_errors(text) if (t.verify, t.tolerance) == (verify, tolerance))
    targets = np.concatenate([STATES[[0, 2, 5, 7]], [34e-6, 91e-6, 148e-6, 205e-6]])
    done = write_verify(targets, 60, tolerance, Key(77), cell=CELL, verify=verify)  # type: ignore[arg-type]
    assert done.reached.all()
    found = agreement(fit, targets, done.verified - targets[:, None])
    # 95 % intervals of samples of 60 against a fit to 200: the fit's own spread takes some of the 95 %.
    assert found.inside.mean() >= 0.85
    # delta of samples of 60 and 200 of one law has a standard deviation of 0.084: three of them, small on average
    assert np.abs(found.cliffs_delta).max() < 0.25
    assert abs(found.cliffs_delta.mean()) < 0.09


@pytest.mark.slow
@pytest.mark.parametrize("verify", ["cell", "device"])
@pytest.mark.parametrize("tolerance", [10e-6, 2e-6])
def test_eight_states_of_200_cells_reach_their_tolerance(verify: str, tolerance: float) -> None:
    done = write_verify(STATES, 200, tolerance, Key(2), cell=CELL, verify=verify)  # type: ignore[arg-type]
    assert done.reached.all()
    assert done.pulses.mean() < 8
    assert done.pulses.max() < 40
    # neighbouring states stay apart, as in the paper's Fig. 7
    assert (done.verified[1:].min(axis=1) > done.verified[:-1].max(axis=1)).all()
