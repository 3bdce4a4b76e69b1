"""The MVM circuit of one realisation as a LoopModel: out = y, sense = summing nodes."""

from __future__ import annotations

import numpy as np

from amcsim.access import on_resistance
from amcsim.nodal.loop import LoopModel
from amcsim.nodal.ports import reduce_to_ports
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.mvm import mvm_network

__all__ = ["build"]


def build(spec: Spec, r: Realisation, series: float | None = None) -> LoopModel:
    """The model of one unbatched realisation; `series` replaces the access device's analytic on-resistance, ohm."""
    m, n = r.g_pos.shape
    ron = on_resistance(spec.cell) if series is None else series
    ports = reduce_to_ports(mvm_network(m, n, spec), spec, r, ron, ("y", "sl", "in"))
    return LoopModel(
        spec=spec,
        realisation=r,
        ports=ports,
        offset=r.offset,
        drive=np.concatenate([np.eye(n), -np.eye(n)]),
        answers=m,
        sign=-1.0,
        on_cells=0,
        loop=-ports.conductance[m : 2 * m, :m],
    )
