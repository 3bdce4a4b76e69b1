"""The INV circuit in ngspice (amcsim.analysis.array with the topology filled in)."""

from __future__ import annotations

from functools import partial

import numpy as np

from amcsim._types import F64
from amcsim.analysis import array
from amcsim.netlist.deck import Deck
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.inv import INV

__all__ = ["inv_deck", "operating_points", "transient"]

operating_points = partial(array.operating_points, INV)
"""operating_points(spec, realisation, b): voltages (x, xn, v, q), (4m, k)."""
transient = partial(array.transient, INV)
"""transient(spec, realisation, b, stop, ...): x, xn and summing nodes."""


def inv_deck(spec: Spec, r: Realisation, b: F64, expected: tuple[F64, F64], title: str = "INV") -> Deck:
    """The deck of one drawn INV circuit with input voltages b, (m,), expecting outputs (x, xn), (m,) each."""
    return array.array_deck(INV, spec, r, b, np.concatenate(expected), title)
