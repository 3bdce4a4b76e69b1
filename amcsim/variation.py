"""What a cell reads after it was written: drift since the write, telegraph noise and noise of each read.

Vocabulary, as the write error is: a realisation needs it, and every backend takes the same realisation. Each part has a
stream of its own below the realisation's key, and none is drawn where its numbers are zero. A cell of conductance G at
its verification, at the time `onset` after its write, is read at the time `age` as

    G (age/onset)^-nu (1 - a(G) T) (1 + s(G) N),   nu = drift + drift_sigma N',  a = largest r/(1 + r), r = half/G,
    s(G) = read_sigma (G/g_max)^-read_exponent,

N, N' standard normal; nu and the trap belong to the cell, N and the trap's state T (filled: 1) to the read.
"""

from __future__ import annotations

import numpy as np

from amcsim._types import F64
from amcsim.specs import Spec, VariationSpec
from amcsim.streams import Key

__all__ = ["reach", "read_cells", "telegraph_amplitude", "varies"]

_DRIFT, _TRAPS, _READS = 5, 6, 7
"""Sub-streams of a realisation's key; those below are the write's and the amplifiers' (amcsim.realisation)."""
_SIGMAS = 6.0
"""Standard deviations that count as what can be realised."""


def telegraph_amplitude(conductance: F64, largest: float, half: float) -> F64:
    """Relative amplitude largest r/(1 + r), r = half/G, of one trap at a filament's neck, same shape.

    Proportional to the resistance of thick filaments, saturating for thin ones (Ambrogio et al., IEEE Trans. Electron
    Devices 61, 2920 (2014)).
    """
    ratio = half / conductance
    return np.asarray(largest * ratio / (1.0 + ratio), dtype=np.float64)


def varies(v: VariationSpec) -> bool:
    """Whether a read differs from what was verified at all."""
    drifts = v.age > v.onset and (v.drift != 0 or v.drift_sigma > 0)
    return drifts or v.telegraph_share > 0 or v.read_sigma > 0


def read_cells(devices: F64, spec: Spec, key: Key, read: int) -> F64:
    """Device conductances (S) that read number `read` of cells written as `devices` (S) finds, same shape.

    `key` is the realisation's. No less than a tenth of g_min.
    """
    v = spec.variation
    found = devices
    if v.age > v.onset and (v.drift != 0 or v.drift_sigma > 0):
        nu = v.drift + v.drift_sigma * key.child(_DRIFT).generator().standard_normal(devices.shape)
        found = found * np.exp(-nu * np.log(v.age / v.onset))
    now = key.child(_READS, read)
    if v.telegraph_share > 0:
        traps = key.child(_TRAPS).generator()
        active = traps.random(devices.shape) < v.telegraph_share
        filled = now.child(0).generator().random(devices.shape) < traps.random(devices.shape)
        amplitude = telegraph_amplitude(devices, v.telegraph_largest, v.telegraph_half)
        found = found * (1.0 - amplitude * (active & filled))
    if v.read_sigma > 0:
        noise = now.child(1).generator().standard_normal(devices.shape)
        found = found * (1.0 + _read_sigma(devices, spec) * noise)
    return np.maximum(found, 0.1 * spec.cell.g_min)


def reach(devices: tuple[float, float], spec: Spec) -> tuple[float, float]:
    """Least and largest conductance (S) that reads of cells between `devices` (S) find, to six standard deviations."""
    v, (low, high) = spec.variation, devices
    if not varies(v):
        return devices
    decades = max(float(np.log(v.age / v.onset)), 0.0)
    wide = _SIGMAS * v.drift_sigma * decades
    ends = np.array([low, high])
    noise = _SIGMAS * _read_sigma(ends, spec)
    lost = telegraph_amplitude(ends, v.telegraph_largest, v.telegraph_half) if v.telegraph_share > 0 else 0.0 * ends
    least = low * np.exp(-v.drift * decades - wide) * (1.0 - lost[0]) * (1.0 - noise[0])
    most = high * np.exp(-v.drift * decades + wide) * (1.0 + noise[1])
    return max(float(least), 0.1 * spec.cell.g_min), float(most)


def _read_sigma(devices: F64, spec: Spec) -> F64:
    """Relative standard deviation of one read, at most a half."""
    v = spec.variation
    sigma: F64 = np.minimum(v.read_sigma * (devices / spec.cell.g_max) ** -v.read_exponent, 0.5)
    return sigma
