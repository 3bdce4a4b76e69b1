"""Write-verify in one transient: cells reach their targets as they do when each pulse is a run of its own."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.access import on_resistance
from amcsim.analysis.cells import CellBench
from amcsim.analysis.cosim_write_verify import WriteVerifyRun, write_verify_waveform
from amcsim.analysis.write_verify import Loop, PulseChooser
from amcsim.device.gap import gap_model
from amcsim.specs import SpecError, preset

CELL = preset("pku_350nm").cell
TARGETS = np.array([40e-6, 100e-6, 160e-6, 220e-6])
START = np.array([200e-6, 30e-6, 120e-6, 218e-6])


@lru_cache(maxsize=4)
def run(tolerance: float, max_pulses: int = 30) -> WriteVerifyRun:
    return write_verify_waveform(TARGETS, START, tolerance, cell=CELL, max_pulses=max_pulses)


def run_by_run(tolerance: float) -> F64:
    """Reads of the same loop where each pulse and each read is an ngspice run, (reads, cells)."""
    loop, model, series = Loop(), gap_model(), on_resistance(CELL)
    bench, gap = CellBench(CELL, TARGETS.size), model.gap(START)
    chooser = PulseChooser(TARGETS, tolerance, loop, CELL, 0.0)
    history: list[F64] = []
    active = np.zeros(0, np.int64)
    while True:
        seen = 1.0 / (loop.v_read / bench.read(gap, loop.v_read) - series)
        if history:
            chooser.learn(active, history[-1], seen)
        history.append(seen)
        active = np.flatnonzero(np.abs(seen - TARGETS) > tolerance)
        if not active.size:
            return np.array(history)
        bl, sl, wl = chooser.next_pulses(active, seen)
        gap[active] = bench.pulse(gap[active], bl=bl, sl=sl, wl=wl).gap


@pytest.mark.parametrize("tolerance", [10e-6, 2e-6])
def test_cells_reach_their_targets_in_one_transient(tolerance: float) -> None:
    found = run(tolerance)
    assert found.reached.all()
    # what was read is what is there: a 12-bit ADC (0.16 uS a step) and the transistor's nominal resistance
    np.testing.assert_allclose(found.reads[-1], found.device, rtol=2e-3, atol=0.1e-6)
    wanted = gap_model().current(np.array(0.2), gap_model().gap(START)) / 0.2
    np.testing.assert_allclose(found.reads[0], wanted, rtol=5e-3, atol=0.1e-6)
    assert len(found.reads) == len(found.pulses) + 1
    assert found.cosimulation.time[-1] == found.read_times[-1]
    outside = np.abs(found.reads[:-1] - TARGETS) > tolerance
    np.testing.assert_array_equal(found.pulses != 0, outside)  # pulses go to those cells that need one
    np.testing.assert_array_equal(np.sign(found.pulses[outside]), np.sign((TARGETS - found.reads[:-1])[outside]))
    assert (found.energy > 0).all()


def test_one_transient_does_what_separate_runs_do() -> None:
    """To 3 %: rests and reads between pulses, and the integration's tolerance on a runaway, are what differs."""
    whole, parts = run(10e-6), run_by_run(10e-6)
    count = min(len(whole.reads), len(parts))
    assert abs(len(whole.reads) - len(parts)) <= 1
    np.testing.assert_allclose(whole.reads[:count], parts[:count], rtol=0.03)


def test_lines_are_where_the_controller_put_them() -> None:
    found = run(10e-6)
    wave, loop = found.cosimulation, Loop()
    assert max(v.max() for name, v in wave.signals.items() if name.startswith("v(b")) == loop.set_voltage
    first = np.searchsorted(wave.time, found.read_times[0] + 30e-9 + 60e-9)  # amid the first pulse
    for k, pulse in enumerate(found.pulses[0]):
        assert wave.signals[f"v(b{k})"][first] - wave.signals[f"v(s{k})"][first] == pytest.approx(pulse)
    assert wave.signals["v(w3)"][first] == 0.0  # within tolerance from the start: it rests
    for k in range(4):  # a read moves nothing
        before, after = np.searchsorted(wave.time, found.read_times[0] - np.array([0.5e-6, 0.0]))
        assert wave.signals[f"v(g{k})"][after] == pytest.approx(wave.signals[f"v(g{k})"][before], abs=1e-4)


def test_cells_that_run_out_of_pulses_are_named() -> None:
    found = run(2e-6, 2)
    assert found.pulses.shape == (2, 4)
    assert not found.reached[0]
    result = found.result("write-verify")
    assert "cell 0, target 40 uS, not reached" in result.measures
    assert result.traces["read 0"].values[-1] == found.reads[-1, 0]
    assert result.measures["pulses 0"].value == 2


def test_what_is_out_of_reach_is_refused() -> None:
    good = {"targets": TARGETS, "start": START, "tolerance": 1e-5, "cell": CELL}
    for changed, words in (
        ({"targets": TARGETS * 3}, "targets = .* allowed is"),
        ({"start": START[:2]}, "wanted are 1 to 16 of each"),
        ({"tolerance": np.nan}, "allowed is 0.1 to 100 uS"),
        ({"max_pulses": 0}, "max_pulses = 0"),
        ({"cell": preset("ideal").cell}, "through its transistor"),
    ):
        with pytest.raises(SpecError, match=words):
            write_verify_waveform(**(good | changed))  # type: ignore[arg-type]
