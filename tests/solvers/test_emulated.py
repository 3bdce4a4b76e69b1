from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.realisation import linear_matrix, realise
from amcsim.solvers.base import Counts
from amcsim.solvers.emulated import Emulated
from amcsim.specs import Spec
from amcsim.status import Status
from amcsim.streams import Key


def test_without_write_errors_the_error_is_that_of_the_output_gain(
    spd: Callable[..., F64], rhs: Callable[..., F64]
) -> None:
    a, b = spd(4), rhs(4, 3)
    answer = Emulated(output_gain=0.42).program(a, Key(0)).solve(b)
    np.testing.assert_allclose(answer.x, 0.42 * np.linalg.solve(a, b), rtol=1e-12)
    np.testing.assert_allclose(answer.residual, 0.58, rtol=1e-12)


def test_it_inverts_the_matrix_that_was_written(
    spd: Callable[..., F64], rhs: Callable[..., F64], written: Spec
) -> None:
    a, b = spd(4, (3,)), rhs(3, 4, 2)
    key = Key(7, (2,))
    handle = Emulated(written).program(a, key)
    answer = handle.solve(b)
    realised = linear_matrix(realise(a, written, key), written) * np.abs(a).max(axis=(1, 2))[:, None, None]
    np.testing.assert_allclose(realised @ answer.x, b, atol=1e-12)
    # +-10 uS on both arrays of 200 uS of span moves entries of the scaled matrix by up to a tenth
    moved = np.abs(realised - a).max() / np.abs(a).max()
    assert 0.03 < moved <= 0.1
    assert handle.counts == Counts(array_programmings=3)
    assert answer.counts == Counts(analog_solves=6)
    assert (answer.status == Status.OK).all()


def test_keys_name_the_write_errors(spd: Callable[..., F64], written: Spec) -> None:
    leaf, a = Emulated(written), spd(4)
    first, again, other = leaf.program(a, Key(1)), leaf.program(a, Key(1)), leaf.program(a, Key(1).child(1))
    np.testing.assert_array_equal(first.inverse, again.inverse)
    assert np.abs(first.inverse - other.inverse).max() > 1e-3


def test_handles_survive_pickling(spd: Callable[..., F64], rhs: Callable[..., F64], written: Spec) -> None:
    handle, b = Emulated(written).program(spd(4), Key(0)), rhs(4, 2)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(handle)).solve(b).x, handle.solve(b).x)


def test_a_singular_matrix_has_no_answer() -> None:
    answer = Emulated().program(np.ones((2, 2)), Key(0)).solve(np.ones((2, 1)))
    assert answer.status.tolist() == [Status.NOT_CONVERGED]
    assert np.isnan(answer.x).all()


def test_zero_vectors_need_no_array(spd: Callable[..., F64]) -> None:
    answer = Emulated().program(spd(4), Key(0)).solve(np.zeros((4, 2)))
    assert answer.counts == Counts()
    assert not answer.x.any()
    with pytest.raises(ValueError, match="needs"):
        Emulated().program(spd(4), Key(0)).solve(np.zeros(4))
