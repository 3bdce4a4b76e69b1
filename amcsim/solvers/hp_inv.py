"""HP-INV: iterative refinement, an analog low-precision inverse inside a digital high-precision residual loop.

    r = b - A x,    d = A_lp^-1 r,    x <- x + omega d

from x = 0, so the first pass is the low-precision answer. Plain refinement (omega = 1) multiplies the residual by
I - A A_lp^-1 at each pass: it converges from every start iff rho(I - A_lp^-1 A) < 1, and then the error shrinks a pass
by about the leaf's relative error. Minimal residual takes omega = r.(A d) / |A d|^2: the residual never grows, and
passes are fewer, but it stalls where r.(A A_lp^-1 r) vanishes: on bad arrays that plain refinement may still manage.
Flexible GCR ("gcr") takes the best step over this d and those of the last passes (amcsim.solvers.refinement).
(Zhang et al., "First Demonstration of Second-order Training", Fig. 11d; Higham, "Accuracy and Stability", chapter 12.)

Leaves scale inputs to their own range, so r goes to them as it is. What counts is the residual: a `saturated` or
`unsettled` pass with an answer is a correction like any other, and a vector is `ok` only when its own residual in
float64 is at the stop rule. Otherwise its matrix is re-programmed, then the digital host solves; both are counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Literal

import numpy as np

from amcsim._types import F64, I64, Bool
from amcsim.mapping import check_matrix
from amcsim.solvers.base import NO_ANSWER, SEVERITY, Counts, Programmed, Solution, Solver, check_rhs, column_norms
from amcsim.solvers.exact import ExactProgrammed
from amcsim.solvers.refinement import Directions
from amcsim.status import Reason, Status
from amcsim.streams import Key

__all__ = ["GROWTH", "PATIENCE", "FixedPoint", "HpInv", "HpInvProgrammed", "Stop"]

GROWTH = 1e3
"""A vector whose residual passes GROWTH ||b|| is given up at once."""

PATIENCE = 10
"""A vector is given up when its smallest residual has not fallen by a tenth within a window of so many passes.

A converging array with complex eigenvalues or skewed eigenvectors may let the residual grow for a few passes, so one
bad pass is no verdict. Of 1,382 randomly written 4x4 arrays with rho(I - A_lp^-1 A) < 0.9 a window of 6, 10, 20 passes
gave up 26, 5, 1 by mistake; all 1,541 with rho >= 1 were found, after 7, 9, 12 passes on average.
"""

_Part = Bool | EllipsisType
"""Which matrices of a batch: a mask over its leading axes, or all of them."""


@dataclass(frozen=True)
class FixedPoint:
    """Two's-complement words of the digital host: b, r and x are rounded to them and clipped, products are exact.

    A system, that is a matrix with all its right-hand sides, has one range: the unit is the power of two above max |b|
    for b and r, that over the power of two above max |A| for x, and words reach to +-2^integer_bits units.
    """

    word_length: int = 24
    """Bits of a word, sign included (8 to 48)."""
    integer_bits: int = 7
    """Bits left of the binary point, sign not included: headroom for x, which grows with A's condition."""

    def __post_init__(self) -> None:
        if not 8 <= self.word_length <= 48:
            raise ValueError(f"word_length = {self.word_length} bits is outside 8 to 48")
        if not 0 <= self.integer_bits <= self.word_length - 2:
            raise ValueError(f"integer_bits = {self.integer_bits} is outside 0 to {self.word_length - 2}")

    @property
    def step(self) -> float:
        """Weight of the last bit, in units."""
        return 2.0 ** (1 + self.integer_bits - self.word_length)

    def floor(self, n: int) -> float:
        """Residual norm, in units of b, that rounding b and an x of length n may leave.

        Each entry of b, and each of the n products with entries of A / a_max, is off by half a step at most.
        """
        return 0.5 * self.step * (n + 1) * float(np.sqrt(n))

    def round(self, v: F64, unit: F64) -> F64:
        """`v` in words of that unit."""
        last, top = unit * self.step, 2.0 ** (self.word_length - 1)
        return np.minimum(np.maximum(np.rint(v / last), -top), top - 1.0) * last


