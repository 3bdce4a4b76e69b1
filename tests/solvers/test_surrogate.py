"""The surrogate leaf: the nodal leaf's answers and words, array by array, and no `ok` that the full verdict denies."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.nodal.inv import build
from amcsim.nodal.startup import start_up
from amcsim.nodal.verdict import start_up_times
from amcsim.solvers.base import Programmed
from amcsim.solvers.nodal import NodalSolver
from amcsim.solvers.surrogate import SurrogateSolver
from amcsim.specs import Spec, preset
from amcsim.status import Reason, Status
from amcsim.streams import Key
from amcsim.surrogate.model import DomainError, Surrogate
from amcsim.surrogate.shipped import shipped_surrogate

PKU = preset("pku_350nm")
SHIPPED = shipped_surrogate(PKU, (4, 4))
SOLVER = SurrogateSolver(SHIPPED, PKU)
NO_CURE: dict[str, Any] = {
    "opamp": {"feedback_capacitance": 0.0},
    "inverter": {"resistance": 10e3, "feedback_capacitance": 0.0},
}


def spd(condition: float, seed: int) -> F64:
    q, _ = np.linalg.qr(Key(seed).generator().normal(size=(4, 4)))
    a: F64 = (q * np.geomspace(1.0, 1.0 / condition, 4)) @ q.T
    return a


def indefinite(count: int) -> F64:
    """Symmetric, at least one eigenvalue negative, each |eigenvalue| of G+ - G- far beyond 10 S/A0 = 0.5 uS."""
    g = Key(3).generator()
    q = np.linalg.qr(g.normal(size=(count, 4, 4)))[0]
    signs = np.concatenate([np.ones((count, 1)), -np.ones((count, 1)), g.choice([-1.0, 1.0], (count, 2))], axis=1)
    a: F64 = (q * (signs * g.uniform(0.05, 1.0, (count, 4)))[:, None, :]) @ np.swapaxes(q, 1, 2)
    return a


def mixed(count: int) -> F64:
    """Matrices that end in many ways."""
    g = Key(4).generator()
    kinds = [
        spd(float(g.uniform(2, 300)), i) if i % 2 else np.eye(4) + 0.7 * g.normal(size=(4, 4)) for i in range(count)
    ]
    return np.stack(kinds)


def test_the_same_key_draws_the_circuit_of_the_nodal_leaf() -> None:
    a, b = np.stack([spd(10, seed) for seed in range(20)]), Key(0).generator().normal(size=(20, 4, 3))
    ours, theirs = SOLVER.program(a, Key(3)), NodalSolver(PKU).program(a, Key(3))
    assert isinstance(ours, Programmed)
    assert np.array_equal(ours.realisation.g_pos, theirs.realisation.g_pos)
    x, reference = ours.solve(b), theirs.solve(b)
    np.testing.assert_array_equal(x.status, reference.status)
    assert np.count_nonzero(x.status == Status.OK) > 50
    # the curvature of the access transistors, which nodal leaves out, is 2e-5, times what the condition makes of it
    assert np.linalg.norm(x.x - reference.x) < 5e-4 * np.linalg.norm(reference.x)
    assert x.counts == reference.counts
    assert ours.counts == theirs.counts


def test_statuses_are_those_of_the_nodal_leaf() -> None:
    a = mixed(120)
    b = Key(5).generator().normal(size=(120, 4, 2))
    ours, theirs = SOLVER.program(a, Key(6)).solve(b), NodalSolver(PKU).program(a, Key(6)).solve(b)
    assert {Status.OK, Status.SATURATED, Status.UNSTABLE} <= set(theirs.status.ravel().tolist())
    # two in a thousand may differ where an output lies on a bound, as the answers differ by 2e-5
    assert np.count_nonzero(ours.status != theirs.status) <= 1
    same = ours.status == theirs.status
    np.testing.assert_array_equal(np.isnan(ours.x).any(axis=1)[same], np.isnan(theirs.x).any(axis=1)[same])


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_any_leading_axes(batch: tuple[int, ...]) -> None:
    """The last array of each batch is left to the full verdict."""
    a = np.broadcast_to(spd(5, 1), (*batch, 4, 4)).copy()
    a.reshape(-1, 4, 4)[-1] = mixed(2)[0]
    b = Key(1).generator().normal(size=(*batch, 4, 5))
    handle = SOLVER.program(a, Key(0))
    answer = handle.solve(b)
    assert answer.x.shape == b.shape
    assert answer.status.shape == answer.residual.shape == (*batch, 5)
    assert handle.counts.array_programmings == int(np.prod(batch))
    again = pickle.loads(pickle.dumps(handle)).solve(b)
    np.testing.assert_array_equal(again.x, answer.x)
    np.testing.assert_array_equal(handle.solve(b).x, answer.x)  # a solve leaves no trace


def test_each_array_of_a_batch_is_judged_by_itself() -> None:
    a = np.stack([np.eye(4), -np.eye(4), spd(5, 0)])
    answer = SOLVER.program(a, Key(0)).solve(np.ones((3, 4, 2)))
    assert answer.status.tolist() == [[0, 0], [Status.UNSTABLE] * 2, [0, 0]]
    assert (answer.reason[1] == Reason.POLE).all()
    assert np.isnan(answer.x[1]).all()
    assert np.isfinite(answer.x[[0, 2]]).all()


def test_a_hundred_symmetric_indefinite_arrays_are_unstable() -> None:
    """On surrogate and nodal, 100 of 100; an even number of negative eigenvalues hides from the determinant's sign."""
    a, b = indefinite(100), Key(7).generator().normal(size=(100, 4, 1))
    assert 20 < np.count_nonzero(np.linalg.det(a) > 0) < 80
    for solver in (SOLVER, NodalSolver(PKU)):
        answer = solver.program(a, Key(8)).solve(b)
        assert (answer.status == Status.UNSTABLE).all()
        assert (answer.reason == Reason.POLE).all()
        assert np.isnan(answer.x).all()


