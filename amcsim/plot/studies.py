"""Figures of studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from amcsim.plot.style import GREY, MARKERS, PALETTE, figure, finite, styled

__all__ = ["lines_by_panel", "tornadoes"]


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
    axes[0].autoscale()  # over all panels: sharing alone takes the first one's limits
    axes[0].set_ylabel(y_label)
    axes[0].legend()
    return fig


@styled
def tornadoes(
    panels: Mapping[str, tuple[float, Sequence[tuple[str, float, float]], float | None]], *, most: int = 10
) -> Figure:
    """Panels side by side by title, of a positive figure on a logarithmic axis: its value, bars, a line to reach.

    A bar is (label, the figure at the low end of an assumption's range, at its high end); what moves it most comes
    first.
    """
    deepest = max(min(len(bars), most) for _, bars, _ in panels.values())
    fig, axes = figure(4.3 * len(panels), 1.5 + 0.3 * deepest, columns=len(panels))
    for ax, (title, (value, bars, goal)) in zip(axes, panels.items(), strict=True):
        shown = list(bars)[:most]
        for k, (_, low, high) in enumerate(shown):
            for end, color in ((low, PALETTE[0]), (high, PALETTE[1])):
                ax.barh(k, end - value, left=value, color=color, height=0.62)
        ax.axvline(value, color=GREY, linewidth=1.0)
        if goal is not None:
            ax.axvline(goal, color=PALETTE[2], linestyle="--")
            side = "left" if goal < value else "right"
            ax.annotate(" published ", (goal, -0.7), ha=side, va="bottom", color=PALETTE[2], fontsize=9)
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_yticks(range(len(shown)), [name for name, _, _ in shown])
        ax.set_ylim(max(len(shown), 1) - 0.4, -1.2)
        ax.set_title(title, loc="left")
        ax.grid(visible=False, axis="y")
        ax.margins(x=0.08)
    axes[0].barh(0, 0, color=PALETTE[0], label="at the range's low end")
    axes[0].barh(0, 0, color=PALETTE[1], label="at its high end")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig
