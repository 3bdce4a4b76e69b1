"""The ngspice leaf says what the nodal one says, number and word, and its transient agrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.analysis import array
from amcsim.analysis.inv import transient
from amcsim.ngspice import NgspiceError
from amcsim.realisation import Realisation, realise
from amcsim.solvers import circuit
from amcsim.solvers.circuit import CircuitSolver
from amcsim.solvers.nodal import NodalSolver
from amcsim.specs import Spec, preset
from amcsim.status import Reason, Status
from amcsim.streams import Key
from amcsim.topology.circuit import Topology

PKU = preset("pku_350nm")
NO_CURE: dict[str, Any] = {
    "programming": {"model": "ideal"},
    "opamp": {"feedback_capacitance": 0.0, "offset_sigma": 0.0},
    "inverter": {"resistance": 10e3, "feedback_capacitance": 0.0},
}


def spd(condition: float, seed: int, m: int = 4) -> F64:
    q, _ = np.linalg.qr(Key(seed).generator().normal(size=(m, m)))
    a: F64 = (q * np.geomspace(1.0, 1.0 / condition, m)) @ q.T
    return a


def indefinite(seed: int) -> F64:
    """Symmetric, every |eigenvalue| of G+ - G- beyond 10 S/A0 (25 nS here), at least one negative."""
    g = Key(seed, (3,)).generator()
    q, _ = np.linalg.qr(g.normal(size=(4, 4)))
    signs = np.array([1.0, -1.0, *g.choice([-1.0, 1.0], 2)])
    a: F64 = (q * (signs * g.uniform(0.05, 1.0, 4))) @ q.T
    return a


def test_both_leaves_draw_the_same_circuit_and_give_the_same_answers() -> None:
    a = np.stack([spd(10, seed) for seed in range(6)])
    b = Key(0).generator().normal(size=(6, 4, 2))
    one, other = (solver(PKU).program(a, Key(3)).solve(b) for solver in (CircuitSolver, NodalSolver))
    np.testing.assert_array_equal(one.status, other.status)
    assert (one.status == Status.OK).any()
    answered = np.broadcast_to((one.status != Status.UNSTABLE)[:, None, :], one.x.shape)
    # the curvature of the access transistors, which nodal leaves out, is 2e-5
    assert np.linalg.norm((one.x - other.x)[answered]) < 1e-4 * np.linalg.norm(one.x[answered])
    assert one.counts == other.counts


def check_indefinite(seed: int) -> None:
    """`unstable` on both, and ngspice's start-up transient does not end at the operating point."""
    spec = PKU.replace(programming={"model": "ideal"})
    a = indefinite(seed)
    b = Key(seed, (4,)).generator().normal(size=(4, 1))
    for solver in (CircuitSolver, NodalSolver):
        handle = solver(spec).program(a, Key(seed))
        answer = handle.solve(b)
        assert answer.status.tolist() == [Status.UNSTABLE]
        assert np.isnan(answer.x).all()
    volts = handle.inputs(b)[0]
    r = realise(a, spec, Key(seed))
    load = (r.g_pos + r.g_neg).sum(axis=1).max() + spec.g_unit
    assert np.abs(np.linalg.eigvalsh(r.g_pos - r.g_neg)).min() > 10 * load / spec.opamp.gain
    point = handle.models[()].operating_point(volts).u[:4, 0]
    end = transient(spec, r, volts[:, 0], 40e-6, from_rest=True).matrix("x")[-1]
    assert np.linalg.norm(end - point) > 0.5 * np.linalg.norm(point) + 0.1


@pytest.mark.parametrize("seed", range(12))
def test_symmetric_indefinite_arrays_are_unstable_and_a_transient_agrees(seed: int) -> None:
    check_indefinite(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 112))
def test_a_hundred_symmetric_indefinite_arrays(seed: int) -> None:
    check_indefinite(seed)


