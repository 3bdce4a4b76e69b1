from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amcsim._types import F64
from amcsim.solvers.base import Counts
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.exact import Exact
from amcsim.solvers.hp_inv import PATIENCE, FixedPoint, HpInv, Stop
from amcsim.specs import Spec
from amcsim.status import Reason, Status
from amcsim.streams import Key

Make = Callable[..., F64]


def truncated(inner: Any, passes: int) -> HpInv:
    """HP-INV cut after some passes."""
    return HpInv(inner, max_iterations=passes, max_reprograms=0, fallback=False)


def test_a_pass_multiplies_the_error_by_the_leaf_s_relative_error(spd: Make, rhs: Make) -> None:
    """58 % without direction: residuals are 0.58^p, and 24 bits take log(2^-24) / log(0.58) = 30.5, so 31 passes."""
    a, b, leaf = spd(4), rhs(4, 3), Emulated(output_gain=0.42)
    for passes in (2, 7, 30):
        answer = truncated(leaf, passes).program(a, Key(0)).solve(b)
        np.testing.assert_allclose(answer.residual, 0.58**passes, rtol=1e-6)
        assert (answer.status == Status.UNSETTLED).all()
        assert (answer.reason == Reason.REFINEMENT).all()
    full = HpInv(leaf).program(a, Key(0)).solve(b)
    assert full.iterations.tolist() == [31, 31, 31]
    assert (full.status == Status.OK).all()
    assert full.counts == Counts(analog_solves=93, high_precision_vectors=3)


def test_the_error_shrinks_by_the_spectral_radius(spd: Make, rhs: Make, written: Spec) -> None:
    a, b = spd(4, seed=3), rhs(4, 1)
    exact = np.linalg.solve(a, b)
    inverse = Emulated(written).program(a, Key(5)).inverse
    radius = np.abs(np.linalg.eigvals(np.eye(4) - inverse @ a)).max()

    def error(passes: int) -> float:
        x = truncated(Emulated(written), passes).program(a, Key(5)).solve(b).x
        return float(np.linalg.norm(x - exact))

    # The faster modes have died out after four passes; six more stay far above rounding.
    assert (error(10) / error(4)) ** (1 / 6) == pytest.approx(radius, rel=0.02)


@pytest.mark.parametrize("radius", [0.3, 0.58, 0.9])
def test_it_converges_below_a_spectral_radius_of_one(radius: float, spd: Make, rhs: Make, error_leaf: Any) -> None:
    a, b = spd(4), rhs(4, 5)
    turn = radius * np.linalg.qr(rhs(4, 4, seed=9))[0]  # a rotation: every eigenvalue on the circle of that radius
    answer = HpInv(error_leaf((turn,))).program(a, Key(0)).solve(b)
    assert (answer.status == Status.OK).all()
    assert answer.counts.reprogrammings == answer.counts.digital_fallbacks == 0
    # rotations keep the error's norm exactly; the residual's wanders by A's condition, below 15 here
    passes = 24 * np.log(2.0) / -np.log(radius)
    slack = np.log(np.linalg.cond(a)) / -np.log(radius)
    assert (np.abs(answer.iterations - passes) <= slack + 1).all()


def test_a_skewed_contraction_is_no_divergence(spd: Make, rhs: Make, error_leaf: Any) -> None:
    """A residual that first grows sixfold and then falls by 0.58 a pass must not cost a re-programming."""
    skewed = 0.58 * np.eye(4) + np.diag([3.0, 0.0, 0.0], 1)
    handle = HpInv(error_leaf((skewed,))).program(np.eye(4), Key(0))
    b = np.array([[0.0], [1.0], [0.3], [0.1]])
    assert truncated(error_leaf((skewed,)), 2).program(np.eye(4), Key(0)).solve(b).status[0] == Status.NOT_CONVERGED
    answer = handle.solve(b)
    assert answer.status.tolist() == [Status.OK]
    assert answer.counts.reprogrammings == 0


