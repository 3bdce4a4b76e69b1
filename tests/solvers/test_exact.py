from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.solvers.base import Counts, Programmed
from amcsim.solvers.exact import Exact, solve_or_nan
from amcsim.status import Reason, Status
from amcsim.streams import Key


def test_solves_a_known_system_and_spends_nothing() -> None:
    handle = Exact().program(np.array([[2.0, 1.0], [1.0, 3.0]]), Key(0))
    answer = handle.solve(np.array([[3.0], [5.0]]))
    np.testing.assert_allclose(answer.x[:, 0], [0.8, 1.4], rtol=1e-15)
    assert handle.counts + answer.counts == Counts()
    assert answer.status.tolist() == [Status.OK]
    assert answer.iterations.tolist() == [0]
    assert isinstance(handle, Programmed)


def test_a_singular_member_spoils_only_itself(spd: Callable[..., F64], rhs: Callable[..., F64]) -> None:
    a, b = spd(4, (5,)), rhs(5, 4, 3)
    a[2] = np.ones((4, 4))
    answer = Exact().program(a, Key(0)).solve(b)
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(answer.x[others], np.linalg.solve(a[others], b[others]))
    assert np.isnan(answer.x[2]).all()
    assert (answer.status[2] == Status.NOT_CONVERGED).all()
    assert (answer.reason[2] == Reason.NONFINITE).all()
    assert (answer.status[others] == Status.OK).all()
    assert np.isnan(solve_or_nan(np.zeros((2, 2)), np.ones((2, 1)))).all()


def test_a_right_hand_side_with_nan_spoils_only_its_column(spd: Callable[..., F64], rhs: Callable[..., F64]) -> None:
    b = rhs(4, 3)
    b[1, 1] = np.nan
    answer = Exact().program(spd(4), Key(0)).solve(b)
    assert answer.status.tolist() == [Status.OK, Status.NOT_CONVERGED, Status.OK]
    assert (answer.residual[[0, 2]] < 1e-14).all()


def test_handles_survive_pickling(spd: Callable[..., F64], rhs: Callable[..., F64]) -> None:
    handle, b = Exact().program(spd(5), Key(0)), rhs(5, 2)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(handle)).solve(b).x, handle.solve(b).x)


def test_bad_matrices_are_refused() -> None:
    for bad in (np.ones((2, 3)), np.ones(4), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match=r"matrix (has shape|holds)"):
            Exact().program(bad, Key(0))


def test_large_matrices_are_factorised_once_and_answer_as_ever(
    spd: Callable[..., F64], rhs: Callable[..., F64]
) -> None:
    a, b = spd(80), rhs(80, 5)
    handle = Exact().program(a, Key(0))
    for _ in range(2):
        np.testing.assert_allclose(handle.solve(b).x, np.linalg.solve(a, b), rtol=0, atol=1e-13)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(handle)).solve(b).x, handle.solve(b).x)
    a[:, 3] = 0.0
    assert (Exact().program(a, Key(0)).solve(b).status == Status.NOT_CONVERGED).all()
