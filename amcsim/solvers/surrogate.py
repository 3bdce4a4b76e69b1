"""Arrays by the surrogate: vectorised, the full verdict only where the fast certificate does not vouch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from amcsim._types import F64, I64
from amcsim.columns import LOOPS, flattened
from amcsim.mapping import check_matrix
from amcsim.nodal.build import build
from amcsim.nodal.loop import LoopModel
from amcsim.nodal.verdict import judge
from amcsim.realisation import Realisation, linear_matrix, realise
from amcsim.solvers.analog import AnalogProgrammed, ArrayProgrammed
from amcsim.solvers.base import Counts, Solution
from amcsim.solvers.exact import solve_or_nan
from amcsim.specs import Spec
from amcsim.status import Reason, Status
from amcsim.streams import Key
from amcsim.surrogate.columns import packed, solved
from amcsim.surrogate.confidence import features
from amcsim.surrogate.inv import InvArray, program
from amcsim.surrogate.model import Surrogate
from amcsim.surrogate.mvm import MvmArray
from amcsim.surrogate.reads import Reads, reads
from amcsim.surrogate.side_by_side import solved_once

__all__ = ["SurrogateArray", "SurrogateProgrammed", "SurrogateSolver"]

_MANY = 8
"""Arrays from which on single vectors are solved side by side."""


@dataclass(frozen=True)
class SurrogateArray(ArrayProgrammed):
    """Arrays reduced to dense algebra, with the full verdict at hand for those that the fast one leaves open."""

    array: InvArray | MvmArray

    @cached_property
    def _models(self) -> dict[tuple[int, ...], LoopModel]:
        """Nodal models with the fitted on-resistance, made when asked for."""
        return {}

    def reads(self, v: F64) -> Reads:
        """Settling time, power and energy of the reads that answer v, (*batch, inputs, k), scaled as a solve is."""
        return reads(self.array.surrogate, self.spec, self.realisation, self.inputs(v)[0])

    def features(self, volts: F64, outputs: F64) -> F64:
        """What bounds go by (amcsim.surrogate.confidence), (*batch, k, 5), of outputs (*batch, m, k) at `volts`, V."""
        return features(outputs, self._linear(volts), volts, self._gain, self.topology.on_cells > 0)

    def error_bounds(self, v: F64) -> F64:
        """Bounds (*batch, k) on the distance of the answers to v, (*batch, inputs, k), from ngspice's, in their units.

        The Euclidean distance of the circuits' outputs, before the ADC. A share `level` of circuits of the campaign's
        kind lies within; NaN where the status is not ok. Solves by itself: nothing of it slows a solve. Raises
        ValueError where the surrogate's file records no confidence.
        """
        confidence = self.array.surrogate.confidence
        if confidence is None:
            raise ValueError("the surrogate's file records no confidence: calibrate it again")
        v = np.asarray(v, dtype=np.float64)
        volts, unit = self.inputs(v)
        outputs, status, _ = self.answer(volts)
        with np.errstate(all="ignore"):
            bound = confidence.bound(self.features(volts, outputs)) / unit[..., 0, :]
        return np.where(v.any(axis=-2), np.where(status == Status.OK, bound, np.nan), 0.0)

    @cached_property
    def _gain(self) -> F64:
        """Norm of the answers' response to the inputs over sqrt(m), (*batch,)."""
        m = self.a.shape[-2]
        return np.asarray(np.linalg.norm(self.array.response[..., :m, :], axis=(-2, -1)) / np.sqrt(m))

    def _linear(self, volts: F64) -> F64:
        """x_lin, (*batch, m, k), V."""
        matrix = linear_matrix(self.realisation, self.spec)
        return solve_or_nan(matrix, volts) if self.topology.name == "inv" else matrix @ volts

    def judged(self, index: tuple[int, ...], volts: F64, outputs: F64) -> tuple[F64, I64, I64]:
        """The full verdict on one matrix's amplifier outputs (N, k), the answers in their own sign, at inputs `volts`.

        Gives answers (m, k), statuses and reasons (k,).
        """
        if index not in self._models:
            r0 = self.array.surrogate.cell.r0
            self._models[index] = build(self.topology, self.spec, self.realisation[index], r0)
        model = self._models[index]
        point = model.operating_point(volts)
        u = point.u.copy()
        inside = point.converged & np.isfinite(outputs).all(axis=0)
        u[: model.n, inside] = outputs[:, inside]
        u[: model.answers, inside] *= model.sign
        return judge(model, volts, u, point.current, point.converged)