def test_a_diverging_array_is_written_again_then_left_to_the_host(spd: Make, rhs: Make, error_leaf: Any) -> None:
    a, b = spd(4), rhs(4, 3)
    diverging, good = 1.1 * np.eye(4), 0.1 * np.eye(4)

    healed = HpInv(error_leaf((diverging, good))).program(a, Key(0)).solve(b)
    assert (healed.status == Status.OK).all()
    assert (healed.residual <= 2.0**-24).all()
    assert (healed.counts.reprogrammings, healed.counts.array_programmings) == (1, 0)
    assert healed.counts.digital_fallbacks == 0
    assert (healed.iterations == PATIENCE + 8).all()  # found after one window; then 0.1^8 <= 2^-24 < 0.1^7

    lost = HpInv(error_leaf((diverging,))).program(a, Key(0)).solve(b)
    assert (lost.status == Status.OK).all()
    assert (lost.residual < 1e-14).all()
    assert (lost.counts.reprogrammings, lost.counts.digital_fallbacks) == (1, 3)
    assert (lost.iterations == 2 * PATIENCE).all()
    assert lost.counts.high_precision_vectors == 3

    bare = HpInv(error_leaf((diverging,)), max_reprograms=0, fallback=False).program(a, Key(0)).solve(b)
    assert (bare.status == Status.NOT_CONVERGED).all()
    assert (bare.reason == Reason.REFINEMENT).all()
    assert np.isnan(bare.x).all()


def test_only_the_failed_members_of_a_batch_are_written_again(spd: Make, rhs: Make, error_leaf: Any) -> None:
    a, b = spd(4, (2, 3)), rhs(2, 3, 4, 5)
    first = np.broadcast_to(0.2 * np.eye(4), a.shape).copy()
    first[0, 1] = 50.0 * np.eye(4)
    first[1, 2] = 1.05 * np.eye(4)
    answer = HpInv(error_leaf((first, 0.1 * np.eye(4)))).program(a, Key(0)).solve(b)
    assert (answer.status == Status.OK).all()
    np.testing.assert_allclose(answer.x, np.linalg.solve(a, b), rtol=1e-4, atol=1e-6)
    assert answer.counts.reprogrammings == 2
    assert answer.counts.digital_fallbacks == 0
    assert answer.counts.high_precision_vectors == 30
    assert answer.counts.analog_solves == answer.iterations.sum()
    again = np.zeros((2, 3), np.bool_)
    again[0, 1] = again[1, 2] = True
    assert (answer.iterations[~again] == 11).all()  # 0.2^11 <= 2^-24 < 0.2^10
    assert (answer.iterations[0, 1] == 2 + 8).all()  # 50^2 > GROWTH
    assert (answer.iterations[1, 2] == PATIENCE + 8).all()


def test_an_unstable_array_is_written_again(spd: Make, rhs: Make, error_leaf: Any) -> None:
    a, b = spd(4, (3,)), rhs(3, 4, 2)
    leaf = error_leaf((0.1 * np.eye(4),), np.array([False, True, False]))
    answer = HpInv(leaf).program(a, Key(0)).solve(b)
    assert (answer.status == Status.OK).all()
    assert answer.counts.reprogrammings == 1
    bare = HpInv(leaf, max_reprograms=0, fallback=False).program(a, Key(0)).solve(b)
    assert (bare.status[1] == Status.UNSTABLE).all()
    assert (bare.reason[1] == Reason.POLE).all()
    assert np.isnan(bare.x[1]).all()
    assert (bare.status[[0, 2]] == Status.OK).all()


def test_a_disturbed_array_is_left_at_once_and_written_again(spd: Make, rhs: Make, error_leaf: Any) -> None:
    """Its cells are no longer what was programmed: no second pass on it, and the members beside it go on."""
    a, b = spd(4, (3,)), rhs(3, 4, 2)
    leaf = error_leaf((0.1 * np.eye(4),), hurt=a[1, 0, 0])
    answer = HpInv(leaf).program(a, Key(0)).solve(b)
    assert (answer.status == Status.OK).all()
    assert answer.counts.reprogrammings == 1
    assert not answer.disturbed.any()  # the second programming was not
    assert (answer.iterations == [[8, 8], [1 + 8, 1 + 8], [8, 8]]).all()  # 0.1^8 <= 2^-24 < 0.1^7
    for_good = HpInv(error_leaf((0.1 * np.eye(4),), hurt=a[1, 0, 0], intact_from=9)).program(a, Key(0)).solve(b)
    assert for_good.disturbed.tolist() == [False, True, False]
    assert for_good.counts.digital_fallbacks == 2
    assert (for_good.status == Status.OK).all()


def test_a_single_pass_is_the_leaf_s_own_answer(spd: Make, rhs: Make, written: Spec) -> None:
    a, b = spd(4, (2,)), rhs(2, 4, 3)
    cut = HpInv(Emulated(written), max_iterations=1, fallback=False).program(a, Key(4)).solve(b)
    leaf = Emulated(written).program(a, Key(4)).solve(b)
    np.testing.assert_array_equal(cut.x, leaf.x)
    np.testing.assert_array_equal(cut.status, leaf.status)
    assert cut.counts == Counts(analog_solves=6)


