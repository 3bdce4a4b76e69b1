"""Which assumption decides a figure: each over its range, the others as they are; and what would reach a goal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from amcsim.cost.assumptions import Assumptions

__all__ = ["reaching", "tornado"]

Figures = Callable[[Assumptions], Mapping[str, float]]
_SEARCHED = 1e4
"""Factor to either side of the value within which `reaching` looks."""


def tornado(figures: Figures, known: Assumptions, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """For each figure: what it is at both ends of each assumption's range, those first that move it most."""
    base = figures(known)
    rows: dict[str, list[dict[str, Any]]] = {figure: [] for figure in base}
    for name in names:
        item = known.items[name]
        if item.low is None or item.high is None:
            continue
        ends = [figures(known.with_value(name, end)) for end in (item.low, item.high)]
        for figure, row in rows.items():
            low, high = (end[figure] for end in ends)
            if not math.isclose(low, high, rel_tol=1e-9):
                row.append({"name": name, "low": item.low, "high": item.high, "at_low": low, "at_high": high})
    for row in rows.values():
        row.sort(key=lambda r: -abs(math.log(r["at_high"] / r["at_low"])))
    return rows


def reaching(figure: Callable[[Assumptions], float], known: Assumptions, name: str, goal: float) -> float | None:
    """The value of one assumption nearest to its own at which the figure is `goal`, the others as they are.

    None where none within a factor of 10^4 does. The figure must rise with it or fall, and it may count nothing.
    """
    value = known[name]
    ends = [value / _SEARCHED, min(value * _SEARCHED, known.items[name].most)]
    at = [figure(known.with_value(name, end)) - goal for end in (ends[0], value, ends[1])]
    pairs = [(ends[0], value, at[0], at[1]), (value, ends[1], at[1], at[2])]
    for low, high, first, last in pairs:
        if first * last > 0:
            continue
        for _ in range(60):
            middle = math.sqrt(low * high)
            here = figure(known.with_value(name, middle)) - goal
            low, high, first = (middle, high, here) if here * first > 0 else (low, middle, first)
        return math.sqrt(low * high)
    return None
