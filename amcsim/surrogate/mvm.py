"""MVM by the surrogate: y = A v with m unknowns, batched over matrices and vectors.

With T the currents per volt (surrogate/wires.py), amplifiers v_sl = Vos - y (1 + Ro g_unit)/A0, and w = (v, -v),

    (g_unit E + W (1 + Ro g_unit)/A0) (-y) = T w - W Vos + dI(w),   W = T_sl + g_unit E,

dI the access device's curvature -r0 g^3 (r_even V^2 + r_odd V|V|) of every cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amcsim._types import F64, I64, Bool
from amcsim.mapping import largest
from amcsim.nodal.certificate import certificate_conductance, slews
from amcsim.realisation import Realisation
from amcsim.small_matrices import inverses
from amcsim.specs import Spec
from amcsim.status import Reason, Status
from amcsim.surrogate.curved import Curved, curved
from amcsim.surrogate.model import Surrogate
from amcsim.surrogate.wires import transfer
from amcsim.topology.mvm import MVM

__all__ = ["MvmArray", "program"]


@dataclass(frozen=True)
class MvmArray:
    """Programmed arrays as the surrogate sees them; batched over the leading axes."""

    response: F64
    """d(-y)/dw, (*batch, m, 2n)."""
    rest: F64
    """-y at v = 0, (*batch, m), V."""
    correction: F64
    """What of -y the cells' curvature takes for one V^2 at each of w, (*batch, m, 2n), 1/V."""
    certified: Bool
    """(*batch,): stable, and settled within the read window."""
    surrogate: Surrogate
    curved: tuple[Curved, F64] | None = None
    """Sinh cells, and what of -y one ampere at a summing node makes, (N, m, m), V/A; or None."""

    @property
    def unstable(self) -> Bool:
        """(*batch,): none; loops of single amplifiers are stable, wherever fast_verdict holds."""
        return np.zeros(self.rest.shape[:-1], dtype=bool)

    @property
    def calm(self) -> Bool:
        """(*batch,): all, likewise."""
        return np.full(self.rest.shape[:-1], self.surrogate.fast_verdict)

    def answers(self, v: F64) -> F64:
        """-y, (*batch, m, k), for input voltages v, (*batch, n, k)."""
        law = self.surrogate.cell
        w = np.concatenate([v, -v], axis=-2)
        y: F64 = self.response @ w + self.rest[..., None]
        if self.curved is not None:
            cells, inverse = self.curved
            flat = w.reshape(-1, *w.shape[-2:])
            y = y + (inverse @ cells.excess(flat, y.reshape(-1, *y.shape[-2:]))[0]).reshape(y.shape)
        elif law.r0 > 0:
            y = y - self.correction @ (w * (law.r_even * w + law.r_odd * np.abs(w)))
        return y

    def bounds(self, v: F64, y: F64) -> tuple[I64, I64]:
        """(status, reason), (*batch, k): ok or saturated, by the same bounds as amcsim.nodal.verdict."""
        spec = self.surrogate.spec
        status = np.zeros(v.shape[:-2] + v.shape[-1:], dtype=np.int64)
        reason = np.zeros_like(status)
        bound = [(largest(v) > spec.cell.v_read_max, Reason.DISTURB)]
        if spec.opamp.model == "behavioral":
            peak = largest(y)
            bound += [
                (spec.g_unit * peak > spec.opamp.output_current, Reason.CURRENT),
                (peak > 0.95 * spec.opamp.swing, Reason.VOLTAGE),
            ]
        for hit, why in bound:
            status[hit], reason[hit] = Status.SATURATED, why
        return status, reason


def program(surrogate: Surrogate, spec: Spec, r: Realisation) -> MvmArray:
    """Program drawn circuits (batched). Raises DomainError outside the surrogate's domain.

    `spec` may differ from the surrogate's in programming, offsets and converters.
    """
    batch, (m, n) = r.g_pos.shape[:-2], r.g_pos.shape[-2:]
    devices = np.stack([r.g_pos, r.g_neg], axis=-3).reshape(-1, 2, m, n)
    surrogate.require(spec, (m, n), devices, "mvm")
    law = surrogate.cell
    g = law.conductance(devices)
    flat = Realisation(*(part.reshape(-1, *part.shape[len(batch) :]) for part in vars(r).values()))
    currents = np.ascontiguousarray(transfer(spec, g))
    within = currents[..., 2 * n :] + spec.g_unit * np.eye(m)
    leak = 0.0 if spec.opamp.model == "ideal" else 1.0 / surrogate.gain
    matrix = spec.g_unit * np.eye(m) + within * leak * (1.0 + surrogate.output_resistance * spec.g_unit)
    into, wide = currents[..., : 2 * n], np.concatenate([g[:, 0], g[:, 1]], axis=-1)
    if (
        law.r_even != 0 and spec.cell.iv == "linear"
    ):  # a summing node away from ground shifts the channel's mean potential, too
        into = into - (2.0 * law.r_even * flat.offset)[..., None] * wide * wide
    inverse = inverses(matrix)
    quick = certificate_conductance(spec, within) < spec.g_unit
    quick &= not slews(spec)
    cube = law.r0 * wide * wide * wide

    def shaped(array: F64) -> F64:
        return array.reshape(batch + array.shape[1:])

    return MvmArray(
        response=shaped(inverse @ into),
        rest=shaped(-(inverse @ (within @ flat.offset[..., None]))[..., 0]),
        correction=shaped(inverse @ cube),
        certified=np.reshape(quick & surrogate.fast_verdict, batch),
        surrogate=surrogate,
        curved=(curved(MVM, spec, flat, law, surrogate.gain), inverse) if spec.cell.iv == "sinh" else None,
    )
