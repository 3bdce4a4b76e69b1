"""The same as `executor.run` on the workers of a Dask scheduler.

Each Dask worker, of one thread, hands its items to one supervised process of its own (see pool): time and memory
limits, replacement and the environment of a task are those of a local run, and so are its results. Dask adds the
transport. Items whose Dask worker is lost are submitted again, and none of them is to blame.

Whoever reaches a Dask scheduler can run code on its workers and on its clients: use it within a trusted network, or
with Dask's own TLS.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .executor import RECYCLE_ITEMS, distinct, packed, settle
from .pool import Item, Limits, Pool, TaskError, WorkerFailure

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["check_scheduler", "run_on_dask"]

R = TypeVar("R")
Answer = tuple[Literal["result", "failure", "error"], int, Any]
"""What came of an item: its result, the reason why there is none, or (sentence, traceback) of an exception."""

_ADDRESS = re.compile(r"(?:(?:tcp|tls|ws|wss|ucx)://)?(?:\[[\w:.%]+\]|[\w.-]+):(\d{1,5})", re.ASCII)
_CONNECT_SECONDS = 10.0
_LONELY_SECONDS = 60.0
"""How long a scheduler may be without workers."""
_LOOK_SECONDS = 1.0
_AHEAD = 2
"""Chunks sent for each worker, so that none waits for the client."""
_CHUNK_SECONDS, _CHUNK_ITEMS = 0.25, 64
"""A chunk, which is lost with its worker, takes about so long and holds at most so many items."""
_LOSSES = 20
"""Times that an item may be lost with its Dask workers (each time four of them, by Dask's default)."""
_IDLE_SECONDS = 30.0
"""Time without a chunk after which a Dask worker ends its process."""


def run_on_dask(
    task: Callable[..., R],
    items: Iterable[Item],
    *,
    scheduler: str,
    on_result: Callable[[int, R], object],
    kwargs: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    retries: int = 2,
    memory_limit: int | None = None,
    recycle_items: int = RECYCLE_ITEMS,
    initializer: Callable[[], object] | None = None,
    on_failure: Callable[[int, str], object] | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """`executor.run` on the workers of the Dask scheduler at `scheduler`, such as "tcp://host:8786".

    All else is as in `run`; `on_result` is called in this process alone. The workers need this version of amcsim and
    must have one thread each (`dask worker ADDRESS --nthreads 1`); they may come and go.
    Raises TaskError and ValueError as `run`, and WorkerFailure also where the scheduler does not answer or is lost,
    has no workers for a minute, or has workers that cannot be used; all results that came before are kept.
    """
    check_scheduler(scheduler)
    limits = Limits(timeout=timeout, retries=retries, memory_limit=memory_limit, recycle_items=recycle_items)
    failures: dict[int, str] = {}
    done, failed = settle(on_result, on_failure, failures, progress)
    job = _Job(_versions(), packed(task, kwargs or {}, initializer), limits)
    todo = deque(distinct(items))
    with _client(scheduler) as client:
        for kind, number, value in _answers(client, scheduler, job, todo):
            if kind == "result":
                done(number, value)
            elif kind == "failure":
                failed(number, value)
            else:
                raise TaskError(*value)
    if failures:
        number, reason = next(iter(failures.items()))
        raise WorkerFailure(f"item {number} failed in each of {retries + 1} tries: {reason}", failures)


def check_scheduler(address: str) -> None:
    """Raises ValueError for what cannot be the address of a Dask scheduler."""
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[1]) < 65536:
        raise ValueError(
            f"{address!r} is not the address of a Dask scheduler: write tcp://HOST:PORT, the port from 1 to 65535"
        )


@dataclass(frozen=True)
class _Job:
    """What a Dask worker needs to know; equal jobs share its process."""

    versions: str
    setup: bytes
    limits: Limits


class _Unfit(RuntimeError):
    """A Dask worker that cannot be used: one sentence."""


@contextmanager
def _client(scheduler: str) -> Iterator[Client]:
    from distributed import Client

    # Dask tells of every lost worker at length; what matters is said here in a sentence.
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    client = None
    try:
        try:
            client = Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False, name="amcsim")
        except OSError as error:
            raise WorkerFailure(f"no Dask scheduler answers at {scheduler}: {error}", {}) from None
        with client.as_current():
            yield client
    finally:
        if client is not None:
            client.close(timeout=_CONNECT_SECONDS)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _answers(client: Client, scheduler: str, job: _Job, todo: deque[Item]) -> Iterator[Answer]:
    """Every item's answer, as they come; chunks are sent ahead while earlier ones are computed."""
    from distributed import wait

    flying: dict[Future[Any], list[Item]] = {}
    losses: Counter[int] = Counter()
    seconds, known = _CHUNK_SECONDS, time.monotonic()
    while todo or flying:
        try:
            workers = len(client.nthreads())
        except OSError as error:
            raise WorkerFailure(f"the Dask scheduler at {scheduler} was lost: {error}", {}) from None
        known = time.monotonic() if workers else known
        if time.monotonic() - known > _LONELY_SECONDS:
            raise WorkerFailure(f"the Dask scheduler at {scheduler} has no workers", {})
        while todo and len(flying) < _AHEAD * workers:
            fair = -(-len(todo) // (_AHEAD * workers))
            size = max(1, min(int(_CHUNK_SECONDS / max(seconds, 1e-9)), _CHUNK_ITEMS, fair))
            # An item that was lost travels alone: it may be one that takes its Dask worker along.
            size = 1 if losses[todo[0][0]] else size
            chunk = [todo.popleft() for _ in range(min(size, len(todo)))]
            flying[client.submit(_compute, job, chunk, pure=False)] = chunk
        # Raised where a future was cancelled, that is, with the scheduler: the next look tells.
        with suppress(TimeoutError, CancelledError):
            wait(list(flying), timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED")
        for future in [future for future in flying if future.status != "pending"]:
            answer = _answer(future)
            if answer is None:
                continue
            chunk = flying.pop(future)
            took, found = answer
            if found:
                seconds = (seconds + took / len(chunk)) / 2
                yield from found
                continue
            for number, payload in reversed(chunk):
                losses[number] += 1
                if losses[number] > _LOSSES:
                    yield "failure", number, "its Dask workers were lost at every try"
                else:
                    todo.appendleft((number, payload))


def _answer(future: Future[Any]) -> tuple[float, list[Answer]] | None:
    """Seconds and answers of a future that is not pending; no answers where it was lost, None where it must wait.

    Raises WorkerFailure for a Dask worker that cannot be used.
    """
    from distributed import KilledWorker

    try:
        found: tuple[float, list[Answer]] = future.result(timeout=_LOOK_SECONDS)
    except (KilledWorker, CancelledError):
        return 0.0, []
    except TimeoutError:  # its worker went before the result was fetched: Dask computes it again
        return None
    except _Unfit as error:
        raise WorkerFailure(str(error), {}) from None
    except Exception as error:
        words = (str(error).splitlines() or [type(error).__name__])[0]
        raise WorkerFailure(f"a Dask worker cannot be used: {type(error).__name__}: {words}", {}) from error
    return found


_lock = threading.Lock()
_held: tuple[_Job, Pool] | None = None
_timer: threading.Timer | None = None


def _compute(job: _Job, chunk: list[Item]) -> tuple[float, list[Answer]]:
    """On a Dask worker: seconds taken, and what came of each item in this worker's own process. Raises _Unfit."""
    global _held, _timer
    from distributed import get_worker

    worker = get_worker()
    if worker.state.nthreads != 1:
        raise _Unfit(
            f"the Dask worker {worker.address} has {worker.state.nthreads} threads: start workers with --nthreads 1"
        )
    if job.versions != _versions():
        raise _Unfit(f"the Dask worker {worker.address} has {_versions()}, not {job.versions}")
    found: list[Answer] = []
    began = time.monotonic()
    with _lock:
        if _timer is not None:
            _timer.cancel()
        if _held is not None and _held[0] != job:
            _held[1].kill()
            _held = None
        if _held is None:
            _held = job, Pool(job.setup, 1, job.limits)
        try:
            _held[1].work(
                chunk,
                lambda number, value: found.append(("result", number, value)),
                lambda number, reason: found.append(("failure", number, reason)),
            )
        except TaskError as error:
            found.append(("error", -1, (str(error), error.traceback)))
            _held[1].kill()
        except WorkerFailure as error:
            _held[1].kill()
            raise _Unfit(f"the Dask worker {worker.address} cannot start processes: {error}") from None
        _timer = threading.Timer(_IDLE_SECONDS, _dismiss)
        _timer.daemon = True
        _timer.start()
    return time.monotonic() - began, found


def _dismiss() -> None:
    """End the process of this Dask worker: no one has asked for it for a while."""
    global _held
    with _lock:
        if _held is not None:
            _held[1].kill()
            _held = None


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("amcsim", "numpy", "scipy"))
