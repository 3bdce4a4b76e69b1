"""How far a long run is, on standard error: a bar at a terminal, a line now and then elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress"]

_LINE_SECONDS = 10.0
"""A log gets a line this often."""


@contextmanager
def progress(total: int, label: str, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Yield `advance(n)`, to be called as n of `total` steps are done.

    With `with progress(len(items), "samples") as advance: run(..., progress=advance)`.
    """
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        yield from _bar(total, label)
    else:
        yield from _lines(total, label)


def _bar(total: int, label: str) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda n: bar.advance(task, n)


def _lines(total: int, label: str) -> Iterator[Callable[[int], None]]:
    done, began = 0, time.monotonic()
    said = began

    def advance(n: int) -> None:
        nonlocal done, said
        done += n
        now = time.monotonic()
        if now - said >= _LINE_SECONDS or done == total:
            said = now
            print(f"{label}: {done} of {total} in {now - began:.0f} s", file=sys.stderr, flush=True)  # noqa: T201

    yield advance
