"""Machine code for the loops that numpy has no words for."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from numba import njit
from numba.core import event

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
        code = njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # neither beside the source nor in the user's own cache: compiled anew by each process
        return njit(nogil=True, error_model="numpy")(function)
    kept: Any = getattr(getattr(code, "_cache", None), "_cache_file", None)
    if kept is not None:  # numba looks at the function's own file, but what that calls from others is in its code, too
        kept._source_stamp = kept._source_stamp, _sources()
    return code


@lru_cache(maxsize=1)
def _sources() -> str:
    """Digest of all files of this package that hold such functions."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        content = path.read_bytes()
        if b"\n@compiled" in content:
            found.update(content)
    return found.hexdigest()


class _Notice(event.Listener):
    """Says once a process that code of ours is being compiled: a user waits for seconds."""

    def on_start(self, event: event.Event) -> None:
        function: Any = event.data["dispatcher"].py_func if event.data else None
        if str(getattr(function, "__module__", "")).startswith("amcsim."):
            _said()

    def on_end(self, event: event.Event) -> None:
        """Nothing."""


@lru_cache(maxsize=1)
def _said() -> None:
    logging.getLogger("amcsim").info("loops are being compiled, once on this machine: up to half a minute")


event.register("numba:compile", _Notice())  # type: ignore[no-untyped-call]
