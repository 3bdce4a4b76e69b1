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

from dataclasses import dataclass
from typing import Literal

import numpy as np

from amcsim._types import F64, I64, Bool
from amcsim.columns import flattened
from amcsim.mapping import check_matrix
from amcsim.solvers.base import Counts, Programmed, Solution, Solver, check_rhs, column_norms
from amcsim.solvers.exact import ExactProgrammed
from amcsim.solvers.refinement import Directions
from amcsim.solvers.residuals import GIVEN, OF_CORRECTED, OF_X, booked, passed
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

_Part = I64 | slice
"""Which matrices of a flattened batch: their numbers, or all of them."""


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
                handle = self.inner
                part: _Part = slice(None)
                if attempt:
                    part = _failed(work)
                    again = a if a.ndim == 2 else work.a[part]
                    handle = options.inner.program(again, self.key.child(attempt))
                    work.counts += handle.counts.as_rewriting
                _refine(options, handle, work, part)
            if options.fallback and np.count_nonzero(work.open):
                _digital(work)
            residual = work.norm / (work.size + (work.size == 0.0))
        batch, columns = b.shape[:-2], b.shape[:-2] + b.shape[-1:]
        status, reason, iterations = (v.reshape(columns) for v in work.words)
        x, disturbed = work.x.reshape(b.shape), work.disturbed.reshape(batch)
        return Solution(x, status, reason, residual.reshape(columns), iterations, work.counts, disturbed)


@dataclass
class _Work:
    """One call's state, the batch flattened; `open` marks vectors that still want an answer."""

    a: F64
    """(N, n, n)."""
    b: F64
    """(N, n, k)."""
    x: F64
    norm: F64
    """||b - A x||, (N, k)."""
    size: F64
    """||b||, (N, k)."""
    limit: F64
    """Of `norm`, by the stop rule."""
    unit_b: F64
    """Of b and r, (N, 1, 1)."""
    unit_x: F64
    words: I64
    """Statuses, reasons and passes, (3, N, k)."""
    open: Bool
    counts: Counts
    disturbed: Bool
    """(N,): arrays that have been written by their own voltages since they were last programmed."""


def _start(handle: HpInvProgrammed, b: F64) -> _Work:
    """Begin at x = 0, the answer to zero vectors. Vectors with NaN or infinite entries have none and stay closed."""
    a, b = flattened(handle.a), flattened(b)
    size = column_norms(b)
    x, words = np.zeros(b.shape), np.zeros((3, *size.shape), np.int64)
    norm, finite = size.copy(), size < np.inf
    if np.count_nonzero(finite) < finite.size:
        x.swapaxes(1, 2)[~finite] = norm[~finite] = np.nan
        words[0, ~finite], words[1, ~finite] = Status.NOT_CONVERGED, Reason.NONFINITE
        b, size = np.where(finite[:, None], b, 0.0), np.where(finite, size, 0.0)
    limit = handle.solver.stop.relative * size
    unit_b = unit_x = np.ones((len(b), 1, 1))
    if handle.absolute or handle.solver.number_format:
        unit_b = _power_of_two_above(b)
        unit_x = unit_b / _power_of_two_above(a)
        limit = np.maximum(limit, handle.absolute * unit_b[..., 0])
    counts, intact = Counts(high_precision_vectors=size.size), np.zeros(len(b), np.bool_)
    return _Work(a, b, x, norm, size, limit, unit_b, unit_x, words, size > limit, counts, intact)


def _power_of_two_above(v: F64) -> F64:
    """The power of two above max |v| of each matrix, (N, 1, 1); 1 for zeros, and where there are NaN."""
    top = np.abs(v).max(axis=(-2, -1), keepdims=True, initial=0.0)
    return np.ldexp(1.0, np.frexp(np.where(top < np.inf, top, 0.0))[1])


def _failed(work: _Work) -> I64:
    """Numbers of the matrices with vectors left."""
    return np.flatnonzero(work.open.any(axis=1))


