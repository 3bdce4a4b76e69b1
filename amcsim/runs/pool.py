"""Supervised worker processes: started, fed, watched, replaced. `executor` and `cluster` give them work.

A worker that is killed, crashes, takes too long or asks to be replaced gives way to a new one and its item is tried
again; one that has done many items, or has grown, is replaced between two items. Workers are new interpreters
(libngspice is global to a process, and a fork would copy it), started by their command line and not by importing the
caller's script again.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from .worker import Message

__all__ = ["Item", "Limits", "Pool", "TaskError", "WorkerFailure"]

Item = tuple[int, Any]

_BOOT = (
    "import sys; handle, parent, memory, *sys.path[:] = sys.argv[1:]; "
    "from amcsim.runs.worker import main; main(int(handle), int(parent), int(memory))"
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
"""Workers that may die in a row before any of them is ready; ten times as many where something kills them."""
_KILLS = 20
"""Times that an item is tried again whose worker was killed from outside: that is hardly the item's fault."""
_STOP_SECONDS = 5.0
"""Time for a worker to leave by itself after the last item."""
_CHUNK_SECONDS, _CHUNK_ITEMS = 0.1, 64
"""Cheap items are sent by the chunk of about so long and at most so many; results still come back one by one."""
_LOOK_SECONDS = 0.5
"""How often dead workers are looked for whose socket a child of theirs keeps open."""
_FROZEN_SECONDS = 3.0
"""A look that comes so late means that all of this was stopped (a suspended machine, say): no one's time runs then."""
_GROWTH = 512 << 20
"""Bytes by which the resident memory of a worker may have grown since its first chunk before it is replaced."""


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


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an item and a worker may take."""

    timeout: float | None
    """s for one item; beyond, its worker is killed."""
    retries: int
    """Further tries of an item that ended its worker."""
    memory_limit: int | None
    """Bytes of address space of a worker; an item that needs more has ended its worker."""
    recycle_items: int
    """Items after which a worker gives way to a fresh one."""

    def __post_init__(self) -> None:
        for name, allowed in (("timeout", 0.0), ("memory_limit", 0)):
            value = getattr(self, name)
            if value is not None and not value > allowed:
                raise ValueError(f"{name} = {value} must be above {allowed:g}")
        if self.retries < 0 or self.recycle_items < 1:
            raise ValueError(
                f"retries = {self.retries} (at least 0), recycle_items = {self.recycle_items} (at least 1)"
            )


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
    done: int = 0
    size: int | None = None
    """Resident memory after the first chunk, bytes."""

    def leave(self, seconds: float) -> None:
        """Let it go by itself, so that what it registered for its exit is done; then see that it is gone."""
        with suppress(OSError):
            self.pipe.send(None)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(seconds, 0.0))
        self.kill()

    def kill(self) -> None:
        """End it and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.pipe.close()

    def grown(self) -> bool:
        """Whether its resident memory is far above that after its first chunk; never where there is no /proc."""
        try:
            now = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return False
        if self.size is None:
            self.size = now
        return now > self.size + _GROWTH


