"""Results on standard output: JSON without NaN, or tables for people."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from amcsim.runs import plain

__all__ = ["number", "print_json", "print_lines", "print_table"]


def print_json(result: Mapping[str, Any]) -> None:
    """One JSON object on one line of standard output."""
    sys.stdout.write(json.dumps(plain(result), allow_nan=False) + "\n")


def number(value: float | None, unit: str = "") -> str:
    """A number for people, with six digits; a dash for None and NaN."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.6g}{' ' + unit if unit else ''}"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True) -> None:
    """A table on standard output; columns after the first are aligned right where they hold numbers.

    Columns that a narrow terminal has no room for go into a further table below, the first column before them.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    widths = [max(map(len, [*name.split(), *(row[k] for row in rows)]), default=0) for k, name in enumerate(columns)]
    for piece in _pieces(widths, console.width) if numbers else [range(1, len(columns))]:
        table = Table()
        for k in (0, *piece):
            least = min(widths[k], 24) if numbers else None
            table.add_column(columns[k], justify="right" if k and numbers else "left", overflow="fold", min_width=least)
        for row in rows:
            table.add_row(*(Text(row[k]) for k in (0, *piece)))
        console.print(table)


def _pieces(widths: Sequence[int], room: int) -> list[list[int]]:
    """Numbers of the columns after the first, shared out so that each table is no wider than `room` if it can be.

    `widths`: the least of each, as a heading may be wrapped between words and a cell may not be; 3 more are its border.
    """
    pieces: list[list[int]] = [[]]
    used = widths[0] + 4
    for k, width in enumerate(widths[1:], 1):
        if pieces[-1] and used + width + 3 > room:
            pieces.append([])
            used = widths[0] + 4
        pieces[-1].append(k)
        used += width + 3
    return pieces


def print_lines(facts: Mapping[str, str]) -> None:
    """`name  value` lines on standard output, values in one column, never wrapped."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        sys.stdout.write(f"{name:<{width}}  {value}\n")
