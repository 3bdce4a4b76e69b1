"""INV arrays on the nodal backend."""

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
from amcsim.streams import Key

__all__ = ["NodalProgrammed", "NodalSolver"]


@dataclass(frozen=True)
class NodalProgrammed(AnalogProgrammed):
    """Arrays stamped and factored once; a right-hand side costs a back-substitution and a verdict."""

    @cached_property
    def models(self) -> dict[tuple[int, ...], LoopModel]:
        """The circuit of each matrix of the batch."""
        return {index: build(self.spec, self.realisation[index]) for index in np.ndindex(self.a.shape[:-2])}

    def answer(self, volts: F64) -> tuple[F64, I64, I64]:
        """See AnalogProgrammed."""
        x = np.empty_like(volts)
        status = np.empty(volts.shape[:-2] + volts.shape[-1:], dtype=np.int64)
        reason = np.empty_like(status)
        for index, model in self.models.items():
            point = model.operating_point(volts[index])
            x[index], status[index], reason[index] = judge(model, volts[index], point.u, point.current, point.converged)
        return x, status, reason


@dataclass(frozen=True)
class NodalSolver:
    """The INV circuit by its own nodal equations (wires, linear cells with on-resistance, amplifier limits)."""

    spec: Spec

    def program(self, a: F64, key: Key) -> NodalProgrammed:
        """Write a, (*batch, m, m). Raises ValueError for a bad matrix, SpecError for an unsupported spec."""
        a = check_matrix(a)
        return NodalProgrammed(a, self.spec, realise(a, self.spec, key))
