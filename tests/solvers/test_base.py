from __future__ import annotations

import numpy as np
import pytest

from amcsim.solvers.base import Counts, answered, check_rhs, relative_residual, worst_status
from amcsim.status import Reason, Status


def test_counts_add_field_by_field() -> None:
    total = Counts(1, 2, 3, 4, 5) + Counts(10, 20, 30, 40, 50)
    assert total.as_dict() == {
        "array_programmings": 11,
        "reprogrammings": 22,
        "analog_solves": 33,
        "high_precision_vectors": 44,
        "digital_fallbacks": 55,
    }


def test_worst_status_ranks_unstable_above_unsettled() -> None:
    status = np.array([[Status.OK, Status.UNSETTLED], [Status.UNSTABLE, Status.SATURATED]], np.int64)
    reason = np.array([[Reason.NONE, Reason.WINDOW], [Reason.POLE, Reason.DISTURB]], np.int64)
    assert worst_status(status, reason) == (Status.UNSTABLE, Reason.POLE)
    assert worst_status(status[:, :0], reason[:, :0]) == (Status.OK, Reason.NONE)


def test_residual_of_a_hand_made_case() -> None:
    a, x = np.diag([2.0, 4.0]), np.array([[1.0, 0.0], [1.0, 0.0]])
    b = np.array([[3.0, 0.0], [4.0, 0.0]])  # b - A x = (1, 0) against ||b|| = 5; the second column is 0
    np.testing.assert_allclose(relative_residual(a, x, b), [0.2, 0.0], rtol=1e-15)


def test_answered_marks_what_is_no_answer() -> None:
    a = np.eye(2)
    b = np.array([[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    x = np.array([[1.0, np.inf, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    status = np.array([Status.SATURATED, Status.OK, Status.UNSTABLE, Status.OK], np.int64)
    reason = np.array([Reason.CURRENT, Reason.NONE, Reason.LATCHED, Reason.NONE], np.int64)
    got = answered(a, x, b, status=status, reason=reason)
    assert got.status.tolist() == [Status.SATURATED, Status.NOT_CONVERGED, Status.UNSTABLE, Status.OK]
    assert got.reason.tolist() == [Reason.CURRENT, Reason.NONFINITE, Reason.LATCHED, Reason.NONE]
    assert np.isnan(got.x).all(axis=0).tolist() == [False, True, True, False]
    assert got.iterations.tolist() == [1, 1, 1, 0]  # a zero vector needs no array
    assert got.counts == Counts(analog_solves=3)


def test_right_hand_sides_of_another_shape_are_refused() -> None:
    a = np.zeros((3, 4, 4))
    for shape in ((4, 2), (3, 4), (3, 5, 1), (2, 4, 1)):
        with pytest.raises(ValueError, match=r"this matrix needs \(3, 4, k\)"):
            check_rhs(a, np.zeros(shape))
