"""Low-discrepancy points in the place of a random generator: families draw from them as they draw from NumPy's."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, cast

import numpy as np

from amcsim._types import F64
from amcsim.streams import Key

__all__ = ["LARGEST_DIMENSION", "Point", "point"]

LARGEST_DIMENSION = 21201
"""Of SciPy's direction numbers (Joe and Kuo, SIAM J. Sci. Comput. 30, 2635 (2008))."""


class Point:
    """Coordinates of one point in the unit cube, handed out in order as a numpy.random.Generator hands out numbers."""

    def __init__(self, coordinates: F64) -> None:
        self._left = coordinates

    def random(self, size: Any = None) -> Any:
        """Uniform in 0 to 1."""
        count = math.prod(size) if isinstance(size, tuple) else size or 1
        taken, self._left = self._left[:count], self._left[count:]
        if taken.size < count:
            raise ValueError("the point has fewer coordinates than are drawn")
        return float(taken[0]) if size is None else taken.reshape(size)

    def standard_normal(self, size: Any = None) -> Any:
        """By the inverse of the normal distribution."""
        from scipy.special import ndtri

        return ndtri(np.clip(self.random(size), 1e-12, 1.0 - 1e-12))

    def uniform(self, low: float, high: float, size: Any = None) -> Any:
        """Uniform in low to high."""
        return low + (high - low) * self.random(size)

    def integers(self, high: int) -> int:
        """0 to high - 1."""
        return min(int(self.random() * high), high - 1)

    @property
    def generator(self) -> np.random.Generator:
        """Itself, to functions that take generators and draw by the methods above."""
        return cast(np.random.Generator, self)


class _Sequence:
    """Scrambled Sobol points; going on is quick, going back begins anew."""

    def __init__(self, dimension: int, key: Key) -> None:
        from scipy.stats.qmc import Sobol

        self._engine, self._next = Sobol(dimension, rng=key.generator()), 0

    def __call__(self, index: int) -> F64:
        if index < self._next:
            self._engine.reset()
            self._next = 0
        if index > self._next:
            self._engine.fast_forward(index - self._next)
        self._next = index + 1
        return np.asarray(self._engine.random(1)[0], dtype=np.float64)


_sequence = lru_cache(maxsize=16)(_Sequence)


def point(dimension: int, key: Key, index: int) -> Point:
    """Point number `index` of the Sobol sequence in that dimension which the key scrambles.

    Raises ValueError beyond LARGEST_DIMENSION.
    """
    if dimension > LARGEST_DIMENSION:
        raise ValueError(f"a low-discrepancy design has at most {LARGEST_DIMENSION} dimensions, not {dimension}")
    return Point(_sequence(dimension, key)(index))