@dataclass(eq=False)
class Pool:
    """At most `size` workers set up by `setup` (bytes of executor.packed). They stay between calls of `work`."""

    setup: bytes
    size: int
    limits: Limits
    staff: list[_Worker] = field(default_factory=list)
    start_deaths: int = 0
    item_seconds: float = _CHUNK_SECONDS
    """Running mean of the time an item takes."""
    queue: deque[Item] = field(default_factory=deque)
    faults: Counter[int] = field(default_factory=Counter)
    """Tries by item that ended their worker, and in `kills` those whose worker was killed from outside."""
    kills: Counter[int] = field(default_factory=Counter)
    on_result: Callable[[int, Any], object] = lambda number, value: None
    on_failure: Callable[[int, str], object] = lambda number, reason: None

    def work(
        self, items: Iterable[Item], on_result: Callable[[int, Any], object], on_failure: Callable[[int, str], object]
    ) -> None:
        """Until every item has gone to `on_result(number, result)` or `on_failure(number, reason)`.

        Raises TaskError and, where workers do not start, WorkerFailure; the pool is to be killed then.
        """
        self.queue, self.on_result, self.on_failure = deque(items), on_result, on_failure
        self.faults.clear()
        self.kills.clear()
        while self.queue or any(worker.pending for worker in self.staff):
            idle = sum(not worker.pending for worker in self.staff)
            for _ in range(min(self.size - len(self.staff), len(self.queue) - idle)):
                self._start()
            for worker in [worker for worker in self.staff if worker.ready and not worker.pending]:
                self._feed(worker)
            now = time.monotonic()
            soonest = min((worker.deadline for worker in self.staff), default=0.0) - now
            heard = wait([worker.pipe for worker in self.staff], min(max(soonest, 0.0), _LOOK_SECONDS))
            waited = time.monotonic() - now
            if waited > _FROZEN_SECONDS:
                for worker in self.staff:
                    worker.deadline += waited
            for worker in list(self.staff):
                if worker.pipe in heard:
                    self._listen(worker)
                elif worker.process.poll() is not None:
                    self._bury(worker)
                elif time.monotonic() > worker.deadline:
                    limit = self.limits.timeout if worker.ready else _START_SECONDS
                    self._bury(worker, f"it took longer than {limit:g} s")

    def stop(self) -> None:
        """Let the workers leave by themselves."""
        deadline = time.monotonic() + _STOP_SECONDS
        for worker in self.staff:
            with suppress(OSError):
                worker.pipe.send(None)
        while self.staff:
            self.staff.pop().leave(deadline - time.monotonic())

    def kill(self) -> None:
        """End the workers at once."""
        while self.staff:
            self.staff.pop().kill()

    def _start(self) -> None:
        ours, theirs = Pipe()
        with theirs:
            numbers = theirs.fileno(), os.getpid(), self.limits.memory_limit or 0
            process = subprocess.Popen(
                # -P: a file in the present folder must not hide a module of the library.
                [sys.executable, "-P", "-c", _BOOT, *map(str, numbers), *map(str, sys.path)],
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
        while worker in self.staff:
            try:
                if not worker.pipe.poll():
                    break
                message = worker.pipe.recv()
            except (EOFError, OSError):  # OSError: killed in the middle of a message
                self._bury(worker)
                return
            self._take(worker, message)
        if worker in self.staff and worker.ready and not worker.pending:
            self._feed(worker)

    def _take(self, worker: _Worker, message: Message) -> None:
        kind, number, value = message
        if kind == "ready":
            worker.ready, self.start_deaths = True, 0
        elif kind == "result" and number is not None:
            worker.pending.popleft()
            worker.done += 1
            worker.deadline = self._deadline()
            self.on_result(number, value)
        elif kind == "replace":
            self._bury(worker, str(value))
        else:
            where = f"item {number}" if number is not None else "a worker" if worker.ready else "a worker at its start"
            sentence, traceback = value
            raise TaskError(f"{where}: {sentence}", traceback)

    def _feed(self, worker: _Worker) -> None:
        now = time.monotonic()
        if worker.sent:
            self.item_seconds = (self.item_seconds + (now - worker.since) / worker.sent) / 2
        if self.queue and worker.done and (worker.done >= self.limits.recycle_items or worker.grown()):
            self.staff.remove(worker)
            worker.leave(_STOP_SECONDS)
            return
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
        """Take a worker that is dead, too slow or of no more use out; charge the item it was at, the others go back."""
        self.staff.remove(worker)
        if not reason:
            with suppress(subprocess.TimeoutExpired):  # it has closed its socket: let it say how it ended
                worker.process.wait(1.0)
        worker.kill()
        killed = not reason and worker.process.returncode == -signal.SIGKILL
        reason = reason or _cause(worker.process.returncode)
        if not worker.ready:
            self.start_deaths += 1
            if self.start_deaths >= _START_DEATHS * (10 if killed else 1):
                raise WorkerFailure(f"{self.start_deaths} workers in a row did not start: {reason}", {})
        if not worker.pending:
            return
        number = worker.pending[0][0]
        tries, most = (self.kills, _KILLS) if killed else (self.faults, self.limits.retries)
        tries[number] += 1
        if tries[number] > most:
            worker.pending.popleft()
            self.on_failure(number, reason)
        self.queue.extendleft(reversed(worker.pending))

    def _deadline(self) -> float:
        return math.inf if self.limits.timeout is None else time.monotonic() + self.limits.timeout


def _cause(status: int) -> str:
    if status < 0:
        return f"its worker was ended by signal {-status} ({signal.strsignal(-status)})"
    return f"its worker ended with exit status {status}"
