"""What every analysis gives back: labelled traces over an axis, named measures, a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from amcsim._types import F64

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Axis", "Measure", "Result", "Trace"]


@dataclass(frozen=True, eq=False)
class Axis:
    """What traces are drawn over."""

    name: str
    """Such as time, frequency, input."""
    unit: str
    """SI unit; empty for pure numbers."""
    values: F64
    """(t,)."""
    log: bool = False
    """Whether a logarithmic axis shows it best."""
    points: tuple[str, ...] | None = None
    """Given where it counts things with nothing between them, such as samples: their names, or empty."""


@dataclass(frozen=True, eq=False)
class Trace:
    """One quantity over the axis."""

    values: F64
    """(t,)."""
    unit: str
    """SI unit, or dB, deg; traces of one unit share a panel."""
    log: bool = False
    """Whether a logarithmic axis shows it best."""
    shown: bool = True
    """Whether figures draw it; pages hold the others, too, to be switched on."""


@dataclass(frozen=True)
class Measure:
    """One figure read from a result."""

    value: float
    """In `unit`; NaN where there is none, infinite where it lies beyond the axis."""
    unit: str = ""
    """SI unit, or dB, deg, bit; empty for pure numbers."""
    at: tuple[str, float] | None = None
    """Trace and place on the axis where a figure marks it."""


@dataclass(frozen=True, eq=False)
class Result:
    """Result of one analysis of one circuit."""

    analysis: str
    """Its name: dc, tran, ac, noise, ..."""
    title: str
    """What was analysed, for people."""
    axis: Axis
    """Common to all traces."""
    traces: Mapping[str, Trace]
    """By name."""
    measures: Mapping[str, Measure] = field(default_factory=dict)
    """By name; a spec table asks for them (amcsim.analysis.table)."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Plain data behind the measures, such as poles; JSON-ready with amcsim.runs.plain."""

    def plot(self) -> Figure:
        """A figure of the traces shown, with a panel for each unit, measures marked."""
        from amcsim.plot.result import result_figure

        axis = (self.axis.name, self.axis.unit, self.axis.values, self.axis.log)
        traces = {name: (t.values, t.unit, t.log) for name, t in self.traces.items() if t.shown}
        marks = {name: (*m.at, m.value, m.unit) for name, m in self.measures.items() if m.at is not None}
        return result_figure(axis, traces, marks, self.title, self.axis.points)

    def as_dict(self) -> dict[str, Any]:
        """Measures and details for JSON; the traces go to files."""
        measures = {name: {"value": m.value, "unit": m.unit} for name, m in self.measures.items()}
        return {"analysis": self.analysis, "title": self.title, "measures": measures, **self.details}
