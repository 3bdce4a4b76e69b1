"""One look for all figures, legible in print, and how they are saved: matplotlib without pyplot."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from amcsim._types import F64

__all__ = [
    "FORMATS",
    "GREY",
    "MARKERS",
    "PALETTE",
    "figure",
    "finite",
    "save",
    "si_unit",
    "styled",
    "to_png_uri",
    "to_svg",
]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A6D00")
"""Okabe and Ito's colours, told apart with every colour vision; their yellow is too light for lines and left out."""
GREY = "#5A5A5A"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
FORMATS = (".png", ".svg", ".pdf")

styled = rc_context(
    {
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.labelsize": 10,
        "legend.fontsize": 9,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.edgecolor": GREY,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.6,
        "lines.markersize": 4.5,
        "legend.frameon": False,
        "savefig.dpi": 200,
        "svg.hashsalt": "amcsim",  # the same figure gives the same file
        "figure.constrained_layout.w_pad": 0.08,
    }
)
"""Decorator of functions that draw: everything within has this look, whatever the caller's settings are."""


def figure(width: float = 6.5, height: float = 3.6, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure of `columns` axes side by side; width and height in inches."""
    fig = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(fig)
    return fig, list(fig.subplots(1, columns, squeeze=False)[0])


def si_unit(largest: float, unit: str) -> tuple[float, str]:
    """(factor, label) that bring numbers up to `largest` into 1 to 1000: (1e6, "us") for 2e-5 s; (1, unit) for 0."""
    if not (largest > 0 and math.isfinite(largest)):
        return 1.0, unit
    power = min(max(math.floor(math.log10(largest) / 3 + 1e-9), -5), 3)
    return 10.0 ** (-3 * power), ("f", "p", "n", "\N{MICRO SIGN}", "m", "", "k", "M", "G")[power + 5] + unit


@styled
def _bytes(fig: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # No date and no version of the library inside: the same figure gives the same bytes.
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None, "Producer": None}}[kind]
    fig.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def save(fig: Figure, path: str | Path) -> Path:
    """Write the figure as .png, .svg or .pdf, by the ending; under a temporary name first.

    Raises ValueError for another ending, OSError where the folder cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        raise ValueError(f"figure {target.name!r}: the ending must be one of {', '.join(FORMATS)}")
    content = _bytes(fig, target.suffix.lower()[1:])
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def to_svg(fig: Figure) -> str:
    """The figure as an `<svg>` element to put into a page, without the XML prologue."""
    text = _bytes(fig, "svg").decode()
    return text[text.index("<svg") :].strip()


def to_png_uri(fig: Figure) -> str:
    """The figure as a data URI for an `<img>` element."""
    return "data:image/png;base64," + base64.b64encode(_bytes(fig, "png")).decode()


def finite(values: Iterable[float | None]) -> F64:
    """`values` as float64, None as NaN."""
    return np.array([math.nan if v is None else float(v) for v in values])