def test_their_transients_do_not_end_at_the_operating_point() -> None:
    a, b = indefinite(8), Key(7).generator().normal(size=(8, 4, 1))
    handle = SOLVER.program(a, Key(8))
    volts = handle.inputs(b)[0]
    for k in range(8):
        model = build(PKU, handle.realisation[k])
        point = model.operating_point(volts[k]).u[:4, 0]
        end = start_up(model, volts[k, :, 0], start_up_times(model))[-1, :4]
        assert np.linalg.norm(end - point) > 0.5 * np.linalg.norm(point) + 0.1


def test_the_oscillating_example_lies_outside_the_shipped_domain() -> None:
    with pytest.raises(DomainError, match="was fitted with "):
        SurrogateSolver(SHIPPED, PKU.replace(**NO_CURE)).program(spd(30, 5), Key(0))


def oscillating(fast_verdict: bool) -> tuple[SurrogateSolver, Spec]:
    spec = PKU.replace(**NO_CURE, programming={"model": "ideal"}).replace(opamp={"offset_sigma": 0.0})
    surrogate: Surrogate = SHIPPED.model_copy(update={"spec": spec, "fast_verdict": fast_verdict})
    return SurrogateSolver(surrogate, spec), spec


def test_the_oscillating_example_is_never_ok_and_its_cure_is() -> None:
    """A surrogate for that technology: the fit finds out that its fast verdict is no good (tests/campaign)."""
    a = np.stack([spd(30, seed) for seed in range(12)])
    b = np.ones((12, 4, 1))
    solver, spec = oscillating(fast_verdict=False)
    ours, theirs = solver.program(a, Key(0)).solve(b), NodalSolver(spec).program(a, Key(0)).solve(b)
    assert np.count_nonzero(theirs.status == Status.UNSTABLE) > 2
    np.testing.assert_array_equal(ours.status, theirs.status)
    cured = PKU.replace(programming={"model": "ideal"}, opamp={"offset_sigma": 0.0})
    answer = SurrogateSolver(SHIPPED, cured).program(a, Key(0)).solve(b)
    assert (answer.status == Status.OK).all()


