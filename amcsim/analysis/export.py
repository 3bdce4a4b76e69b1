"""Results as files: pictures, tables, JSON, raw files that ngspice loads back."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np

from amcsim._types import F64
from amcsim.analysis.result import Axis, Result, Trace
from amcsim.ngspice.raw import Plot, write_raw
from amcsim.runs.files import json_text, plain, write_text

__all__ = ["ENDINGS", "result_csv", "write_result"]

_PICTURES = (".png", ".svg", ".pdf")
ENDINGS = (*_PICTURES, ".html", ".csv", ".json", ".raw")
"""Of the files that `write_result` writes."""

_PLOT_NAMES = {
    "tran": "Transient Analysis",
    "dc": "DC transfer characteristic",
    "ac": "AC Analysis",
    "noise": "Noise Spectral Density Curves",
}
_QUANTITIES = {"V": "voltage", "A": "current", "s": "time", "Hz": "frequency"}


def write_result(result: Result, path: Path) -> None:
    """Write a result as its file's ending says: .png, .svg, .pdf, .html, .csv, .json, or .raw for ngspice's `load`.

    The .html is a page to look into (amcsim.plot.wave_page). Pictures hold the traces that are shown, the page begins
    with them, the other files hold all. Written whole or not at all. Raises ValueError
    for another ending, OSError where the folder cannot be written.
    """
    ending = path.suffix.lower()
    if ending in _PICTURES:
        from amcsim.plot import save

        save(result.plot(), path)
    elif ending == ".html":
        write_text(path, _page(result))
    elif ending == ".csv":
        write_text(path, result_csv(result))
    elif ending == ".json":
        write_text(path, json_text(plain(_as_data(result))) + "\n")
    elif ending == ".raw":
        write_raw(path, _raw_plot(result))
    else:
        raise ValueError(f"output {path.name!r}: the ending must be one of {', '.join(ENDINGS)}")


def _page(result: Result) -> str:
    from amcsim.plot import wave_page

    axis = result.axis
    traces = {name: (t.values, t.unit, t.log, t.shown) for name, t in result.traces.items()}
    measures = {name: (m.value, m.unit, m.at) for name, m in result.measures.items()}
    return wave_page((axis.name, axis.unit, axis.values, axis.log), traces, measures, result.title)


def result_csv(result: Result) -> str:
    """A table with one row a point: the axis (`time_s`), then the traces; the header has units but for v() and i()."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    axis = result.axis
    table.writerow([_column(axis.name, axis.unit), *(_column(name, t.unit) for name, t in result.traces.items())])
    table.writerows([map(repr, row) for row in _matrix(result).T.tolist()])
    return out.getvalue()


def _column(name: str, unit: str) -> str:
    return name if not unit or re.fullmatch(r"[vi]\(.*\)", name) else f"{name}_{unit}"


def _matrix(result: Result) -> F64:
    """The axis and all traces, (1 + traces, t)."""
    return np.array([result.axis.values, *(t.values for t in result.traces.values())], dtype=np.float64)


def _as_data(result: Result) -> dict[str, object]:
    """What a JSON file holds: `Result.as_dict` with the axis and the traces."""

    def data(item: Axis | Trace) -> dict[str, object]:
        return {"unit": item.unit, "log": item.log, "values": item.values}

    traces = {name: data(trace) for name, trace in result.traces.items()}
    return result.as_dict() | {"axis": {"name": result.axis.name, **data(result.axis)}, "traces": traces}


def _raw_plot(result: Result) -> Plot:
    """The result as a plot of ngspice's; names lose their blanks, which would end them."""
    rows = [(result.axis.name, result.axis.unit), *((name, t.unit) for name, t in result.traces.items())]
    variables = tuple((re.sub(r"\s+", "_", name), _QUANTITIES.get(unit, "notype")) for name, unit in rows)
    return Plot(result.title, _PLOT_NAMES.get(result.analysis, result.analysis), variables, _matrix(result))
