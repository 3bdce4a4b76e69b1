"""Many independent computations on supervised worker processes of this machine.

A worker that is killed, crashes or takes too long is replaced and its item tried again; when the parent is gone,
however it went, so are its workers. Workers are new interpreters (libngspice is global to a process, and a fork would
copy it), started by their command line and not by importing the caller's script again, so `run` works from a script
without an `if __name__ == "__main__"` guard, from a notebook and from standard input. The task itself must live in a
module that can be imported.
"""

from __future__ import annotations

import functools
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

from .worker import Message

__all__ = ["TaskError", "WorkerFailure", "default_workers", "run"]

R = TypeVar("R")
Item = tuple[int, Any]

_BOOT = (
    "import sys; handle, parent, *sys.path[:] = sys.argv[1:]; "
    "from amcsim.runs.worker import main; main(int(handle), int(parent))"
)
# One BLAS thread: parallel work is by processes, and sums must not depend on how many cores there are. One hash seed,
# so that no sum over a set depends on the worker.
_ENVIRONMENT = {
    **dict.fromkeys(
        (
            "OMP_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
            "MKL_NUM_THREADS",
            "BLIS_NUM_THREADS",
            "VECLIB_MAXIMUM_THREADS",
            "NUMEXPR_NUM_THREADS",
        ),
        "1",
    ),
    "PYTHONHASHSEED": "0",
}
_START_SECONDS = 120.0
"""Time for a worker to import its task and run the initializer."""
_START_DEATHS = 10
"""Workers that may die in a row before any of them is ready."""
_STOP_SECONDS = 5.0
"""Time for a worker to leave by itself after the last item."""
_CHUNK_SECONDS, _CHUNK_ITEMS = 0.1, 64
"""Cheap items are sent by the chunk of about so long and at most so many; results still come back one by one."""
_LOOK_SECONDS = 0.5
"""How often dead workers are looked for whose socket a child of theirs keeps open."""


class TaskError(RuntimeError):
    """A task raised an exception: one sentence naming the item. `traceback` holds the worker's own."""

    def __init__(self, sentence: str, traceback: str) -> None:
        super().__init__(sentence)
        self.traceback = traceback


class WorkerFailure(RuntimeError):
    """Items that killed their worker or took too long at every try; all others are done. `failures`: reason by item."""

    def __init__(self, sentence: str, failures: Mapping[int, str]) -> None:
        super().__init__(sentence)
        self.failures = dict(failures)


def default_workers() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    task: Callable[..., R],
    items: Iterable[Item],
    *,
    workers: int,
    on_result: Callable[[int, R], object],
    kwargs: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    retries: int = 2,
    initializer: Callable[[], object] | None = None,
    on_failure: Callable[[int, str], object] | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Compute `task(payload, **kwargs)` for every item (number, payload) on `workers` processes.

    `on_result(number, result)` is called here, in the parent, as results arrive; their order depends on chance, their
    content does not as long as a task depends on its arguments alone. `initializer()` runs once in each new worker.
    `timeout` in s bounds one item: a worker beyond it is killed. An item whose worker was killed is tried `retries`
    times more. One that fails at every try goes to `on_failure(number, reason)`; without that, WorkerFailure names all
    such items when the others are done. `progress(1)` is called for each item that ended.
    Whatever ends this call, an interrupt included, no worker is left.
    Raises TaskError at the first exception in a task; WorkerFailure; ValueError for a task that workers cannot import.
    """
    if workers < 1 or retries < 0 or (timeout is not None and not timeout > 0):
        raise ValueError(
            f"workers = {workers} (at least 1), retries = {retries} (at least 0), timeout = {timeout} s (above 0)"
        )
    queue = deque(items)
    repeated = [number for number, times in Counter(number for number, _ in queue).items() if times > 1]
    if repeated:
        raise ValueError(f"item {repeated[0]} is given more than once")
    pool = _Pool(
        setup=_setup(task, kwargs or {}, initializer),
        queue=queue,
        size=workers,
        on_result=on_result,
        timeout=timeout,
        retries=retries,
        on_failure=on_failure,
        progress=progress,
    )
    try:
        pool.work()
        pool.stop()
    finally:
        pool.kill()
    if pool.failures and on_failure is None:
        number, reason = next(iter(pool.failures.items()))
        more = f" (and {len(pool.failures) - 1} more)" if len(pool.failures) > 1 else ""
        raise WorkerFailure(f"item {number}{more} failed in each of {retries + 1} tries: {reason}", pool.failures)


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection[Any, Message]
    deadline: float
    """Monotonic time when the present step, the start or an item, has taken too long."""
    ready: bool = False
    pending: deque[Item] = field(default_factory=deque)
    """Sent and not answered yet; the first is the one being computed."""
    sent: int = 0
    """Items of the present chunk, sent at the monotonic time `since`."""
    since: float = 0.0

    def kill(self) -> None:
        """End it and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass(eq=False, kw_only=True)
