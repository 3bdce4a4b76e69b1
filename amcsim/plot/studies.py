"""Figures of studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from amcsim.plot.style import MARKERS, PALETTE, figure, finite, styled

__all__ = ["lines_by_panel"]


@styled
def lines_by_panel(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float | None]]]],
    x_label: str,
    y_label: str,
    *,
    log_x: bool = True,
    log_y: bool = True,
) -> Figure:
    """Panels side by side by title, of the same axes; in each, lines by name as (x, y), None where there is none."""
    fig, axes = figure(2.6 * len(panels) + 1.2, 3.3, columns=len(panels))
    for ax, (title, lines) in zip(axes, panels.items(), strict=True):
        for k, (name, (x, y)) in enumerate(lines.items()):
            ax.plot(x, finite(y), label=name, color=PALETTE[k % len(PALETTE)], marker=MARKERS[k % len(MARKERS)])
        ax.set_xscale("log" if log_x else "linear")
        ax.set_yscale("log" if log_y else "linear")
        ax.set_title(title, loc="left")
        ax.set_xlabel(x_label)
        if ax is not axes[0]:
            ax.sharex(axes[0])
            ax.sharey(axes[0])
    axes[0].set_ylabel(y_label)
    axes[0].legend()
    return fig
