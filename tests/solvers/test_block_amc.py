from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.solvers.base import Counts
from amcsim.solvers.block_amc import BlockAmc, even_split, paper_split
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.exact import Exact
from amcsim.solvers.hp_inv import HpInv
from amcsim.specs import Spec
from amcsim.status import Reason, Status
from amcsim.streams import Key

Make = Callable[..., F64]
Schedule = Literal["paper", "reuse"]
SCHEDULES: tuple[Schedule, ...] = ("paper", "reuse")


def spent(solver: Any, a: F64, *bs: F64) -> Counts:
    """Counts of one programming and the solves on it."""
    handle = solver.program(a, Key(0))
    return sum((handle.solve(b).counts for b in bs), handle.counts)


def test_the_paper_s_split() -> None:
    sizes = {n: (paper_split(n, 4), n - paper_split(n, 4)) for n in (5, 6, 8, 9, 16, 25, 100)}
    assert sizes == {5: (1, 4), 6: (2, 4), 8: (4, 4), 9: (1, 8), 16: (8, 8), 25: (9, 16), 100: (36, 64)}
    assert even_split(25, 4) == 12


@pytest.mark.parametrize(
    ("n", "visits", "arrays"), [(25, 15, 6), (16, 9, 4), (9, 3, 2), (8, 3, 2), (4, 1, 1), (3, 1, 1), (1, 0, 0)]
)
def test_leaf_visits_and_arrays_of_one_system(n: int, visits: int, arrays: int, spd: Make, rhs: Make) -> None:
    """Each split costs three inner INVs on two arrays; scalars are divided digitally and cost nothing."""
    a, b = spd(n), rhs(n, 1)
    assert spent(BlockAmc(Emulated(), schedule="paper"), a, b) == Counts(visits, analog_solves=visits)
    assert spent(BlockAmc(Emulated(), schedule="reuse"), a, b) == Counts(arrays, analog_solves=visits)


def test_the_paper_s_step_takes_139_invs_and_28_or_12_programmings(spd: Make, rhs: Make, written: Spec) -> None:
    """Two layers of K-FAC, Fig. 13: conv (A 25, G 4) and fully connected (A 16, G 4), weights and biases."""
    a_conv, g_conv, a_fc, g_fc = spd(25), spd(4, seed=1), spd(16), spd(4, seed=2)
    b_a_conv, b_g_conv, b_g_conv_bias = rhs(25, 4), rhs(4, 25), rhs(4, 1)
    b_a_fc, b_g_fc, b_g_fc_bias = rhs(16, 4), rhs(4, 16), rhs(4, 1)

    paper = BlockAmc(HpInv(Emulated(written)), schedule="paper")
    jobs = [
        (a_conv, b_a_conv), (g_conv, b_g_conv), (g_conv, b_g_conv_bias),
        (a_fc, b_a_fc), (g_fc, b_g_fc), (g_fc, b_g_fc_bias),
    ]  # fmt: skip
    total = sum((spent(paper, a, b) for a, b in jobs), Counts())
    assert total.high_precision_vectors == 139
    assert total.array_programmings == 28
    assert (total.reprogrammings, total.digital_fallbacks) == (0, 0)

    reuse = BlockAmc(HpInv(Emulated(written)), schedule="reuse")
    total = (
        spent(reuse, a_conv, b_a_conv)
        + spent(reuse, g_conv, b_g_conv, b_g_conv_bias)
        + spent(reuse, a_fc, b_a_fc)
        + spent(reuse, g_fc, b_g_fc, b_g_fc_bias)
    )
    assert total.high_precision_vectors == 139
    assert total.array_programmings == 12

    single = BlockAmc(HpInv(Emulated(written), max_iterations=1, fallback=False), schedule="paper")
    total = sum((spent(single, a, b) for a, b in jobs), Counts())
    assert total == Counts(array_programmings=28, analog_solves=139)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("split", [paper_split, even_split])
