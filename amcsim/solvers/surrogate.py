"""INV arrays by the surrogate: everything vectorised, the full verdict only where the fast certificate does not vouch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from amcsim._types import F64, I64
from amcsim.mapping import check_matrix
from amcsim.nodal.inv import InvModel, build
from amcsim.nodal.verdict import judge
from amcsim.realisation import realise
from amcsim.solvers.analog import AnalogProgrammed
from amcsim.specs import Spec
from amcsim.status import Reason, Status
from amcsim.streams import Key
from amcsim.surrogate.inv import InvArray, program
from amcsim.surrogate.model import Surrogate

__all__ = ["SurrogateProgrammed", "SurrogateSolver"]


@dataclass(frozen=True)
class SurrogateProgrammed(AnalogProgrammed):
    """Arrays reduced to dense algebra on m unknowns."""

    array: InvArray

    @cached_property
    def _doubtful(self) -> dict[tuple[int, ...], InvModel]:
        """Circuits without a certificate, as nodal models with the fitted on-resistance."""
        r0 = self.array.surrogate.cell.r0
        return {
            tuple(index): build(self.spec, self.realisation[tuple(index)], r0)
            for index in np.argwhere(~(self.array.certified | self.array.unstable)).tolist()
        }

    def answer(self, volts: F64) -> tuple[F64, I64, I64]:
        """See AnalogProgrammed."""
        x, xn = self.array.outputs(volts)
        status, reason = self.array.bounds(volts, x, xn)
        if self.array.certified.all():
            return x, status, reason
        lost = self.array.unstable
        x[lost], status[lost], reason[lost] = np.nan, Status.UNSTABLE, Reason.POLE
        for index, model in self._doubtful.items():
            m = model.m
            railed = (status[index] == Status.SATURATED) & model.stable
            if railed.all():  # out of range whatever the transient says: no need to follow it
                continue
            b = volts[index][:, ~railed]
            point = model.operating_point(b)
            u, mine = point.u.copy(), x[index][:, ~railed]
            inside = point.converged & np.isfinite(mine).all(axis=0)
            u[:m, inside], u[m : 2 * m, inside] = mine[:, inside], xn[index][:, ~railed][:, inside]
            answer = judge(model, b, u, point.current, point.converged)
            x[index][:, ~railed], status[index][~railed], reason[index][~railed] = answer
        return x, status, reason


@dataclass(frozen=True)
class SurrogateSolver:
    """INV by a fitted surrogate; `spec` may differ from the fitted one in programming, offsets and converters."""

    surrogate: Surrogate
    spec: Spec

    def program(self, a: F64, key: Key) -> SurrogateProgrammed:
        """Write a, (*batch, m, m). Raises ValueError for a bad matrix, DomainError outside the surrogate's domain."""
        a = check_matrix(a)
        r = realise(a, self.spec, key)
        return SurrogateProgrammed(a, self.spec, r, program(self.surrogate, self.spec, r))
