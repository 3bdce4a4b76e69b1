"""The INV circuit of one realisation as a LoopModel: out = (x, xn), sense = (summing nodes, inverter inputs)."""

from __future__ import annotations

from functools import partial

from amcsim.nodal.build import build as build_any
from amcsim.topology.inv import INV

__all__ = ["build", "rows"]

build = partial(build_any, INV)
"""build(spec, realisation, series=None): see amcsim.nodal.build."""


def rows(m: int, name: str) -> slice:
    """Rows of a LoopModel's u that hold x, xn, v (summing nodes) or q (inverter inputs)."""
    k = ("x", "xn", "v", "q").index(name)
    return slice(k * m, (k + 1) * m)
