"""INV arrays by the surrogate: vectorised, the full verdict only where the fast certificate does not vouch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from amcsim._types import F64, I64
from amcsim.mapping import check_matrix
from amcsim.nodal.inv import build
from amcsim.nodal.loop import LoopModel
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
    def _models(self) -> dict[tuple[int, ...], LoopModel]:
        """Circuits that the fast verdict left open: nodal models with the fitted on-resistance, made when asked for."""
        return {}

    def answer(self, volts: F64) -> tuple[F64, I64, I64]:
        """See AnalogProgrammed."""
        array = self.array
        x, xn = array.outputs(volts)
        status, reason = array.bounds(volts, x, xn)
        if array.certified.all():
            return x, status, reason
        x[array.unstable], status[array.unstable], reason[array.unstable] = np.nan, Status.UNSTABLE, Reason.POLE
        for index in map(tuple, np.argwhere(~(array.certified | array.unstable)).tolist()):
            open_ = ~(array.calm[index] & (status[index] == Status.SATURATED))
            if not open_.any():  # out of range whatever the transient says: no need to follow it
                continue
            if index not in self._models:
                self._models[index] = build(self.spec, self.realisation[index], array.surrogate.cell.r0)
            model, b = self._models[index], volts[index][:, open_]
            m, mine, inverted = model.answers, x[index][:, open_], xn[index][:, open_]
            point = model.operating_point(b)
            u = point.u.copy()
            inside = point.converged & np.isfinite(mine).all(axis=0)
            u[:m, inside], u[m : 2 * m, inside] = mine[:, inside], inverted[:, inside]
            answer = judge(model, b, u, point.current, point.converged)
            x[index][:, open_], status[index][open_], reason[index][open_] = answer
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
