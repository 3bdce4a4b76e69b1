"""INV by the surrogate: m unknowns, batched over matrices and right-hand sides.

With G+ and G- as seen through the wires (surrogate/wires.py), amplifiers v = Vos - x (1 + Ro D)/A0 and inverters
xn = slope x + start (D: output load), KCL at the summing nodes is

    M x = g_unit b + known - dI(x, xn),

dI the access device's curvature: -r0 g^3 (r_even V^2 + r_odd V|V|) of every cell. M is inverted once; a right-hand side
costs one product, one correction and its bounds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from amcsim._types import C128, F64, I64, Bool
from amcsim.columns import flattened
from amcsim.nodal.certificate import certified_lines, certified_scaled
from amcsim.nodal.modes import calm, stays_linear
from amcsim.realisation import Realisation
from amcsim.small_matrices import inverses
from amcsim.specs import Spec
from amcsim.surrogate import programming
from amcsim.surrogate.columns import bounds, outputs
from amcsim.surrogate.curved import Curved, curved
from amcsim.surrogate.model import Surrogate
from amcsim.surrogate.wires import transfer
from amcsim.topology.inv import INV

__all__ = ["InvArray", "program"]

_NEAR_SWING = 0.95
"""Fraction of the swing from which on an output counts as saturated (amcsim.nodal.verdict)."""


@dataclass(frozen=True)
class InvArray:
    """Programmed arrays as the surrogate sees them; batched over the leading axes."""

    response: F64
    """dx/db, (*batch, m, m)."""
    rest: F64
    """x at b = 0, (*batch, m), V."""
    slope: F64
    """Of the inverters, dxn/dx, (*batch, m)."""
    start: F64
    """xn at x = 0, (*batch, m), V."""
    correction: F64
    """What of x the cells' curvature takes for one V^2 at each (x, xn), (*batch, m, 2m), 1/V."""
    load: F64
    """Output conductances D of amplifiers and inverters, (*batch, 2m), S."""
    certified: Bool
    """(*batch,): stable, settled and free of latched states (amcsim.nodal.certificate)."""
    unstable: Bool
    """(*batch,): a real pole in the right half-plane for certain: det M < 0, while det(s E + M) > 0 at large s."""
    calm: Bool
    """(*batch,): no pole in the right half-plane, whether certified or not."""
    pencils: dict[int, tuple[C128, C128]]
    """E^-1 M of arrays that are not certified as they stand, by their number in the flattened batch: eigenvalues (m,),
    1/s, and eigenvectors (m, m)."""
    surrogate: Surrogate
    curved: tuple[Curved, F64, F64] | None = None
    """Sinh cells with M (N, m, m) and what is known at b = 0 (N, m); or None."""

    @cached_property
    def stacked(self) -> tuple[F64, F64, F64, F64, F64, F64]:
        """response, rest, slope, start, correction and load, (N, ...)."""
        parts = (self.response, self.rest, self.slope, self.start, self.correction, self.load)
        ranks = (2, 1, 1, 1, 2, 1)
        flat = (part.reshape(-1, *part.shape[part.ndim - rank :]) for part, rank in zip(parts, ranks, strict=True))
        one, two, three, four, five, six = map(np.ascontiguousarray, flat)
        return one, two, three, four, five, six

    @cached_property
    def limits(self) -> F64:
        """Of voltages on cells, output currents and outputs (A, V); r_even and r_odd of cells that are not curved."""
        spec, law = self.surrogate.spec, self.surrogate.cell
        current = swing = np.inf
        if spec.opamp.model == "behavioral":
            current, swing = spec.opamp.output_current, _NEAR_SWING * spec.opamp.swing
        bends = law.r0 > 0 and self.curved is None
        return np.array([spec.cell.v_read_max, current, swing, law.r_even * bends, law.r_odd * bends])

    def outputs(self, b: F64) -> tuple[F64, F64]:
        """(x, xn), (*batch, m, k), for input voltages b, (*batch, m, k)."""
        flat = flattened(b)
        x, xn = np.empty(flat.shape), np.empty(flat.shape)
        outputs(*self.stacked[:5], self.limits[3:], flat, x, xn)
        if self.curved is not None:
            cells, matrix, at_rest = self.curved
            known = self.surrogate.spec.g_unit * flat + at_rest[..., None]
            slope, start = self.stacked[2:4]
            x = cells.newton(matrix, known, x, slope, start)
            xn = slope[..., None] * x + start[..., None]
        return x.reshape(b.shape), xn.reshape(b.shape)

    def answers(self, b: F64) -> F64:
        """x, (*batch, m, k), for input voltages b, (*batch, m, k)."""
        return self.outputs(b)[0]

    def stays_linear(self, index: tuple[int, ...], x: F64, spec: Spec) -> Bool:
        """(k,): whether the outputs x, (m, k), of one array that is calm are answers (amcsim.nodal.certificate).

        `spec`: of the circuit, whose converters need not be the surrogate's.
        """
        if not self.calm[index]:
            return np.zeros(x.shape[1], dtype=bool)
        number = int(np.ravel_multi_index(index, self.calm.shape)) if index else 0
        return stays_linear(*self.pencils[number], x, spec)

    @cached_property
    def all_certified(self) -> bool:
        """Whether every array of the batch is."""
        return bool(self.certified.all())

    def bounds(self, b: F64, x: F64, xn: F64) -> tuple[I64, I64]:
        """(status, reason), (*batch, k): ok or saturated, by the same bounds as amcsim.nodal.verdict."""
        shape = b.shape[:-2] + b.shape[-1:]
        b, x, xn = map(flattened, (b, x, xn))
        status, reason = np.empty((2, len(b), shape[-1]), dtype=np.int64)
        bounds(self.stacked[5], self.limits[:3], b, x, xn, status, reason)
        return status.reshape(shape), reason.reshape(shape)

    def members(self, numbers: I64) -> InvArray:
        """Some arrays of a batch without curved cells, by their numbers in the flattened batch."""
        whole, batch = ("pencils", "surrogate", "curved"), self.calm.ndim
        parts: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in whole}
        parts = {name: part.reshape(-1, *part.shape[batch:])[numbers] for name, part in parts.items()}
        known = {k: self.pencils[q] for k, q in enumerate(numbers.tolist()) if q in self.pencils}
        return replace(self, pencils=known, **parts)


