"""Figures of points and bars: conditions against each other, images in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from amcsim._types import F64, I64
from amcsim.plot.style import GREY, MARKERS, PALETTE, figure, finite, styled

__all__ = ["bars", "class_maps", "conditions"]


@styled
def conditions(
    x: Sequence[float],
    y: Sequence[float],
    shares: Sequence[float],
    labels: tuple[str, str, str],
    *,
    wanted: tuple[tuple[float, float], tuple[float, float]] | None = None,
    published: tuple[float, float] | None = None,
) -> Figure:
    """A point for each condition at (x, y), its colour a share (0..1, drawn in %); labels of x, y and the share.

    wanted: the box ((low, high) of x, (low, high) of y); published: a star.
    """
    fig, (ax,) = figure(6.2, 3.9)
    points = ax.scatter(x, y, c=100 * np.asarray(shares), s=20, cmap="viridis_r", edgecolors=GREY, linewidths=0.3)
    bar = fig.colorbar(points, ax=ax)
    bar.set_label(labels[2])
    if wanted:
        (left, right), (low, high) = wanted
        ax.fill([left, right, right, left], [low, low, high, high], facecolor="none", edgecolor="black", linestyle="--")
    if published:
        ax.plot(*published, "*", color=PALETTE[1], markersize=15, markeredgecolor="black", label="published")
        ax.legend(loc="upper left")
    ax.set_yscale("log")
    ticks = [t for t in (2, 5, 10, 20, 50, 100, 200) if min(y) / 1.5 < t < max(y) * 1.5]
    ax.set_yticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    return fig


@styled
def bars(
    values: Mapping[str, Sequence[float | None]], names: Sequence[str], label: str, line: float | None = None
) -> Figure:
    """Horizontal bars: for each of `names` one bar of each series in `values`; `line` is a dashed level."""
    fig, (ax,) = figure(6.8, 0.9 + 0.27 * len(names))
    place, height = np.arange(len(names)), 0.8 / len(values)
    for k, (series, row) in enumerate(values.items()):
        ax.barh(place + (k - (len(values) - 1) / 2) * height, finite(row), height, label=series, color=PALETTE[k])
    if line is not None:
        ax.axvline(line, color="black", linestyle="--", linewidth=1.0, label="published")
    ax.set_yticks(place, names)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(label)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=len(values) + 1)
    return fig


@styled
def class_maps(maps: Mapping[str, F64], labels: I64, classes: Sequence[str]) -> Figure:
    """Images as points in two dimensions (n, 2), a panel by title, a colour and marker by class."""
    fig, axes = figure(3.2 * len(maps) + 0.9, 3.2, columns=len(maps))
    for ax, (title, points) in zip(axes, maps.items(), strict=True):
        for k, name in enumerate(classes):
            x, y = np.asarray(points)[labels == k].T
            look: dict[str, Any] = {"color": PALETTE[k % len(PALETTE)], "marker": MARKERS[k % len(MARKERS)]}
            ax.scatter(x, y, s=9, label=name, **look)
        ax.set_title(title, loc="left")
        ax.set_xlabel("t-SNE 1")
        ax.set_xticklabels([])
        ax.set_yticklabels([])
    axes[0].set_ylabel("t-SNE 2")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    return fig