@dataclass(frozen=True)
class Stop:
    """A vector is done when ||b - A x|| <= max(relative ||b||, absolute unit), in float64 with the caller's A and b."""

    relative: float = 2.0**-24
    """24 bits by default."""
    absolute: float | None = None
    """In units of b (see FixedPoint); None is the number format's floor, or 0 where there is no format."""

    def __post_init__(self) -> None:
        for name, value in (("relative", self.relative), ("absolute", self.absolute or 0.0)):
            if not 0.0 <= value < 1.0:
                raise ValueError(f"stop.{name} = {value:g} is outside 0 to 1")


@dataclass(frozen=True)
class HpInv:
    """High-precision INV over any inner solver.

    `HpInv(inner, max_iterations=1, fallback=False)` is the single pass: the inner solver's own answer, x = A_lp^-1 b,
    and its status, with nothing refined, re-programmed or counted as high precision.
    `HpInv(inner, max_iterations=p, max_reprograms=0, fallback=False)` shows the answer after p passes.
    """

    inner: Solver
    method: Literal["plain", "minimal_residual", "gcr"] = "plain"
    number_format: FixedPoint | None = None
    """None is float64."""
    stop: Stop = Stop()
    max_iterations: int = 200
    """Passes allowed on one programming of an array."""
    max_reprograms: int = 1
    """Times that an array may be written again within one solve."""
    fallback: bool = True
    """Whether the digital host solves what is left; else it is unsettled, not_converged, or as the inner solve was."""
    directions: int = 32
    """Search directions that "gcr" keeps, two vectors of float64 each in the host's memory for a right-hand side."""

    def __post_init__(self) -> None:
        if self.method not in ("plain", "minimal_residual", "gcr"):
            raise ValueError(f"method {self.method!r} is neither 'plain' nor 'minimal_residual' nor 'gcr'")
        if self.directions < 1:
            raise ValueError(f"directions = {self.directions} must be 1 or more")
        if self.max_iterations < 1:
            raise ValueError(f"max_iterations = {self.max_iterations} must be 1 or more")
        if self.max_reprograms < 0:
            raise ValueError(f"max_reprograms = {self.max_reprograms} must be 0 or more")

    @property
    def kept(self) -> int:
        """Search directions kept by the method."""
        return self.directions if self.method == "gcr" else 0

    def program(self, a: F64, key: Key) -> HpInvProgrammed:
        """Program the inner solver with `key`; re-programming takes `key.child(attempt)`, attempt = 1, 2...

        Raises ValueError for what is no real square matrix, and for a stop rule finer than the number format resolves.
        """
        a = check_matrix(a)
        n = a.shape[-1]
        floor = self.number_format.floor(n) if self.number_format else 0.0
        absolute = floor if self.stop.absolute is None else self.stop.absolute
        if absolute < floor:
            raise ValueError(
                f"stop.absolute = {absolute:g} lies below the {floor:.3g} of {self.number_format} at n = {n}"
            )
        inner = self.inner.program(a, key)
        return HpInvProgrammed(a, inner.counts, self, key, inner, absolute)


@dataclass(frozen=True)
class HpInvProgrammed:
    """An inner handle with the host's copy of the matrix.

    It never changes: an array that a solve has to write again is replaced for that call only, and counted in its
    Solution. The next call starts from the first programming again.
    """

    a: F64
    """(*batch, n, n)."""
    counts: Counts
    """Of the first programming."""
    solver: HpInv
    key: Key
    inner: Programmed
    absolute: float
    """Absolute stop, in units of b."""

    def solve(self, b: F64) -> Solution:
        """Refine every column of b, (*batch, n, k). Raises ValueError for a right-hand side of another shape."""
        options, a = self.solver, self.a
        if options.max_iterations == 1 and not options.fallback:
            return self.inner.solve(b)
        with np.errstate(all="ignore"):
            work = _start(self, check_rhs(a, b))
            for attempt in range(1 + options.max_reprograms):
                if not np.count_nonzero(work.open):
                    break
                handle, part = self.inner, _all_or_failed(work.open, attempt)
                if attempt:
                    handle = options.inner.program(a[part], self.key.child(attempt))
                    written = handle.counts.array_programmings + handle.counts.reprogrammings
                    work.counts += replace(handle.counts, array_programmings=0, reprogrammings=written)
                _refine(options, handle, work, part)
            if options.fallback and np.count_nonzero(work.open):
                _digital(a, work)
            residual = work.norm / (work.size + (work.size == 0.0))
        x, status, reason, iterations = work.x, work.status, work.reason, work.iterations
        return Solution(x, status, reason, residual, iterations, work.counts, work.disturbed)


