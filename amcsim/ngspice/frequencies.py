"""Frequencies of ngspice's logarithmic sweeps."""

from __future__ import annotations

import math

import numpy as np

from amcsim._types import F64

__all__ = ["decades", "sweep_words"]


def decades(start: float, stop: float, per_decade: int) -> F64:
    """The frequencies, Hz, of ngspice's `dec` sweeps: 10^(k/per_decade) start up to stop; both ends where they fit."""
    if not (0 < start < stop < np.inf and per_decade >= 1):
        raise ValueError(f"frequencies from {start:g} to {stop:g} Hz, {per_decade} a decade: wanted 0 < start < stop")
    count = math.floor(per_decade * math.log10(stop / start) + 1e-9)
    swept: F64 = start * 10.0 ** (np.arange(count + 1) / per_decade)
    return swept


def sweep_words(frequencies: F64) -> str:
    """What ngspice is told to sweep those frequencies, made by `decades`."""
    per_decade = round(1.0 / math.log10(frequencies[1] / frequencies[0]))
    return f"dec {per_decade} {float(frequencies[0])!r} {float(frequencies[-1]) * (1 + 1e-9)!r}"
