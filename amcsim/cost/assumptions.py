"""The numbers that costs are made of: value, unit, source and a sensible range, from one TOML file.

`calibration/cost.toml` holds all of them; a user's file replaces some, as `key = 2e-12` or as a table with `value` and,
if wanted, `source`, `low` and `high`. What a source calls "assumed" is.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from amcsim.specs import read_toml

__all__ = ["AssumptionError", "Assumptions", "Item", "load_assumptions"]

_FILE = "cost.toml"
_FIELDS = frozenset({"value", "source", "low", "high"})


class AssumptionError(ValueError):
    """Assumptions that cannot be used: one sentence."""


@dataclass(frozen=True)
class Item:
    """One assumption."""

    value: float | str
    unit: str
    source: str
    low: float | None
    """Of the range that sensitivity plots go through; None where the value is a word or a fact."""
    high: float | None
    choices: tuple[str, ...] = ()
    """What a word may be."""
    most: float = math.inf
    """Largest value that means something."""
    whole: bool = False
    """Whether it counts things."""

    def check(self, value: Any, name: str, where: str) -> float:
        """`value` as a number that this may be: finite, above 0 (or 0 where the range starts there), at most `most`.

        Raises AssumptionError.
        """
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise AssumptionError(f"{where}: {name} = {str(value)[:80]!r} is no number")
        if not (0.0 < value <= self.most or (value == 0.0 and self.low == 0.0)):
            least = "0" if self.low == 0.0 else "above 0"
            raise AssumptionError(f"{where}: {name} = {value:g}: allowed is {least} to {self.most:g}")
        if self.whole and value != int(value):
            raise AssumptionError(f"{where}: {name} = {value:g} must be a whole number")
        return float(value)


@dataclass(frozen=True)
class Assumptions:
    """All of them by `section.key`."""

    items: Mapping[str, Item]
    changed: tuple[str, ...] = ()
    """Those that the user's file has set."""

    def __getitem__(self, name: str) -> float:
        """The number of that name. Raises AssumptionError for a word."""
        value = self.items[name].value
        if isinstance(value, str):
            raise AssumptionError(f"{name} is the word {value!r}, not a number")
        return value

    def word(self, name: str) -> str:
        """The word of that name."""
        return str(self.items[name].value)

    def __iter__(self) -> Iterator[str]:
        return iter(self.items)

    def with_value(self, name: str, value: float | str) -> Assumptions:
        """The same with one value replaced, its range stretched to hold it. Raises AssumptionError."""
        return _changed(self, name, value, "replaced")

    @property
    def ranged(self) -> tuple[str, ...]:
        """Names of numbers that have a range."""
        return tuple(name for name, item in self.items.items() if item.low is not None)


def load_assumptions(path: str | Path | None = None) -> Assumptions:
    """The shipped assumptions, with those of a user's file in their place.

    Raises AssumptionError, one sentence, for a file that cannot be read, unknown keys, and values that are no positive
    finite number or none of a word's choices.
    """
    shipped = _shipped()
    if path is None:
        return shipped
    where = f"assumptions {path}"
    try:
        data = read_toml(Path(path))
    except FileNotFoundError:
        raise AssumptionError(f"{where} do not exist") from None
    except (OSError, ValueError) as error:
        raise AssumptionError(f"{where} cannot be read: {(str(error).splitlines() or ['no reason'])[0]}") from None
    found = shipped
    for section, keys in data.items():
        if not isinstance(keys, dict):
            raise AssumptionError(f"{where}: {section!r} is no section; numbers stand in sections such as [adc]")
        for key, given in keys.items():
            found = _changed(found, f"{section}.{key}", given, where)
    return found


def _changed(known: Assumptions, name: str, given: Any, where: str) -> Assumptions:
    item = known.items.get(name)
    if item is None:
        section = name.partition(".")[0]
        sections = {n.partition(".")[0] for n in known.items}
        near = ", ".join(n for n in known.items if n.startswith(f"{section}.")) or ", ".join(sorted(sections))
        raise AssumptionError(f"{where}: {name[:80]!r} is not known; there are {near}")
    fields = dict(given) if isinstance(given, dict) else {"value": given}
    if unknown := fields.keys() - _FIELDS:
        raise AssumptionError(f"{where}: {name} has no field {sorted(unknown)[0][:80]!r}; value, source, low and high")
    value = fields.get("value", item.value)
    if isinstance(item.value, str):
        if value not in item.choices:
            raise AssumptionError(f"{where}: {name} = {value!r}: choose one of {', '.join(item.choices)}")
        new = replace(item, value=str(value))
    else:
        value = item.check(value, name, where)
        ends = {end: getattr(item, end) for end in ("low", "high")}
        ends |= {end: item.check(fields[end], f"{name}.{end}", where) for end in ends if end in fields}
        if ends["low"] is not None and ends["high"] is not None:
            ends = {"low": min(ends["low"], value), "high": max(ends["high"], value)}
        new = replace(item, value=value, **ends)
    source = fields.get("source", f"the user's ({where})" if value != item.value else item.source)
    items = dict(known.items) | {name: replace(new, source=str(source))}
    return Assumptions(items, (*known.changed, name))


@lru_cache(maxsize=1)
def _shipped() -> Assumptions:
    text = (files("amcsim.calibration") / _FILE).read_text(encoding="utf-8")
    items = {}
    for section, keys in tomllib.loads(text).items():
        for key, row in keys.items():
            value = row["value"]
            if isinstance(value, str):
                items[f"{section}.{key}"] = Item(value, "", row["source"], None, None, tuple(row["choices"]))
            else:
                limits = row.get("most", math.inf), row.get("whole", False)
                range_ = row.get("low"), row.get("high")
                items[f"{section}.{key}"] = Item(float(value), row.get("unit", ""), row["source"], *range_, (), *limits)
    return Assumptions(items)
