"""Bit-sliced INV: what slices of x and terms of the series give, and where the series diverges."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.solvers.base import Counts
from amcsim.solvers.bit_sliced import BitSliced, series_bounds, slices_of
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.hp_inv import HpInv
from amcsim.solvers.mvm import MvmSolver
from amcsim.specs import Spec
from amcsim.status import Reason, Status
from amcsim.streams import Key

Make = Callable[..., F64]
FINE = {"adc_bits": 30, "x_slices": 2}
"""Slices of x that leave the series alone to be seen."""


def even(n: int, off: float) -> F64:
    """1 on the diagonal, -off elsewhere: on (1, ..., 1) it is 1 - (n - 1) off, on what sums to zero 1 + off."""
    return np.asarray((1.0 + off) * np.eye(n) - off)


def test_the_slices_add_up_to_sixteen_bits(spd: Make) -> None:
    a = spd(5, (3,))
    high, low = slices_of(a, 16, 8)
    a_max = np.abs(a).max(axis=(1, 2), keepdims=True)
    assert (np.abs(high + low - a) <= 2.0**-17 * a_max * (1 + 1e-12)).all()
    assert (np.abs(low) <= 2.0**-9 * a_max).all()
    for part, bits in ((high, 8), (low, 16)):
        words = part / a_max * 2**bits
        np.testing.assert_allclose(words, np.rint(words), rtol=0, atol=1e-12)
    assert not slices_of(a, 8, 8)[1].any()


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_a_slice_of_x_is_worth_eight_bits(slices: int, spd: Make, rhs: Make) -> None:
    """Without A_L: off by half of the last step, and by a whole one where a later slice ends at its highest word."""
    a, b = np.rint(spd(6) * 2**8) / 2**8, rhs(6, 40)
    a[0, 0] = 4.0  # the largest, so that A / a_max is words of ten bits
    step = 2.0 ** (1 - 8 * slices)
    solver = BitSliced(Emulated(), a_bits=12, high_bits=12, x_slices=slices, tolerance=2 * step, terms=0)
    answer = solver.program(a, Key(0)).solve(b)
    exact = np.linalg.solve(a, b)
    error = np.abs(answer.x - exact).max(axis=0) / np.abs(exact).max(axis=0)
    assert (error <= 2 * step * 1.01).all()  # in units of the range, of which max |x| is half or more
    assert np.mean(error <= step * 1.01) > 0.9
    assert error.max() > step / 8
    assert (answer.status == Status.OK).all()
    assert answer.counts == Counts(analog_solves=40 * slices)
    finer = replace(solver, tolerance=step / 16).program(a, Key(0)).solve(b)  # more than its words hold
    assert (finer.status == Status.UNSETTLED).all()
    assert (answer.iterations == slices).all()


@pytest.mark.parametrize("terms", [0, 1, 2, 5])
def test_a_truncated_series_leaves_the_next_power_of_p(terms: int, spd: Make, rhs: Make) -> None:
    a, b = spd(6), rhs(6, 3)
    high, low = slices_of(a, 16, 4)
    p = np.linalg.solve(high, low)
    exact = np.linalg.solve(high + low, b)
    left = np.linalg.matrix_power(-p, terms + 1) @ exact
    solver: Any = BitSliced(Emulated(), high_bits=4, terms=terms, tolerance=1e-12, **FINE)
    answer = solver.program(a, Key(0)).solve(b)
    np.testing.assert_allclose(exact - answer.x, left, atol=1e-11)
    assert (answer.status == Status.UNSETTLED).all()
    assert (answer.reason == Reason.REFINEMENT).all()
    assert (answer.iterations == 2 * (terms + 1)).all()


def test_sixteen_bits_of_a_and_twelve_of_x(spd: Make, rhs: Make) -> None:
    """8 + 8 bits of A and of x: the answer of the rounded matrix to a 12th bit, in a term or two more than one INV."""
    a, b = spd(8, (20,)), rhs(20, 8, 3)
    answer = BitSliced(Emulated()).program(a, Key(0)).solve(b)
    rounded = np.linalg.solve(sum(slices_of(a, 16, 8)), b)
    error = np.linalg.norm(answer.x - rounded, axis=1) / np.linalg.norm(rounded, axis=1)
    assert (answer.status == Status.OK).all()
    assert (error <= 2.0**-12).all()
    assert answer.iterations.max() <= 2 * (1 + 3)
    assert answer.counts.analog_solves == answer.iterations.sum()
    bare = BitSliced(Emulated(), x_slices=1, terms=0).program(a, Key(0)).solve(b)
    assert (np.linalg.norm(bare.x - rounded, axis=1) / np.linalg.norm(rounded, axis=1)).min() > 2.0**-12


@pytest.mark.parametrize(("off", "radius"), [(0.04, 1.56), (0.045, 1.2133), (0.05, 0.8667), (0.0765, 0.97)])
def test_it_says_where_the_series_diverges(off: float, radius: float, rhs: Make) -> None:
    """n = 14, steps of 1/16, so off-diagonals of 1/16: A_H is 3/16 on (1, ..., 1), and A_L is -13 (off - 1/16).

    The first two are matrices of condition 2 and 2.5: it is not A's condition alone that decides.
    """
    a, b = even(14, off), rhs(14, 3)
    assert series_bounds(*slices_of(a, 16, 4))[0] == pytest.approx(radius, rel=2e-3)
    answer = BitSliced(Emulated(), high_bits=4, terms=400).program(a, Key(0)).solve(b)
    if radius < 1.0:
        assert (answer.status == Status.OK).all()
        exact = np.linalg.solve(sum(slices_of(a, 16, 4)), b)
        error = np.linalg.norm(answer.x - exact, axis=0) / np.linalg.norm(exact, axis=0)
        assert (error < 5e-4).all()  # 2^-13 of the series, and as much of words of 16 bits
    else:
        assert (answer.status == Status.NOT_CONVERGED).all()
        assert (answer.reason == Reason.REFINEMENT).all()
        assert np.isnan(answer.x).all()
        assert answer.counts == Counts()
        healed = HpInv(BitSliced(Emulated(), high_bits=4), max_reprograms=0).program(a, Key(0)).solve(b)
        assert healed.counts.digital_fallbacks == 3


def test_a_series_that_write_errors_make_diverge_is_seen_in_its_terms(rhs: Make, error_leaf: Any) -> None:
    """The slices say rho = 0.87; the array answers twice too much, so that terms grow by 1.73."""
    leaf = error_leaf((-np.eye(14),))
    answer = BitSliced(leaf, high_bits=4).program(even(14, 0.05), Key(0)).solve(np.ones((14, 2)))
    assert (answer.status == Status.NOT_CONVERGED).all()
    assert (answer.reason == Reason.REFINEMENT).all()
    assert np.isnan(answer.x).all()


def test_a_singular_high_slice_is_no_answer(rhs: Make) -> None:
    a = np.array([[1.0, 0.97], [0.97, 1.0]])  # 0.97 rounds to 1
    answer = BitSliced(Emulated(), high_bits=4).program(a, Key(0)).solve(rhs(2, 1))
    assert answer.status.tolist() == [Status.NOT_CONVERGED]


def test_write_errors_stay_and_hp_inv_takes_them_out(spd: Make, rhs: Make, written: Spec) -> None:
    """The slices resolve the array as it was written: no slice or term brings that nearer to A."""
    a, b = spd(4, (10,)), rhs(10, 4, 2)
    sliced = BitSliced(Emulated(written))
    errors = [
        np.median(BitSliced(Emulated(written), x_slices=s, terms=t).program(a, Key(0)).solve(b).residual)
        for s, t in ((1, 0), (2, 4), (3, 8))
    ]
    assert errors[2] == pytest.approx(errors[1], rel=0.02)
    assert errors[2] > 0.02
    refined = HpInv(sliced).program(a, Key(0)).solve(b)
    assert (refined.status == Status.OK).all()
    assert (refined.residual <= 2.0**-24).all()


def test_it_serves_as_the_leaf_of_block_amc(spd: Make, rhs: Make) -> None:
    a, b = spd(16), rhs(16, 4)
    handle = BlockAmc(BitSliced(Emulated()), leaf=4).program(a, Key(0))
    answer = handle.solve(b)
    exact = np.linalg.solve(a, b)
    assert handle.counts == Counts(array_programmings=4)
    assert (answer.status == Status.OK).all()
    assert (np.linalg.norm(answer.x - exact, axis=0) / np.linalg.norm(exact, axis=0) < 2.0**-10).all()
    assert answer.counts.analog_solves == answer.iterations.sum()
    coarse = BlockAmc(BitSliced(Emulated(), x_slices=1, terms=0), leaf=4).program(a, Key(0)).solve(b)
    assert coarse.residual.min() > 4 * answer.residual.max()


def test_low_bits_may_be_multiplied_by_arrays(spd: Make, rhs: Make, written: Spec) -> None:
    """A_L is 2^-9 of A: its array's write errors of a tenth are as good as none."""
    a, b = spd(5, (3,)), rhs(3, 5, 2)
    digital = BitSliced(Emulated()).program(a, Key(0)).solve(b)
    ideal = BitSliced(Emulated(), product=MvmSolver(Spec(), "exact")).program(a, Key(0))
    np.testing.assert_array_equal(ideal.solve(b).x, digital.x)
    assert ideal.counts == Counts(array_programmings=6)
    arrays = BitSliced(Emulated(), product=MvmSolver(written)).program(a, Key(0)).solve(b)
    assert (arrays.status == Status.OK).all()
    assert arrays.counts.analog_solves > digital.counts.analog_solves
    np.testing.assert_allclose(arrays.x, digital.x, atol=2e-3 * np.abs(digital.x).max())


