"""INV by the surrogate: m unknowns, batched over matrices and right-hand sides.

With G+ and G- as seen through the wires (surrogate/wires.py), amplifiers v = Vos - x (1 + Ro D)/A0 and inverters
xn = slope x + start (D: output load), KCL at the summing nodes is

    M x = g_unit b + known - dI(x, xn),

dI the access device's curvature: -r0 g^3 (r_even V^2 + r_odd V|V|) of every cell. M is inverted once; a right-hand side
costs one product, one correction and its bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from amcsim._types import F64, I64, Bool
from amcsim.mapping import largest
from amcsim.nodal.certificate import calm, certified, certified_scaled, stays_linear
from amcsim.realisation import Realisation
from amcsim.small_matrices import batch_last, inverses
from amcsim.specs import Spec
from amcsim.status import Reason, Status
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
    pencils: dict[int, F64]
    """E^-1 M of arrays that are not certified as they stand, by their number in the flattened batch."""
    surrogate: Surrogate
    curved: tuple[Curved, F64, F64] | None = None
    """Sinh cells with M (N, m, m) and what is known at b = 0 (N, m); or None."""

    def outputs(self, b: F64) -> tuple[F64, F64]:
        """(x, xn), (*batch, m, k), for input voltages b, (*batch, m, k)."""
        law, m = self.surrogate.cell, b.shape[-2]
        x = self.response @ b
        x += self.rest[..., None]
        slope, start = self.slope[..., None], self.start[..., None]
        if self.curved is not None:
            cells, matrix, at_rest = self.curved
            flat = b.reshape(-1, *b.shape[-2:])
            known = self.surrogate.spec.g_unit * flat + at_rest[..., None]
            inverters = slope.reshape(-1, m), start.reshape(-1, m)
            x = cells.newton(matrix, known, x.reshape(flat.shape), *inverters).reshape(b.shape)
        elif law.r0 > 0:
            both = np.concatenate([x, slope * x + start], axis=-2)
            bend = np.abs(both)
            bend *= law.r_odd
            bend += law.r_even * both
            bend *= both
            x += self.correction @ bend
        return x, slope * x + start

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
        return stays_linear(self.pencils[number], x, spec)

    @cached_property
    def all_certified(self) -> bool:
        """Whether every array of the batch is."""
        return bool(self.certified.all())

    @cached_property
    def _harmless(self) -> float:
        """Voltage up to which no bound can be hit, V."""
        spec = self.surrogate.spec
        if spec.opamp.model != "behavioral":
            return spec.cell.v_read_max
        current = spec.opamp.output_current / float(self.load.max())
        return min(spec.cell.v_read_max, _NEAR_SWING * spec.opamp.swing, current)

    def bounds(self, b: F64, x: F64, xn: F64) -> tuple[I64, I64]:
        """(status, reason), (*batch, k): ok or saturated, by the same bounds as amcsim.nodal.verdict."""
        shape = b.shape[:-2] + b.shape[-1:]
        status, reason = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        volts = np.concatenate([x, xn, b], axis=-2)
        if np.count_nonzero(np.abs(volts) <= self._harmless) == volts.size:
            return status, reason
        spec, out = self.surrogate.spec, volts[..., : -b.shape[-2], :]
        peak, into = largest(out), largest(b)
        reached = [(np.maximum(peak, into) > spec.cell.v_read_max, Reason.DISTURB)]
        if spec.opamp.model == "behavioral":
            current = largest(self.load[..., None] * out)
            reached.append((current > spec.opamp.output_current, Reason.CURRENT))
            reached.append((peak > _NEAR_SWING * spec.opamp.swing, Reason.VOLTAGE))
        for hit, why in reached:
            status[hit], reason[hit] = Status.SATURATED, why
        return status, reason


def program(surrogate: Surrogate, spec: Spec, r: Realisation) -> InvArray:
    """Program drawn circuits (batched). Raises DomainError outside the surrogate's domain.

    `spec` may differ from the surrogate's in programming, offsets, mismatch and converters.
    """
    batch, m = r.offset.shape[:-1], r.offset.shape[-1]
    n = int(np.prod(batch, dtype=int))
    flat = Realisation(*(part.reshape(n, *part.shape[len(batch) :]) for part in vars(r).values()))
    # arrays with the batch last (amcsim.small_matrices): cells are (2, m, m, n)
    devices = np.empty((2, m, m, n))
    devices[0], devices[1] = np.moveaxis(flat.g_pos, 0, -1), np.moveaxis(flat.g_neg, 0, -1)
    surrogate.require(spec, (m, m), devices)
    law = surrogate.cell
    g = law.conductance(devices)
    currents = np.moveaxis(transfer(spec, np.moveaxis(g, -1, 0)), 0, -1)
    # currents of summing node i per volt on bit-line j of each array, and per volt on summing node k
    to_pos, to_neg, within = currents[:, :m], currents[:, m : 2 * m], currents[:, 2 * m :]
    within[np.arange(m), np.arange(m)] += spec.g_unit
    offset, inverter_offset, ratio = map(batch_last, (flat.offset, flat.inverter_offset, flat.inverter_ratio))
    columns = np.add.reduce(g, axis=1)
    leak = 0.0 if spec.opamp.model == "ideal" else 1.0 / surrogate.gain
    ro = surrogate.output_resistance
    load = columns[0] + 1.0 / spec.inverter.resistance
    load_inverter = columns[1] + 1.0 / (spec.inverter.resistance * ratio)
    noise_gain = 1.0 + ratio
    divide = 1.0 + noise_gain * leak * (1.0 + ro * load_inverter)
    slope, start = -ratio / divide, noise_gain * inverter_offset / divide
    matrix = to_neg * slope
    matrix += to_pos
    matrix += within * (leak * (1.0 + ro * load))
    known = np.einsum("ijn,jn->in", within, offset) - np.einsum("ijn,jn->in", to_neg, start)
    square = g * g
    if (
        law.r_even != 0 and spec.cell.iv == "linear"
    ):  # a summing node away from ground shifts the channel's mean potential, too
        bent = square * ((2.0 * law.r_even) * offset[:, None])
        bent[1] *= slope
        matrix -= bent[0]
        matrix -= bent[1]
    square *= g
    square *= law.r0
    cube = np.moveaxis(square, -1, 0).transpose(0, 2, 1, 3).reshape(n, m, 2 * m)
    # and first
    to_pos, to_neg, within, matrix = (np.moveaxis(part, -1, 0) for part in (to_pos, to_neg, within, matrix))
    slope, start, known, load, load_inverter = (
        np.ascontiguousarray(part.T) for part in (slope, start, known, load, load_inverter)
    )
    inverse = inverses(matrix)
    sure = certified(to_pos, to_neg, within, spec)
    unstable, tame, pencils = np.zeros(n, dtype=bool), sure.copy(), {}
    doubtful = np.flatnonzero(~sure)
    if doubtful.size:
        unstable[doubtful] = np.linalg.det(matrix[doubtful] / spec.g_unit) < 0
        doubtful = doubtful[~unstable[doubtful]]
    if doubtful.size:
        tame[doubtful], first_order = calm(matrix[doubtful], to_neg[doubtful], within[doubtful], spec)
        pencils = dict(zip(doubtful.tolist(), first_order, strict=True))
        again = doubtful[tame[doubtful]]
        sure[again] = certified_scaled(to_pos[again], to_neg[again], within[again], spec)
    bent_cells = None
    if spec.cell.iv == "sinh":
        bent_cells = (curved(INV, spec, flat, law, surrogate.gain), matrix, known)
    return InvArray(
        response=_batch(spec.g_unit * inverse, batch),
        rest=_batch(np.einsum("nij,nj->ni", inverse, known), batch),
        slope=_batch(slope, batch),
        start=_batch(start, batch),
        correction=_batch(inverse @ cube, batch),
        load=_batch(np.concatenate([load, load_inverter], axis=-1), batch),
        certified=_batch(sure & surrogate.fast_verdict, batch),
        unstable=_batch(unstable & surrogate.fast_verdict, batch),
        calm=_batch(tame & surrogate.fast_verdict, batch),
        pencils=pencils,
        surrogate=surrogate,
        curved=bent_cells,
    )


def _batch(array: Any, batch: tuple[int, ...]) -> Any:
    return array.reshape(batch + array.shape[1:])
