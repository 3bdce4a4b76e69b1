"""The two 1T1R arrays with their wires, the same in every circuit: driven at row 0, sensed at column 0."""

from __future__ import annotations

import numpy as np

from amcsim.specs import WireSpec
from amcsim.topology.network import NetworkBuilder

__all__ = ["add_array"]


def add_array(net: NetworkBuilder, wire: WireSpec, m: int, n: int, drives: tuple[str, str]) -> None:
    """Add cells and wires, m rows by n columns: `<drives[0]>{j}` (G+) and `<drives[1]>{j}` (G-) to `sl{i}`.

    One wire segment a cell pitch, one between driver and first cell and one between last cell and amplifier. `shared`:
    a source-line runs from the amplifier past the n positive cells, then the n negative ones; `separate`: each array
    has its own. Nodes that a wire of 0 ohm would join are one node.
    """
    if not any((wire.bl_resistance, wire.sl_resistance, wire.bl_capacitance, wire.sl_capacitance)):
        drivers = np.array([net.node(f"{drives[c // n]}{c % n}") for c in range(2 * n)])
        senses = np.array([net.node(f"sl{i}") for i in range(m)])
        row, line = (part.ravel() for part in np.indices((m, 2 * n)))
        names = (f"c{i}_{c}" for i in range(m) for c in range(2 * n))
        net.cells(names, drivers[line], senses[row], line // n, row, line % n)
        return
    for i in range(m):
        for c in range(2 * n):
            array, column = divmod(c, n)
            drive = f"{drives[array]}{column}"
            bl, above = f"b{i}_{c}", (drive if i == 0 else f"b{i - 1}_{c}")
            first = c == 0 or (wire.layout == "separate" and column == 0)
            sl, towards_amplifier = f"s{i}_{c}", (f"sl{i}" if first else f"s{i}_{c - 1}")
            if wire.bl_resistance > 0:
                net.resistor(f"b{i}_{c}", above, bl, wire.bl_resistance)
            else:
                bl = drive
            if wire.sl_resistance > 0:
                net.resistor(f"s{i}_{c}", towards_amplifier, sl, wire.sl_resistance)
            else:
                sl = f"sl{i}"
            net.cell(f"c{i}_{c}", bl, sl, array, i, column)
            net.capacitor(f"b{i}_{c}", bl, "0", wire.bl_capacitance)
            net.capacitor(f"s{i}_{c}", sl, "0", wire.sl_capacitance)