def test_unstable_and_disturbed_arrays_are_said_and_left(spd: Make, rhs: Make, error_leaf: Any) -> None:
    a, b = spd(4, (3,)), rhs(3, 4, 2)
    good = 0.0 * np.eye(4)
    dead = BitSliced(error_leaf((good,), np.array([False, True, False]))).program(a, Key(0)).solve(b)
    assert (dead.status[1] == Status.UNSTABLE).all()
    assert (dead.reason[1] == Reason.POLE).all()
    assert np.isnan(dead.x[1]).all()
    assert (dead.status[[0, 2]] == Status.OK).all()
    high = slices_of(a, 16, 8)[0]
    hurt = BitSliced(error_leaf((good,), hurt=high[1, 0, 0])).program(a, Key(0)).solve(b)
    assert hurt.disturbed.tolist() == [False, True, False]
    assert (hurt.status[1] == Status.UNSETTLED).all()
    assert (hurt.iterations[1] == 1).all()


def test_zeros_cost_nothing_and_nan_has_no_answer(spd: Make, rhs: Make) -> None:
    b = rhs(4, 3)
    b[:, 1], b[0, 2] = 0.0, np.nan
    answer = BitSliced(Emulated()).program(spd(4), Key(0)).solve(b)
    assert answer.status.tolist() == [Status.OK, Status.OK, Status.NOT_CONVERGED]
    assert answer.reason[2] == Reason.NONFINITE
    assert answer.iterations[1:].tolist() == [0, 0]
    assert not answer.x[:, 1].any()


def test_batches_equal_singles_and_handles_are_pickled(spd: Make, rhs: Make) -> None:
    a, b = spd(4, (4,)), rhs(4, 4, 3)
    handle = BitSliced(Emulated(), high_bits=5).program(a, Key(2))
    batch = pickle.loads(pickle.dumps(handle)).solve(b)
    for i in range(4):
        single = BitSliced(Emulated(), high_bits=5).program(a[i], Key(2)).solve(b[i])
        np.testing.assert_allclose(batch.x[i], single.x, rtol=1e-12)
        np.testing.assert_array_equal(batch.iterations[i], single.iterations)
    assert batch.counts.analog_solves == batch.iterations.sum()


def test_options_out_of_range_are_refused() -> None:
    for wrong in (
        {"a_bits": 0},
        {"high_bits": 17},
        {"adc_bits": 1},
        {"x_slices": 0},
        {"terms": -1},
        {"tolerance": 1.0},
    ):
        with pytest.raises(ValueError, match="is outside"):
            BitSliced(Emulated(), **wrong)  # type: ignore[arg-type]
