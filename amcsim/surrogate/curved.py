"""Sinh cells in the surrogate: what they add to the currents of the linear array, solved for each right-hand side.

A fixed admittance fails here by as much as the error itself. With V the cells' voltages (through the wires of the
linear array, `seen`), a cell carries f(V) = I of V = V0 asinh(I/(g V0)) + I R_on(I), R_on the fitted law, and adds
e_i = sum_c heard_ic (f(V_c) - g_c V_c) to summing node i; by reciprocity `heard` is `seen` of the summing nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amcsim._types import F64
from amcsim.access import curvature_voltage
from amcsim.nodal.ports import Interior, reduce_to_ports
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.surrogate.model import CellLaw
from amcsim.topology.circuit import Topology

__all__ = ["Curved", "curved"]


@dataclass(frozen=True)
class Curved:
    """The cells of N programmed arrays of m rows and n columns each."""

    law: CellLaw
    g: F64
    """Device conductances, (N, 2mn), S."""
    v0: F64
    """(N, 2mn), V."""
    seen: F64
    """Cell voltages per volt on the 2n bit-lines, (N, 2mn, 2n)."""
    heard: F64
    """Share of a cell's current that reaches a summing node, (N, m, 2mn)."""
    interiors: tuple[Interior, ...]
    """Wires between the cells, one an array."""
    offset: F64
    """Voltages of the summing nodes without answers, (N, m), V."""
    leak: float
    """What an answer of one volt takes off its summing node, V/V: sign / A0."""

    def excess(self, lines: F64, answers: F64) -> tuple[F64, F64]:
        """For bit-lines (N, 2n, k) and answers (N, m, k), V: e (N, m, k), A, and its slope by the lines, (N, k, m, 2n).

        The excess currents move the cells' voltages by the wires, a hundredth of themselves: two rounds settle that.
        """
        sense = self.offset[..., None] - self.leak * answers
        at_rest = self.seen @ lines - np.swapaxes(self.heard, 1, 2) @ sense
        linear = self.law.conductance(self.g)[..., None]
        v = at_rest
        for _ in range(2):
            current = self.law.current(v, self.g[..., None], self.v0[..., None])[0]
            beyond = current - linear * v
            v = at_rest + np.stack([wires.voltages(one) for wires, one in zip(self.interiors, beyond, strict=True)])
        current, slope = self.law.current(v, self.g[..., None], self.v0[..., None])
        added = self.heard @ (current - linear * v)
        slopes = np.einsum("nmc,nck,ncl->nkml", self.heard, slope - linear, self.seen, optimize=True)
        return added, slopes

    def newton(self, matrix: F64, known: F64, x: F64, slope: F64, start: F64) -> F64:
        """X of matrix x + e(x, slope x + start) = known: matrix (N, m, m), known and first guess x (N, m, k)."""
        for _ in range(30):
            added, slopes = self.excess(np.concatenate([x, slope[..., None] * x + start[..., None]], axis=1), x)
            m = x.shape[1]
            jacobian = matrix[:, None] + slopes[..., :m] + slopes[..., m:] * slope[:, None, None, :]
            residue = known - matrix @ x - added
            step = np.swapaxes(np.linalg.solve(jacobian, np.swapaxes(residue, 1, 2)[..., None])[..., 0], 1, 2)
            largest = np.abs(step).max(axis=1, keepdims=True, initial=0.0)
            x = x + step * np.minimum(1.0, 0.5 / np.maximum(largest, 1e-300))
            if not float(np.nanmax(largest, initial=0.0)) > 1e-12:
                break
        return x


def curved(topology: Topology, spec: Spec, r: Realisation, law: CellLaw, gain: float) -> Curved:
    """The curved cells of drawn circuits, batched over one axis; gain: of the amplifiers."""
    count, m, n = r.g_pos.shape
    devices = np.stack([r.g_pos, r.g_neg], axis=1)
    small = law.conductance(devices)
    network = topology.network(m, n, spec)
    order = (network.cells.array * m + network.cells.row) * n + network.cells.column
    bit_lines = ("x", "xn") if topology.name == "inv" else ("in",)
    maps = np.empty((count, 2 * m * n, 2 * n + m))
    interiors = []
    for k in range(count):
        one = Realisation(small[k, 0], small[k, 1], np.zeros(m), np.zeros(n), np.ones(n))
        cells = reduce_to_ports(network, spec, one, 0.0, (*bit_lines, "sl")).cells
        if cells is None:
            raise ValueError("curved cells are those of cell.iv = 'sinh'")
        maps[k, order] = cells.seen
        interiors.append(cells.interior.reordered(np.argsort(order)))
    g = devices.reshape(count, -1)
    return Curved(
        law=law,
        g=g,
        v0=curvature_voltage(spec.cell, g),
        seen=maps[..., : 2 * n],
        heard=-np.swapaxes(maps[..., 2 * n :], 1, 2),
        interiors=tuple(interiors),
        offset=r.offset,
        leak=topology.sign / gain,
    )
