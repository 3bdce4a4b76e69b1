"""Settling time, power and energy of reads: the surrogate's against ngspice's, on the same draws."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from amcsim._types import F64
from amcsim.campaign.sample import Samples
from amcsim.netlist.deck import RISE_TIME
from amcsim.specs import Spec
from amcsim.surrogate.model import Surrogate
from amcsim.surrogate.reads import quiescent_power, reads

__all__ = ["timing_errors", "timing_figures"]


def timing_errors(surrogate: Surrogate, spec: Spec, samples: Samples) -> dict[str, F64]:
    """Relative errors on the samples whose reads ngspice timed, (t,) each: settling, power, energy, signal_energy.

    signal_energy leaves out what the amplifiers draw at rest, which is most of the energy and known without a model.
    """
    timed = samples.take(np.isfinite(samples.settling) & (samples.settling > RISE_TIME))
    if not timed.ids.size:
        return {name: np.zeros(0) for name in ("settling", "power", "energy", "signal_energy")}
    mine = reads(surrogate, spec, timed.realisation, timed.volts[..., None])
    rows = timed.x.shape[1]
    rest = quiescent_power(spec, 2 * rows if samples.circuit == "inv" else rows)

    def off(found: F64, known: F64) -> F64:
        return np.asarray(np.abs(found[:, 0] / known - 1.0))

    return {
        "settling": off(mine.settling, timed.settling),
        "power": off(mine.power, timed.power),
        "energy": off(mine.energy, timed.energy),
        "signal_energy": off(mine.signal_energy, timed.energy - rest * timed.settling),
    }


def timing_figures(errors: Iterable[dict[str, F64]]) -> dict[str, float | int | None]:
    """Median and 95th percentile of each by name, over all groups, and how many reads; None without any."""
    groups = list(errors)
    figures: dict[str, float | int | None] = {}
    for name in groups[0] if groups else ():
        every = np.concatenate([group[name] for group in groups])
        figures["timed_reads"] = int(every.size)
        for word, share in (("median", 50), ("p95", 95)):
            figures[f"{name}_error_{word}"] = float(np.percentile(every, share)) if every.size else None
    return figures
