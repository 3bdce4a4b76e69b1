"""How figures of several seeds are summed up: medians, and their bootstrap intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from amcsim.streams import Key

__all__ = ["middle", "or_never", "runs", "spread"]

_RESAMPLES = 2000


def or_never(epochs: int | None) -> float:
    """Epochs as a number: infinite for a run that did not get there."""
    return np.inf if epochs is None else float(epochs)


def middle(values: Any) -> Any:
    """The median along the last axis, the upper one of two: values may be infinite."""
    return np.quantile(np.asarray(values, dtype=np.float64), 0.5, axis=-1, method="higher")


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def spread(values: list[float], key: Key) -> dict[str, Any]:
    """Median with its 95 % bootstrap interval, and the extremes; None is never."""
    sample = np.asarray(values, dtype=np.float64)
    draws = key.generator().integers(0, sample.size, (_RESAMPLES, sample.size))
    low, high = np.quantile(middle(sample[draws]), [0.025, 0.975], method="inverted_cdf")
    named = {"median": middle(sample), "low": low, "high": high, "least": sample.min(), "most": sample.max()}
    return {name: _known(value) for name, value in named.items()}


def runs(ended: list[dict[str, Any]], key: Key) -> dict[str, Any]:
    """Epochs and test accuracy of runs that differ in their seed."""
    epochs = [or_never(e["epochs"]) for e in ended]
    return {
        "seeds": len(ended),
        "reached": int(np.isfinite(epochs).sum()),
        "epochs": spread(epochs, key.child(0)),
        "test_accuracy": spread([e["test_accuracy"] for e in ended], key.child(1)),
    }
