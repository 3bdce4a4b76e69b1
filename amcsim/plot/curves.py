"""Curves over epochs and over refinement passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from amcsim.plot.style import MARKERS, PALETTE, figure, finite, styled

__all__ = ["error_by_pass", "step_losses", "training_curves"]

_DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
"""Line styles tell runs apart too: in print without colours, and where curves lie on one another."""


@styled
def training_curves(
    accuracy: Mapping[str, Sequence[float]], loss: Mapping[str, Sequence[float]] | None = None, *, title: str = ""
) -> Figure:
    """Training accuracy (0..1, drawn in %) and, where given, loss (nats, logarithmic) over epochs by run name."""
    fig, axes = figure(7.2 if loss else 5.5, 3.3, columns=2 if loss else 1)
    for k, (name, values) in enumerate(accuracy.items()):
        look: dict[str, Any] = {"color": PALETTE[k % len(PALETTE)], "linestyle": _DASHES[k % len(_DASHES)]}
        axes[0].plot(np.arange(1, len(values) + 1), 100 * finite(values), label=name, **look)
        if loss and name in loss:
            axes[1].semilogy(np.arange(1, len(loss[name]) + 1), finite(loss[name]), **look)
    axes[0].set_ylabel("training accuracy (%)")
    axes[0].set_ylim(top=101.5)
    axes[0].legend(loc="lower right")
    if loss:
        axes[1].set_ylabel("training loss (nats)")
    for ax in axes:
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if title:
        fig.suptitle(title, fontsize=11)
    return fig


@styled
def step_losses(losses: Mapping[str, Mapping[str, Sequence[float]]], *, mean: Sequence[int] = ()) -> Figure:
    """Loss (nats) over steps by panel and run; panel i in running means of mean[i] steps, if given.

    A panel whose losses span more than a factor of 20 is logarithmic.
    """
    fig, axes = figure(3.6 * len(losses), 3.0, columns=len(losses))
    for ax, (panel, runs), window in zip(axes, losses.items(), mean or [1] * len(losses), strict=True):
        for k, (name, values) in enumerate(runs.items()):
            found = finite(values)
            size = min(window, len(found))
            smooth = np.convolve(found, np.ones(size) / size, mode="valid")
            look: dict[str, Any] = {"color": PALETTE[k % len(PALETTE)], "linestyle": _DASHES[k % len(_DASHES)]}
            ax.plot(np.arange(size, len(found) + 1), smooth, label=name, **look)
        ends = [line.get_ydata() for line in ax.lines]
        if max(map(np.nanmax, ends)) > 20 * min(map(np.nanmin, ends)) > 0:
            ax.set_yscale("log")
        ax.set_xlabel("step")
        ax.set_ylabel("training loss (nats)")
        ax.set_title(panel, loc="left")
        if ax is axes[0] or set(runs) != set(losses[next(iter(losses))]):  # the same runs have the same looks
            ax.legend(loc="upper right")
    return fig


@styled
def error_by_pass(errors: Mapping[str, Sequence[float]], *, stop: float | None = None, title: str = "") -> Figure:
    """Relative error after each analog pass by name, from the low-precision answer (pass 1) to high precision.

    stop: the stop rule's level, a dashed line.
    """
    fig, (ax,) = figure(5.5, 3.4)
    for k, (name, values) in enumerate(errors.items()):
        look = {"color": PALETTE[k % len(PALETTE)], "marker": MARKERS[k % len(MARKERS)]}
        ax.semilogy(np.arange(1, len(values) + 1), finite(values), label=name, **look)
    if stop is not None:
        ax.axhline(stop, color="black", linewidth=1.0, linestyle="--", label=f"stop rule, {stop:.2g}")
    ax.set_xlabel("analog pass")
    ax.set_ylabel("relative error")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    ax.legend(loc="lower left")  # the curves fall from the upper left to the lower right
    if title:
        ax.set_title(title, loc="left")
    return fig
