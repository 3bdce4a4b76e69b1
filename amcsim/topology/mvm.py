"""MVM: the open-loop circuit whose amplifier outputs are A v (seed papers' matrix-vector circuit).

Bit-line j of the positive array is driven by a DAC with v_j (node `d{j}`), bit-line j of the negative array with -v_j
(`dn{j}`). Row i of both arrays ends in summing node `sl{i}`, the inverting input of transimpedance amplifier i, whose
feedback is g_unit to its output `y{i}`; A may be rectangular, (m, n). The result is reported as -y = +A v / a_max.
With S_i = sum_j (G+_ij + G-_ij) + g_unit, linear amplifiers of gain A0 without output resistance, no wires, no access
devices:

    sum_j (G+_ij - G-_ij) v_j + g_unit y_i = S_i (Vos_i - y_i / A0).

Wires as in topology/inv.py.
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

__all__ = ["MVM", "mvm_closed_form", "mvm_network"]


@lru_cache(maxsize=32)
def mvm_network(m: int, n: int, spec: Spec) -> Network:
    """The MVM circuit for an (m, n) matrix; ports y, sl. Nodes that a wire of 0 ohm would join are one node."""
    if not (1 <= m <= 256 and 1 <= n <= 256):
        raise ValueError(f"matrix size {m} x {n} is outside 1 to 256")
    net, wire = NetworkBuilder(), spec.wire
    for sign in ("d", "dn"):
        for j in range(n):
            net.source(f"{sign}{j}", f"{sign}{j}")
    for i in range(m):
        net.amplifier(f"a{i}", f"sl{i}", f"y{i}")
        net.resistor(f"fb{i}", f"sl{i}", f"y{i}", 1.0 / spec.g_unit)
        net.capacitor(f"fb{i}", f"sl{i}", f"y{i}", spec.opamp.feedback_capacitance)
        net.capacitor(f"sum{i}", f"sl{i}", "0", wire.summing_capacitance)
    add_array(net, wire, m, n, ("d", "dn"))
    return net.build({"y": [f"y{i}" for i in range(m)], "sl": [f"sl{i}" for i in range(m)]})


def mvm_closed_form(r: Realisation, v: F64, spec: Spec) -> F64:
    """-y of the equation above for input voltages v, (*batch, n, k): (*batch, m, k), V."""
    gain = np.inf if spec.opamp.model == "ideal" else spec.opamp.gain
    load = (r.g_pos.sum(-1) + r.g_neg.sum(-1) + spec.g_unit)[..., None]
    current = (r.g_pos - r.g_neg) @ v
    result: F64 = (current - load * r.offset[..., None]) / (spec.g_unit + load / gain)
    return result


def _drive(m: int, n: int) -> F64:
    return np.concatenate([np.eye(n), -np.eye(n)])


def _offset(r: Realisation) -> F64:
    return r.offset


def _loop(y: F64, m: int) -> F64:
    return -y[m : 2 * m, :m]


MVM = Topology(
    name="mvm",
    network=mvm_network,
    outputs=("y",),
    senses=("sl",),
    drive=_drive,
    sign=-1.0,
    on_cells=0,
    offset=_offset,
    loop=_loop,
)
"""-y = A v; the sources are at v and -v."""