def test_exact_leaves_give_the_exact_inverse(schedule: Schedule, split: Any, spd: Make, rhs: Make) -> None:
    for n, leaf in ((25, 4), (7, 3), (13, 1)):
        a = spd(n, (2,)) + 0.1 * rhs(2, n, n)  # not symmetric
        b = rhs(2, n, 3)
        answer = BlockAmc(Exact(), leaf=leaf, schedule=schedule, split=split).program(a, Key(0)).solve(b)
        np.testing.assert_allclose(answer.x, np.linalg.solve(a, b), rtol=1e-9, atol=1e-11)
        assert (answer.status == Status.OK).all()
        assert (answer.residual < 1e-12).all()


def test_refined_leaves_make_the_block_answer_precise(spd: Make, rhs: Make, written: Spec) -> None:
    a, b = spd(16), rhs(16, 2)
    low = BlockAmc(Emulated(written)).program(a, Key(0)).solve(b)
    high = BlockAmc(HpInv(Emulated(written))).program(a, Key(0)).solve(b)
    assert (low.residual > 1e-2).all()
    assert (high.residual < 1e-6).all()
    assert high.counts.analog_solves == high.iterations.sum()


def test_paper_visits_draw_fresh_write_errors_and_reuse_keeps_them(spd: Make, rhs: Make, written: Spec) -> None:
    """On blockdiag(C, C) the three visits are all of C, and x1 comes from the third."""
    c, b = spd(4), rhs(4, 1)
    a = np.kron(np.eye(2), c)
    stacked = np.concatenate([b, b])
    paper = BlockAmc(Emulated(written), schedule="paper").program(a, Key(0)).solve(stacked).x
    reuse = BlockAmc(Emulated(written), schedule="reuse").program(a, Key(0)).solve(stacked).x
    third, first = (Emulated(written).program(c, Key(0).child(i)).solve(b).x for i in (2, 0))
    np.testing.assert_allclose(paper[:4], third, rtol=1e-12)
    np.testing.assert_allclose(reuse[:4], first, rtol=1e-12)
    assert np.abs(third - first).max() > 1e-3


def test_a_dead_leaf_leaves_no_answer_and_the_first_reason(spd: Make, rhs: Make, error_leaf: Any) -> None:
    a, b = spd(9, (2,)), rhs(2, 9, 2)
    dead = error_leaf((np.zeros((4, 4)),), np.array([False, True]))
    answer = BlockAmc(dead, schedule="reuse").program(a, Key(0)).solve(b)
    assert (answer.status[1] == Status.UNSTABLE).all()
    assert (answer.reason[1] == Reason.POLE).all()
    assert np.isnan(answer.x[1]).all()
    np.testing.assert_allclose(answer.x[0], np.linalg.solve(a[0], b[0]), rtol=1e-9)
    # three visits for the good member; the bad one is put through no array after its first
    assert answer.counts.analog_solves == 2 * 3 + 2 * 1
    # not_converged at a later leaf is graver, yet unstable came first and is the cause
    then_nan = error_leaf((np.zeros((4, 4)), np.full((4, 4), np.nan)), np.array(True))
    later = BlockAmc(then_nan).program(a[0, 1:, 1:], Key(0)).solve(b[0, 1:])
    assert later.status.tolist() == [Status.UNSTABLE, Status.UNSTABLE]


