"""Waveforms of a transient and the measures read from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from amcsim._types import F64

__all__ = ["Waveforms"]


@dataclass(frozen=True, eq=False)
class Waveforms:
    """Signals (V) over a common time axis (s)."""

    time: F64
    """(t,), s."""
    signals: Mapping[str, F64]
    """name -> (t,), V."""
    step: float = 0.0
    """Instant of the input step, s: settling counts from here."""

    def matrix(self, prefix: str) -> F64:
        """Signals `v(<prefix>0)`, `v(<prefix>1)`, ... as (t, m)."""
        start = f"v({prefix}"
        count = sum(name.startswith(start) and name[len(start) : -1].isdigit() for name in self.signals)
        return np.stack([self.signals[f"v({prefix}{i})"] for i in range(count)], axis=1)

    def settling_time(self, prefix: str = "x", tolerance: float = 0.01) -> float:
        """Time after the step from which ||x(t) - x(end)|| stays within tolerance * ||x(end)||, s; inf if never.

        Linear interpolation between the two points around the last crossing.
        """
        x = self.matrix(prefix)
        error = np.linalg.norm(x - x[-1], axis=1)
        bound = tolerance * float(np.linalg.norm(x[-1]))
        outside = np.flatnonzero(error > bound)
        if outside.size == 0:
            return 0.0
        last = int(outside[-1])
        if last >= self.time.size - 2:
            return float("inf")
        before, after = error[last], error[last + 1]
        crossing = self.time[last] + (self.time[last + 1] - self.time[last]) * (before - bound) / (before - after)
        return max(float(crossing) - self.step, 0.0)

    def overshoot(self, prefix: str = "x") -> F64:
        """Largest excursion beyond the end value, relative to it, for each signal, (m,); 0 where there is none."""
        x = self.matrix(prefix)
        end = x[-1]
        safe = np.where(np.abs(end) > 0, end, 1.0)
        beyond: F64 = np.maximum((x / safe).max(axis=0) - 1.0, 0.0)
        return beyond
