"""The surrogates that come with the package (amcsim.calibration)."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import as_file, files

import numpy as np

from amcsim.specs import Spec
from amcsim.surrogate.model import DomainError, Surrogate, load_surrogate

__all__ = ["shipped_surrogate"]


def shipped_surrogate(spec: Spec, shape: tuple[int, int], circuit: str = "inv") -> Surrogate:
    """The shipped surrogate that may stand for circuits of that kind, shape and technology. Raises DomainError."""
    whole_range = np.array([spec.cell.g_min, spec.cell.g_max])
    reasons = []
    for name, surrogate in _shipped().items():
        if surrogate.circuit != circuit:
            continue
        try:
            surrogate.require(spec, shape, whole_range, circuit)
        except DomainError as error:
            reasons.append(f"{name}: {error}")
        else:
            return surrogate
    raise DomainError("no shipped surrogate fits: " + ("; ".join(reasons) or f"there is none for {circuit.upper()}"))


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Surrogate]:
    """All of them by file name."""
    found = {}
    for entry in sorted(files("amcsim.calibration").iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".surrogate.json"):
            with as_file(entry) as path:
                found[entry.name.removesuffix(".surrogate.json")] = load_surrogate(path)
    return found
