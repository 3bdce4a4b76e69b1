"""Bit-sliced INV (STAMP): a 16-bit matrix and 12-bit answers from arrays and converters of 8 bits, without a residual.

*x.* The ADC rounds what the circuit answers; its word is fed back, the circuit then yields the part that rounding left
out, and the ADC reads that at 2^adc_bits times the gain: S runs read S * adc_bits bits of A_lp^-1 b.

*A.* A = A_H + A_L, the high and the low bits; with P = A_H^-1 A_L

    A^-1 b = (I - P + P^2 - ...) A_H^-1 b:    r = A_H^-1 b, x = r, then r <- A_H^-1 A_L r, x <- x -+ r with that sign,

one INV on A_H and one product with A_L a term. It converges iff rho(P) < 1, and truncated after r_k it leaves
P (I + P)^-1 r_k; roundings e_k of the words leave (I + P)^-1 (e_0 - e_1 + ...). rho and the norms of both matrices are
found digitally when A is programmed: a verdict of this program's, as poles are, that no array is asked for. (Zhao
et al., "STAMP: Accelerating Second-order DNN Training Via ReRAM-based Processing-in-Memory Architecture", 2025.)

The fed-back word is subtracted by the written array itself, and no residual with A is formed: slices and terms sharpen
(A_lp + A_L)^-1 b, where A_lp is A_H as it was written. Write errors stay in the answer; HP-INV takes them out, and may
be put around this solver or in its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from amcsim._types import F64, I64, Bool
from amcsim.mapping import check_matrix, largest, matrix_scale, quantise
from amcsim.solvers.base import (
    NO_ANSWER,
    SEVERITY,
    Counts,
    Programmed,
    Solution,
    Solver,
    check_rhs,
    column_norms,
    relative_residual,
)
from amcsim.solvers.exact import solve_or_nan
from amcsim.solvers.mvm import MvmProgrammed, MvmSolver
from amcsim.status import Reason, Status
from amcsim.streams import Key

__all__ = ["BitSliced", "BitSlicedProgrammed", "series_bounds", "slices_of"]

_GROWTH = 1e3
"""A series whose term exceeds _GROWTH times its first is given up."""


def slices_of(a: F64, a_bits: int, high_bits: int) -> tuple[F64, F64]:
    """A_H and A_L, (*batch, n, n): A rounded to a_max 2^-a_bits, of that the nearest to a_max 2^-high_bits, the rest.

    Either sign in both, as differential pairs of cells hold it: rounding halves A_L, hence P, against cutting bits off.
    """
    a_max = matrix_scale(a)[..., None, None]
    rounded = np.rint(np.ldexp(a / a_max, a_bits))
    high = np.rint(np.ldexp(rounded, high_bits - a_bits))
    low = rounded - np.ldexp(high, a_bits - high_bits)
    return np.ldexp(high, -high_bits) * a_max, np.ldexp(low, -a_bits) * a_max


def series_bounds(high: F64, low: F64) -> tuple[F64, F64, F64]:
    """rho(P), |P (I + P)^-1| and |(I + P)^-1| of each matrix, (*batch,) each; infinite where A_H or A is singular."""
    p = solve_or_nan(high, low)
    words = solve_or_nan(high + low, high)  # (I + P)^-1
    rest = words - np.eye(high.shape[-1])  # -P (I + P)^-1
    regular: Bool = np.asarray((np.isfinite(p) & np.isfinite(words)).all(axis=(-2, -1)))
    p, rest, words = (np.where(regular[..., None, None], m, 0.0) for m in (p, rest, words))
    radius = np.abs(np.linalg.eigvals(p)).max(axis=-1)
    norms = (np.linalg.norm(m, ord=2, axis=(-2, -1)) for m in (rest, words))
    radius, rest_norm, words_norm = (np.where(regular, v, np.inf) for v in (radius, *norms))
    return radius, rest_norm, words_norm


@dataclass(frozen=True)
class BitSliced:
    """Bit-sliced INV over any inner solver, whose converters should be ideal: the ADC is here."""

    inner: Solver
    """For A_H."""
    a_bits: int = 16
    """Magnitude bits of an entry of A / a_max; the sign is the choice of array."""
    high_bits: int = 8
    """Of these in A_H; as many as a_bits: no A_L, no series."""
    adc_bits: int = 8
    """Bits of the ADC, sign included; its range is the power of two above the answer."""
    x_slices: int = 2
    """Runs of the circuit an INV, adc_bits bits each."""
    terms: int = 16
    """Most terms after the first."""
    tolerance: float = 2.0**-13
    """A vector is done when what its series leaves, by its norm, and what its words leave, by theirs with random
    roundings, are each at most tolerance |x|: half a 12th bit. Coarse words, or a slow series of fine ones, may never
    be."""
    product: MvmSolver | None = None
    """MVM arrays for A_L r; None multiplies digitally, exactly and uncounted."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("a_bits", 1, 32),
            ("high_bits", 1, self.a_bits),
            ("adc_bits", 2, 32),
            ("x_slices", 1, 8),
            ("terms", 0, 10_000),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} = {getattr(self, name)} is outside {low} to {high}")
        if not 0.0 < self.tolerance < 1.0:
            raise ValueError(f"tolerance = {self.tolerance:g} is outside 0 to 1")

    def program(self, a: F64, key: Key) -> BitSlicedProgrammed:
        """Write A_H with `key.child(0)`, and A_L, where arrays multiply, with `key.child(1)`.

        Raises ValueError for what is no real square matrix, and what the inner solvers raise.
        """
        a = check_matrix(a)
        high, low = slices_of(a, self.a_bits, self.high_bits)
        with np.errstate(all="ignore"):
            bounds = series_bounds(high, low)
        inner = self.inner.program(high, key.child(0))
        array = self.product.program(low, key.child(1)) if self.product and low.any() else None
        counts = inner.counts + (array.counts if array else Counts())
        return BitSlicedProgrammed(a, counts, self, inner, low, array, *bounds)