def test_the_oscillating_example_is_not_ok_and_its_cure_is() -> None:
    a, b = spd(30, 5), np.ones((4, 1))
    cured = PKU.replace(programming={"model": "ideal"}, opamp={"offset_sigma": 0.0})
    for solver in (CircuitSolver, NodalSolver):
        assert solver(PKU.replace(**NO_CURE)).program(a, Key(0)).solve(b).status.tolist() == [Status.UNSTABLE]
        answer = solver(cured).program(a, Key(0)).solve(b)
        assert answer.status.tolist() == [Status.OK]
        # no write errors: the wires' and access transistors' 0.1 kohm against 5 kohm, times the condition
        assert answer.residual[0] < 0.2


def test_overload_ends_where_the_nodal_transient_says() -> None:
    """A matrix of condition 1000 whose write errors nobody knows: the answer does not fit the swing."""
    a = np.stack([spd(1000, seed) for seed in range(4)])
    b = np.broadcast_to(np.ones((4, 1)), (4, 4, 1))
    one, other = (solver(PKU).program(a, Key(7)).solve(b) for solver in (CircuitSolver, NodalSolver))
    np.testing.assert_array_equal(one.status, other.status)
    assert (one.status != Status.OK).any()


def test_no_operating_point_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit, "swept_points", lambda topology, deck, volts: np.full((8, len(volts)), np.nan))
    monkeypatch.setattr(
        circuit, "operating_points", lambda topology, spec, r, b: np.full((4 * len(b), b.shape[1]), np.nan)
    )
    answer = CircuitSolver(PKU).program(np.eye(2), Key(0)).solve(np.ones((2, 1)))
    assert (answer.status.item(), answer.reason.item()) == (Status.NOT_CONVERGED, Reason.NONFINITE)


def test_a_transient_that_ngspice_gives_up_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def gives_up(*_: object, **__: object) -> None:
        raise NgspiceError("timestep too small")

    monkeypatch.setattr(circuit, "transient", gives_up)
    quiet = PKU.replace(programming={"model": "ideal"}, opamp={"offset_sigma": 0.0})
    # a zero matrix: open loops, beyond the limits at once, so that only the transient can tell
    answer = CircuitSolver(quiet).program(np.zeros((2, 2)), Key(3)).solve(np.ones((2, 1)))
    assert (answer.status.item(), answer.reason.item()) == (Status.NOT_CONVERGED, Reason.SIMULATOR)
    assert np.isnan(answer.x).all()


def test_a_right_hand_side_that_is_no_number_is_no_answer() -> None:
    for solver in (CircuitSolver, NodalSolver):
        answer = solver(PKU).program(np.eye(2), Key(0)).solve(np.array([[1.0, np.nan], [1.0, 1.0]]))
        assert answer.status.tolist() == [Status.OK, Status.NOT_CONVERGED]


def test_vectors_in_one_sweep_end_as_each_alone() -> None:
    # Each point of a sweep starts from the one before. ngspice's tolerance is 1e-5; Newton's last step does better.
    a = np.array([[1.0, 0.3, 0.1], [0.3, 0.8, -0.2], [0.1, -0.2, 0.6]])
    b = np.random.default_rng(0).standard_normal((3, 6))
    handle = CircuitSolver(PKU).program(a, Key(0))
    together = handle.solve(b)
    alone = [handle.solve(b[:, [k]]) for k in range(6)]
    np.testing.assert_allclose(together.x, np.hstack([answer.x for answer in alone]), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(together.x, handle.solve(b).x)  # whatever the session did before
    np.testing.assert_array_equal(together.status, np.hstack([answer.status for answer in alone]))


def test_arrays_that_may_latch_are_solved_vector_by_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = array.operating_points

    def counted(topology: Topology, spec: Spec, r: Realisation, b: F64) -> F64:
        asked.append(b.shape[1])
        return np.asarray(real(topology, spec, r, b))

    monkeypatch.setattr(circuit, "operating_points", counted)
    ideal = PKU.replace(programming={"model": "ideal"})
    for a in (np.diag([1.0, 0.5]), np.array([[0.2, 1.0], [-0.9, 0.1]]), np.array([[0.1, 1.0], [-0.3, 0.1]])):
        CircuitSolver(ideal).program(a, Key(0)).solve(np.eye(2))
    # the first two have a positive definite symmetric part and so one DC point
    assert asked == [2]
