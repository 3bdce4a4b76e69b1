"""Corners: the same drawn circuit in a slow or fast process, at low or high supply, cold or hot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from amcsim._types import F64
from amcsim.analysis.linearised import AnalysisError, Problem
from amcsim.analysis.result import Axis, Measure, Result, Trace
from amcsim.analysis.suite import analyse, check_names, exact_volts
from amcsim.analysis.table import Limit, verdict
from amcsim.netlist.conditions import Conditions
from amcsim.ngspice.messages import NgspiceError
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.circuit import Topology

__all__ = ["CORNERS", "Corner", "corners"]

_SPEED = {"slow": 0.8, "typical": 1.0, "fast": 1.2}
"""Factor on gain-bandwidth product, second pole and slew rate of behavioural amplifiers (assumed)."""


@dataclass(frozen=True)
class Corner:
    """One corner."""

    name: str
    process: str = "typical"
    """slow, typical, fast: the transistors' cards (amcsim.netlist.conditions), the behavioural amplifiers' speed."""
    supply: float = 1.0
    """Factor on all supplies: the amplifiers', the word-lines', the bulk's."""
    temperature: float = 27.0
    """Degrees Celsius."""

    @property
    def conditions(self) -> Conditions:
        """What the deck is told. Raises ValueError."""
        return Conditions(self.temperature, self.process)

    def spec(self, spec: Spec) -> Spec:
        """The technology in this corner: amplifiers keep their headroom below the supply. Raises SpecError."""
        op, cell, supply = spec.opamp, spec.cell, self.supply
        speed = _SPEED[self.conditions.process]
        changes: dict[str, Any] = {
            "supply": op.supply * supply,
            "swing": op.swing + op.supply * (supply - 1.0),
            "gbw": op.gbw * speed,
            "slew_rate": op.slew_rate * speed,
        }
        if op.second_pole is not None:
            changes["second_pole"] = op.second_pole * speed
        volts = {name: getattr(cell, name) * supply for name in ("wordline", "wordline_off", "bulk")}
        return spec.replace(opamp=changes, cell=volts)


def _grid() -> tuple[Corner, ...]:
    ends = product(("slow", "fast"), (0.9, 1.1), (-40.0, 85.0))
    return (
        Corner("typical"),
        *(Corner(f"{p} {100 * (s - 1):+.0f} % {t:g} C", p, s, t) for p, s, t in ends),
    )


CORNERS = _grid()
"""Typical, and all ends of process, supply (+-10 %) and temperature (-40 and 85 C)."""


def corners(
    topology: Topology,
    spec: Spec,
    a: F64,
    r: Realisation,
    b: F64,
    *,
    analyses: Sequence[str] = ("op",),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    table: Sequence[Limit] = (),
    at: Sequence[Corner] = CORNERS,
    progress: Callable[[int], object] | None = None,
) -> Result:
    """Analyses, those of the table besides, of one drawn circuit r of matrix a, (m, n), with inputs b in each corner.

    A trace for each measure over the corners, NaN where one has no answer. Measures: `op.error.min`, `op.error.max`,
    ... over the corners; with a table `pass` (1 or 0) and `passed`: corners that meet all rows. details: `corners`
    (each with name, process, supply, temperature), `rows` of the table with the value that is worst for each, and its
    corner. Raises ValueError, SpecError for a corner beyond the spec's ranges.
    """
    names = check_names((*analyses, *(row.analysis for row in table)))
    options = dict(options or {})
    wanted = exact_volts(topology, a, b)
    found: list[dict[str, dict[str, Measure]]] = []
    for corner in at:
        problem = Problem(topology, corner.spec(spec), r, b, corner.conditions)
        here: dict[str, dict[str, Measure]] = {}
        for name in names:
            try:
                here[name] = dict(analyse(name, problem, wanted, **options.get(name, {})).measures)
            except (AnalysisError, NgspiceError):
                continue
        found.append(here)
        if progress is not None:
            progress(1)
    units = {f"{n}.{k}": m.unit for here in found for n, ms in here.items() for k, m in ms.items()}
    values = {name: np.array([_value(here, name) for here in found]) for name in units}
    measures: dict[str, Measure] = {}
    details: dict[str, Any] = {"corners": [vars(corner) for corner in at], "analyses": list(names)}
    if table:
        met, rows = np.ones(len(at), dtype=bool), []
        for row in table:
            ok = [row.analysis in here and verdict(row, here[row.analysis]).ok for here in found]
            column = values.get(row.name, np.full(len(at), np.nan))
            worst = _worst(row, column, np.array(ok))
            rows.append({"name": row.name, "ok": all(ok), "worst": float(column[worst]), "at": at[worst].name})
            met &= np.array(ok)
        measures |= {"pass": Measure(float(met.all())), "passed": Measure(float(met.sum()))}
        details["rows"] = rows
    for name, column in values.items():
        known = column[np.isfinite(column)]
        if known.size:
            measures[f"{name}.min"] = Measure(float(known.min()), units[name])
            measures[f"{name}.max"] = Measure(float(known.max()), units[name])
    limited = {row.name for row in table}
    traces = {
        name: Trace(column, units[name], shown=name in limited if table else not name[-1].isdigit())
        for name, column in values.items()
    }
    m, n = a.shape
    title = f"{topology.name.upper()} {m}x{n}: {len(at)} corners of {', '.join(names)}"
    axis = Axis("corner", "", np.arange(float(len(at))), points=tuple(corner.name for corner in at))
    return Result("corners", title, axis, traces, measures, details)


def _value(here: Mapping[str, Mapping[str, Measure]], name: str) -> float:
    analysis, _, measure = name.partition(".")
    found = here.get(analysis, {}).get(measure)
    return np.nan if found is None else found.value


def _worst(row: Limit, column: F64, ok: np.ndarray) -> int:
    """The corner without value, else the one farthest beyond a limit, else the one nearest to one."""
    low = np.inf if row.min is None else column - row.min
    high = np.inf if row.max is None else row.max - column
    room = np.where(np.isnan(column), -np.inf, np.minimum(low, high))
    return int(np.argmin(np.where(ok, room, np.minimum(room, 0.0))))
