"""Passive part of a circuit seen from its ports: wires, cells and capacitors, all other nodes eliminated.

With internal nodes i and ports p, currents into the ports are Y v_p, Y = G_pp + G_pi T, T = -G_ii^-1 G_ip. The same
congruence reduces the capacitances (Guyan 1965): C = C_pp + C_pi T + T' C_ip + T' C_ii T, exact in the first moment of
Y(s); wire time constants (ohm times fF) are far below those of the amplifiers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
from scipy.linalg import lu_factor, lu_solve
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from amcsim._types import F64, I64
from amcsim.access import cell_current, channel_capacitances, curvature_voltage, transistor_cell_current
from amcsim.nodal.lines import Capacitors, port_admittance, port_capacitance
from amcsim.realisation import Realisation
from amcsim.specs import CellSpec, Spec, WireSpec
from amcsim.topology.circuit import Topology
from amcsim.topology.network import Network

__all__ = ["Ports", "reduce_lines", "reduce_to_ports"]


@dataclass(frozen=True)
class Ports:
    """Port description of a passive network, in the order of the ports asked for."""

    conductance: F64
    """Y, (n, n), S."""
    moment: F64 | FirstMoment
    """C, (n, n), F, or what computes it."""
    cells: CurvedCells | None = None
    """The cells whose current bends away from Y; None where all are linear."""

    @property
    def capacitance(self) -> F64:
        """C, (n, n), F."""
        return self.moment.value if isinstance(self.moment, FirstMoment) else self.moment


class FirstMoment:
    """C of lines, computed when it is first asked for: most verdicts need none."""

    def __init__(self, wire: WireSpec, g: F64, capacitors: Capacitors, at: tuple[I64, ...], around: F64) -> None:
        self._parts = wire, g, capacitors, at, around

    @cached_property
    def value(self) -> F64:
        """C, (n, n), F: that of the arrays at the ports `at`, and what is around them."""
        wire, g, capacitors, at, around = self._parts
        whole = around.copy()
        whole[at] += port_capacitance(wire, g, capacitors)
        return whole


class Interior:
    """Internal nodes of a network, factored at first use (the factors are not pickled)."""

    def __init__(self, conductance: Any, bl: I64, sl: I64) -> None:
        self._conductance = conductance
        self._bl, self._sl = bl, sl
        self._solver: Callable[[F64], F64] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_solver": None}

    def reordered(self, cells: I64) -> Interior:
        """The same with the cells in another order."""
        return Interior(self._conductance, self._bl[cells], self._sl[cells])

    def voltages(self, excess: F64) -> F64:
        """Change of the cells' voltages, (cells, k), V, that excess currents through them, (cells, k), A, make."""
        bl, sl = self.ends(excess)
        return bl - sl

    def ends(self, excess: F64) -> tuple[F64, F64]:
        """The same of the bit-lines and of the source-lines at the cells."""
        size, k = self._conductance.shape[0], excess.shape[1]
        if size == 0:
            return np.zeros_like(excess), np.zeros_like(excess)
        if self._solver is None:
            self._solver = _factored(self._conductance)
        into = np.zeros((size, k))
        for nodes, sign in ((self._bl, -1.0), (self._sl, 1.0)):
            inside = nodes >= 0
            np.add.at(into, nodes[inside], sign * excess[inside])
        change = np.concatenate([self._solver(into), np.zeros((1, k))])  # node -1 does not move
        return change[self._bl], change[self._sl]


