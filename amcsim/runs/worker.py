"""The child side of `executor.run`: one process that computes items until its parent stops it or is gone."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["Message", "main"]

Message = tuple[int | None, Any, str | None]
"""Item (None: the worker itself), result, and None or the text of what went wrong."""

_PR_SET_PDEATHSIG = 1


def main(handle: int, parent: int) -> None:
    """Serve the parent over the socket `handle`. `parent` is its process id."""
    _die_with_parent(handle, parent)
    pipe: Connection[Message, Any] = Connection(handle)
    number: int | None = None
    try:
        task, kwargs, initializer = pipe.recv()
        if initializer is not None:
            initializer()
        pipe.send((None, None, None))
        while (chunk := pipe.recv()) is not None:
            for number, payload in chunk:
                pipe.send((number, task(payload, **kwargs), None))
            number = None
    except Exception as error:  # noqa: BLE001  (whatever it is, it travels back as text)
        with suppress(OSError):  # no one there: the error was that the parent is gone
            pipe.send((number, traceback.format_exc(), _last_line(error)))


def _die_with_parent(handle: int, parent: int) -> None:
    """Leave no orphan: a watch on the socket ends this process and its children, and on Linux the kernel ends it too.

    The watch also takes the children along (an ngspice of its own, say); the kernel's signal also works where a library
    holds the interpreter's lock.
    """
    threading.Thread(target=_watch, args=(handle,), daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before the signal was asked for
        os._exit(1)


def _watch(handle: int) -> None:
    """Wait for the parent's end of the socket to close, without reading; then end this process group."""
    poll = select.poll()
    poll.register(handle, 0)  # hang-up and error are always reported
    poll.poll()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _last_line(error: Exception) -> str:
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
