"""A circuit as tables of elements between named nodes; no values that a realisation draws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from amcsim._types import F64, I64

__all__ = ["Amplifiers", "Cells", "Network", "NetworkBuilder", "Sources", "Table"]

GROUND = 0


@dataclass(frozen=True)
class Table:
    """Two-terminal elements of fixed value (ohm or F) between nodes a and b."""

    names: tuple[str, ...]
    a: I64
    b: I64
    value: F64


@dataclass(frozen=True)
class Cells:
    """1T1R cells from bit-line to source-line; `array` 0 is G+, 1 is G-, at (row, column) of the matrix."""

    names: tuple[str, ...]
    bl: I64
    sl: I64
    array: I64
    row: I64
    column: I64


@dataclass(frozen=True)
class Amplifiers:
    """Op-amps with the non-inverting input grounded: inverting input, output."""

    names: tuple[str, ...]
    inverting: I64
    output: I64


@dataclass(frozen=True)
class Sources:
    """Grounded voltage sources, one an input of the circuit."""

    names: tuple[str, ...]
    node: I64


@dataclass(frozen=True)
class Network:
    """One circuit. Node 0 is ground; `nodes[i]` is the SPICE name of node i."""

    nodes: tuple[str, ...]
    resistors: Table
    capacitors: Table
    cells: Cells
    amplifiers: Amplifiers
    inverters: Table
    """Analog inverters from a to b; value = nominal resistance of each of the two resistors, ohm."""
    inverter_inputs: I64
    """The node at each inverter's amplifier input (inside the sub-circuit: node `q`)."""
    sources: Sources
    ports: dict[str, I64]
    """Named groups of nodes."""


class NetworkBuilder:
    """Collects elements by node name; ends in an immutable Network."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {"0": GROUND}
        self._tables: dict[str, list[tuple[str, int, int, float]]] = {"r": [], "c": [], "inv": []}
        self._cells: list[tuple[str, int, int, int, int, int]] = []
        self._amplifiers: list[tuple[str, int, int]] = []
        self._inverter_inputs: list[int] = []
        self._sources: list[tuple[str, int]] = []

    def node(self, name: str) -> int:
        """Number of the named node, made at first use."""
        return self._index.setdefault(name, len(self._index))

    def resistor(self, name: str, a: str, b: str, ohm: float) -> None:
        """Add a resistor."""
        self._tables["r"].append((name, self.node(a), self.node(b), ohm))

    def capacitor(self, name: str, a: str, b: str, farad: float) -> None:
        """Add a capacitor; one of 0 F is left out."""
        if farad > 0:
            self._tables["c"].append((name, self.node(a), self.node(b), farad))

    def cell(self, name: str, bl: str, sl: str, array: int, row: int, column: int) -> None:
        """Add a cell."""
        self._cells.append((name, self.node(bl), self.node(sl), array, row, column))

    def cells(self, names: Iterable[str], bl: I64, sl: I64, array: I64, row: I64, column: I64) -> None:
        """Add many cells between nodes known by their numbers."""
        self._cells.extend(zip(names, *(part.tolist() for part in (bl, sl, array, row, column)), strict=True))

    def amplifier(self, name: str, inverting: str, output: str) -> None:
        """Add an op-amp."""
        self._amplifiers.append((name, self.node(inverting), self.node(output)))

    def inverter(self, name: str, into: str, out: str, ohm: float) -> None:
        """Add an analog inverter, a sub-circuit with amplifier input `x<name>.q`."""
        self._tables["inv"].append((name, self.node(into), self.node(out), ohm))
        self._inverter_inputs.append(self.node(f"x{name}.q"))

    def source(self, name: str, node: str) -> None:
        """Add a grounded voltage source."""
        self._sources.append((name, self.node(node)))

    def build(self, ports: dict[str, list[str]]) -> Network:
        """The finished network."""

        def table(kind: str) -> Table:
            rows = self._tables[kind]
            return Table(
                tuple(r[0] for r in rows),
                _ints(r[1] for r in rows),
                _ints(r[2] for r in rows),
                np.array([r[3] for r in rows]),
            )

        return Network(
            nodes=tuple(self._index),
            resistors=table("r"),
            capacitors=table("c"),
            cells=Cells(tuple(c[0] for c in self._cells), *(_ints(c[k] for c in self._cells) for k in range(1, 6))),
            amplifiers=Amplifiers(
                tuple(a[0] for a in self._amplifiers), *(_ints(a[k] for a in self._amplifiers) for k in (1, 2))
            ),
            inverters=table("inv"),
            inverter_inputs=_ints(self._inverter_inputs),
            sources=Sources(tuple(s[0] for s in self._sources), _ints(s[1] for s in self._sources)),
            ports={name: _ints(self.node(n) for n in nodes) for name, nodes in ports.items()},
        )


def _ints(values: Iterable[object]) -> I64:
    return np.fromiter(values, dtype=np.int64)