@dataclass(frozen=True)
class CurvedCells:
    """Cells that follow I = G V0 sinh(V/V0) in series with an access device; Y holds their slopes at 0 V.

    The transistor's own slope by the source-line's voltage, a hundredth of a cell's, is in the currents alone.
    """

    g: F64
    """Device conductances, (cells,), S."""
    v0: F64
    """(cells,), V."""
    series: float
    """ohm"""
    seen: F64
    """Cell voltages per volt at the ports with all cells linear, (cells, n)."""
    interior: Interior
    lines: F64 | None = None
    """Source-line voltages at the cells per volt at the ports, (cells, n), where the access device is a transistor of
    its own curve; None where it is a resistor."""
    transistor: CellSpec | None = None

    def _currents(self, v: F64, line: F64) -> tuple[F64, F64]:
        g, v0 = self.g[:, None], self.v0[:, None]
        if self.transistor is None:
            return cell_current(v, g, v0, self.series)
        return transistor_cell_current(v, g, v0, line, self.transistor)

    def excess(self, volts: F64) -> tuple[F64, F64]:
        """For port voltages (n, k): currents into the ports beyond Y volts, (n, k), A; slopes beyond g, (cells, k)."""
        return self.excess_from(volts, np.zeros(()))[:2]

    def excess_from(self, volts: F64, moved: F64) -> tuple[F64, F64, F64]:
        """The same from a guess of what excess currents move the cells' voltages by, (cells, k), and that itself, V.

        The interior moves by wire resistance times excess current, so that the fixed point converges fast.
        """
        g = self.g[:, None]
        linear = g / (1.0 + g * self.series)
        line = self.lines @ volts if self.lines is not None else np.zeros(())
        line_at_rest = line
        at_rest: F64 = self.seen @ volts
        v, beyond, slope = at_rest + moved, np.zeros_like(at_rest), np.broadcast_to(linear, at_rest.shape)
        for _ in range(40):
            current, slope = self._currents(v, line)
            beyond = current - linear * v
            bl, sl = self.interior.ends(beyond)
            moved, line = bl - sl, line_at_rest + sl
            step = float(np.abs(at_rest + moved - v).max(initial=0.0))
            v = at_rest + moved
            if not step > 1e-13:
                break
        into: F64 = self.seen.T @ beyond
        return into, slope - linear, moved


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
    *,
    curved: bool = False,
) -> Ports:
    """Y and C of one realisation (unbatched) at the port groups; `in` are the sources' nodes.

    on_resistance: of the access devices, ohm (0 without). curved: transistors follow their own curve, of that slope at
    0 V, and are no resistors; default: resistors.
    """
    number, n_ports, n = _order(_ById(network), groups)
    cells = network.cells
    g = np.stack([r.g_pos, r.g_neg])[cells.array, cells.row, cells.column]
    inner, outer = channel_capacitances(spec.cell)
    share = g * on_resistance / (1.0 + g * on_resistance)  # of the bit-line in the inner node's voltage
    bl, sl = number[cells.bl], number[cells.sl]
    conductance, capacitance = _between_ports(network, spec, r, number, n)
    conductance = conductance + _assemble(n, _two_terminal(bl, sl, g / (1.0 + g * on_resistance)))
    rest = 1.0 - share
    channel = [
        (bl, bl, inner * share * share),
        (bl, sl, inner * share * rest),
        (sl, bl, inner * share * rest),
        (sl, sl, inner * rest * rest + outer),
    ]
    if inner > 0:
        capacitance = capacitance + _assemble(n, channel)
    p, i = slice(0, n_ports), slice(n_ports, n)
    y, c = _dense(conductance[p, p]), _dense(capacitance[p, p])
    transfer = np.zeros((0, n_ports))
    if n > n_ports:
        coupling = _dense(conductance[i, p])
        transfer = -_solve(conductance[i, i], coupling)
        y = y + coupling.T @ transfer
        half = capacitance[p, i] @ transfer
        c = c + half + half.T + transfer.T @ (capacitance[i, i] @ transfer)
    if spec.cell.iv == "linear" and not curved:
        return Ports(y, c)
    # what every node follows of the ports: ports themselves, internal nodes through the array, ground (-1) nothing
    follows = np.concatenate([np.eye(n_ports), transfer, np.zeros((1, n_ports))])
    inside = [np.where(nodes >= n_ports, nodes - n_ports, -1) for nodes in (bl, sl)]
    interior = Interior(conductance[i, i], *inside)
    v0 = np.minimum(curvature_voltage(spec.cell, g), _STRAIGHT)
    cells_seen = follows[bl] - follows[sl]
    if curved:
        return Ports(y, c, CurvedCells(g, v0, on_resistance, cells_seen, interior, follows[sl], spec.cell))
    return Ports(y, c, CurvedCells(g, v0, on_resistance, cells_seen, interior))