def _refine(options: HpInv, handle: Programmed, work: _Work, part: _Part) -> None:
    """Refine the open vectors of `part` from x = 0 on one programming, and book how each of them ended.

    An array that a pass disturbs is left at once: what its vectors have reached counts only where they are done.

    Columns that are done in the whole batch are put through the array no more; in a batch, a vector that is done before
    the others of its column goes in as zeros, which leaves neither solve nor count.
    """
    words, live, a = options.number_format, work.open[part], work.a[part]
    shape = handle.a.shape[:-1]
    work.disturbed[part] = False
    unit_b, unit_x = work.unit_b[part], work.unit_x[part]
    columns = np.flatnonzero(live.any(axis=0))
    b, size, limit = (v[part].take(columns, axis=-1) for v in (work.b, work.size, work.limit))
    live = live.take(columns, axis=-1)
    x, r, norm, best, mark, ceiling = (
        np.zeros(b.shape),
        b.copy(),
        np.empty(size.shape),
        size.copy(),
        size,
        GROWTH * size,
    )
    r.swapaxes(1, 2)[~live] = 0.0
    alive, going = int(np.count_nonzero(live)), np.empty(live.shape, np.bool_)
    steps = None if options.method == "plain" else Directions(options.kept, b.shape, direct=words is not None)
    for passes in range(1, options.max_iterations + 1):
        if words:
            r = words.round(r, unit_b)
        answer = handle.solve((steps.ask(r) if steps else r).reshape(*shape, -1))
        work.counts += answer.counts
        d, stop = flattened(answer.x), passes % PATIENCE == 0 or passes == options.max_iterations
        hurt = np.count_nonzero(answer.disturbed) > 0
        known = GIVEN
        if steps:
            norm = steps.take(d, a @ d if answer.product is None else flattened(answer.product), x, r)
        if words:
            x, known = words.round(x if steps else x + d, unit_x), OF_X
        elif not steps:
            known = OF_CORRECTED
        else:  # the recursion's word is taken for a vector that goes on, not for one that ends
            ends = live if stop or hurt else live & ~(norm > limit)
            if np.count_nonzero(ends):
                steps.bring(x)
                _exactly(a, b, x, r, norm, ends)
        left = passed(a, b, x, d, r, norm, best, limit, ceiling, live, going, known)
        if stop or hurt:
            if passes % PATIENCE == 0:
                going &= best < 0.9 * mark
                mark = best.copy()
            if passes == options.max_iterations:
                going[:] = False
            if hurt:
                going &= ~answer.disturbed.reshape(-1, 1)
                work.disturbed[part] |= answer.disturbed.reshape(-1)
            left = int(np.count_nonzero(going))
        if left < alive:
            _book(work, part, columns, live & ~going, passes, x, norm, answer)
            if left == 0:
                return
            keep, alive = np.asarray(going.any(axis=0)), left
            columns, live = columns[keep], going.compress(keep, axis=-1)
            going = np.empty(live.shape, np.bool_)
            parts = b, x, r, norm, best, mark, limit, ceiling
            b, x, r, norm, best, mark, limit, ceiling = (v.compress(keep, axis=-1) for v in parts)
            if steps:
                steps.keep(keep)
            if len(live) > 1:
                r.swapaxes(1, 2)[~live] = 0.0


def _exactly(a: F64, b: F64, x: F64, r: F64, norm: F64, of: Bool) -> None:
    """R = b - A x and its norm in their places, in the columns with a vector of `of`, (N, k)."""
    here = np.flatnonzero(of.any(axis=0))
    if here.size == of.shape[-1]:
        np.subtract(b, a @ x, out=r)
        norm[...] = column_norms(r)
    elif here.size:
        exact = b.take(here, axis=-1) - a @ x.take(here, axis=-1)
        r[..., here], norm[..., here] = exact, column_norms(exact)


def _digital(work: _Work) -> None:
    """Let the digital host solve the vectors that are still open."""
    part = _failed(work)
    left, a, b = work.open[part], work.a[part], work.b[part]
    answer = ExactProgrammed(a).solve(b)
    work.counts += Counts(digital_fallbacks=int(np.count_nonzero(left)))
    _book(work, part, np.arange(b.shape[-1]), left, 0, answer.x, column_norms(b - a @ answer.x), answer)


def _book(work: _Work, part: _Part, columns: I64, over: Bool, passes: int, x: F64, norm: F64, answer: Solution) -> None:
    """Write how the vectors `over` ended into the call's state; all arrays cover `part` of the batch and `columns`.

    A vector at its limit is ok. Any other stays open, and ends as the inner `answer` did where that was none, as
    not_converged where x is no better than 0, and as unsettled where it is.
    """
    ended = np.empty((2, *over.shape), np.int64)
    ended[0], ended[1] = answer.status.reshape(over.shape), answer.reason.reshape(over.shape)
    members = np.arange(len(work.open))[part]
    into = work.limit, work.size, work.x, work.norm, work.words, work.open
    booked(members, columns, over, passes, np.ascontiguousarray(x), norm, ended, *into)