def test_a_kept_array_that_its_first_visit_disturbed_is_written_again(spd: Make, rhs: Make, error_leaf: Any) -> None:
    """A1 is visited for y1 and for x1: its disturbed members, and only those, are programmed again between the two."""
    a, b = spd(8, (3,)), rhs(3, 8, 2)
    leaf = error_leaf((np.zeros((4, 4)),), hurt=a[1, 0, 0], intact_from=2)
    handle = BlockAmc(leaf).program(a, Key(0))
    answer = handle.solve(b)
    np.testing.assert_allclose(answer.x, np.linalg.solve(a, b), rtol=1e-10)
    assert (handle.counts.array_programmings, answer.counts.reprogrammings) == (2 * 3, 1)
    assert not answer.disturbed.any()
    one = BlockAmc(leaf).program(a[1], Key(0)).solve(b[1])
    np.testing.assert_allclose(one.x, answer.x[1], rtol=1e-12)
    assert one.counts.reprogrammings == 1
    for_good = BlockAmc(error_leaf((np.zeros((4, 4)),), hurt=a[1, 0, 0], intact_from=99)).program(a, Key(0)).solve(b)
    assert for_good.disturbed.tolist() == [False, True, False]
    paper = BlockAmc(leaf, schedule="paper").program(a, Key(0)).solve(b)
    assert paper.counts.reprogrammings == 0  # it writes the array at every visit anyway


def test_members_without_a_schur_complement_spoil_only_themselves(spd: Make, rhs: Make) -> None:
    a, b = spd(8, (3,)), rhs(3, 8, 2)
    a[1, :4, :4] = 1.0
    for schedule in SCHEDULES:
        answer = BlockAmc(Exact(), schedule=schedule).program(a, Key(0)).solve(b)
        assert (answer.status == np.array([[0], [Status.NOT_CONVERGED], [0]])).all()
        np.testing.assert_allclose(answer.x[[0, 2]], np.linalg.solve(a[[0, 2]], b[[0, 2]]), rtol=1e-9)
    zero = BlockAmc(Exact()).program(np.zeros((1, 1)), Key(0)).solve(np.ones((1, 1)))
    assert zero.status.tolist() == [Status.NOT_CONVERGED]
    assert zero.reason.tolist() == [Reason.NONFINITE]


def test_a_vector_with_nan_spoils_only_itself(spd: Make, rhs: Make, written: Spec) -> None:
    b = rhs(9, 3)
    clean = BlockAmc(HpInv(Emulated(written))).program(spd(9), Key(0)).solve(b)
    b[0, 1] = np.nan
    answer = BlockAmc(HpInv(Emulated(written))).program(spd(9), Key(0)).solve(b)
    assert answer.status.tolist() == [Status.OK, Status.NOT_CONVERGED, Status.OK]
    np.testing.assert_allclose(answer.x[:, [0, 2]], clean.x[:, [0, 2]], rtol=1e-12)


def test_batches_equal_loops_of_singles(spd: Make, rhs: Make) -> None:
    a, b = spd(25, (3, 2)), rhs(3, 2, 25, 4)
    solver = BlockAmc(HpInv(Emulated(output_gain=0.7)), schedule="paper")
    batch = solver.program(a, Key(0)).solve(b)
    for index in np.ndindex(3, 2):
        single = solver.program(a[index], Key(0)).solve(b[index])
        np.testing.assert_allclose(batch.x[index], single.x, rtol=1e-9)
        np.testing.assert_array_equal(batch.iterations[index], single.iterations)
    assert batch.counts.array_programmings == 15 * 6
    assert batch.counts.high_precision_vectors == 15 * 6 * 4
    assert batch.counts.analog_solves == batch.iterations.sum()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_handles_are_pickled_and_repeatable(schedule: Schedule, spd: Make, rhs: Make, written: Spec) -> None:
    handle, b = BlockAmc(HpInv(Emulated(written)), schedule=schedule).program(spd(25), Key(3)), rhs(25, 2)
    first, second = handle.solve(b), pickle.loads(pickle.dumps(handle)).solve(b)
    np.testing.assert_array_equal(first.x, second.x)
    assert first.counts == second.counts


def test_options_out_of_range_are_refused(spd: Make) -> None:
    with pytest.raises(ValueError, match="leaf = 0"):
        BlockAmc(Exact(), leaf=0)
    with pytest.raises(ValueError, match="neither 'paper' nor 'reuse'"):
        BlockAmc(Exact(), schedule="often")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"split\(5, 4\) = 5 is outside 1 to 4"):
        BlockAmc(Exact(), split=lambda n, leaf: n).program(spd(5), Key(0))
