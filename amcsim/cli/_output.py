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
    pieces = _pieces([[name, *(row[k] for row in rows)] for k, name in enumerate(columns)], console.width)
    for piece in pieces if numbers else [list(range(1, len(columns)))]:
        table = Table()
        for k in (0, *piece):
            table.add_column(columns[k], justify="right" if k and numbers else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(row[k]) for k in (0, *piece)))
        console.print(table)


def _pieces(columns: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Numbers of the columns after the first, shared out so that each table is no wider than `width` if it can be.

    A heading may be wrapped between its words, a cell may not be.
    """
    needs = [3 + max(map(len, [*column[0].split(), *column[1:]]), default=0) for column in columns]
    pieces: list[list[int]] = [[]]
    used = needs[0] + 1
    for k, need in enumerate(needs[1:], 1):
        if pieces[-1] and used + need > width:
            pieces.append([])
            used = needs[0] + 1
        pieces[-1].append(k)
        used += need
    return pieces


def print_lines(facts: Mapping[str, str]) -> None:
    """`name  value` lines on standard output, values in one column, never wrapped."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        sys.stdout.write(f"{name:<{width}}  {value}\n")