class _Pool:
    setup: bytes
    queue: deque[Item]
    size: int
    on_result: Callable[[int, Any], object]
    timeout: float | None
    retries: int
    on_failure: Callable[[int, str], object] | None
    progress: Callable[[int], object] | None
    staff: list[_Worker] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)
    deaths: Counter[int] = field(default_factory=Counter)
    start_deaths: int = 0
    item_seconds: float = _CHUNK_SECONDS
    """Running mean of the time an item takes."""

    def work(self) -> None:
        """Until every item has a result or has failed."""
        while self.queue or any(worker.pending for worker in self.staff):
            idle = sum(not worker.pending for worker in self.staff)
            for _ in range(min(self.size - len(self.staff), len(self.queue) - idle)):
                self._start()
            for worker in [worker for worker in self.staff if worker.ready and not worker.pending]:
                self._feed(worker)
            soonest = min((worker.deadline for worker in self.staff), default=0.0) - time.monotonic()
            heard = wait([worker.pipe for worker in self.staff], min(max(soonest, 0.0), _LOOK_SECONDS))
            for worker in list(self.staff):
                if worker.pipe in heard:
                    self._listen(worker)
                elif worker.process.poll() is not None:
                    self._bury(worker, _cause(worker.process.returncode))
                elif time.monotonic() > worker.deadline:
                    limit = self.timeout if worker.ready else _START_SECONDS
                    self._bury(worker, f"it took longer than {limit:g} s")

    def stop(self) -> None:
        """Let the workers leave by themselves, so that what they registered for their exit is done."""
        for worker in self.staff:
            with suppress(OSError):
                worker.pipe.send(None)
        deadline = time.monotonic() + _STOP_SECONDS
        for worker in self.staff:
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(deadline - time.monotonic(), 0.0))

    def kill(self) -> None:
        for worker in self.staff:
            worker.kill()
            worker.pipe.close()
        self.staff.clear()

    def _start(self) -> None:
        ours, theirs = Pipe()
        with theirs:
            process = subprocess.Popen(
                # -P: a file in the present folder must not hide a module of the library.
                [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno()), str(os.getpid()), *map(str, sys.path)],
                env={**os.environ, **_ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output is the parent's: it may carry one JSON object and nothing else
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # an interrupt typed at the terminal is the parent's to handle
            )
            self.staff.append(_Worker(process, ours, time.monotonic() + _START_SECONDS))
        with suppress(OSError):  # dead already: the next look buries it
            ours.send_bytes(self.setup)

    def _listen(self, worker: _Worker) -> None:
        """Take every message that lies ready; give the worker more to do when it has nothing left."""
        while True:
            try:
                if not worker.pipe.poll():
                    break
                message = worker.pipe.recv()
            except (EOFError, OSError):  # OSError: killed in the middle of a message
                self._bury(worker)
                return
            self._take(worker, message)
        if worker.ready and not worker.pending:
            self._feed(worker)

    def _take(self, worker: _Worker, message: Message) -> None:
        number, value, problem = message
        if problem is not None:
            where = f"item {number}" if number is not None else "a worker" if worker.ready else "a worker at its start"
            raise TaskError(f"{where}: {problem}", value)
        if number is None:
            worker.ready, self.start_deaths = True, 0
            return
        worker.pending.popleft()
        self.on_result(number, value)
        if self.progress is not None:
            self.progress(1)
        worker.deadline = self._deadline()

    def _feed(self, worker: _Worker) -> None:
        now = time.monotonic()
        if worker.sent:
            self.item_seconds = (self.item_seconds + (now - worker.since) / worker.sent) / 2
        # Towards the end chunks shrink, so that no worker is left with many items while another has none.
        fair = -(-len(self.queue) // (2 * self.size))
        worker.sent = max(1, min(int(_CHUNK_SECONDS / max(self.item_seconds, 1e-9)), _CHUNK_ITEMS, fair))
        worker.sent = min(worker.sent, len(self.queue))
        worker.since, worker.deadline = now, self._deadline() if worker.sent else math.inf
        chunk = [self.queue.popleft() for _ in range(worker.sent)]
        if not chunk:
            return
        try:
            worker.pipe.send(chunk)
        except OSError:  # killed while idle: no item is to blame
            self.queue.extendleft(reversed(chunk))
            self._bury(worker)
        else:
            worker.pending.extend(chunk)

    def _bury(self, worker: _Worker, reason: str = "") -> None:
        """Take a dead, or too slow, worker out, and charge the item it was at; the others of its chunk go back."""
        self.staff.remove(worker)
        if not reason:
            with suppress(subprocess.TimeoutExpired):  # it has closed its socket: let it say how it ended
                worker.process.wait(1.0)
        worker.kill()
        worker.pipe.close()
        reason = reason or _cause(worker.process.returncode)
        if not worker.ready:
            self.start_deaths += 1
            if self.start_deaths >= _START_DEATHS:
                raise WorkerFailure(f"{self.start_deaths} workers in a row did not start: {reason}", {})
        if not worker.pending:
            return
        number = worker.pending[0][0]
        self.deaths[number] += 1
        if self.deaths[number] > self.retries:
            worker.pending.popleft()
            self.failures[number] = reason
            if self.on_failure is not None:
                self.on_failure(number, reason)
            if self.progress is not None:
                self.progress(1)
        self.queue.extendleft(reversed(worker.pending))

    def _deadline(self) -> float:
        return math.inf if self.timeout is None else time.monotonic() + self.timeout


def _cause(status: int) -> str:
    if status < 0:
        return f"its worker was ended by signal {-status} ({signal.strsignal(-status)})"
    return f"its worker ended with exit status {status}"


def _setup(task: Callable[..., Any], kwargs: Mapping[str, Any], initializer: Callable[[], object] | None) -> bytes:
    """What a worker needs to begin, as bytes. Raises ValueError for functions that it could not import."""
    for function in (task, initializer):
        base = function.func if isinstance(function, functools.partial) else function
        if getattr(base, "__module__", None) == "__main__":
            raise ValueError(
                f"{getattr(base, '__name__', base)} is defined in the script or notebook itself: "
                "put it into a module of its own, which worker processes can import"
            )
    try:
        return bytes(ForkingPickler.dumps((task, dict(kwargs), initializer)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"the task cannot be sent to worker processes: {error}") from None
