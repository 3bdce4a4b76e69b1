"""A spec table: limits on named measures of analyses, pass or fail, yield with its confidence interval.

A row `[analysis.measure]` has `min`, `max` or both, `typ` for the reader, and a `unit` that must then be the measure's:

    schema_version = 1
    [tran.settling]
    typ = 1e-6
    max = 5e-6
    unit = "s"
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from amcsim.analysis.result import Measure, Result
from amcsim.analysis.suite import check_names
from amcsim.specs import read_toml

__all__ = ["Limit", "Verdict", "check", "check_unit", "load_table", "verdict", "yield_interval"]

_KEYS = ("min", "typ", "max", "unit")


@dataclass(frozen=True)
class Limit:
    """Limits on one measure. Raises ValueError."""

    analysis: str
    measure: str
    min: float | None = None
    typ: float | None = None
    max: float | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        check_names((self.analysis,))
        given = [v for v in (self.min, self.typ, self.max) if v is not None]
        if self.min is None and self.max is None:
            raise ValueError(f"{self.name}: neither min nor max is given")
        if any(math.isnan(v) for v in given) or sorted(given) != given:
            raise ValueError(f"{self.name}: min, typ and max must be numbers in rising order")

    @property
    def name(self) -> str:
        """analysis.measure."""
        return f"{self.analysis}.{self.measure}"

    def holds(self, value: float) -> bool:
        """Whether a value lies within min and max; NaN never does."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max) and value == value


@dataclass(frozen=True)
class Verdict:
    """One row of a table that was checked."""

    limit: Limit
    value: float
    unit: str
    ok: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        row = self.limit
        return {
            "name": row.name,
            "value": self.value,
            "unit": self.unit,
            "min": row.min,
            "typ": row.typ,
            "max": row.max,
            "ok": self.ok,
        }


def load_table(path: Path) -> tuple[Limit, ...]:
    """The rows of a TOML table. Raises ValueError, one sentence."""
    try:
        data = read_toml(path)
    except FileNotFoundError:
        raise ValueError(f"spec table {path} does not exist") from None
    except OSError as error:
        raise ValueError(f"spec table {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"spec table {path} cannot be read: {str(error).splitlines()[0]}") from None
    version = data.pop("schema_version", None)
    if version != 1 or isinstance(version, bool):
        raise ValueError(f"spec table {path}: schema_version = {version!r}; this release reads schema_version = 1")
    rows = []
    for analysis, measures in data.items():
        if not isinstance(measures, dict):
            raise ValueError(f"spec table {path}: {analysis!r} is not a table of measures")
        for measure, limits in measures.items():
            rows.append(_limit(path, analysis, measure, limits))
    if not rows:
        raise ValueError(f"spec table {path} has no rows")
    return tuple(rows)


def _limit(path: Path, analysis: str, measure: str, limits: Any) -> Limit:
    where = f"spec table {path}: {analysis}.{measure}"
    if not isinstance(limits, dict):
        raise ValueError(f"{where} is not a table with min, typ, max, unit")
    for key, value in limits.items():
        if key not in _KEYS:
            raise ValueError(f"{where}: {key!r} is not one of {', '.join(_KEYS)}")
        if not isinstance(value, str if key == "unit" else (int, float)) or isinstance(value, bool):
            raise ValueError(f"{where}.{key} = {value!r} is not a {'text' if key == 'unit' else 'number'}")
    try:
        numbers = {key: float(value) for key, value in limits.items() if key != "unit"}
        return Limit(analysis, measure, **numbers, unit=limits.get("unit"))
    except ValueError as error:
        raise ValueError(f"spec table {path}: {error}") from None


def check(table: Sequence[Limit], results: Mapping[str, Result]) -> tuple[Verdict, ...]:
    """Each row against the results, by analysis; rows of other analyses are left out.

    Raises ValueError where a result has no such measure, or another unit.
    """
    return tuple(verdict(row, results[row.analysis].measures) for row in table if row.analysis in results)


def verdict(row: Limit, measures: Mapping[str, Measure]) -> Verdict:
    """One row against the measures of its analysis. Raises ValueError for a measure that is not there, another unit."""
    check_unit(row, {name: m.unit for name, m in measures.items()})
    found = measures[row.measure]
    return Verdict(row, found.value, found.unit, row.holds(found.value))


def check_unit(row: Limit, units: Mapping[str, str]) -> None:
    """Raise ValueError unless a row's measure is among those of its analysis, `units` by name, and in its unit."""
    if row.measure not in units:
        raise ValueError(f"{row.analysis} has no measure {row.measure!r}; there are {', '.join(units) or 'none'}")
    unit = units[row.measure]
    if row.unit is not None and row.unit != unit:
        raise ValueError(f"{row.name} is in {unit!r}, not in {row.unit!r}" if unit else f"{row.name} has no unit")


def yield_interval(
    passed: int,
    samples: int,
    confidence: float = 0.95,
    method: Literal["clopper-pearson", "wilson"] = "clopper-pearson",
) -> tuple[float, float]:
    """Two-sided interval of the probability to pass when `passed` of `samples` did.

    Clopper and Pearson, Biometrika 26, 404 (1934): never below its confidence; Wilson, JASA 22, 209 (1927): near it.
    """
    from scipy.special import betaincinv, ndtri

    if not (0 <= passed <= samples and samples > 0 and 0 < confidence < 1):
        raise ValueError(f"passed = {passed} of {samples} at confidence {confidence:g} is no count")
    tail = (1 - confidence) / 2
    if method == "clopper-pearson":
        low = 0.0 if passed == 0 else float(betaincinv(passed, samples - passed + 1, tail))
        high = 1.0 if passed == samples else float(betaincinv(passed + 1, samples - passed, 1 - tail))
        return low, high
    z, share = float(ndtri(1 - tail)), passed / samples
    middle = share + z * z / (2 * samples)
    half = z * math.sqrt(share * (1 - share) / samples + z * z / (4 * samples * samples))
    scale = 1 + z * z / samples
    return max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)
