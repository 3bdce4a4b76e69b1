"""Seconds that work takes by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["timed"]

Result = TypeVar("Result")


def timed(work: Callable[[], Result], repeats: int = 1) -> tuple[float, Result]:
    """(The least seconds of so many runs, for other load only ever slows one down; the last result)."""
    best = float("inf")
    for _ in range(repeats):
        begun = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - begun)
    return best, result
