"""The child side of `executor.run`: one process that computes items until its parent stops it or is gone."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Literal

__all__ = ["Message", "ReplaceWorker", "main"]

Message = tuple[Literal["ready", "result", "replace", "error"], int | None, Any]
"""What it is, the item (None: the worker itself), and the result, the reason, or (sentence, traceback)."""

_PR_SET_PDEATHSIG = 1


class ReplaceWorker(Exception):
    """Raised by a task: this process cannot go on (its libngspice died, say); the item is tried again in a fresh one.

    The message says why; it becomes the item's reason where it fails at every try.
    """


def main(handle: int, parent: int, memory_limit: int) -> None:
    """Serve the process `parent` over the socket `handle`; `memory_limit` (bytes, 0 for none) is on address space."""
    _die_with_parent(handle, parent)
    if memory_limit:
        resource.setrlimit(resource.RLIMIT_AS, (memory_limit, memory_limit))
    pipe: Connection[Message, Any] = Connection(handle)
    number: int | None = None
    try:
        task, kwargs, initializer = pipe.recv()
        if initializer is not None:
            initializer()
        pipe.send(("ready", None, None))
        while (chunk := pipe.recv()) is not None:
            for number, payload in chunk:
                pipe.send(("result", number, task(payload, **kwargs)))
            number = None
    except (ReplaceWorker, MemoryError) as error:
        reason = str(error) if isinstance(error, ReplaceWorker) else "it needs more memory than its worker may have"
        with suppress(OSError):  # no one there: the parent is gone
            pipe.send(("replace", number, reason))
    except Exception as error:  # noqa: BLE001  (whatever it is, it travels back as text)
        with suppress(OSError):
            pipe.send(("error", number, (_last_line(error), traceback.format_exc())))


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
