"""INV by the surrogate: m unknowns, batched over matrices and right-hand sides.

Programming. Cell currents I under port voltages V solve (diag(1/g) + R_w) I = P V, g the cells' small-signal
conductances, R_w the fixed matrix of shared wire resistances: same column, R_bl (min(row, row') + 1), plus same
source-line, R_sl (min(position, position') + 1). Only the columns of the summing nodes are needed. R_w g is small, so
the Neumann series I <- g (P V - R_w I) gains its norm at each term; where the norm is not small, a direct solve takes
over. With amplifiers v = Vos - x (1 + Ro D)/A0 and inverters xn = slope x + start (D: output load), KCL at the summing
nodes is

    M x = g_unit b + known - dI(x, xn),

dI the access device's curvature: -r0 g^3 (r_even V^2 + r_odd V|V|) of every cell. M is inverted once; a right-hand side
costs one product, one correction and its bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from amcsim._types import F64, I64, Bool
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.status import Reason, Status
from amcsim.surrogate.certificate import calm, certified
from amcsim.surrogate.model import Surrogate

__all__ = ["InvArray", "program"]

_SERIES_TOLERANCE = 1e-7
"""Relative error of a cell's current at which the wire series stops."""
_BLOCK = 256
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
    """(*batch,): stable, settled and free of latched states (amcsim.surrogate.certificate)."""
    unstable: Bool
    """(*batch,): a real pole in the right half-plane for certain: det M < 0, while det(s E + M) > 0 at large s."""
    calm: Bool
    """(*batch,): no pole in the right half-plane, whether certified or not."""
    surrogate: Surrogate

    def outputs(self, b: F64) -> tuple[F64, F64]:
        """(x, xn), (*batch, m, k), for input voltages b, (*batch, m, k)."""
        law, m = self.surrogate.cell, b.shape[-2]
        both = self.response @ b + self.rest[..., None]
        if law.r0 > 0:
            both = both + self.correction @ (both * (law.r_even * both + law.r_odd * np.abs(both)))
        return both[..., :m, :], both[..., m:, :]

    def answers(self, b: F64) -> F64:
        """x, (*batch, m, k), for input voltages b, (*batch, m, k)."""
        return self.outputs(b)[0]

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
        spec, into, out = self.surrogate.spec, np.abs(b), np.abs(np.concatenate([x, xn], axis=-2))
        status = np.zeros(b.shape[:-2] + b.shape[-1:], dtype=np.int64)
        reason = np.zeros_like(status)
        if out.max(initial=0.0) <= self._harmless and into.max(initial=0.0) <= spec.cell.v_read_max:
            return status, reason
        peak = out.max(axis=-2)
        reached = [(np.maximum(peak, into.max(axis=-2)) > spec.cell.v_read_max, Reason.DISTURB)]
        if spec.opamp.model == "behavioral":
            current = (self.load[..., None] * out).max(axis=-2)
            reached.append((current > spec.opamp.output_current, Reason.CURRENT))
            reached.append((peak > _NEAR_SWING * spec.opamp.swing, Reason.VOLTAGE))
        for hit, why in reached:
            status[hit], reason[hit] = Status.SATURATED, why
        return status, reason


@lru_cache(maxsize=16)
def _wires(m: int, layout: str, bl: float, sl: float) -> tuple[F64, F64]:
    """R_w, (2m^2, 2m^2), ohm, over cells in the order (array, row, column), and the largest row sum of |R_w|."""
    array, row, column = (part.ravel() for part in np.indices((2, m, m)))
    same_column = (array[:, None] == array) & (column[:, None] == column)
    position = column + (m * array if layout == "shared" else 0)
    same_line = row[:, None] == row
    if layout == "separate":
        same_line &= array[:, None] == array
    shared = bl * same_column * (np.minimum(row[:, None], row) + 1.0)
    shared = shared + sl * same_line * (np.minimum(position[:, None], position) + 1.0)
    return shared, shared.sum(axis=1)


