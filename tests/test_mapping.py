"""A <-> G: conductances stay in range, their difference is the matrix, voltages stay in range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amcsim._types import F64
from amcsim.mapping import (
    HEADROOM,
    check_matrix,
    inverse_for_ranging,
    matrix_scale,
    to_conductances,
    voltage_scale,
)
from amcsim.specs import preset

IDEAL = preset("ideal")
CELL = IDEAL.cell
entries = st.floats(-1e300, 1e300, allow_nan=False)
matrices = hnp.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)), elements=entries)
ordinary = st.integers(-(10**6), 10**6).map(lambda i: i * 1e-3)


@given(matrices)
def test_conductances_lie_in_range_and_their_difference_is_the_matrix(a: F64) -> None:
    pos, neg = to_conductances(a, CELL)
    for g in (pos, neg):
        assert g.shape == a.shape
        assert g.min() >= CELL.g_min
        assert g.max() <= CELL.g_max * (1 + 1e-15)
    np.testing.assert_array_equal(np.minimum(pos, neg), CELL.g_min)  # one of each pair rests on the floor
    back = (pos - neg) / IDEAL.g_unit
    # the floor of a tenth of the range costs a bit of rounding on the range, not on the entry
    np.testing.assert_allclose(back, a / matrix_scale(a)[:, None, None], rtol=0, atol=4e-16)


def test_each_matrix_of_a_batch_has_its_own_scale() -> None:
    a = np.array([[[1.0, -0.5]], [[-40.0, 10.0]]])
    np.testing.assert_array_equal(matrix_scale(a), [1.0, 40.0])
    pos, neg = to_conductances(a, CELL)
    np.testing.assert_allclose(pos, np.array([[[220e-6, 20e-6]], [[20e-6, 70e-6]]]), rtol=1e-14)
    np.testing.assert_allclose(neg, np.array([[[20e-6, 120e-6]], [[220e-6, 20e-6]]]), rtol=1e-14)


def test_the_zero_matrix_is_all_floor() -> None:
    zero = np.zeros((2, 2))
    assert matrix_scale(zero) == 1.0
    for g in to_conductances(zero, CELL):
        np.testing.assert_array_equal(g, CELL.g_min)


@given(st.integers(1, 5), st.data())
def test_voltages_fill_the_range_without_leaving_it(m: int, data: st.DataObject) -> None:
    square = hnp.arrays(np.float64, (m, m), elements=ordinary)
    a = data.draw(square)
    b = data.draw(hnp.arrays(np.float64, (m, 2), elements=ordinary))
    spec = IDEAL.replace(cell={"v_read_max": 0.3}, converters={"dac_full_scale": 0.25, "adc_full_scale": 0.2})
    inverse = inverse_for_ranging(a)
    scale = voltage_scale(inverse, b, spec)
    inputs, outputs = np.abs(b * scale).max(axis=0), np.abs(inverse @ (b * scale)).max(axis=0)
    assert (np.frexp(scale)[0] == 0.5).all()  # powers of two: scaling rounds nothing
    assert (inputs <= 0.25).all()
    assert (outputs <= HEADROOM * 0.2 * (1 + 1e-12)).all()
    asked = b.any(axis=0)
    fullest = np.maximum(inputs / 0.25, outputs / (HEADROOM * 0.2))
    assert (fullest[asked] >= 0.5 * (1 - 1e-12)).all()  # twice the scale would leave the range


@given(st.integers(1, 5), st.data())
def test_the_gain_of_an_array_has_room_for_its_largest_answer(m: int, data: st.DataObject) -> None:
    """The worst b of a size has entries of that size, with the signs of a row of the inverse."""
    a = data.draw(hnp.arrays(np.float64, (m, m), elements=ordinary))
    spec = IDEAL.replace(cell={"v_read_max": 0.3}, converters={"ranging": "array"})
    inverse = inverse_for_ranging(a)
    worst = np.sign(inverse).T  # one column for each row
    volts = worst * voltage_scale(inverse, worst, spec)
    top = np.abs(inverse @ volts).max()
    assert top <= HEADROOM * 0.3 * (1 + 1e-12)
    asked = worst.any(axis=0)
    if asked.any():  # twice the gain would pass a bound
        assert max(top / (HEADROOM * 0.3), np.abs(volts).max() / 0.3) >= 0.5 * (1 - 1e-12)


@given(st.floats(1e-301, 1e307), st.sampled_from([1.0, -1.0]))
def test_inputs_of_any_size_come_back(size: float, sign: float) -> None:
    b = np.array([[sign * size]])
    scale = voltage_scale(np.eye(1), b, IDEAL)
    assert 0 < abs(b * scale).item() <= 0.3
    assert (b * scale / scale).item() == b.item()


@pytest.mark.parametrize("size", [5e-324, 1e-308, 1.7e308])
def test_where_no_voltage_can_stand_for_an_input_there_is_none(size: float) -> None:
    """Scaled by less than needed, 1e-308 sank below the amplifiers' offsets and came back as their noise, ok."""
    b = np.array([[size, 1.0]])
    with np.errstate(over="ignore"):
        scale = voltage_scale(np.eye(1), b, preset("pku_350nm"))
    assert np.isnan(scale).tolist() == [True, False]


def test_ranging_survives_singular_members_of_a_batch() -> None:
    a = np.stack([np.diag([2.0, 1.0]), np.ones((2, 2)), np.zeros((2, 2))])
    inverse = inverse_for_ranging(a)
    np.testing.assert_array_equal(inverse, [np.diag([1.0, 2.0]), np.zeros((2, 2)), np.zeros((2, 2))])


@pytest.mark.parametrize(
    ("a", "words"),
    [
        (np.ones((2, 3)), r"shape \(2, 3\); INV needs a square one"),
        (np.ones(3), r"shape \(3,\); it must be two-dimensional and not empty"),
        (np.ones((0, 0)), "not empty"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), "NaN or infinite"),
        (np.array([[np.inf]]), "NaN or infinite"),
        (np.eye(2) * 1j, "complex128, not real numbers"),
        (np.array([["a", "b"], ["c", "d"]]), "not real numbers"),
    ],
)
def test_what_is_no_matrix_is_refused(a: F64, words: str) -> None:
    with pytest.raises(ValueError, match=f"^matrix .*{words}"):
        check_matrix(a)


def test_integers_and_batches_are_matrices() -> None:
    assert check_matrix(np.eye(2, dtype=np.int32)).dtype == np.float64
    assert check_matrix(np.ones((5, 2, 2))).shape == (5, 2, 2)
    assert check_matrix(np.ones((2, 3)), square=False).shape == (2, 3)
