"""Two runs of one training on each other: their updates, and how their solvers did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from amcsim._types import F64
from amcsim.plot.style import MARKERS, PALETTE, figure, finite, styled

__all__ = ["overlaid_by_epoch", "overlaid_updates"]

_LEAST = 1e-17
"""Relative differences are drawn at least at this, so that equal vectors are seen on a logarithmic axis."""


@styled
def overlaid_updates(updates: Mapping[str, tuple[F64, F64]], names: tuple[str, str]) -> Figure:
    """Update vectors of two runs by name, each (steps, size): norms, components on each other, relative difference."""
    fig, (norms, ax, off) = figure(10.2, 3.4, columns=3)
    largest = 0.0
    for k, (name, (one, two)) in enumerate(updates.items()):
        colour, steps = PALETTE[k % len(PALETTE)], np.arange(1, len(one) + 1)
        norms.semilogy(steps, np.linalg.norm(one, axis=1), color=colour, linewidth=2.5, alpha=0.45)
        norms.semilogy(steps, np.linalg.norm(two, axis=1), color="black", linewidth=0.6, linestyle=(0, (3, 3)))
        ax.plot(two.ravel(), one.ravel(), ".", color=colour, markersize=2.5, rasterized=True)
        size = np.linalg.norm(two, axis=1)
        relative = np.linalg.norm(one - two, axis=1) / np.where(size > 0, size, 1.0)
        off.semilogy(
            steps, np.maximum(relative, _LEAST), MARKERS[k % len(MARKERS)], color=colour, label=name, markersize=3
        )
        largest = max(largest, float(np.abs(two).max(initial=0.0)))
    ax.plot([-largest, largest], [-largest, largest], color="black", linewidth=0.6)
    ax.set_xlabel(f"update components, {names[1]}")
    ax.set_ylabel(f"update components, {names[0]}")
    norms.set_ylabel(f"norm: {names[0]} (wide), {names[1]} (dashed)")
    off.set_ylabel("relative difference of the vectors")
    off.legend(fontsize="small")
    for axes in (norms, off):
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return fig


@styled
def overlaid_by_epoch(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float | None], Sequence[float | None]]]], names: tuple[str, str]
) -> Figure:
    """Panels by y-label, in each lines over epochs by name: of the first run (wide), and of the second (dots).

    A second run without epochs is not there.
    """
    fig, axes = figure(3.6 * len(panels), 3.2, columns=len(panels))
    for ax, (label, lines) in zip(axes, panels.items(), strict=True):
        for k, (name, (one, two)) in enumerate(lines.items()):
            epochs, colour = np.arange(1, len(one) + 1), PALETTE[k % len(PALETTE)]
            if not two:
                ax.plot(epochs, finite(one), color="black", linewidth=0.7, label=name)
                continue
            ax.plot(epochs, finite(one), color=colour, linewidth=2.5, alpha=0.45, label=f"{name}, {names[0]}")
            ax.plot(epochs, finite(two), ".", color=colour, markersize=3.5, label=f"{name}, {names[1]}")
        ax.set_ylabel(label)
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].legend(fontsize="small")
    return fig
