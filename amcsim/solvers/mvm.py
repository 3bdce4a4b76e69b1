"""MVM arrays: `program` once, `multiply` many vectors, on every backend."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from amcsim._types import F64, I64, Bool
from amcsim.mapping import check_matrix, matrix_scale, quantise, ranging_limits, to_voltages
from amcsim.realisation import realise
from amcsim.solvers.analog import ArrayProgrammed
from amcsim.solvers.base import NO_ANSWER, SEVERITY, Counts
from amcsim.solvers.circuit import CircuitArray
from amcsim.solvers.nodal import NodalArray
from amcsim.solvers.surrogate import SurrogateArray
from amcsim.specs import Spec
from amcsim.status import Reason, Status
from amcsim.streams import Key
from amcsim.surrogate.model import Surrogate
from amcsim.surrogate.mvm import MvmArray, program
from amcsim.topology.circuit import Topology
from amcsim.topology.mvm import MVM

__all__ = ["Backend", "MvmCircuit", "MvmNodal", "MvmProgrammed", "MvmSolver", "MvmSurrogate", "Product"]

Backend = Literal["exact", "nodal", "ngspice", "surrogate"]


@dataclass(frozen=True)
class Product:
    """Answers y = A v for a batch of matrices and vectors."""

    y: F64
    """(*batch, m, k); NaN where the status has no answer."""
    status: I64
    """(*batch, k) of Status."""
    reason: I64
    """(*batch, k) of Reason."""
    counts: Counts
    """Spent by this call."""
    disturbed: Bool
    """(*batch,): arrays whose cells this call wrote (see Solution)."""


@dataclass(frozen=True)
class MvmProgrammed(ArrayProgrammed):
    """A matrix, (*batch, m, n), written into an MVM array."""

    topology: ClassVar[Topology] = MVM

    @cached_property
    def _ranging(self) -> tuple[F64, F64]:
        a_max = matrix_scale(self.a)
        return a_max, self.a / a_max[..., None, None]

    def inputs(self, v: F64) -> tuple[F64, F64]:
        """See ArrayProgrammed."""
        a_max, scaled = self._ranging
        volts, unit = to_voltages(scaled, 1.0 / a_max, v, ranging_limits(self.spec, product=True))
        return volts, unit[..., None, :]

    def multiply(self, v: F64) -> Product:
        """A v for v, (*batch, n, k): scaled into the voltage range, converted, multiplied, scaled back.

        A zero vector needs no circuit: its answer is 0. Raises ValueError for a vector of another shape.
        """
        v = np.asarray(v, dtype=np.float64)
        if v.shape[:-1] != (*self.a.shape[:-2], self.a.shape[-1]):
            raise ValueError(
                f"vectors have shape {v.shape}; a matrix of shape {self.a.shape} multiplies (*batch, n, k)"
            )
        volts, unit = self.inputs(v)
        outputs, status, reason = self.answer(volts)
        conv = self.spec.converters
        y = quantise(outputs, conv.adc_bits, conv.adc_full_scale or self.spec.opamp.swing) / unit
        lost = ~np.isfinite(y).all(axis=-2) & (SEVERITY[status] < NO_ANSWER)  # a product beyond the range of floats
        status, reason = np.where(lost, Status.NOT_CONVERGED, status), np.where(lost, Reason.NONFINITE, reason)
        asked = np.asarray(v.any(axis=-2))
        if not asked.all():
            y = np.where(asked[..., None, :], y, 0.0)
            status, reason = np.where(asked, status, Status.OK), np.where(asked, reason, Reason.NONE)
        hurt = self.disturbed(volts, outputs, status)
        return Product(y, status, reason, Counts(analog_solves=int(asked.sum())), hurt)


@dataclass(frozen=True)
class MvmNodal(NodalArray, MvmProgrammed):
    """MVM arrays by their nodal equations."""


@dataclass(frozen=True)
class MvmCircuit(CircuitArray, MvmProgrammed):
    """MVM arrays in ngspice."""


@dataclass(frozen=True)
class MvmSurrogate(SurrogateArray, MvmProgrammed):
    """MVM arrays by the surrogate."""

    array: MvmArray

    def answer(self, volts: F64) -> tuple[F64, I64, I64]:
        """See ArrayProgrammed."""
        y = self.array.answers(volts)
        status, reason = self.array.bounds(volts, y)
        if not self.array.certified.all():
            for index in np.ndindex(y.shape[:-2]):
                y[index], status[index], reason[index] = self.judged(index, volts[index], y[index])
        return y, status, reason


@dataclass(frozen=True)
class _Exact(MvmProgrammed):
    """Digital: no circuit, no range."""

    def multiply(self, v: F64) -> Product:
        """A v."""
        y = self.a @ np.asarray(v, dtype=np.float64)
        lost = ~np.isfinite(y).all(axis=-2)  # beyond the range of floats
        status, reason = np.where(lost, Status.NOT_CONVERGED, 0), np.where(lost, Reason.NONFINITE, 0)
        return Product(y, status, reason, Counts(), np.zeros(y.shape[:-2], np.bool_))

    def answer(self, volts: F64) -> tuple[F64, I64, I64]:
        """See ArrayProgrammed."""
        y = self._ranging[1] @ volts
        none = np.zeros(y.shape[:-2] + y.shape[-1:], dtype=np.int64)
        return y, none, none


@dataclass(frozen=True)
class MvmSolver:
    """The MVM circuit by one of the backends."""

    spec: Spec
    backend: Backend = "nodal"
    surrogate: Surrogate | None = None
    """For the backend of that name."""
    read: int = 0
    """Number of the read of an array that programming with the same key leaves (amcsim.variation)."""

    def program(self, a: F64, key: Key) -> MvmProgrammed:
        """Write a, (*batch, m, n).

        Raises ValueError for a bad matrix or a missing surrogate, SpecError for an unsupported spec, DomainError
        outside the surrogate's domain.
        """
        a = check_matrix(a, square=False)
        r = realise(a, self.spec, key, self.read)
        if self.backend == "surrogate":
            if self.surrogate is None:
                raise ValueError("the backend 'surrogate' needs a surrogate")
            return MvmSurrogate(a, self.spec, r, program(self.surrogate, self.spec, r))
        if self.backend == "nodal":
            self.spec.require_equations("nodal")
            return MvmNodal(a, self.spec, r)
        return MvmCircuit(a, self.spec, r) if self.backend == "ngspice" else _Exact(a, self.spec, r)
