"""The pulse response kept in calibration/: conductance against pulses of both polarities, for training code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from amcsim._types import F64

__all__ = ["TABLE", "PulseTrain", "pulse_trains"]

TABLE = "rram_pulses.json"
"""The file in calibration/."""


@dataclass(frozen=True, eq=False)
class PulseTrain:
    """Equal pulses on cells that start alike."""

    polarity: str
    """set or reset."""
    voltage: float
    """Bit-line voltage of SET, source-line voltage of RESET pulses, V."""
    gate: float
    """Word-line voltage, V."""
    width: float
    """s."""
    temperature: float
    """K."""
    mean: F64
    """Conductance read at 0.2 V before the first and after each pulse, averaged over cells, (pulses + 1,), S."""
    std: F64
    """Its standard deviation over cells, (pulses + 1,), S."""
    nominal: F64
    """The same without variation, (pulses + 1,), S."""

    def step(self, conductance: F64) -> F64:
        """Change (S) by one more pulse at `conductance` (S), along the nominal train; 0 beyond its ends."""
        order = np.argsort(self.nominal[:-1])
        change = np.diff(self.nominal)
        return np.interp(conductance, self.nominal[:-1][order], change[order], left=0.0, right=0.0)


@lru_cache
def pulse_trains() -> tuple[PulseTrain, ...]:
    """The trains of calibration/rram_pulses.json, with the provenance of that file."""
    data = json.loads((files("amcsim.calibration") / TABLE).read_text(encoding="utf-8"))
    return tuple(
        PulseTrain(**row | {name: np.array(row[name]) for name in ("mean", "std", "nominal")}) for row in data["trains"]
    )