def program(surrogate: Surrogate, spec: Spec, r: Realisation) -> InvArray:
    """Program drawn circuits (batched). Raises DomainError outside the surrogate's domain.

    `spec` may differ from the surrogate's in programming, offsets, mismatch and converters.
    """
    batch, m = r.offset.shape[:-1], r.offset.shape[-1]
    n = int(np.prod(batch, dtype=int))
    flat = Realisation(*(np.ascontiguousarray(part.reshape(n, *part.shape[len(batch) :])) for part in vars(r).values()))
    law, linear = surrogate.cell, spec.cell.iv == "linear"
    # arrays lie side by side along the last axis (amcsim.small_matrices): cells are (2, m, m, n)
    devices, g = (flat.g_pos, flat.g_neg), np.empty((2, m, m, n))
    surrogate.require(spec, (m, m), np.array([[part.min(), part.max()] for part in devices]))
    programming.cells(*devices, law.r0, g)
    # currents of summing node i per volt on bit-line j of G+, of G-, and per volt on summing node k
    lines = np.ascontiguousarray(np.moveaxis(transfer(spec, np.moveaxis(g, -1, 0)), 0, -1))
    nodes = np.arange(m)
    lines[nodes, 2 * m + nodes] += spec.g_unit
    leak = 0.0 if spec.opamp.model == "ideal" else 1.0 / surrogate.gain
    amplifier = (leak, surrogate.output_resistance, 1.0 / spec.inverter.resistance)
    matrix, known, slope, start, load = (np.empty((n, *shape)) for shape in ((m, m), (m,), (m,), (m,), (2 * m,)))
    bend = 2.0 * law.r_even if linear else 0.0
    drawn = (flat.offset, flat.inverter_offset, flat.inverter_ratio)
    programming.nodes(g, lines, drawn, amplifier, bend, matrix, known, slope, start, load)
    inverse = inverses(matrix)
    response, rest, correction = np.empty((n, m, m)), np.empty((n, m)), np.empty((n, m, 2 * m))
    programming.answers(inverse, known, g, spec.g_unit, law.r0, response, rest, correction)
    loads = lines[nodes, 2 * m + nodes]
    sure = certified_lines(lines, loads, spec)
    unstable, tame = np.zeros(n, dtype=bool), sure.copy()
    pencils: dict[int, tuple[C128, C128]] = {}
    doubtful = np.flatnonzero(~sure)
    if doubtful.size:
        unstable[doubtful] = np.linalg.det(matrix[doubtful] / spec.g_unit) < 0
        doubtful = doubtful[~unstable[doubtful]]
    if doubtful.size:
        both, load_in = np.moveaxis(lines[:, : 2 * m, doubtful], -1, 0), loads[:, doubtful].T
        tame[doubtful], rates, vectors = calm(matrix[doubtful], both[..., m:], load_in, spec)
        pencils = dict(zip(doubtful.tolist(), zip(rates, vectors, strict=True), strict=True))
        again = tame[doubtful]
        sure[doubtful[again]] = certified_scaled(np.ascontiguousarray(both[again]), load_in[again].copy(), spec)
    bent_cells = None
    if not linear:
        bent_cells = (curved(INV, spec, flat, law, surrogate.gain), matrix, known)
    return InvArray(
        response=_batch(response, batch),
        rest=_batch(rest, batch),
        slope=_batch(slope, batch),
        start=_batch(start, batch),
        correction=_batch(correction, batch),
        load=_batch(load, batch),
        certified=_batch(sure & surrogate.fast_verdict, batch),
        unstable=_batch(unstable & surrogate.fast_verdict, batch),
        calm=_batch(tame & surrogate.fast_verdict, batch),
        pencils=pencils,
        surrogate=surrogate,
        curved=bent_cells,
    )


def _batch(array: Any, batch: tuple[int, ...]) -> Any:
    return array.reshape(batch + array.shape[1:])
