"""Minimal residual and flexible GCR: passes where plain refinement crawls or diverges."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.solvers.base import Solution
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.hp_inv import PATIENCE, FixedPoint, HpInv
from amcsim.solvers.refinement import Directions
from amcsim.specs import Spec
from amcsim.status import Status
from amcsim.streams import Key

Make = Callable[..., F64]


def radius(leaf: Any, a: F64) -> F64:
    """rho(I - A_lp^-1 A) of each array."""
    inverse = leaf.program(a, Key(0)).solve(np.broadcast_to(np.eye(a.shape[-1]), a.shape)).x
    return np.asarray(np.abs(np.linalg.eigvals(np.eye(a.shape[-1]) - inverse @ a)).max(axis=-1))


def refined(leaf: Any, a: F64, b: F64, method: Any, **options: Any) -> Solution:
    """One programming, no help from the host: what the method does by itself."""
    solver = HpInv(leaf, method=method, max_reprograms=0, fallback=False, **options)
    return solver.program(a, Key(0)).solve(b)


def ill(n: int, condition: float, batch: int, seed: int = 0) -> F64:
    """Symmetric positive-definite matrices of that condition, eigenvalues evenly apart on a logarithmic axis."""
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(batch, n, n)))[0]
    return np.asarray((q * np.geomspace(1.0, 1.0 / condition, n)) @ q.swapaxes(-1, -2))


def written(bits: float) -> Spec:
    """Cells written to within half of one of 2^bits states."""
    return Spec().replace(programming={"model": "uniform", "tolerance": 100e-6 / 2**bits})


def test_gcr_is_never_behind_minimal_residual_where_arrays_are_bad(rhs: Make) -> None:
    """With as many directions as unknowns its residual is the smallest of the Krylov space that all methods live in."""
    a, b, leaf = ill(8, 30.0, 60), rhs(60, 8, 2), Emulated(written(3))
    bad = radius(leaf, a) > 0.8
    assert bad.sum() > 30
    plain, minimal, gcr = (refined(leaf, a[...], b, method) for method in ("plain", "minimal_residual", "gcr"))
    assert (gcr.status[bad] == Status.OK).all()
    assert (gcr.iterations <= 8).all()
    for other in (plain, minimal):
        done = other.status == Status.OK
        assert (gcr.iterations[done] <= other.iterations[done]).all()
        assert (other.status[bad] != Status.OK).any()


@pytest.mark.parametrize("n", [4, 16])
def test_gcr_converges_where_plain_refinement_diverges(n: int, spd: Make, rhs: Make, error_leaf: Any) -> None:
    """Every eigenvalue of I - A_lp^-1 A of size 3: plain grows at once, n directions end it in n passes."""
    a, b = spd(n), rhs(n, 3)
    leaf = error_leaf((3.0 * np.linalg.qr(rhs(n, n, seed=9))[0],))
    assert (refined(leaf, a, b, "plain").status == Status.NOT_CONVERGED).all()
    gcr = refined(leaf, a, b, "gcr")
    assert (gcr.status == Status.OK).all()
    assert (gcr.iterations <= n).all()
    np.testing.assert_allclose(gcr.x, np.linalg.solve(a, b), atol=1e-6)


def test_a_stall_is_left_through_the_newest_direction(error_leaf: Any) -> None:
    """A A_lp^-1 turns by 90 degrees: r.(A d) = 0, where minimal residual stays for ever and GCR alone would too."""
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    leaf, b = error_leaf((np.eye(2) - turn,)), np.array([[1.0], [0.3]])
    stuck = refined(leaf, np.eye(2), b, "minimal_residual")
    assert stuck.status.tolist() == [Status.NOT_CONVERGED]
    assert stuck.iterations.tolist() == [PATIENCE]
    gcr = refined(leaf, np.eye(2), b, "gcr")
    assert gcr.status.tolist() == [Status.OK]
    assert gcr.iterations.tolist() == [2]


@pytest.mark.parametrize(("n", "blocks", "at_most"), [(16, True, 0.7), (64, True, 0.7), (256, False, 0.7)])
def test_passes_at_16_64_and_256(n: int, blocks: bool, at_most: float, rhs: Make) -> None:
    """Where plain refinement still converges: 4x4 blocks at condition 100, or one array at condition 10."""
    leaf: Any = BlockAmc(Emulated(written(4))) if blocks else Emulated(written(5))
    members, condition = (6, 100.0) if blocks else (2, 10.0)
    a, b = ill(n, condition, members), rhs(members, n, 1)
    assert (radius(leaf, a) < 1.0).all()
    plain, gcr = (refined(leaf, a, b, method) for method in ("plain", "gcr"))
    assert (plain.status == Status.OK).all()
    assert (gcr.status == Status.OK).all()
    assert gcr.iterations.mean() <= at_most * plain.iterations.mean()


def test_few_directions_lie_between_minimal_residual_and_all(rhs: Make) -> None:
    a, b, leaf = ill(32, 30.0, 8), rhs(8, 32, 1), Emulated(written(5))
    passes = [refined(leaf, a, b, "gcr", directions=kept).iterations.mean() for kept in (1, 4, 32)]
    minimal = refined(leaf, a, b, "minimal_residual").iterations.mean()
    assert minimal > passes[0] > passes[1] > passes[2]


def test_batches_equal_singles_and_done_members_do_not_disturb(rhs: Make, error_leaf: Any) -> None:
    a, b = ill(9, 10.0, 5), rhs(5, 9, 3)
    b[2, :, 1] = 0.0
    errors = np.array([1e-3, 0.03, 1.1, 0.2, 2.0])[:, None, None] * np.linalg.qr(rhs(5, 9, 9, seed=5))[0]
    batch = refined(error_leaf((errors,)), a, b, "gcr")
    for i in range(5):
        single = refined(error_leaf((errors[i],)), a[i], b[i], "gcr")
        np.testing.assert_array_equal(batch.iterations[i], single.iterations)
        np.testing.assert_allclose(batch.x[i], single.x, rtol=1e-6, atol=1e-9)
    assert batch.counts.analog_solves == batch.iterations.sum()
    assert len(set(batch.iterations.ravel().tolist())) > 2  # columns really end at different passes


def test_words_and_pickles(spd: Make, rhs: Make) -> None:
    a, b = spd(6), rhs(6, 2)
    handle = HpInv(Emulated(written(3)), method="gcr", number_format=FixedPoint(24, 7)).program(a, Key(0))
    first, again = handle.solve(b), pickle.loads(pickle.dumps(handle)).solve(b)
    assert (first.status == Status.OK).all()
    assert first.counts.digital_fallbacks == 0
    np.testing.assert_array_equal(first.x, again.x)


def test_a_disturbed_array_starts_anew_without_old_directions(rhs: Make, error_leaf: Any) -> None:
    a, b = ill(4, 10.0, 3), rhs(3, 4, 2)
    rotation = np.linalg.qr(rhs(4, 4, seed=9))[0]
    answer = HpInv(error_leaf((2.0 * rotation,), hurt=a[1, 0, 0]), method="gcr").program(a, Key(0)).solve(b)
    assert (answer.status == Status.OK).all()
    assert answer.counts.reprogrammings == 1
    assert not answer.disturbed.any()
    assert (answer.iterations[[0, 2]] <= 4).all()
    assert (answer.iterations[1] <= 1 + 4).all()


def test_an_answer_without_a_new_direction_changes_nothing(rhs: Make) -> None:
    """The same d again lies in the kept directions: no step, no division by nothing."""
    x, r = np.zeros((3, 1)), rhs(3, 1)
    steps = Directions(4, x.shape, direct=True)
    d = rhs(3, 1, seed=4)
    steps.take(d, d, x, r)
    first = x.copy()
    assert np.abs(first).max() > 0
    for again in (d, np.zeros((3, 1))):
        size = steps.take(again, again, x, r)
        np.testing.assert_array_equal(x, first)
        np.testing.assert_allclose(size, np.linalg.norm(r, axis=0), rtol=1e-14)


@pytest.mark.parametrize("passes", [3, 4, 7])
def test_answers_formed_at_the_end_are_those_of_every_pass(passes: int, rhs: Make) -> None:
    """With four directions kept: before the window is full, as it fills, and once pairs have been dropped."""
    a, b = np.eye(8) + 0.5 * rhs(8, 8, seed=2) / 8**0.5, rhs(8, 40)
    found = []
    for direct in (True, False):
        steps, x, r = Directions(4, b.shape, direct=direct), np.zeros(b.shape), b.copy()
        for _ in range(passes):
            d = steps.ask(r).copy()
            steps.take(d, a @ d, x, r)
        steps.bring(x)
        np.testing.assert_allclose(r, b - a @ x, atol=1e-14)
        found.append(x)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-11, atol=1e-13)


def test_columns_that_leave_take_their_directions_along(rhs: Make) -> None:
    """Of 70 vectors, more than a block has lanes, those that stay go on as if they had been alone."""
    a, b = np.eye(6) + 0.3 * rhs(6, 6, seed=2) / 6**0.5, rhs(6, 70)
    stay = np.arange(70) % 3 > 0
    both = [(Directions(3, b.shape), np.zeros(b.shape), b.copy())]
    both.append((Directions(3, b[:, stay].shape), np.zeros((6, stay.sum())), b.compress(stay, axis=1)))
    for _ in range(2):
        for steps, x, r in both:
            d = steps.ask(r).copy()
            steps.take(d, a @ d, x, r)
    steps, x, r = both[0]
    steps.keep(stay)
    both[0] = steps, x.compress(stay, axis=1), r.compress(stay, axis=1)
    for _ in range(2):
        for steps, x, r in both:
            d = steps.ask(r).copy()
            steps.take(d, a @ d, x, r)
            steps.bring(x)
    np.testing.assert_allclose(both[0][1], both[1][1], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(both[0][2], b[:, stay] - a @ both[0][1], atol=1e-14)
