"""Waveforms of a transient."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from amcsim._types import F64
from amcsim.plot.style import GREY, PALETTE, figure, si_unit, styled

__all__ = ["waveforms"]

_DIRECT = 8
"""Signals up to which each has a colour and a legend entry of its own."""


@styled
def waveforms(
    time: F64,
    signals: Mapping[str, F64],
    *,
    settling: float | None = None,
    tolerance: float = 0.01,
    step: float = 0.0,
    final: Mapping[str, float] | None = None,
    title: str = "",
) -> Figure:
    """Signals (t,), V, over time (t,), s, with the instant of the input step and of settling marked.

    settling: time from the step (s) after which all signals together stay within `tolerance` of their end values; None
    marks nothing. final: where each signal should end (V), a thin line.
    """
    fig, (ax,) = figure(6.5, 3.6)
    factor, unit = si_unit(float(time[-1]), "s")
    v_factor, v_unit = si_unit(max((float(np.abs(v).max()) for v in signals.values()), default=0.0), "V")
    for k, (name, values) in enumerate(signals.items()):
        colour = PALETTE[k % len(PALETTE)]
        label = name if len(signals) <= _DIRECT else None
        ax.plot(time * factor, values * v_factor, color=colour, linewidth=1.6 if label else 0.9, label=label)
        if final is not None and name in final:
            ax.axhline(final[name] * v_factor, color=colour, linewidth=0.7, linestyle=(0, (1, 2)))
    if step > 0:
        ax.axvline(step * factor, color=GREY, linewidth=0.9, linestyle=":", label="input step")
    if settling is not None and math.isfinite(settling):
        end = (step + settling) * factor
        s_factor, s_unit = si_unit(settling, "s")
        label = f"settled to {100 * tolerance:g} %\nafter {settling * s_factor:.3g} {s_unit}"
        ax.axvspan(step * factor, end, color="#F0F0F0", zorder=0)
        ax.axvline(end, color="#000000", linewidth=1.2, linestyle="--", label=label)
    ax.set_xlim(float(time[0]) * factor, float(time[-1]) * factor)
    ax.margins(y=0.08)
    ax.set_xlabel(f"time ({unit})")
    ax.set_ylabel(f"voltage ({v_unit})")
    if title:
        ax.set_title(title, loc="left")
    many = f"{len(signals)} signals" if len(signals) > _DIRECT else None
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, title=many, alignment="left")
    return fig