@dataclass
class _Work:
    """One call's state, every array with the caller's leading axes; `open` marks vectors that still want an answer."""

    b: F64
    x: F64
    norm: F64
    """||b - A x||, (*batch, k)."""
    size: F64
    """||b||, (*batch, k)."""
    limit: F64
    """Of `norm`, by the stop rule."""
    unit_b: F64
    """Of b and r, (*batch, 1, 1)."""
    unit_x: F64
    status: I64
    reason: I64
    open: Bool
    iterations: I64
    counts: Counts
    disturbed: Bool
    """(*batch,): arrays that have been written by their own voltages since they were last programmed."""


def _start(handle: HpInvProgrammed, b: F64) -> _Work:
    """Begin at x = 0, the answer to zero vectors. Vectors with NaN or infinite entries have none and stay closed."""
    size = column_norms(b)
    x, status, reason = np.zeros(b.shape), np.zeros(size.shape, np.int64), np.zeros(size.shape, np.int64)
    norm, finite = size.copy(), size < np.inf
    if np.count_nonzero(finite) < finite.size:
        x[~np.broadcast_to(finite[..., None, :], x.shape)] = norm[~finite] = np.nan
        status[~finite], reason[~finite] = Status.NOT_CONVERGED, Reason.NONFINITE
        b, size = np.where(finite[..., None, :], b, 0.0), np.where(finite, size, 0.0)
    limit = handle.solver.stop.relative * size
    unit_b = unit_x = np.ones((*b.shape[:-2], 1, 1))
    if handle.absolute or handle.solver.number_format:
        unit_b = _power_of_two_above(b)
        unit_x = unit_b / _power_of_two_above(handle.a)
        limit = np.maximum(limit, handle.absolute * unit_b[..., 0])
    counts, iterations = Counts(high_precision_vectors=size.size), np.zeros(size.shape, np.int64)
    intact, wanted = np.zeros(size.shape[:-1], np.bool_), size > limit
    return _Work(b, x, norm, size, limit, unit_b, unit_x, status, reason, wanted, iterations, counts, intact)


def _power_of_two_above(v: F64) -> F64:
    """The power of two above max |v| of each matrix, (*batch, 1, 1); 1 for zeros, and where there are NaN."""
    top = np.abs(v).max(axis=(-2, -1), keepdims=True, initial=0.0)
    return np.ldexp(1.0, np.frexp(np.where(top < np.inf, top, 0.0))[1])


def _all_or_failed(left: Bool, attempt: int) -> _Part:
    """The matrices that an attempt is for: all at first, then those with vectors left; an unbatched one stays so."""
    if attempt == 0 or left.ndim == 1:
        return ...
    return np.asarray(left.any(axis=-1))


