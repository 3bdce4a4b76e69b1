"""Arrays on the nodal backend."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from amcsim._types import F64, I64
from amcsim.mapping import check_matrix
from amcsim.nodal.build import build
from amcsim.nodal.loop import LoopModel
from amcsim.nodal.verdict import judge
from amcsim.realisation import realise
from amcsim.solvers.analog import AnalogProgrammed, ArrayProgrammed
from amcsim.specs import Spec
from amcsim.streams import Key

__all__ = ["NodalArray", "NodalProgrammed", "NodalSolver"]


@dataclass(frozen=True)
class NodalArray(ArrayProgrammed):
    """Arrays stamped and factored once; a vector costs a back-substitution and a verdict."""

    @cached_property
    def models(self) -> dict[tuple[int, ...], LoopModel]:
        """The circuit of each matrix of the batch."""
        indices = np.ndindex(self.a.shape[:-2])
        return {index: build(self.topology, self.spec, self.realisation[index]) for index in indices}

    def answer(self, volts: F64) -> tuple[F64, I64, I64]:
        """See ArrayProgrammed."""
        batch, k = volts.shape[:-2], volts.shape[-1]
        x = np.empty((*batch, self.a.shape[-2], k))
        status = np.empty((*batch, k), dtype=np.int64)
        reason = np.empty_like(status)
        for index, model in self.models.items():
            x[index], status[index], reason[index] = self.judged(index, model, volts[index])
        return x, status, reason

    def judged(self, index: tuple[int, ...], model: LoopModel, volts: F64) -> tuple[F64, I64, I64]:
        """One matrix's outputs (m, k), statuses and reasons (k,)."""
        point = model.operating_point(volts)
        return judge(model, volts, point.u, point.current, point.converged)


@dataclass(frozen=True)
class NodalProgrammed(NodalArray, AnalogProgrammed):
    """INV arrays by their nodal equations."""


@dataclass(frozen=True)
class NodalSolver:
    """The INV circuit by its own nodal equations (wires, linear cells with on-resistance, amplifier limits)."""

    spec: Spec
    read: int = 0
    """Number of the read of an array that programming with the same key leaves (amcsim.variation)."""

    def program(self, a: F64, key: Key) -> NodalProgrammed:
        """Write a, (*batch, m, m). Raises ValueError for a bad matrix, SpecError for an unsupported spec."""
        a = check_matrix(a)
        self.spec.require_equations("nodal")
        return NodalProgrammed(a, self.spec, realise(a, self.spec, key, self.read))
