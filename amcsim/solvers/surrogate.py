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
            for index in np.argwhere(~self.array.certified).tolist()
        }

    def answer(self, volts: F64) -> tuple[F64, I64, I64]:
        """See AnalogProgrammed."""
        x, xn = self.array.outputs(volts)
        status, reason = self.array.bounds(volts, x, xn)
        if self.array.certified.all():
            return x, status, reason
        for index, model in self._doubtful.items():
            m, b = model.m, volts[index]
            point = model.operating_point(b)
            u = point.u.copy()
            inside = point.converged & np.isfinite(x[index]).all(axis=0)
            u[:m, inside], u[m : 2 * m, inside] = x[index][:, inside], xn[index][:, inside]
            x[index], status[index], reason[index] = judge(model, b, u, point.current, point.converged)
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