def _row_currents(g: F64, spec: Spec) -> F64:
    """X = (diag(1/g) + R_w)^-1 P of the summing nodes' columns: (batch, m, 2m^2), for g (batch, 2m^2)."""
    cells = g.shape[-1]
    m = math.isqrt(cells // 2)
    ports = np.ascontiguousarray(_sums(m)[:, 2 * m :].T)
    direct: F64 = g[:, None, :] * ports
    wire = spec.wire
    if wire.bl_resistance == 0 and wire.sl_resistance == 0:
        return direct
    shared, sums = _wires(m, wire.layout, wire.bl_resistance, wire.sl_resistance)
    norm = float(sums.max() * g.max())
    if norm > 0.2:
        resistance = shared + (1.0 / g)[:, :, None] * np.eye(cells)
        currents = np.linalg.solve(resistance, np.broadcast_to(ports.T, (len(g), cells, m)))
        return np.asarray(np.swapaxes(currents, -1, -2), dtype=np.float64)
    found = np.empty_like(direct)
    for block in range(0, len(g), _BLOCK):  # blocks that stay in the cache
        part, weight = direct[block : block + _BLOCK], -g[block : block + _BLOCK, None, :]
        answer, error = part, norm
        while error > _SERIES_TOLERANCE:
            answer = (answer.reshape(-1, cells) @ shared).reshape(part.shape)
            answer *= weight
            answer += part
            error *= norm
        found[block : block + _BLOCK] = answer
    return found


@lru_cache(maxsize=16)
def _sums(m: int) -> F64:
    """(2m^2, 3m): adds cells up by bit-line of both arrays (2m columns), then by row (m columns)."""
    array, row, column = (part.ravel() for part in np.indices((2, m, m)))
    bit_line, source_line = array * m + column, 2 * m + row
    lines = np.arange(3 * m)
    adds: F64 = ((bit_line[:, None] == lines) | (source_line[:, None] == lines)).astype(np.float64)
    return adds


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
    summed = (_row_currents(g, spec).reshape(n * m, -1) @ _sums(m)).reshape(n, m, 3 * m)
    # currents of summing node i per volt on bit-line j of each array, and per volt on summing node k
    to_pos, to_neg, within = summed[..., :m], summed[..., m : 2 * m], summed[..., 2 * m :]
    within[:, np.arange(m), np.arange(m)] += spec.g_unit
    offset, inverter_offset, ratio = (part.reshape(-1, m) for part in (r.offset, r.inverter_offset, r.inverter_ratio))
    columns = g.reshape(n, 2, m, m).sum(axis=2)
    leak = 0.0 if spec.opamp.model == "ideal" else 1.0 / surrogate.gain
    ro = surrogate.output_resistance
    load = columns[:, 0] + 1.0 / spec.inverter.resistance
    load_inverter = columns[:, 1] + 1.0 / (spec.inverter.resistance * ratio)
    noise_gain = 1.0 + ratio
    divide = 1.0 + noise_gain * leak * (1.0 + ro * load_inverter)
    slope, start = -ratio / divide, noise_gain * inverter_offset / divide
    matrix = to_pos + to_neg * slope[:, None, :] + within * (leak * (1.0 + ro * load))[:, None, :]
    known = np.einsum("nij,nj->ni", within, offset) - np.einsum("nij,nj->ni", to_neg, start)
    if law.r_even != 0:  # a summing node away from ground shifts the channel's mean potential, too
        bent = (law.r_even * g * g).reshape(n, 2, m, m) * offset[:, None, :, None]
        matrix = matrix - bent[:, 0] - bent[:, 1] * slope[:, None, :]
    inverse = _inverse(matrix)
    cube = np.swapaxes((law.r0 * g**3).reshape(n, 2, m, m), 1, 2).reshape(n, m, 2 * m)
    sure = certified(to_pos, to_neg, within, spec)
    unstable, tame = np.zeros(n, dtype=bool), sure.copy()
    doubtful = np.flatnonzero(~sure)
    if doubtful.size:
        unstable[doubtful] = np.linalg.det(matrix[doubtful] / spec.g_unit) < 0
        tame[doubtful] = calm(matrix[doubtful], to_neg[doubtful], within[doubtful], spec)

    def with_inverters(of_x: F64) -> F64:
        """What the outputs x do, (n, m, ...), and below it what the inverters make of it."""
        return np.concatenate([of_x, slope.reshape(n, m, *(1,) * (of_x.ndim - 2)) * of_x], axis=1)

    rest = with_inverters(np.einsum("nij,nj->ni", inverse, known))
    rest[:, m:] += start
    return InvArray(
        response=_batch(with_inverters(spec.g_unit * inverse), batch),
        rest=_batch(rest, batch),
        correction=_batch(with_inverters(inverse @ cube), batch),
        load=_batch(np.concatenate([load, load_inverter], axis=-1), batch),
        certified=_batch(sure & surrogate.fast_verdict, batch),
        unstable=_batch(unstable & surrogate.fast_verdict, batch),
        calm=_batch(tame & surrogate.fast_verdict, batch),
        surrogate=surrogate,
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
