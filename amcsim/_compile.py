"""Machine code for the loops that numpy has no words for."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from numba import njit

__all__ = ["compiled"]

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function` by numba, compiled at its first call and kept on disk where a folder for that can be written.

    Divisions by zero give infinities, as in numpy; sums keep their order, so that answers are the same on any machine
    with the same instructions. Other threads run meanwhile. Importing this module imports numba (a third of a second):
    modules with such loops are imported where they are needed.
    """
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # neither beside the source nor in the user's own cache: compiled anew by each process
        return njit(nogil=True, error_model="numpy")(function)
