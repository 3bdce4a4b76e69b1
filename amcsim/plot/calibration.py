"""What a calibration measured: the access device's law, and held-out errors by family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from amcsim._types import F64
from amcsim.plot.style import PALETTE, figure, styled

__all__ = ["cell_law", "error_shares"]

_STYLES = ("-", "--", "-.", ":")


@styled
def cell_law(inner: F64, measured: F64, fitted: F64) -> Figure:
    """Series resistance (ohm) of the access device over the voltage across it (V): points in ngspice, line fitted.

    inner, measured, fitted: (n,) each, in any order.
    """
    fig, (ax,) = figure(5.5, 3.3)
    order = np.argsort(inner)
    ax.plot(1e3 * inner, measured, ".", color=PALETTE[0], markersize=4, label=f"ngspice, {inner.size} points")
    ax.plot(1e3 * inner[order], fitted[order], color=PALETTE[1], linewidth=1.2, label="fitted law")
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.set_xlabel("voltage across the access device (mV)")
    ax.set_ylabel("its resistance (\N{GREEK CAPITAL LETTER OMEGA})")
    ax.legend(loc="best")
    return fig


@styled
def error_shares(errors: Mapping[str, F64], *, label: str, bound: float | None = None) -> Figure:
    """Share of circuits (%) up to an error, one step curve by name; `bound` is drawn as a line."""
    fig, (ax,) = figure(5.5, 3.3)
    for k, (name, values) in enumerate(errors.items()):
        known = np.sort(values[np.isfinite(values) & (values > 0)])
        if known.size:
            share = 100 * np.arange(known.size + 1) / known.size
            look: dict[str, Any] = {"color": PALETTE[k % len(PALETTE)], "linestyle": _STYLES[k % len(_STYLES)]}
            ax.plot(
                np.concatenate([known[:1], known]), share, drawstyle="steps-post", label=f"{name}, {known.size}", **look
            )
    if bound is not None:
        ax.axvline(bound, color="black", linewidth=1.0, linestyle=":", label=f"bound {bound:.0e}")
    ax.set_xscale("log")
    ax.set_ylim(0, 101)
    ax.set_xlabel(label)
    ax.set_ylabel("share of circuits (%)")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return fig