@dataclass(frozen=True)
class SurrogateProgrammed(SurrogateArray, AnalogProgrammed):
    """INV arrays by the surrogate."""

    array: InvArray

    @cached_property
    def _open(self) -> tuple[I64, SurrogateProgrammed | None]:
        """Arrays that no certificate vouches for, by their numbers in the flattened batch, as a batch of their own."""
        array = self.array
        numbers = np.flatnonzero(~(array.certified | array.unstable))
        if not numbers.size:
            return numbers, None
        drawn = (part.reshape(-1, *part.shape[array.calm.ndim :])[numbers] for part in vars(self.realisation).values())
        return numbers, SurrogateProgrammed(
            flattened(self.a)[numbers], self.spec, Realisation(*drawn), array.members(numbers)
        )

    @cached_property
    def _packed(self) -> tuple[F64, F64]:
        """What `solved` asks for of the arrays, and of the technology."""
        array, cell, (a_max, inverse) = self.array, self.spec.cell, self._ranging
        circuit = array.response, array.correction, array.rest, array.slope, array.start, array.load
        doubtful = ~(array.certified | array.unstable)
        limits = np.array([*self._limits, *self._adc, *array.limits, max(cell.v_disturb, cell.v_read_max)])
        return packed(self.a, inverse, *circuit, a_max, array.unstable, doubtful), limits

    def _solved(self, b: F64) -> Solution:
        array = self.array
        numbers, those = self._open
        if array.curved is not None or numbers.size == array.calm.size:
            return super()._solved(b)
        flat = flattened(b)
        count, m, k = flat.shape
        x, residual, words = np.empty(flat.shape), np.empty((count, k)), np.zeros((3, count, k), np.int64)
        hurt, products = np.zeros(count, np.bool_), np.empty(flat.shape if m > LOOPS else (0, 0, 0))
        solver = solved_once if k == 1 and count >= _MANY and m <= LOOPS else solved
        solves = solver(*self._packed, flat, x, residual, words, hurt, products)
        if those is not None:
            some = those.solve(flat[numbers])
            x[numbers], residual[numbers], hurt[numbers] = some.x, some.residual, some.disturbed
            words[:, numbers] = some.status, some.reason, some.iterations
            solves += some.counts.analog_solves
        product = products.reshape(b.shape) if m > LOOPS and those is None and not np.isnan(residual).any() else None
        (status, reason, passes), counts = words, Counts(analog_solves=solves)
        if b.ndim == 2:  # spares slow reshaping
            return Solution(x[0], status[0], reason[0], residual[0], passes[0], counts, hurt.reshape(()), product)
        batch, columns = b.shape[:-2], b.shape[:-2] + b.shape[-1:]
        status, reason, passes = (v.reshape(columns) for v in words)
        return Solution(
            x.reshape(b.shape), status, reason, residual.reshape(columns), passes, counts, hurt.reshape(batch), product
        )

    def answer(self, volts: F64) -> tuple[F64, I64, I64]:
        """See ArrayProgrammed."""
        array = self.array
        x, xn = array.outputs(volts)
        status, reason = array.bounds(volts, x, xn)
        if array.all_certified:
            return x, status, reason
        x[array.unstable], status[array.unstable], reason[array.unstable] = np.nan, Status.UNSTABLE, Reason.POLE
        for index in map(tuple, np.argwhere(~(array.certified | array.unstable)).tolist()):
            open_ = ~(array.calm[index] & (status[index] == Status.SATURATED))
            open_ &= ~array.stays_linear(index, x[index], self.spec)
            if not open_.any():  # out of range whatever the transient says, or far from every limit
                continue
            outputs = np.concatenate([x[index], xn[index]])[:, open_]
            answer = self.judged(index, volts[index][:, open_], outputs)
            x[index][:, open_], status[index][open_], reason[index][open_] = answer
        return x, status, reason


@dataclass(frozen=True)
class SurrogateSolver:
    """INV by a fitted surrogate; `spec` may differ from the fitted one in programming, offsets and converters."""

    surrogate: Surrogate
    spec: Spec
    read: int = 0
    """Number of the read of an array that programming with the same key leaves (amcsim.variation)."""

    def program(self, a: F64, key: Key) -> SurrogateProgrammed:
        """Write a, (*batch, m, m). Raises ValueError for a bad matrix, DomainError outside the surrogate's domain."""
        a = check_matrix(a)
        r = realise(a, self.spec, key, self.read)
        return SurrogateProgrammed(a, self.spec, r, program(self.surrogate, self.spec, r))
