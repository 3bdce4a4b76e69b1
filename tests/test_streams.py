"""Named random streams: the name alone decides the numbers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amcsim.streams import Key

paths = st.lists(st.integers(0, 2**31), max_size=4).map(tuple)
keys = st.builds(Key, st.integers(0, 2**64), paths)


@given(keys)
def test_the_same_key_gives_the_same_numbers(key: Key) -> None:
    again = pickle.loads(pickle.dumps(key))
    np.testing.assert_array_equal(key.generator().normal(size=5), again.generator().normal(size=5))


@given(keys, keys)
def test_different_keys_give_different_numbers(one: Key, other: Key) -> None:
    same = bool(np.array_equal(one.generator().integers(2**62, size=4), other.generator().integers(2**62, size=4)))
    assert same == (one == other)


@given(keys, st.integers(0, 100), st.integers(0, 100))
def test_a_child_is_a_longer_path(key: Key, i: int, j: int) -> None:
    assert key.child(i, j) == key.child(i).child(j) == Key(key.seed, (*key.path, i, j))
    assert key.child(i).generator().random() != key.generator().random()


def test_drawing_from_a_child_leaves_the_parent_alone() -> None:
    key = Key(1)
    before = key.generator().random(3)
    key.child(0).generator().random(100)
    np.testing.assert_array_equal(key.generator().random(3), before)


def test_the_numbers_stay_what_they_are() -> None:
    """Stored results depend on them: a change of generator or spawning rule must be seen."""
    assert Key(7, (1, 2)).generator().integers(1000, size=4).tolist() == [597, 478, 333, 141]


@pytest.mark.parametrize("key", [(-1, ()), (0, (1, -2))])
def test_negative_names_are_refused(key: tuple[int, tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Key(*key)
