"""Traces over one axis, a panel for each unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from amcsim._types import F64
from amcsim.plot.style import MARKERS, PALETTE, figure, si_unit, styled

__all__ = ["result_figure"]

_DIRECT = 8
"""Traces of a panel up to which each has a colour and a legend entry of its own."""
QUANTITIES = {
    "V": "voltage",
    "A": "current",
    "S": "conductance",
    "ohm": "resistance",
    "J": "energy",
    "s": "time",
    "Hz": "frequency",
    "V/V": "gain",
    "V/s": "slew rate",
    "bit": "resolution",
    "dB": "magnitude",
    "deg": "phase",
    "V/sqrt(Hz)": "noise density",
}
"""What a panel's axis is called, by its unit."""
_WORDS = ("", "dB", "deg", "bit")
"""Units that take no prefix."""


@styled
def result_figure(
    axis: tuple[str, str, F64, bool],
    traces: Mapping[str, tuple[F64, str, bool]],
    marks: Mapping[str, tuple[str, float, float, str]] | None = None,
    title: str = "",
    points: Sequence[str] | None = None,
) -> Figure:
    """axis: (name, unit, values (t,), logarithmic); traces: name -> (values (t,), unit, logarithmic).

    marks: name -> (trace, place on the axis, value, unit of the value), a point on that trace with its name and value.
    points: given where the axis counts things with nothing between them, which are dots then; their names, or empty.
    """
    name, unit, values, log = axis
    units = list(dict.fromkeys(u for _, u, _ in traces.values()))
    fig, _ = figure(6.5, 1.4 + 2.2 * len(units), 1)
    fig.clear()
    panels = list(fig.subplots(len(units), 1, squeeze=False, sharex=True)[:, 0])
    factor, axis_unit = (1.0, unit) if log else _scaled(values, unit)
    for ax, panel_unit in zip(panels, units, strict=True):
        here = {n: (v, logarithmic) for n, (v, u, logarithmic) in traces.items() if u == panel_unit}
        logs = all(logarithmic for _, logarithmic in here.values())
        every = np.concatenate([v[np.isfinite(v)] for v, _ in here.values()])
        scale, label = (1.0, panel_unit) if logs else _scaled(every, panel_unit)
        for k, (n, (v, _)) in enumerate(here.items()):
            ax.plot(
                values * factor,
                v * scale,
                color=PALETTE[k % len(PALETTE)],
                marker=None if points is None else MARKERS[k % len(MARKERS)],
                linestyle="-" if points is None else "none",
                linewidth=1.6 if len(here) <= _DIRECT else 0.9,
                label=n if len(here) <= _DIRECT else None,
            )
        colours = {n: PALETTE[k % len(PALETTE)] for k, n in enumerate(here)}
        for k, (n, (trace, place, value, value_unit)) in enumerate((marks or {}).items()):
            if trace in here and np.isfinite(place):
                at = float(np.interp(place, values, here[trace][0])) * scale
                value_scale, value_label = _scaled(np.array([value]), value_unit)
                text = f"{n}: {value * value_scale:.4g} {value_label}".rstrip()
                shape = {"marker": MARKERS[k % len(MARKERS)], "markersize": 6, "markeredgecolor": "#000000"}
                ax.plot([place * factor], [at], color=colours[trace], linestyle="none", zorder=5, label=text, **shape)
        quantity = QUANTITIES.get(panel_unit, "value" if len(here) > 1 else next(iter(here)))
        ax.set_ylabel(f"{quantity} ({label})" if label else quantity)
        if logs:
            ax.set_yscale("log")
        many = f"{len(here)} traces" if len(here) > _DIRECT else None
        entries = ax.get_legend_handles_labels()
        beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0, "alignment": "left"}
        ax.legend(*entries, title=many, **beside)
    if log:
        panels[-1].set_xscale("log")
    if points is not None:
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    if points:
        turned = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
        panels[-1].set_xticks(values * factor, points, **turned)
    panels[-1].set_xlabel(f"{name} ({axis_unit})" if axis_unit else name)
    if title:
        panels[0].set_title(title, loc="left")
    return fig


def _scaled(values: F64, unit: str) -> tuple[float, str]:
    known = values[np.isfinite(values)]
    if unit in _WORDS or not known.size:
        return 1.0, unit
    return si_unit(float(np.abs(known).max()), unit)
