"""A drawn circuit of any topology as a LoopModel."""

from __future__ import annotations

from amcsim.access import on_resistance
from amcsim.nodal.loop import LoopModel
from amcsim.nodal.ports import reduce_lines, reduce_to_ports
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.circuit import Topology

__all__ = ["build"]

_CURVED_FROM = 0.5
"""cell.v_read_max, V, above which access transistors behind linear cells are more than resistors: 1e-4 of an answer."""


def build(topology: Topology, spec: Spec, r: Realisation, series: float | None = None) -> LoopModel:
    """The model of one unbatched realisation; `series` makes the access devices resistors of so many ohm.

    Without it they follow their level-3 curve behind sinh cells, and behind linear ones where v_read_max is large; else
    they are resistors of their analytic on-resistance.

    Amplifiers of transistors are modelled by the behavioural ones that stand for them (`Spec.equivalent`).
    """
    spec = spec.equivalent()
    m, n = r.g_pos.shape
    ron = on_resistance(spec.cell) if series is None else series
    cell = spec.cell
    curved = series is None and cell.access != "none" and (cell.iv != "linear" or cell.v_read_max > _CURVED_FROM)
    if cell.iv == "linear" and not curved and spec.wire.bl_resistance + spec.wire.sl_resistance > 0:
        ports = reduce_lines(topology, spec, r, ron)
    else:
        groups = (*topology.outputs, *topology.senses, "in")
        ports = reduce_to_ports(topology.network(m, n, spec), spec, r, ron, groups, curved=curved)
    return LoopModel(
        spec=spec,
        realisation=r,
        ports=ports,
        offset=topology.offset(r),
        drive=topology.drive(m, n),
        answers=m,
        sign=topology.sign,
        on_cells=topology.on_cells * m,
        loop=topology.loop(ports.conductance, m),
        topology=topology,
    )
