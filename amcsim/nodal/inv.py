"""The INV circuit of one realisation as a LoopModel: out = (x, xn), sense = (summing nodes, inverter inputs)."""

from __future__ import annotations

import numpy as np

from amcsim.access import on_resistance
from amcsim.nodal.loop import LoopModel
from amcsim.nodal.ports import reduce_to_ports
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.inv import inv_network

__all__ = ["build", "rows"]


def rows(m: int, name: str) -> slice:
    """Rows of a LoopModel's u that hold x, xn, v (summing nodes) or q (inverter inputs)."""
    k = ("x", "xn", "v", "q").index(name)
    return slice(k * m, (k + 1) * m)


def build(spec: Spec, r: Realisation, series: float | None = None) -> LoopModel:
    """The model of one unbatched realisation; `series` replaces the access device's analytic on-resistance, ohm."""
    m = r.offset.shape[-1]
    ron = on_resistance(spec.cell) if series is None else series
    ports = reduce_to_ports(inv_network(m, spec), spec, r, ron)
    summing = ports.conductance[2 * m : 3 * m]
    return LoopModel(
        spec=spec,
        realisation=r,
        ports=ports,
        offset=np.concatenate([r.offset, r.inverter_offset]),
        drive=-np.eye(m),
        answers=m,
        sign=1.0,
        on_cells=2 * m,
        loop=summing[:, m : 2 * m] - summing[:, :m],
    )