@dataclass(frozen=True)
class BitSlicedProgrammed:
    """A matrix in slices."""

    a: F64
    """(*batch, n, n), wanted."""
    counts: Counts
    """Of programming A_H, and A_L where arrays multiply."""
    solver: BitSliced
    inner: Programmed
    """Of A_H."""
    low: F64
    """A_L, (*batch, n, n)."""
    array: MvmProgrammed | None
    radius: F64
    """rho(P) of the wanted slices, (*batch,)."""
    rest: F64
    """|P (I + P)^-1|, (*batch,): of the last term, what the series leaves at most."""
    gain: F64
    """|(I + P)^-1|, (*batch,): of the words' roundings, what stays at most."""

    def solve(self, b: F64) -> Solution:
        """Solve for b, (*batch, n, k); iterations are the runs of A_H's array.

        A vector ends `ok` when its series is done; `unsettled` (reason refinement) when terms ran out, words are too
        coarse or its array was disturbed before; `not_converged` (refinement) without an answer where rho(P) >= 1, at
        no cost, or where its terms have not fallen; and never better than its gravest analog run.
        Raises ValueError for another shape.
        """
        b = check_rhs(self.a, b)
        finite = np.isfinite(b).all(axis=-2)
        hopeless = np.asarray(~(self.radius < 1.0))[..., None] & np.ones_like(finite)
        none = np.zeros(finite.shape, np.int64)
        run = _Run(self, finite & ~hopeless & b.any(axis=-2), none, none, none)
        with np.errstate(all="ignore"):
            x, done, grown = run.series(b)
            done |= finite & ~hopeless & ~b.any(axis=-2)
            grown |= hopeless
            status = np.where(done, Status.OK, np.where(grown, Status.NOT_CONVERGED, Status.UNSETTLED))
            reason = np.where(done, Reason.NONE, Reason.REFINEMENT)
            status, reason = np.where(finite, status, Status.NOT_CONVERGED), np.where(finite, reason, Reason.NONFINITE)
            graver = SEVERITY[run.status] >= SEVERITY[status]
            status, reason = np.where(graver, run.status, status), np.where(graver, run.reason, reason)
            lost = SEVERITY[status] >= NO_ANSWER
            x = np.where(lost[..., None, :], np.nan, x)
            residual = np.where(lost, np.nan, relative_residual(self.a, x, b))
        return Solution(x, status, reason, residual, run.iterations, run.counts, run.disturbed)


