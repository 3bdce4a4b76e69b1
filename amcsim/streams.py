"""Randomness by name: a Key names a stream, so any worker draws the same numbers in any order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Key"]


@dataclass(frozen=True)
class Key:
    """A named random stream: a seed and a path of sub-stream numbers.

    Two keys that differ in seed or path give independent streams (NumPy's SeedSequence, spawn_key = path).
    """

    seed: int
    path: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.seed < 0 or any(part < 0 for part in self.path):
            raise ValueError(f"seed {self.seed} and path {self.path} must not be negative")

    def child(self, *index: int) -> Key:
        """The sub-stream of that number (or path of numbers)."""
        return Key(self.seed, self.path + index)

    def generator(self) -> np.random.Generator:
        """A fresh generator at the start of this stream."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=self.path)))
