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
from amcsim.specs import Spec
from amcsim.status import Reason, Status
from amcsim.surrogate.curved import Curved, curved
from amcsim.surrogate.model import Surrogate
from amcsim.surrogate.wires import transfer
from amcsim.topology.inv import INV

__all__ = ["InvArray", "program"]

_LARGE = 32
"""Rows from which on the inverters' outputs are taken from the amplifiers', not by products of their own."""
_NEAR_SWING = 0.95
"""Fraction of the swing from which on an output counts as saturated (amcsim.nodal.verdict)."""


@dataclass(frozen=True)
class InvArray:
    """Programmed arrays as the surrogate sees them; batched over the leading axes."""

    response: F64
    """d(x, xn)/db, (*batch, 2m, m)."""
    rest: F64
    """(x, xn) at b = 0, (*batch, 2m), V."""
    correction: F64
    """What of (x, xn) the cells' curvature takes for one V^2 at each (x, xn), (*batch, 2m, 2m), 1/V."""
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
    inverters: tuple[F64, F64]
    """Slope and start (V) of the inverters, xn = slope x + start, (*batch, m) each."""
    curved: tuple[Curved, F64, F64, F64, F64] | None = None
    """Sinh cells with M (N, m, m), what is known at b = 0 (N, m), slope and start of the inverters (N, m); or None."""

    def outputs(self, b: F64) -> tuple[F64, F64]:
        """(x, xn), (*batch, m, k), for input voltages b, (*batch, m, k)."""
        law, m = self.surrogate.cell, b.shape[-2]
        if m >= _LARGE and self.curved is None:
            return self._large_outputs(b)
        both = self.response @ b + self.rest[..., None]
        if self.curved is not None:
            cells, matrix, at_rest, slope, start = self.curved
            flat = b.reshape(-1, *b.shape[-2:])
            known = self.surrogate.spec.g_unit * flat + at_rest[..., None]
            x = cells.newton(matrix, known, both[..., :m, :].reshape(flat.shape), slope, start)
            xn = slope[..., None] * x + start[..., None]
            return x.reshape(b.shape), xn.reshape(b.shape)
        if law.r0 > 0:
            both = both + self.correction @ (both * (law.r_even * both + law.r_odd * np.abs(both)))
        return both[..., :m, :], both[..., m:, :]

    def _large_outputs(self, b: F64) -> tuple[F64, F64]:
        """The same with half the multiplications."""
        law, m = self.surrogate.cell, b.shape[-2]
        slope, start = (part[..., None] for part in self.inverters)
        x = self.response[..., :m, :] @ b
        x += self.rest[..., :m, None]
        if law.r0 > 0:
            both = np.concatenate([x, slope * x + start], axis=-2)
            bent = np.abs(both)
            bent *= law.r_odd
            bent += law.r_even * both
            bent *= both
            x += self.correction[..., :m, :] @ bent
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
    devices = np.stack([r.g_pos, r.g_neg], axis=-3).reshape(-1, 2 * m * m)
    surrogate.require(spec, (m, m), devices)
    law = surrogate.cell
    g = law.conductance(devices)
    n = len(g)
    flat = Realisation(*(part.reshape(n, *part.shape[len(batch) :]) for part in vars(r).values()))
    currents = transfer(spec, g.reshape(n, 2, m, m))
    # currents of summing node i per volt on bit-line j of each array, and per volt on summing node k
    to_pos, to_neg, within = currents[..., :m], currents[..., m : 2 * m], currents[..., 2 * m :]
    within[:, np.arange(m), np.arange(m)] += spec.g_unit
    offset, inverter_offset, ratio = flat.offset, flat.inverter_offset, flat.inverter_ratio
    columns = np.einsum("narc->nac", g.reshape(n, 2, m, m))
    leak = 0.0 if spec.opamp.model == "ideal" else 1.0 / surrogate.gain
    ro = surrogate.output_resistance
    load = columns[:, 0] + 1.0 / spec.inverter.resistance
    load_inverter = columns[:, 1] + 1.0 / (spec.inverter.resistance * ratio)
    noise_gain = 1.0 + ratio
    divide = 1.0 + noise_gain * leak * (1.0 + ro * load_inverter)
    slope, start = -ratio / divide, noise_gain * inverter_offset / divide
    matrix = to_pos + to_neg * slope[:, None, :] + within * (leak * (1.0 + ro * load))[:, None, :]
    known = np.einsum("nij,nj->ni", within, offset) - np.einsum("nij,nj->ni", to_neg, start)
    if (
        law.r_even != 0 and spec.cell.iv == "linear"
    ):  # a summing node away from ground shifts the channel's mean potential, too
        bent = (2.0 * law.r_even * g * g).reshape(n, 2, m, m) * offset[:, None, :, None]
        matrix = matrix - bent[:, 0] - bent[:, 1] * slope[:, None, :]
    inverse = _inverse(matrix)
    cube = np.swapaxes((law.r0 * g * g * g).reshape(n, 2, m, m), 1, 2).reshape(n, m, 2 * m)
    sure = certified(to_pos, to_neg, within, spec)
    unstable, tame, pencils = np.zeros(n, dtype=bool), sure.copy(), {}
    doubtful = np.flatnonzero(~sure)
    if doubtful.size:
        unstable[doubtful] = np.linalg.det(matrix[doubtful] / spec.g_unit) < 0
        tame[doubtful], first_order = calm(matrix[doubtful], to_neg[doubtful], within[doubtful], spec)
        pencils = dict(zip(doubtful.tolist(), first_order, strict=True))
        again = doubtful[tame[doubtful]]
        sure[again] = certified_scaled(to_pos[again], to_neg[again], within[again], spec)

    def with_inverters(of_x: F64) -> F64:
        """What the outputs x do, (n, m, ...), and below it what the inverters make of it."""
        return np.concatenate([of_x, slope.reshape(n, m, *(1,) * (of_x.ndim - 2)) * of_x], axis=1)

    rest = with_inverters(np.einsum("nij,nj->ni", inverse, known))
    rest[:, m:] += start
    bent_cells = None
    if spec.cell.iv == "sinh":
        bent_cells = (curved(INV, spec, flat, law, surrogate.gain), matrix, known, slope, start)
    return InvArray(
        response=_batch(with_inverters(spec.g_unit * inverse), batch),
        rest=_batch(rest, batch),
        correction=_batch(with_inverters(inverse @ cube), batch),
        load=_batch(np.concatenate([load, load_inverter], axis=-1), batch),
        certified=_batch(sure & surrogate.fast_verdict, batch),
        unstable=_batch(unstable & surrogate.fast_verdict, batch),
        calm=_batch(tame & surrogate.fast_verdict, batch),
        pencils=pencils,
        surrogate=surrogate,
        inverters=(_batch(slope, batch), _batch(start, batch)),
        curved=bent_cells,
    )


def _batch(array: Any, batch: tuple[int, ...]) -> Any:
    return array.reshape(batch + array.shape[1:])


def _inverse(matrix: F64) -> F64:
    """Inverses of a batch; NaN for singular members."""
    try:
        return np.asarray(np.linalg.inv(matrix), dtype=np.float64)
    except np.linalg.LinAlgError:
        out = np.full_like(matrix, np.nan)
        for k, one in enumerate(matrix):
            try:
                out[k] = np.linalg.inv(one)
            except np.linalg.LinAlgError:
                continue
        return out
