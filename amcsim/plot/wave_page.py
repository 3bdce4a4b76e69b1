"""Traces over one axis as a page to look into: one HTML file that opens offline and loads nothing.

Zoom, two cursors with differences, search, toggles, logarithmic axes, measures marked. Values are stored as float64, so
that cursors read what NumPy reads. Drawn by our own scripts (wave_draw.js, wave_page.js), which fill columns of pixels:
500 traces of 5,000 points open in 0.8 s and zoom in 20 to 60 ms in headless Chromium. (plotly took 20 s and 1.4 to 3 s;
its WebGL traces did not open within a minute.)
"""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections.abc import Mapping
from importlib.resources import files

import numpy as np

from amcsim._types import F64
from amcsim.plot.result import QUANTITIES

__all__ = ["wave_page"]


def wave_page(
    axis: tuple[str, str, F64, bool],
    traces: Mapping[str, tuple[F64, str, bool, bool]],
    measures: Mapping[str, tuple[float, str, tuple[str, float] | None]] | None = None,
    title: str = "",
) -> str:
    """The page as text.

    axis: (name, unit, values (t,), logarithmic); traces: name -> (values (t,), unit, logarithmic, shown at first);
    measures: name -> (value, unit, (trace, place on the axis) or None), those with a place marked there.
    """
    name, unit, values, log = axis
    data = {
        "axis": {"name": name, "unit": unit, "log": log, "values": _encoded(values)},
        "traces": [
            {"name": n, "unit": u, "log": logarithmic, "shown": shown, "values": _encoded(v)}
            for n, (v, u, logarithmic, shown) in traces.items()
        ],
        "measures": [
            {"name": n, "value": _number(v), "unit": u, "at": at if at and math.isfinite(at[1]) else None}
            for n, (v, u, at) in (measures or {}).items()
        ],
        "quantities": QUANTITIES,
    }
    folder = files("amcsim.plot")
    page = (folder / "wave_page.html").read_text(encoding="utf-8")
    pieces = {
        "title": html.escape(title or "Traces"),
        "axis": html.escape(name),
        # Names may hold anything: no tag ends the script early.
        "data": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
        "script": "".join((folder / f"wave_{part}.js").read_text(encoding="utf-8") for part in ("draw", "page")),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: pieces[mark[1]], page)


def _number(value: float) -> float | str:
    """As JavaScript's Number() takes it: JSON has neither NaN nor infinity."""
    return value if math.isfinite(value) else "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"


def _encoded(values: F64) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode()
