"""Passive part of a circuit seen from its ports: wires, cells and capacitors, all other nodes eliminated.

With internal nodes i and ports p, currents into the ports are Y v_p, Y = G_pp + G_pi T, T = -G_ii^-1 G_ip. The same
congruence reduces the capacitances (Guyan 1965): C = C_pp + C_pi T + T' C_ip + T' C_ii T, exact in the first moment of
Y(s); wire time constants (ohm times fF) are far below those of the amplifiers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from amcsim._types import F64, I64
from amcsim.access import channel_capacitances
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.network import Network

__all__ = ["Ports", "reduce_to_ports"]


@dataclass(frozen=True)
class Ports:
    """Port description of a passive network, in the order of the ports asked for."""

    conductance: F64
    """Y, (n, n), S."""
    capacitance: F64
    """C, (n, n), F."""


@lru_cache(maxsize=32)
def _order(network: _ById, groups: tuple[str, ...]) -> tuple[I64, int, int]:
    """New number of every node (ports first, then internal ones, ground -1), number of ports, number of nodes."""
    net = network.network
    passive = np.concatenate(
        [net.resistors.a, net.resistors.b, net.cells.bl, net.cells.sl, net.capacitors.a, net.capacitors.b]
    )
    ports = np.concatenate([net.ports.get(g, net.sources.node) for g in groups])
    number = np.full(len(net.nodes), -1, dtype=np.int64)
    number[ports] = np.arange(ports.size)
    internal = np.setdiff1d(passive, np.append(ports, 0))
    number[internal] = ports.size + np.arange(internal.size)
    return number, ports.size, ports.size + internal.size


@dataclass(frozen=True, eq=False)
class _ById:
    """A network as a dictionary key: by identity, as topology builders cache what they return."""

    network: Network

    def __hash__(self) -> int:
        return id(self.network)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.network is self.network


def reduce_to_ports(
    network: Network,
    spec: Spec,
    r: Realisation,
    on_resistance: float,
    groups: tuple[str, ...] = ("x", "xn", "sl", "q", "in"),
) -> Ports:
    """Y and C of one realisation (unbatched) at the port groups; `in` are the sources' nodes.

    on_resistance: of the access devices, ohm (0 without).
    """
    number, n_ports, n = _order(_ById(network), groups)
    cells = network.cells
    g = np.stack([r.g_pos, r.g_neg])[cells.array, cells.row, cells.column]
    inner, outer = channel_capacitances(spec.cell)
    share = g * on_resistance / (1.0 + g * on_resistance)  # of the bit-line in the inner node's voltage
    bl, sl = number[cells.bl], number[cells.sl]
    into, out, at = number[network.inverters.a], number[network.inverters.b], number[network.inverter_inputs]
    conductance = _assemble(
        n,
        _two_terminal(number[network.resistors.a], number[network.resistors.b], 1.0 / network.resistors.value),
        _two_terminal(bl, sl, g / (1.0 + g * on_resistance)),
        _two_terminal(into, at, 1.0 / network.inverters.value),
        _two_terminal(out, at, 1.0 / (network.inverters.value * r.inverter_ratio[: into.size])),
    )
    rest = 1.0 - share
    channel = [
        (bl, bl, inner * share * share),
        (bl, sl, inner * share * rest),
        (sl, bl, inner * share * rest),
        (sl, sl, inner * rest * rest + outer),
    ]
    wiring = _two_terminal(number[network.capacitors.a], number[network.capacitors.b], network.capacitors.value)
    across = _two_terminal(out, at, np.full(at.size, spec.inverter.feedback_capacitance))
    ground = [(at, at, np.full(at.size, spec.wire.inverter_capacitance))]
    capacitance = _assemble(n, wiring, across, ground, channel if inner > 0 else [])
    p, i = slice(0, n_ports), slice(n_ports, n)
    y, c = _dense(conductance[p, p]), _dense(capacitance[p, p])
    if n > n_ports:
        coupling = _dense(conductance[i, p])
        transfer = -_solve(conductance[i, i], coupling)
        y = y + coupling.T @ transfer
        half = capacitance[p, i] @ transfer
        c = c + half + half.T + transfer.T @ (capacitance[i, i] @ transfer)
    return Ports(y, c)


_Entries = list[tuple[I64, I64, F64]]
_DENSE = 300
"""Nodes up to which full matrices are faster than sparse ones."""


def _two_terminal(a: I64, b: I64, value: F64) -> _Entries:
    """Stamps of elements between nodes a and b."""
    return [(a, a, value), (b, b, value), (a, b, -value), (b, a, -value)]


def _assemble(n: int, *parts: _Entries) -> Any:
    """Sum of the entries as an (n, n) matrix, full or sparse by its size; node -1 is ground and drops out."""
    entries = [entry for part in parts for entry in part]
    if not entries:
        return np.zeros((n, n)) if n <= _DENSE else csc_array((n, n))
    rows, columns, values = (np.concatenate(column) for column in zip(*entries, strict=True))
    kept = (rows >= 0) & (columns >= 0)
    rows, columns, values = rows[kept], columns[kept], values[kept]
    if n <= _DENSE:
        return np.bincount(rows * n + columns, values, n * n).reshape(n, n)
    return csc_array((values, (rows, columns)), shape=(n, n))


def _dense(matrix: Any) -> F64:
    full: F64 = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    return full


def _solve(matrix: Any, rhs: F64) -> F64:
    answer: F64
    if isinstance(matrix, np.ndarray):
        answer = np.asarray(np.linalg.solve(matrix, rhs), dtype=np.float64)
    else:
        factors = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        answer = factors.solve(rhs)
    return answer
