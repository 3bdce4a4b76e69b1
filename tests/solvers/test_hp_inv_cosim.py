"""HP-INV in one transient: its passes are the solver's, and a window too short shows."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.solvers.circuit import CircuitProgrammed, CircuitSolver
from amcsim.solvers.hp_inv import HpInv, Stop
from amcsim.solvers.hp_inv_cosim import HpInvRun, hp_inv_waveform
from amcsim.specs import Spec, preset
from amcsim.status import Reason, Status
from amcsim.streams import Key

PKU = preset("pku_350nm")
NO_WIRES = PKU.replace(
    cell={"access": "none"},
    wire={"bl_resistance": 0.0, "sl_resistance": 0.0, "bl_capacitance": 0.0, "sl_capacitance": 0.0},
)
"""The board's amplifiers around bare cells: 16x16 in 3 s instead of half a minute."""


def system(n: int) -> tuple[F64, F64]:
    """A symmetric positive-definite matrix of condition 3 to 5, and a right-hand side."""
    g = np.random.default_rng(0).normal(size=(n, n))
    return 0.4 * g @ g.T / n + np.eye(n), np.random.default_rng(1).normal(size=n)


def converted(spec: Spec, window: float, bits: int | None = 8) -> Spec:
    """With DACs and ADCs of so many bits, read after `window` (s), cells written to +-4 uS."""
    converters = {"dac_bits": bits, "adc_bits": bits, "read_window": window}
    return spec.replace(converters=converters, programming={"tolerance": 4e-6})


@lru_cache(maxsize=8)
def run(n: int, spec: Spec, passes: int) -> tuple[CircuitProgrammed, HpInvRun]:
    a, b = system(n)
    handle = CircuitSolver(spec).program(a, Key(3))
    return handle, hp_inv_waveform(handle, b, passes, Stop(1e-6))


def check_against_the_solver(n: int, spec: Spec, passes: int) -> None:
    _, found = run(n, spec, passes)
    a, b = system(n)
    step = 2 * 0.3 / 2**8
    assert len(found.passes) > 3
    for k, one in enumerate(found.passes, 1):
        # HpInv on the operating points of the same array, by the same key, cut after k passes
        hp = HpInv(CircuitSolver(spec), stop=Stop(1e-6), max_iterations=k, max_reprograms=0, fallback=False)
        x = hp.program(a, Key(3)).solve(b[:, None]).x[:, 0]
        assert np.abs(one.x - x).max() * abs(one.unit) <= step * (1 + 1e-9), k
    assert found.steps_from_solver is not None
    assert found.steps_from_solver.max() <= 1 + 1e-9
    assert found.code_errors is not None
    assert found.code_errors.max() == 0
    assert found.unsettled == ()
    residuals = [one.residual for one in found.passes]
    assert all(after < before for before, after in pairwise(residuals))
    assert residuals[-1] == np.linalg.norm(b - a @ found.passes[-1].x) / np.linalg.norm(b)


def test_every_pass_of_a_4x4_is_the_solvers_to_one_adc_step() -> None:
    check_against_the_solver(4, converted(PKU, 10e-6), 12)
    _, found = run(4, converted(PKU, 10e-6), 12)
    assert (found.status, found.reason) == (Status.OK, Reason.NONE)
    assert found.passes[-1].residual <= 1e-6


def test_every_pass_of_a_16x16_is_the_solvers_to_one_adc_step() -> None:
    check_against_the_solver(16, converted(NO_WIRES, 10e-6), 5)


@pytest.mark.slow
def test_every_pass_of_a_16x16_with_wires_and_access_devices_is_the_solvers() -> None:
    check_against_the_solver(16, converted(PKU, 10e-6), 6)


def test_passes_stand_on_the_waveform() -> None:
    """Codes are levels of the converters; ranges grow as the residual shrinks; samples lie on the traces."""
    spec = converted(PKU, 10e-6)
    _, found = run(4, spec, 12)
    wave, step = found.cosimulation, 2 * 0.3 / 2**8
    np.testing.assert_allclose([p.time for p in found.passes], 10e-6 * np.arange(1, 1 + len(found.passes)), rtol=1e-9)
    for one in found.passes:
        for codes in (one.inputs / step, one.read / step):
            np.testing.assert_allclose(codes, np.round(codes), rtol=0, atol=1e-9)
        (row,) = np.flatnonzero(wave.time == one.time)
        volts = [wave.signals[f"v(x{i})"][row] for i in range(4)]
        assert np.abs(np.array(volts) - one.read).max() <= step / 2
        inputs = [wave.signals[f"v(in{i})"][row] for i in range(4)]
        np.testing.assert_allclose(inputs, -one.inputs, rtol=0, atol=1e-12)
        assert np.log2(one.unit / found.passes[0].unit) % 1 == 0
    assert found.passes[-1].unit > 1e3 * found.passes[0].unit
    result = found.result("HP-INV 4x4")
    assert [m.value for m in result.measures.values()] == [p.residual for p in found.passes]
    residual = result.traces["residual"].values
    between = np.searchsorted(wave.time, 35e-6)
    assert (residual[0], residual[between]) == (1.0, found.passes[2].residual)


def test_a_window_too_short_shows_as_wrong_passes_and_is_said() -> None:
    _, found = run(4, converted(PKU, 0.5e-6), 6)
    assert (found.status, found.reason) == (Status.UNSETTLED, Reason.WINDOW)
    assert len(found.unsettled) >= 3
    assert found.code_errors is not None
    assert found.code_errors.max() > 3
    assert found.steps_from_solver is not None
    assert found.steps_from_solver.max() > 1
    late = [name for name in found.result("HP-INV").measures if name.endswith("read too early")]
    assert len(late) == len(found.unsettled)
    assert found.as_dict()["unsettled_passes"] == found.unsettled


def test_ideal_converters_have_no_steps_and_agree_with_the_solver_to_ngspices_tolerance() -> None:
    _, found = run(4, converted(PKU, 10e-6, None), 4)
    assert (found.code_errors, found.steps_from_solver) == (None, None)
    assert found.volts_from_solver.max() < 3e-6  # reltol of 1e-5 of 0.3 V


def test_right_hand_sides_that_cannot_be_solved_for_are_refused() -> None:
    handle, _ = run(4, converted(PKU, 10e-6, None), 4)
    for b, words in ((np.zeros(4), "zero"), (np.full(4, np.nan), "out of range"), (np.ones(3), "shape")):
        with pytest.raises(ValueError, match=words):
            hp_inv_waveform(handle, b)
    with pytest.raises(ValueError, match="max_passes = 0"):
        hp_inv_waveform(handle, np.ones(4), 0)
