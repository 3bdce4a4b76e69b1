"""Inverses of many small matrices: LAPACK's, whatever the matrices."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.small_matrices import inverses
from amcsim.streams import Key


@pytest.mark.parametrize("m", [1, 2, 4, 7, 9])
@pytest.mark.parametrize("n", [1, 31, 100, 5000])
def test_they_are_lapacks(m: int, n: int) -> None:
    """Conductances of 1e-4 S, any signs: elimination that meets a small pivot leaves the matrix to LAPACK."""
    a = 1e-4 * Key(m).generator().standard_normal((n, m, m))
    before = a.copy()
    off = np.abs(inverses(a) @ a - np.eye(m)).max(axis=(1, 2))
    np.testing.assert_array_equal(a, before)
    assert (off < 1e-12 * np.linalg.cond(a)).all()


def test_singular_and_zero_pivots() -> None:
    a = np.tile(np.eye(4), (100, 1, 1))
    a[3] = np.eye(4)[[1, 0, 3, 2]]  # regular, no pivot on the diagonal
    a[7] = 1.0
    a[8] = 0.0
    a[9, 0, 0] = np.nan
    found = inverses(a)
    np.testing.assert_array_equal(found[3], a[3])
    assert np.isnan(found[[7, 8, 9]]).any(axis=(1, 2)).all()
    good = np.setdiff1d(np.arange(100), [3, 7, 8, 9])
    np.testing.assert_array_equal(found[good], a[good])
