"""The surrogate against ngspice on circuits it never saw."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from amcsim._types import F64
from amcsim.plot.style import PALETTE, figure, styled

__all__ = ["surrogate_vs_ngspice"]


@styled
def surrogate_vs_ngspice(circuit_error: F64, surrogate_error: F64, error_of_error: F64) -> Figure:
    """Left: the circuit error by the surrogate over that by ngspice. Right: share of circuits up to an error of error.

    circuit_error, surrogate_error: deviation of x from the ideal-amplifier, wire-free solution, entry by entry, over
    that solution's norm, (n,) each; on the line they agree. error_of_error: one figure a circuit, (c,), as
    amcsim.campaign defines it; median and 95th percentile are marked.
    """
    fig, (left, right) = figure(7.2, 3.5, columns=2)
    known = np.isfinite(circuit_error) & np.isfinite(surrogate_error)
    x, y = 100 * circuit_error[known], 100 * surrogate_error[known]
    ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())]) if x.size else np.array([-1.0, 1.0])
    ends += np.array([-0.05, 0.05]) * np.ptp(ends)
    left.plot(ends, ends, color="black", linewidth=0.9, label="equal")
    left.plot(x, y, ".", color=PALETTE[0], markersize=3.5, alpha=0.6, label=f"{x.size} outputs", rasterized=True)
    left.set(xlim=ends, ylim=ends, aspect="equal")
    left.set_xlabel("circuit error in ngspice (%)")
    left.set_ylabel("circuit error by the surrogate (%)")
    left.legend(loc="upper left")

    values = np.sort(error_of_error[np.isfinite(error_of_error) & (error_of_error > 0)])
    if values.size:
        share = 100 * np.arange(1, values.size + 1) / values.size
        right.step(values, share, where="post", color=PALETTE[0])
        for quantile, colour, name in ((50, PALETTE[1], "median"), (95, PALETTE[2], "95th percentile")):
            at = float(np.percentile(values, quantile))
            right.axvline(at, color=colour, linestyle="--", linewidth=1.2, label=f"{name} {at:.1e}")
        right.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2)
    right.set_xscale("log")
    right.set_ylim(0, 101)
    right.set_xlabel("error of the error")
    right.set_ylabel(f"share of {values.size} circuits (%)")
    return fig
