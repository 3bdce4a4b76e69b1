"""Many independent computations on supervised worker processes of this machine (see pool).

When the parent is gone, however it went, so are its workers. `run` works from a script without an
`if __name__ == "__main__"` guard, from a notebook and from standard input; the task itself must live in a module that
can be imported.
"""

from __future__ import annotations

import functools
import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

from .pool import Item, Limits, Pool, WorkerFailure

__all__ = ["RECYCLE_ITEMS", "default_workers", "distinct", "packed", "run", "settle"]

R = TypeVar("R")

RECYCLE_ITEMS = 20_000
"""Items after which a worker is replaced by default: no library's leak grows for ever."""


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
    memory_limit: int | None = None,
    recycle_items: int = RECYCLE_ITEMS,
    initializer: Callable[[], object] | None = None,
    on_failure: Callable[[int, str], object] | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Compute `task(payload, **kwargs)` for every item (number, payload) on `workers` processes.

    `on_result(number, result)` is called here, in the parent, as results arrive; their order depends on chance, their
    content does not as long as a task depends on its arguments alone. `initializer()` runs once in each new worker.
    `timeout` in s bounds one item: a worker beyond it is killed. `memory_limit` in bytes bounds a worker's address
    space. An item that ended its worker (crash, time-out, memory, ReplaceWorker) is tried `retries` times more, one
    whose worker was killed from outside oftener. One that fails at every try goes to `on_failure(number, reason)`;
    without that, WorkerFailure names all such items when the others are done. A worker is replaced after
    `recycle_items` items, or when its memory has grown. `progress(1)` is called for each item that ended.
    Whatever ends this call, an interrupt included, no worker is left.
    Raises TaskError at the first exception in a task; WorkerFailure; ValueError for a task that workers cannot import.
    """
    if workers < 1:
        raise ValueError(f"workers = {workers} must be at least 1")
    limits = Limits(timeout=timeout, retries=retries, memory_limit=memory_limit, recycle_items=recycle_items)
    todo = distinct(items)
    pool = Pool(packed(task, kwargs or {}, initializer), workers, limits)
    failures: dict[int, str] = {}
    done, failed = settle(on_result, on_failure, failures, progress)
    try:
        pool.work(todo, done, failed)
        pool.stop()
    finally:
        pool.kill()
    if failures:
        number, reason = next(iter(failures.items()))
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise WorkerFailure(f"item {number}{more} failed in each of {retries + 1} tries: {reason}", failures)


def settle(
    on_result: Callable[[int, Any], object],
    on_failure: Callable[[int, str], object] | None,
    failures: dict[int, str],
    progress: Callable[[int], object] | None,
) -> tuple[Callable[[int, Any], None], Callable[[int, str], None]]:
    """What to do with a result and with a failure, which goes into `failures` where nobody else takes it."""
    step = progress or (lambda _: None)

    def done(number: int, value: Any) -> None:
        on_result(number, value)
        step(1)

    def failed(number: int, reason: str) -> None:
        (on_failure or failures.__setitem__)(number, reason)
        step(1)

    return done, failed


def distinct(items: Iterable[Item]) -> list[Item]:
    """The items. Raises ValueError where a number is given twice."""
    todo = list(items)
    repeated = [number for number, times in Counter(number for number, _ in todo).items() if times > 1]
    if repeated:
        raise ValueError(f"item {repeated[0]} is given more than once")
    return todo


def packed(task: Callable[..., Any], kwargs: Mapping[str, Any], initializer: Callable[[], object] | None) -> bytes:
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
