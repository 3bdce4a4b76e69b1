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
    """A table on standard output; columns after the first are aligned right where they hold numbers."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for k, name in enumerate(columns):
        table.add_column(name, justify="right" if k and numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def print_lines(facts: Mapping[str, str]) -> None:
    """`name  value` lines on standard output, values in one column, never wrapped."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        sys.stdout.write(f"{name:<{width}}  {value}\n")