def test_with_its_fast_verdict_trusted_it_would_be_ok() -> None:
    """So the flag matters, and the campaign's check of it does."""
    a = np.stack([spd(30, seed) for seed in range(12)])
    solver, spec = oscillating(fast_verdict=True)
    assert (SurrogateSolver(solver.surrogate, spec).program(a, Key(0)).solve(np.ones((12, 4, 1))).status == 0).any()
    unstable = NodalSolver(spec).program(a, Key(0)).solve(np.ones((12, 4, 1))).status == Status.UNSTABLE
    trusted = solver.program(a, Key(0)).solve(np.ones((12, 4, 1))).status == Status.OK
    assert (trusted & unstable).any()


def test_skewed_arrays_that_oscillate_are_never_ok() -> None:
    """0.1 E + a skew part: positive-definite, good DC points, and lag enough to turn it into an oscillator."""
    n = Key(9).generator().normal(size=(60, 4, 4))
    a, b = 0.1 * np.eye(4) + n - np.swapaxes(n, 1, 2), np.ones((60, 4, 1))
    ours, theirs = SOLVER.program(a, Key(0)).solve(b), NodalSolver(PKU).program(a, Key(0)).solve(b)
    assert np.count_nonzero(theirs.status == Status.UNSTABLE) > 20
    np.testing.assert_array_equal(ours.status, theirs.status)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_right_hand_side_that_is_no_number_is_no_answer(bad: float) -> None:
    b = np.ones((4, 3))
    b[2, 1] = bad
    answer = SOLVER.program(np.eye(4), Key(0)).solve(b)
    assert answer.status.tolist() == [Status.OK, Status.NOT_CONVERGED, Status.OK]
    assert np.isnan(answer.x[:, 1]).all()


def test_nothing_asked_costs_nothing() -> None:
    handle = SOLVER.program(np.eye(4), Key(0))
    answer = handle.solve(np.zeros((4, 2)))
    assert not answer.x.any()
    assert answer.counts.analog_solves == 0
    assert handle.solve(np.ones((4, 0))).x.shape == (4, 0)


def test_a_slow_array_is_unsettled_as_on_the_nodal_leaf() -> None:
    """A read window of 2 us, against a slowest mode of about that; the window is no part of the fitted technology."""
    spec = PKU.replace(converters={"read_window": 2e-6}, programming={"model": "ideal"}, opamp={"offset_sigma": 0.0})
    a, b = np.stack([spd(30, seed) for seed in range(6)]), np.ones((6, 4, 1))
    ours = SurrogateSolver(SHIPPED, spec).program(a, Key(0)).solve(b)
    theirs = NodalSolver(spec).program(a, Key(0)).solve(b)
    assert (theirs.status == Status.UNSETTLED).any()
    np.testing.assert_array_equal(ours.status, theirs.status)
    assert np.linalg.norm(ours.x - theirs.x) < 1e-3 * np.linalg.norm(theirs.x)


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="INV needs a square one"):
        SOLVER.program(np.ones((4, 3)), Key(0))
    with pytest.raises(ValueError, match=r"right-hand sides have shape \(3, 1\); this matrix needs \(4, k\)"):
        SOLVER.program(np.eye(4), Key(0)).solve(np.ones((3, 1)))


def test_many_vectors_are_solved_in_pieces_and_come_back_whole() -> None:
    """More numbers than are solved at a time: every vector's answer, status and count as if it were alone."""
    handle = SOLVER.program(np.stack([spd(5.0, i) for i in range(6)]), Key(9))
    b = Key(10).generator().standard_normal((6, 4, 5000))
    b[:, :, 17] = 0.0
    found, few = handle.solve(b), handle.solve(b[..., 4990:])
    for name in ("x", "residual", "status", "reason", "iterations"):
        np.testing.assert_array_equal(getattr(found, name)[..., 4990:], getattr(few, name))
    assert found.x.shape == b.shape
    assert found.counts.analog_solves == 6 * 4999
    assert found.disturbed.shape == (6,)