def test_minimal_residual_takes_fewer_passes_and_never_grows(spd: Make, rhs: Make, written: Spec) -> None:
    a, b = spd(4, seed=2), rhs(4, 8)
    plain = HpInv(Emulated(written)).program(a, Key(1)).solve(b)
    minimal = HpInv(Emulated(written), method="minimal_residual").program(a, Key(1)).solve(b)
    assert (minimal.status == Status.OK).all()
    assert minimal.iterations.mean() < plain.iterations.mean()
    # A pure gain error is one direction: the right step length ends it at once.
    gain = HpInv(Emulated(output_gain=0.42), method="minimal_residual").program(a, Key(1)).solve(b)
    assert (gain.iterations == 1).all()


def test_batches_equal_loops_of_singles(spd: Make, rhs: Make, error_leaf: Any) -> None:
    a, b = spd(4, (6,)), rhs(6, 4, 3)
    errors = 0.2 * rhs(6, 4, 4, seed=5)
    errors[3] = 2.0 * np.eye(4)
    batch = HpInv(error_leaf((errors, 0.1 * np.eye(4)))).program(a, Key(0)).solve(b)
    singles = [HpInv(error_leaf((errors[i], 0.1 * np.eye(4)))).program(a[i], Key(0)).solve(b[i]) for i in range(len(a))]
    np.testing.assert_allclose(batch.x, np.stack([s.x for s in singles]), rtol=1e-9)
    np.testing.assert_array_equal(batch.iterations, np.stack([s.iterations for s in singles]))
    assert batch.counts == sum((s.counts for s in singles), Counts())
    assert batch.counts.reprogrammings == 1


def test_the_number_format_and_the_stop_rule_are_two_things(spd: Make, rhs: Make) -> None:
    a, b, leaf = spd(4), rhs(4, 4), Emulated(output_gain=0.42)
    words = FixedPoint(word_length=24, integer_bits=7)
    answer = HpInv(leaf, number_format=words).program(a, Key(0)).solve(b)
    unit = 2.0 ** np.ceil(np.log2(np.abs(b).max()))
    size = np.linalg.norm(b, axis=0)
    assert (answer.status == Status.OK).all()
    assert (answer.residual * size <= words.floor(4) * unit).all()
    assert (answer.residual > 2.0**-24).all()  # 16 fraction bits hold no 24-bit residual
    grid = words.step * unit / 2.0 ** np.ceil(np.log2(np.abs(a).max()))
    np.testing.assert_allclose(answer.x / grid, np.rint(answer.x / grid), atol=1e-9)
    wider = HpInv(leaf, number_format=FixedPoint(26, 7)).program(a, Key(0)).solve(b)
    assert (wider.residual < answer.residual).all()
    coarse = HpInv(leaf, stop=Stop(relative=1e-3)).program(a, Key(0)).solve(b)
    assert (coarse.iterations == np.ceil(np.log(1e-3) / np.log(0.58))).all()
    with pytest.raises(ValueError, match=r"stop.absolute = 1e-09 lies below the .* at n = 4"):
        HpInv(leaf, number_format=words, stop=Stop(absolute=1e-9)).program(a, Key(0))


def test_clipped_words_end_in_the_fallback(rhs: Make) -> None:
    """Without integer bits x may not exceed max |b| / max |A|; a badly conditioned system then leaves to the host."""
    a = np.diag([1.0, 1e-3])
    answer = HpInv(Emulated(output_gain=0.8), number_format=FixedPoint(24, 0)).program(a, Key(0)).solve(np.ones((2, 1)))
    assert answer.status.tolist() == [Status.OK]
    assert answer.counts.digital_fallbacks == 1


def test_zero_and_nan_vectors_cost_nothing(spd: Make, rhs: Make, written: Spec) -> None:
    b = rhs(4, 4)
    b[:, 1] = 0.0
    b[2, 2] = np.nan
    for words in (None, FixedPoint()):
        answer = HpInv(Emulated(written), number_format=words).program(spd(4), Key(0)).solve(b)
        assert answer.status.tolist() == [Status.OK, Status.OK, Status.NOT_CONVERGED, Status.OK]
        assert answer.iterations[[1, 2]].tolist() == [0, 0]
        assert answer.residual[1] == 0.0
        assert not answer.x[:, 1].any()
        assert np.isnan(answer.x[:, 2]).all()
        assert answer.counts.digital_fallbacks == answer.counts.reprogrammings == 0
        assert answer.counts.analog_solves == answer.iterations.sum()


