"""DC operating points: 2N unknowns z = (out, sense), the matrix inverted once, a few products a right-hand side.

With I = Y_o z + ... the currents out of the amplifiers, their rows and Kirchhoff's law at their inputs are

    (out + Ro I)/A0 + sense = Vos - e,    Y_s z + Y_s,sources = -(currents that curved cells add),

e what swing, current and slew limits ask of the input beyond the linear amplifier: with y the stage before the output,

    y = vsat atanh((out + Ro I (1 - (I/I_max)^4)^(-1/4))/vsat),
    e = reach atanh((y/A0 + c(y))/reach) - (out + Ro I)/A0   (c: clamp of the integrator; e = 0 without limits).

e is of the order of a part of |out|/A0: put in as it is at the last z, it is found to rounding in two or three rounds.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import LinAlgWarning, lu_factor, lu_solve

from amcsim._types import F64, Bool
from amcsim.nodal.ports import Ports
from amcsim.specs import Spec

__all__ = ["DcEquations", "OperatingPoint", "integrator_clamp"]

_LINEAR = 1.2
"""Stage voltage over the swing up to which a solution counts as one: tanh has lost 31 % of its slope there."""


@dataclass(frozen=True)
class OperatingPoint:
    """Solutions of the circuit's DC equations; which of them is reached is the verdict's business."""

    u: F64
    """(4N, k), all unknowns, V."""
    current: F64
    """(N, k), output currents of the amplifiers, A."""
    converged: Bool
    """(k,): whether the iteration ended."""


@dataclass(frozen=True)
class DcEquations:
    """One circuit's; see LoopModel for the fields."""

    spec: Spec
    ports: Ports
    offset: F64
    drive: F64

    @property
    def _n(self) -> int:
        return int(self.offset.size)

    @property
    def _limited(self) -> bool:
        return self.spec.opamp.model == "behavioral"

    @property
    def _leak(self) -> float:
        return 0.0 if self.spec.opamp.model == "ideal" else 1.0 / self.spec.opamp.gain

    @property
    def _ro(self) -> float:
        return 0.0 if self.spec.opamp.model == "ideal" else self.spec.opamp.output_resistance

    @cached_property
    def matrix(self) -> F64:
        """Of the equations above, (2N, 2N): amplifiers (V), then Kirchhoff's law (A)."""
        n, leak = self._n, self._leak
        matrix = self.ports.conductance[: 2 * n, : 2 * n].copy()
        matrix[:n] *= leak * self._ro
        row = np.arange(n)
        matrix[row, row] += leak
        matrix[row, row + n] += 1.0
        return matrix

    @cached_property
    def _inverse(self) -> F64:
        """(2N, 2N); not finite where the circuit is singular."""
        with warnings.catch_warnings():  # a singular circuit answers with NaN, and the verdict says so
            warnings.simplefilter("ignore", LinAlgWarning)
            factors = lu_factor(self.matrix, check_finite=False)
        with np.errstate(all="ignore"):
            return np.asarray(lu_solve(factors, np.eye(len(self.matrix)), check_finite=False), dtype=np.float64)

    @cached_property
    def _of_sources(self) -> F64:
        """Currents into the outputs and senses for one volt at each input, (2N, inputs), A/V."""
        n = self._n
        into: F64 = self.ports.conductance[: 2 * n, 2 * n :] @ self.drive
        return into

    @cached_property
    def _linear(self) -> tuple[F64, F64]:
        """Z for one volt at each input, (2N, inputs), and at no input, (2N,)."""
        n, rhs = self._n, -self._of_sources
        rhs[:n] *= self._leak * self._ro
        with np.errstate(all="ignore"):
            return self._inverse @ rhs, self._inverse[:, :n] @ self.offset

    @cached_property
    def _of_inputs(self) -> F64:
        """Z for one volt less at each amplifier's input, (2N, N)."""
        return np.ascontiguousarray(-self._inverse[:, : self._n])

    def solve(self, b: F64) -> OperatingPoint:
        """Solutions for input voltages b, (inputs, k).

        One beyond the limits does not converge here; the start-up transient finds where such a circuit ends.
        """
        n = self._n
        response, rest = self._linear
        with np.errstate(all="ignore"):  # infinite inputs, singular circuits
            z = response @ b + rest[:, None]
        converged = np.asarray(np.isfinite(z).all(axis=0))
        current = self._currents(z, b)
        stage, linear = z[:n] + self._ro * current, None
        if self.ports.cells is not None:
            linear, (z, done) = z, self._newton(z, b)
            converged &= done
            current = self._currents(z, b)
        elif self._limited:
            linear = z
            converged &= np.abs(stage).max(axis=0) < _LINEAR * self.spec.opamp.swing
            z, current = self._within_limits(z, current, b, converged)
        if linear is not None and not converged.all():
            z = np.where(converged, z, linear)
            current = self._currents(z, b)
        stage = self._stage(z[:n], current)
        if self._limited and not converged.all():
            stage = np.where(converged, stage, z[:n] + self._ro * current)
        return OperatingPoint(np.concatenate([z, stage, stage]), current, converged)

    def _currents(self, z: F64, b: F64) -> F64:
        """Out of the amplifiers, (N, k), A."""
        n = self._n
        with np.errstate(all="ignore"):
            current: F64 = self.ports.conductance[:n, : 2 * n] @ z + self._of_sources[:n] @ b
            if self.ports.cells is not None:
                current = current + self._bent(z, b)[0][:n]
        return current

    def _bent(self, z: F64, b: F64) -> tuple[F64, F64]:
        cells = self.ports.cells
        assert cells is not None
        into, slope = cells.excess(np.concatenate([z, self.drive @ b]))
        return into[: 2 * self._n], slope

    def _stage(self, out: F64, current: F64) -> F64:
        """Voltages before the output resistance and the clamp, (N, k); NaN beyond them."""
        op = self.spec.opamp
        if not self._limited:
            return out + self._ro * current
        with np.errstate(all="ignore"):
            ratio = np.clip(current / op.output_current, -0.99, 0.99)  # beyond, the verdict names the current
            drop = self._ro * current * (1.0 - ratio**4) ** -0.25
            stage: F64 = op.swing * np.arctanh((out + drop) / op.swing)
        return stage

    def _excess(self, out: F64, current: F64) -> F64:
        """E of each amplifier, (N, k), V; NaN beyond the limits."""
        op = self.spec.opamp
        reach = op.slew_rate / (2 * math.pi * op.gbw)
        with np.errstate(all="ignore"):
            stage = self._stage(out, current)
            stage[~(np.abs(stage) < _LINEAR * op.swing)] = np.nan
            asked = (stage * self._leak + integrator_clamp(stage, op.swing, reach)) / reach
            excess: F64 = reach * np.arctanh(asked) - self._leak * (out + self._ro * current)
        return excess

    def _within_limits(self, z: F64, current: F64, b: F64, converged: Bool) -> tuple[F64, F64]:
        """Rounds of e; `converged` loses the columns that leave the limits or do not come to rest."""
        n, start = self._n, z
        change = np.zeros(converged.size)
        for _ in range(60):
            excess = self._excess(z[:n], current)
            converged &= np.isfinite(excess).all(axis=0)
            new = start + self._of_inputs @ np.where(converged, excess, 0.0)
            with np.errstate(invalid="ignore"):  # infinite inputs
                change = np.abs(new - z).max(axis=0, initial=0.0)
            z, current = new, self._currents(new, b)
            if not np.any(change[converged] > 1e-14):
                break
        converged &= change < 1e-10
        return z, current

    def _newton(self, start: F64, b: F64) -> tuple[F64, Bool]:
        """Solve with curved cells from `start`: z (2N, k) and whether each column converged."""
        n, drop, cells = self._n, self._leak * self._ro, self.ports.cells
        assert cells is not None
        z, done = start.copy(), np.zeros(start.shape[1], dtype=bool)
        seen = cells.seen[:, : 2 * n]
        for column in np.flatnonzero(np.isfinite(start).all(axis=0)):
            one, volts = z[:, [column]], b[:, [column]]
            sources = self._of_sources @ volts
            for _ in range(40):
                into, slope = self._bent(one, volts)
                added = sources + into
                residue = -self.matrix @ one
                residue[:n] += self.offset[:, None] - drop * added[:n]
                residue[n:] -= added[n:]
                if self._limited:
                    current = self.ports.conductance[:n, : 2 * n] @ one + added[:n]
                    excess = self._excess(one[:n], current)
                    if not np.isfinite(excess).all():
                        break
                    residue[:n] -= excess
                more = seen.T @ (slope * seen)
                more[:n] *= drop
                step = np.linalg.solve(self.matrix + more, residue)
                largest = float(np.abs(step).max())
                one = one + step * min(1.0, 0.5 / max(largest, 1e-300))
                if not largest < 1e3:
                    break
                if largest < 1e-13:
                    done[column] = True
                    break
            z[:, column] = one[:, 0]
        return z, done


def integrator_clamp(p: F64, swing: float, reach: float) -> F64:
    """Extra input voltage that the integrator's clamp asks for at p (circuits/opamp_behavioral.lib), V."""
    over = np.maximum(np.abs(p) - 0.9 * swing, 0.0) / (0.15 * swing)
    return np.sign(p) * 1.2 * reach * over**3