def reduce_lines(topology: Topology, spec: Spec, r: Realisation, on_resistance: float) -> Ports:
    """The same of wired linear arrays of that topology, for all its groups, by their lines: quicker for large ones."""
    m, n = r.g_pos.shape
    network = topology.network(m, n, _unwired(spec))  # the arrays' wires and capacitors are all that is inside
    groups = (*topology.outputs, *topology.senses, "in")
    number, size, _ = _order(_ById(network), groups)
    y, c = (_dense(part) for part in _between_ports(network, spec, r, number, size))
    g = np.stack([r.g_pos, r.g_neg])
    inner, outer = channel_capacitances(spec.cell)
    wire, series = spec.wire, 1.0 + g * on_resistance
    share = g * on_resistance / series
    capacitors = Capacitors(wire.bl_capacitance, wire.sl_capacitance + outer, inner, share)
    bit_lines = topology.outputs if topology.on_cells else ("in",)
    lines = [network.ports.get(group, network.sources.node) for group in (*bit_lines, "sl")]
    at = np.ix_(*[number[np.concatenate(lines)]] * 2)
    y[at] += port_admittance(wire, g / series)
    return Ports(y, FirstMoment(wire, g / series, capacitors, at, c))


@lru_cache(maxsize=16)
def _unwired(spec: Spec) -> Spec:
    none = dict.fromkeys(("bl_resistance", "sl_resistance", "bl_capacitance", "sl_capacitance"), 0.0)
    return spec.replace(wire=none)


def _between_ports(network: Network, spec: Spec, r: Realisation, number: I64, n: int) -> tuple[Any, Any]:
    """(conductance, capacitance), (n, n), of all elements but the cells."""
    into, out, at = number[network.inverters.a], number[network.inverters.b], number[network.inverter_inputs]
    conductance = _assemble(
        n,
        _two_terminal(number[network.resistors.a], number[network.resistors.b], 1.0 / network.resistors.value),
        _two_terminal(into, at, 1.0 / network.inverters.value),
        _two_terminal(out, at, 1.0 / (network.inverters.value * r.inverter_ratio[: into.size])),
    )
    wiring = _two_terminal(number[network.capacitors.a], number[network.capacitors.b], network.capacitors.value)
    across = _two_terminal(out, at, np.full(at.size, spec.inverter.feedback_capacitance))
    ground = [(at, at, np.full(at.size, spec.wire.inverter_capacitance))]
    return conductance, _assemble(n, wiring, across, ground)


_Entries = list[tuple[I64, I64, F64]]
_STRAIGHT = 1e5
"""V0 of linear cells, V: 1e-12 off at 0.3 V."""
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
        total = np.bincount(rows * n + columns, values, n * n)
        return np.asarray(total, dtype=np.float64).reshape(n, n)  # of nothing it makes integers
    return csc_array((values, (rows, columns)), shape=(n, n))


def _dense(matrix: Any) -> F64:
    full: F64 = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    return full


def _factored(matrix: Any) -> Callable[[F64], F64]:
    """What solves for right-hand sides, (n, k)."""
    if isinstance(matrix, np.ndarray):
        return partial(lu_solve, lu_factor(matrix, check_finite=False), check_finite=False)
    solve: Callable[[F64], F64] = splu(matrix.tocsc()).solve
    return solve


def _solve(matrix: Any, rhs: F64) -> F64:
    answer: F64
    if isinstance(matrix, np.ndarray):
        answer = np.asarray(np.linalg.solve(matrix, rhs), dtype=np.float64)
    else:
        factors = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        answer = factors.solve(rhs)
    return answer