def test_a_singular_matrix_is_never_ok(rhs: Make) -> None:
    answer = HpInv(Emulated()).program(np.ones((3, 3)), Key(0)).solve(rhs(3, 2))
    assert (answer.status == Status.NOT_CONVERGED).all()
    assert answer.counts.digital_fallbacks == 2


def test_it_refines_block_amc_too(spd: Make, rhs: Make, written: Spec) -> None:
    a, b = spd(25, (2,)), rhs(2, 25, 3)
    for schedule in ("paper", "reuse"):
        handle = HpInv(BlockAmc(Emulated(written), schedule=schedule)).program(a, Key(0))  # type: ignore[arg-type]
        answer = handle.solve(b)
        np.testing.assert_allclose(answer.x, np.linalg.solve(a, b), atol=1e-5)
        assert (answer.status == Status.OK).all()
        assert answer.counts.high_precision_vectors == 6
        assert answer.counts.analog_solves == 15 * answer.iterations.sum()


def test_handles_are_pickled_pure_and_repeatable(spd: Make, rhs: Make, written: Spec) -> None:
    noisy = written.replace(programming={"tolerance": 60e-6})  # bad enough that some arrays are written again
    a, b = spd(4, (20,)), rhs(20, 4, 3)
    handle = HpInv(Emulated(noisy)).program(a, Key(3))
    first, second = handle.solve(b), pickle.loads(pickle.dumps(handle)).solve(b)
    assert first.counts.reprogrammings > 0
    assert first.counts == second.counts
    np.testing.assert_array_equal(first.x, second.x)
    assert handle.counts == Counts(array_programmings=20)


def test_options_out_of_range_are_refused() -> None:
    for make in (
        lambda: HpInv(Exact(), max_iterations=0),
        lambda: HpInv(Exact(), max_reprograms=-1),
        lambda: HpInv(Exact(), method="gmres"),  # type: ignore[arg-type]
        lambda: HpInv(Exact(), directions=0),
        lambda: FixedPoint(word_length=60),
        lambda: FixedPoint(word_length=16, integer_bits=15),
        lambda: Stop(relative=1.0),
        lambda: Stop(absolute=-1.0),
    ):
        with pytest.raises(ValueError, match=r"= .* (must be|is outside)|is neither"):
            make()


@settings(max_examples=120)
@given(
    n=st.integers(1, 6),
    k=st.integers(1, 5),
    size=st.floats(0.0, 3.0),
    bits=st.sampled_from([4, 12, 24, 40]),
    absolute=st.sampled_from([0.0, 1e-4]),
    condition=st.floats(0.0, 9.0),
    method=st.sampled_from(["plain", "minimal_residual", "gcr"]),
    fallback=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_nothing_above_the_stop_rule_is_ok(
    n: int, k: int, size: float, bits: int, absolute: float, condition: float, method: Any, fallback: bool, seed: int
) -> None:
    """Whatever the write error, condition and method: `ok` means a residual at the stop, and the rest says why."""
    draw = np.random.default_rng(seed)
    a = (np.linalg.qr(draw.normal(size=(n, n)))[0] * 10.0 ** -np.linspace(0.0, condition, n)) @ np.linalg.qr(
        draw.normal(size=(n, n))
    )[0]
    b = draw.normal(size=(n, k)) * 10.0 ** draw.uniform(-3, 3, k)
    spec = Spec().replace(
        cell={"g_min": 20e-6, "g_max": 220e-6}, programming={"model": "uniform", "tolerance": size * 20e-6}
    )
    stop = Stop(relative=2.0**-bits, absolute=absolute)
    solver = HpInv(Emulated(spec), method=method, stop=stop, fallback=fallback, max_iterations=40)
    handle = solver.program(a, Key(seed))
    answer = handle.solve(b)
    residual = np.linalg.norm(b - a @ answer.x, axis=0)
    unit = 2.0 ** np.ceil(np.log2(np.abs(b).max()))
    limit = np.maximum(2.0**-bits * np.linalg.norm(b, axis=0), absolute * unit)
    ok = answer.status == Status.OK
    assert (residual[ok] <= limit[ok] * (1 + 1e-9)).all()
    assert (np.isnan(answer.x).any(axis=0) == np.isin(answer.status, [Status.UNSTABLE, Status.NOT_CONVERGED])).all()
    assert (answer.reason[~ok] != Reason.NONE).all()
    assert answer.counts.analog_solves == answer.iterations.sum()
    assert handle.solve(b).counts == answer.counts