@dataclass
class _Run:
    """One call's state, (*batch, k); `open` marks vectors that still go through arrays, all others go as zeros."""

    handle: BitSlicedProgrammed
    open: Bool
    status: I64
    reason: I64
    iterations: I64
    counts: Counts = field(default_factory=Counts)
    disturbed: Bool = field(init=False)
    rounding: F64 = field(init=False)
    """Expected |e_0|^2 + |e_1|^2 + ... of the words' roundings, uniform within half a step, (*batch, k)."""

    def __post_init__(self) -> None:
        self.disturbed = np.zeros(self.open.shape[:-1], np.bool_)
        self.rounding = np.zeros(self.open.shape)

    def series(self, b: F64) -> tuple[F64, Bool, Bool]:
        """The sum, and which vectors are done and which have terms that did not fall."""
        options = self.handle.solver
        x = term = self.invert(b)
        first = size = column_norms(term)
        done = self._done(size, size)
        for _ in range(options.terms):
            self.open &= ~done & (size <= _GROWTH * first)
            if not np.count_nonzero(self.open):
                break
            term = -self.invert(self.multiply(term))
            x = x + term
            size = np.where(self.open, column_norms(term), size)
            done |= self._done(size, column_norms(x))
        return x, done, ~done & ~(size <= first)

    def _done(self, term: F64, x: F64) -> Bool:
        """Open vectors whose series and words are both within tolerance; norms of the last term and of x."""
        limit, rest, gain = self.handle.solver.tolerance * x, self.handle.rest[..., None], self.handle.gain[..., None]
        return np.asarray(self.open & (rest * term <= limit) & (gain * np.sqrt(self.rounding) <= limit))

    def invert(self, v: F64) -> F64:
        """A_H^-1 v in x_slices words of the ADC: within the last one's step of what the array answers."""
        options = self.handle.solver
        y, unit = np.zeros(v.shape), np.ones((*self.open.shape[:-1], 1, self.open.shape[-1]))
        for k in range(options.x_slices):
            answer = self.handle.inner.solve(np.where(self.open[..., None, :], v, 0.0))
            self.iterations = self.iterations + answer.iterations
            going = self.open[..., None, :]
            self._note(answer.status, answer.reason, answer.counts, answer.disturbed)
            left = np.where(going & np.isfinite(answer.x), answer.x - y, 0.0)
            if k == 0:
                top = largest(left) / (1.0 - 2.0 ** (1 - options.adc_bits))  # a mid-tread word ends a step below
                unit = np.ldexp(1.0, np.frexp(top)[1])[..., None, :]
            y = y + quantise(left / unit, options.adc_bits, 1.0) * unit
            unit = np.ldexp(unit, -options.adc_bits)
        self.rounding = self.rounding + np.where(self.open, v.shape[-2] / 3.0 * unit[..., 0, :] ** 2, 0.0)
        return y

    def multiply(self, v: F64) -> F64:
        """A_L v."""
        v = np.where(self.open[..., None, :], v, 0.0)
        if self.handle.array is None:
            return np.asarray(self.handle.low @ v)
        answer = self.handle.array.multiply(v)
        self._note(answer.status, answer.reason, answer.counts, answer.disturbed)
        return answer.y

    def _note(self, status: I64, reason: I64, counts: Counts, disturbed: Bool) -> None:
        """Keep the gravest status of each vector; what has no answer, or lost its array, goes no further."""
        self.counts += counts
        graver = SEVERITY[status] > SEVERITY[self.status]
        self.status, self.reason = np.where(graver, status, self.status), np.where(graver, reason, self.reason)
        self.disturbed = self.disturbed | disturbed
        self.open = self.open & (SEVERITY[self.status] < NO_ANSWER) & ~self.disturbed[..., None]
