"""INV: the closed-loop circuit whose amplifier outputs are x = A^-1 b (Sun et al., PNAS 2019; seed paper Fig. 3a).

Row i of both arrays ends in summing node `sl{i}`, the inverting input of op-amp i. Op-amp output `x{j}` drives bit-line
j of the positive array, an analog inverter drives bit-line j of the negative array with `xn{j}`. Input -b_i (source
at `in{i}`) enters `sl{i}` through g_unit. With S_i = sum_j (G+_ij + G-_ij) + g_unit, linear amplifiers of gain A0
without output resistance, no wires and no access devices:

    xn_j = A0 ((1 + ratio_j) Vosn_j - ratio_j x_j) / (A0 + 1 + ratio_j)
    sum_j G+_ij x_j + G-_ij xn_j - g_unit b_i = S_i (Vos_i - x_i / A0).

Wires: one segment a cell pitch, one between driver and first cell, one between last cell and amplifier. Bit-line j is
driven at row 0. `shared`: source-line i runs from the amplifier past the m positive cells, then the m negative ones;
`separate`: each array has its own source-line to the summing node, sensed at column 0.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from amcsim._types import F64
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.array import add_array
from amcsim.topology.circuit import Topology
from amcsim.topology.network import Network, NetworkBuilder

__all__ = ["INV", "closed_form", "inv_network"]


@lru_cache(maxsize=32)
def inv_network(m: int, spec: Spec) -> Network:
    """The INV circuit for an (m, m) matrix; ports x, xn, sl, q. Nodes that a wire of 0 ohm would join are one node."""
    if not 1 <= m <= 256:
        raise ValueError(f"matrix size {m} is outside 1 to 256")
    net, wire = NetworkBuilder(), spec.wire
    for i in range(m):
        net.source(f"in{i}", f"in{i}")
        net.resistor(f"in{i}", f"in{i}", f"sl{i}", 1.0 / spec.g_unit)
        net.amplifier(f"a{i}", f"sl{i}", f"x{i}")
        net.inverter(f"i{i}", f"x{i}", f"xn{i}", spec.inverter.resistance)
        net.capacitor(f"sum{i}", f"sl{i}", "0", wire.summing_capacitance)
        net.capacitor(f"fb{i}", f"sl{i}", f"x{i}", spec.opamp.feedback_capacitance)
    add_array(net, wire, m, m, ("x", "xn"))
    groups = {"x": "x{}", "xn": "xn{}", "sl": "sl{}", "q": "xi{}.q"}
    return net.build({group: [name.format(i) for i in range(m)] for group, name in groups.items()})


def closed_form(r: Realisation, b: F64, spec: Spec) -> tuple[F64, F64]:
    """(x, xn) of the equation above for input voltages b, (*batch, m, k); each (*batch, m, k), V.

    Exact for linear (or, with gain = inf, ideal) amplifiers without output resistance, wires and access devices.
    """
    gain = np.inf if spec.opamp.model == "ideal" else spec.opamp.gain
    noise_gain = 1.0 + r.inverter_ratio
    slope = -r.inverter_ratio / (1.0 + noise_gain / gain)
    start = noise_gain * r.inverter_offset / (1.0 + noise_gain / gain)
    load = r.g_pos.sum(-1) + r.g_neg.sum(-1) + spec.g_unit
    matrix = r.g_pos + r.g_neg * slope[..., None, :] + (load / gain)[..., None] * np.eye(load.shape[-1])
    known = load * r.offset - np.einsum("...ij,...j->...i", r.g_neg, start)
    x = np.linalg.solve(matrix, spec.g_unit * b + known[..., None])
    return x, slope[..., None] * x + start[..., None]


def _network(m: int, n: int, spec: Spec) -> Network:
    return inv_network(m, spec)


def _drive(m: int, n: int) -> F64:
    return -np.eye(m)


def _offset(r: Realisation) -> F64:
    return np.concatenate([r.offset, r.inverter_offset])


def _loop(y: F64, m: int) -> F64:
    return y[2 * m : 3 * m, m : 2 * m] - y[2 * m : 3 * m, :m]


INV = Topology(
    name="inv",
    network=_network,
    outputs=("x", "xn"),
    senses=("sl", "q"),
    drive=_drive,
    sign=1.0,
    on_cells=2,
    offset=_offset,
    loop=_loop,
)
"""x = A^-1 b; the sources are at -b. Its loop matrix is G+ - G-."""