def _refine(options: HpInv, handle: Programmed, work: _Work, part: _Part) -> None:
    """Refine the open vectors of `part` from x = 0 on one programming, and book how each of them ended.

    An array that a pass disturbs is left at once: what its vectors have reached counts only where they are done.

    Columns that are done in the whole batch are put through the array no more; in a batch, a vector that is done before
    the others of its column goes in as zeros, which leaves neither solve nor count.
    """
    a, words, live = handle.a, options.number_format, work.open[part]
    work.disturbed[part] = False
    unit_b, unit_x = work.unit_b[part], work.unit_x[part]
    columns = np.flatnonzero(live.any(axis=tuple(range(live.ndim - 1))))
    live = live[..., columns]
    b, size, limit = (v[part].take(columns, axis=-1) for v in (work.b, work.size, work.limit))
    x, r, best, mark, ceiling = np.zeros(b.shape), b.copy(), size, size, GROWTH * size
    steps = None if options.method == "plain" else Directions(options.kept, b.shape)
    for passes in range(1, options.max_iterations + 1):
        if live.ndim > 1:
            r = np.where(live[..., None, :], r, 0.0)
        if words:
            r = words.round(r, unit_b)
        answer = handle.solve(steps.ask(r) if steps else r)
        work.counts += answer.counts
        if steps:
            norm = steps.take(answer.x, a @ answer.x if answer.product is None else answer.product, x, r)
        else:
            x = x + answer.x
        if words:
            x = words.round(x, unit_x)
        if words or not steps:
            r = b - a @ x
            norm = column_norms(r)
        else:  # the recursion's word is taken for a vector that goes on, not for one that ends
            last = passes % PATIENCE == 0 or passes == options.max_iterations or bool(np.any(answer.disturbed))
            _exactly(a, b, x, r, norm, live if last else live & ~(norm > limit))
        best = np.minimum(best, norm)
        going = live & (norm > limit) & (norm <= ceiling)
        if passes % PATIENCE == 0:
            going &= best < 0.9 * mark
            mark = best
        if passes == options.max_iterations:
            going = np.zeros_like(live)
        if np.count_nonzero(answer.disturbed):
            going &= ~answer.disturbed[..., None]
            work.disturbed[part] |= answer.disturbed
        if np.count_nonzero(going) < np.count_nonzero(live):
            _book(work, part, columns, live & ~going, passes, x, norm, answer)
            keep = going.any(axis=tuple(range(going.ndim - 1)))
            if not np.count_nonzero(keep):
                return
            columns, live = columns[keep], going[..., keep]
            left = b, x, r, best, mark, limit, ceiling
            b, x, r, best, mark, limit, ceiling = (v.compress(keep, axis=-1) for v in left)
            if steps:
                steps.keep(np.asarray(keep))


def _exactly(a: F64, b: F64, x: F64, r: F64, norm: F64, of: Bool) -> None:
    """R = b - A x and its norm in their places, in the columns with a vector of `of`, (*batch, k)."""
    here = np.flatnonzero(of.any(axis=tuple(range(of.ndim - 1))))
    if here.size == of.shape[-1]:
        np.subtract(b, a @ x, out=r)
        norm[...] = column_norms(r)
    elif here.size:
        exact = b.take(here, axis=-1) - a @ x.take(here, axis=-1)
        r[..., here], norm[..., here] = exact, column_norms(exact)


def _digital(a: F64, work: _Work) -> None:
    """Let the digital host solve the vectors that are still open."""
    part = _all_or_failed(work.open, 1)
    left, b = work.open[part], work.b[part]
    handle = ExactProgrammed(a[part])
    answer = handle.solve(b)
    work.counts += Counts(digital_fallbacks=int(np.count_nonzero(left)))
    _book(work, part, np.arange(b.shape[-1]), left, 0, answer.x, column_norms(b - handle.a @ answer.x), answer)


def _book(work: _Work, part: _Part, columns: I64, over: Bool, passes: int, x: F64, norm: F64, answer: Solution) -> None:
    """Write how the vectors `over` ended into the call's state; all arrays cover `part` of the batch and `columns`.

    A vector at its limit is ok. Any other stays open, and ends as the inner `answer` did where that was none, as
    not_converged where x is no better than 0, and as unsettled where it is.
    """
    here = np.nonzero(over)
    rows = here[:-1] if part is ... else tuple(axis[here[0]] for axis in np.nonzero(part))
    index = (*rows, columns[here[-1]])
    x, norm = x.swapaxes(-1, -2)[here], norm[here]
    status, reason = np.zeros(norm.shape, np.int64), np.zeros(norm.shape, np.int64)
    ok = norm <= work.limit[index]
    if np.count_nonzero(ok) < ok.size:
        dead = SEVERITY[answer.status[here]] >= NO_ANSWER
        useless = ~ok & ~(norm < work.size[index])
        why = np.where(norm < np.inf, Reason.REFINEMENT, Reason.NONFINITE)
        status = np.where(dead, answer.status[here], np.where(useless, Status.NOT_CONVERGED, Status.UNSETTLED))
        status, reason = (
            np.where(ok, Status.OK, status),
            np.where(ok, Reason.NONE, np.where(dead, answer.reason[here], why)),
        )
        x, norm = np.where(useless[:, None], np.nan, x), np.where(useless, np.nan, norm)
    work.x.swapaxes(-1, -2)[index] = x
    work.norm[index], work.status[index], work.reason[index] = norm, status, reason
    work.open[index] = ~ok
    work.iterations[index] += passes
