"""Conductances of an array, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from amcsim._types import F64
from amcsim.plot.style import figure, styled

__all__ = ["array_map"]

_WRITTEN = 10
"""Rows and columns up to which each cell carries its number."""


@styled
def array_map(
    arrays: Sequence[F64], titles: Sequence[str], *, low: float | None = None, high: float | None = None
) -> Figure:
    """Heat maps of conductance arrays (m, n), S, side by side on one scale in uS: source-lines down, bit-lines across.

    low, high: ends of the colour scale, S (default: those of the data). Raises ValueError unless each has its title.
    """
    if len(arrays) != len(titles) or not arrays:
        raise ValueError(f"{len(arrays)} arrays and {len(titles)} titles: there must be as many, and one at least")
    fig, axes = figure(3.2 * len(arrays) + 0.9, 3.9, columns=len(arrays))
    bottom = (min(float(g.min()) for g in arrays) if low is None else low) * 1e6
    top = (max(float(g.max()) for g in arrays) if high is None else high) * 1e6
    for ax, g, title in zip(axes, arrays, titles, strict=True):
        image = ax.imshow(g * 1e6, cmap="cividis", vmin=bottom, vmax=top, aspect="equal")
        ax.set_title(title)
        ax.set_xlabel("bit-line")
        ax.grid(False)
        for side in ("left", "bottom"):
            ax.spines[side].set_visible(False)
        rows, columns = g.shape
        if max(rows, columns) <= _WRITTEN:
            ax.set_xticks(range(columns))
            ax.set_yticks(range(rows))
            for (i, j), value in _cells(g):
                dark = (value - bottom) < 0.55 * (top - bottom)
                ax.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes[0].set_ylabel("source-line")
    bar = fig.colorbar(image, ax=axes, shrink=0.9, pad=0.02)
    bar.set_label("conductance (\N{MICRO SIGN}S)")
    bar.outline.set_visible(False)
    return fig


def _cells(g: F64) -> list[tuple[tuple[int, int], float]]:
    return [((i, j), value * 1e6) for i, row in enumerate(g.tolist()) for j, value in enumerate(row)]
