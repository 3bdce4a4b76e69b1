"""What all analog leaf solvers share: ranging, converters, scaling back, residual, counts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from amcsim._types import F64, I64, Bool
from amcsim.mapping import converter, inverse_for_ranging, largest, matrix_scale, quantise, ranging_limits, to_voltages
from amcsim.realisation import Realisation
from amcsim.solvers.base import Counts, Solution, answered, check_rhs
from amcsim.specs import Spec
from amcsim.status import Status
from amcsim.topology.circuit import Topology
from amcsim.topology.inv import INV

__all__ = ["AnalogProgrammed", "ArrayProgrammed"]


@dataclass(frozen=True)
class ArrayProgrammed(ABC):
    """A matrix written into an array of one technology. A backend says how the circuit answers voltages."""

    topology: ClassVar[Topology] = INV
    a: F64
    """The wanted matrix, (*batch, m, n)."""
    spec: Spec
    realisation: Realisation
    """The drawn circuit; the same key draws the same one on every backend."""
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", Counts(array_programmings=int(np.prod(self.a.shape[:-2], dtype=int))))

    @abstractmethod
    def answer(self, volts: F64) -> tuple[F64, I64, I64]:
        """Output voltages (*batch, m, k), statuses and reasons (*batch, k) for input voltages (*batch, inputs, k)."""

    def disturbed(self, volts: F64, outputs: F64, status: I64) -> Bool:
        """(*batch,): arrays whose cells these solves wrote, by cell.v_disturb at inputs and outputs, or by ringing.

        Voltages (*batch, ..., k) and statuses (*batch, k) of what was solved; zero vectors have status ok.
        """
        cell = self.spec.cell
        if not np.count_nonzero(status):  # ok: within v_read_max
            return np.zeros(status.shape[:-1], np.bool_)
        peak = largest(volts)
        if self.topology.on_cells:
            peak = np.fmax(peak, largest(outputs))
        hit = (peak > max(cell.v_disturb, cell.v_read_max)) & (status != Status.OK)
        return np.asarray((hit | (status == Status.UNSTABLE)).any(axis=-1))

    @abstractmethod
    def inputs(self, v: F64) -> tuple[F64, F64]:
        """Input voltages for v, (*batch, inputs, k), ranged and converted; and volts at the outputs for one unit."""


@dataclass(frozen=True)
class AnalogProgrammed(ArrayProgrammed):
    """A square matrix written into an INV array."""

    @cached_property
    def _ranging(self) -> tuple[F64, F64]:
        return matrix_scale(self.a), inverse_for_ranging(self.a)

    @cached_property
    def _limits(self) -> F64:
        return ranging_limits(self.spec)

    @cached_property
    def _adc(self) -> tuple[float, float, float]:
        conv = self.spec.converters
        return converter(conv.adc_bits, conv.adc_full_scale or self.spec.cell.v_read_max)

    def inputs(self, v: F64) -> tuple[F64, F64]:
        """See ArrayProgrammed."""
        a_max, inverse = self._ranging
        volts, unit = to_voltages(inverse, a_max, v, self._limits)
        return volts, unit[..., None, :]

    def solve(self, b: F64) -> Solution:
        """Solve A x = b for b, (*batch, m, k): scaled into the voltage range, converted, solved, scaled back.

        A zero vector needs no circuit: its answer is 0. Raises ValueError for a right-hand side of another shape.
        """
        return self._solved(check_rhs(self.a, b))

    def _solved(self, b: F64) -> Solution:
        volts, unit = self.inputs(b)
        with np.errstate(all="ignore"):  # a vector with infinite entries has no answer, and needs no warning
            outputs, status, reason = self.answer(volts)
            conv = self.spec.converters
            x = quantise(outputs, conv.adc_bits, conv.adc_full_scale or self.spec.cell.v_read_max) / unit
        asked = np.asarray(b.any(axis=-2))
        if not asked.all():
            x = np.where(asked[..., None, :], x, 0.0)
            status, reason = np.where(asked, status, 0), np.where(asked, reason, 0)
        hurt = self.disturbed(volts, outputs, status)
        return answered(self.a, x, b, status=status, reason=reason, disturbed=hurt)
