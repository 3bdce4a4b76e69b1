"""An idealised leaf for tests and studies: write errors and an output gain, and otherwise an exact inverse.

No amplifier, wire, bound or pole is in it: an array so badly written that its circuit would rail still answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from amcsim._types import F64
from amcsim.mapping import check_matrix, matrix_scale
from amcsim.realisation import linear_matrix, realise
from amcsim.solvers.base import Counts, Solution, answered, check_rhs
from amcsim.solvers.exact import solve_or_nan
from amcsim.specs import Spec
from amcsim.streams import Key

__all__ = ["Emulated", "EmulatedProgrammed"]


@dataclass(frozen=True)
class EmulatedProgrammed:
    """A wanted matrix and the inverse that its array applies instead."""

    a: F64
    """(*batch, n, n), wanted."""
    inverse: F64
    """(*batch, n, n), applied: output_gain * A_lp^-1; NaN where A_lp is singular."""
    counts: Counts
    """One programming a matrix."""

    def solve(self, b: F64) -> Solution:
        """One analog pass, x = inverse @ b. Raises ValueError for a right-hand side of another shape."""
        b = check_rhs(self.a, b)
        return answered(self.a, self.inverse @ b, b)


@dataclass(frozen=True)
class Emulated:
    """Leaf that inverts the realised matrix exactly."""

    spec: Spec = field(default_factory=Spec)
    """Read: cell range and programming error, drawn as every backend draws them; the rest is idealised."""
    output_gain: float = 1.0
    """The answer is multiplied by it: without write errors the LP relative error is exactly |1 - output_gain|."""
    read: int = 0
    """Number of the read of an array that programming with the same key leaves (amcsim.variation)."""

    def program(self, a: F64, key: Key) -> EmulatedProgrammed:
        """Draw the write error of a, (*batch, n, n). Raises ValueError for a bad matrix, SpecError for a bad spec."""
        a = check_matrix(a)
        realised = linear_matrix(realise(a, self.spec, key, self.read), self.spec) * matrix_scale(a)[..., None, None]
        eye = np.broadcast_to(np.eye(a.shape[-1]), a.shape)
        with np.errstate(all="ignore"):
            inverse = self.output_gain * solve_or_nan(realised, eye)
        return EmulatedProgrammed(a, inverse, Counts(array_programmings=int(np.prod(a.shape[:-2]))))
