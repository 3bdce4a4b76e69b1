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

from amcsim._compile import compiled
from amcsim._types import F32, F64, Bool
from amcsim.nodal.ports import Ports
from amcsim.specs import Spec

__all__ = ["DcEquations", "OperatingPoint", "integrator_clamp"]

_LINEAR = 1.2
"""Stage voltage over the swing up to which a solution counts as one: tanh has lost 31 % of its slope there."""
_CHORD = 0.1
"""Part of the step before that a chord step may have."""
_MICROVOLT = 1e-6
_LEAST = 1e-12
"""Steps, V, that end a round: what they leave is smaller by the part of 1/A0 that each round takes."""


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

    def _outputs(self, z: F64, sources: F64 | None = None) -> F64:
        """(out, I), (2N, k), of z = (out, sense); `sources`: what inputs add to the currents."""
        current = self.ports.conductance[: self._n, : 2 * self._n] @ z
        return np.concatenate([z[: self._n], current if sources is None else current + sources])

    def _sense(self, outputs: F64, excess: F64 | float = 0.0) -> F64:
        """Of (out, I), (2N, k), by the amplifiers' own equations, (N, k)."""
        sense: F64 = self.offset[:, None] - excess - self._leak * self._before(outputs)
        return sense

    def _before(self, outputs: F64) -> F64:
        """out + Ro I of (out, I), (2N, k)."""
        n = self._n
        return np.asarray(outputs[:n] + self._ro * outputs[n:])

    @cached_property
    def _linear(self) -> tuple[F64, F64, F64]:
        """(out, I) for one volt at each input, (2N, inputs); at no input, (2N,); for each volt of e, (2N, N)."""
        n = self._n
        rhs = -self._of_sources
        rhs[:n] *= self._leak * self._ro
        with np.errstate(all="ignore"):
            response = self._outputs(self._inverse @ rhs, self._of_sources[:n])
            excess = self._outputs(-self._inverse[:, :n])
            return response, -excess @ self.offset, excess

    @cached_property
    def _gain(self) -> float:
        """What one volt of e at all inputs moves a voltage, that before an output resistance too, by at most, V/V."""
        n, sums = self._n, np.abs(self._linear[2]).sum(axis=1)
        before = float((sums[:n] + self._ro * sums[n:]).max(initial=0.0))
        return max(before, 1.0 + self._leak * before)  # of the stage, so of outputs, and of the inputs

    @cached_property
    def _single(self) -> F32:
        """What e moves, in single precision: half the memory to read, enough for microvolts."""
        return self._linear[2].astype(np.float32)

    def solve(self, b: F64) -> OperatingPoint:
        """Solutions for input voltages b, (inputs, k).

        One beyond the limits does not converge here; the start-up transient finds where such a circuit ends.
        """
        n = self._n
        response, rest, _ = self._linear
        with np.errstate(all="ignore"):  # infinite inputs, singular circuits
            linear: F64 = response @ b + rest[:, None]
            converged = np.asarray(np.isfinite(linear).all(axis=0))
            found = linear
            if self.ports.cells is not None:
                z, done = self._newton(np.concatenate([linear[:n], self._sense(linear)]), b)
                converged &= done
                found = self._outputs(z, self._of_sources[:n] @ b + self._bent(z, b)[0][:n])
            elif self._limited:
                converged &= np.abs(self._before(linear)).max(axis=0) < _LINEAR * self.spec.opamp.swing
                found = self._within_limits(linear, converged)
            stage, excess = self._limits(found) if self._limited else (self._before(found), 0.0)
            sense = self._sense(found, excess)
            if not converged.all():
                found = np.where(converged, found, linear)
                stage = np.where(converged, stage, self._before(linear))
                sense = np.where(converged, sense, self._sense(linear))
        return OperatingPoint(np.concatenate([found[:n], sense, stage, stage]), found[n:], converged)

    def _bent(self, z: F64, b: F64, moved: F64 | None = None) -> tuple[F64, F64, F64]:
        """Currents of curved cells into outputs and senses, (2N, k), slopes, and CurvedCells.excess_from's last."""
        cells = self.ports.cells
        assert cells is not None
        volts = np.concatenate([z, self.drive @ b])
        into, slope, moved = cells.excess_from(volts, np.zeros(()) if moved is None else moved)
        return into[: 2 * self._n], slope, moved

    def _limits(self, outputs: F64) -> tuple[F64, F64]:
        """Voltages before the output resistance and the clamp at (out, I), and e of each amplifier, (N, k), V.

        NaN beyond the limits.
        """
        op = self.spec.opamp
        reach = op.slew_rate / (2 * math.pi * op.gbw)
        return _limited(outputs, self._ro, self._leak, op.swing, op.output_current, reach)

    def _slope(self, outputs: F64, stages: F64) -> float:
        """The most that e changes by with out + Ro I where no integrator is at its clamp, else infinite."""
        n, op = self._n, self.spec.opamp
        stage = float(np.abs(stages).max(initial=0.0))
        if not stage < 0.9 * op.swing:
            return math.inf
        bend = math.cosh(stage / op.swing) ** 2 / (1.0 - (stage / (op.gain * op.slew_rate) * 2 * math.pi * op.gbw) ** 2)
        ratio = min(float(np.abs(outputs[n:]).max(initial=0.0)) / op.output_current, 0.99)
        return float(self._leak * (bend * (1.0 - ratio**4) ** -1.25 - 1.0))

    def _within_limits(self, start: F64, converged: Bool) -> F64:
        """(out, I) from the linear ones in rounds of e, (2N, k).

        `converged` loses the columns that leave the limits. Where an integrator comes to its clamp, e is no small part
        of anything: there by Newton.
        """
        of_excess, gain = self._linear[2], self._gain
        stages, excess = self._limits(start)
        if not converged.all():
            excess = np.where(converged, excess, 0.0)
        moved = gain * float(np.abs(excess).max(initial=0.0))
        if moved < _MICROVOLT and moved * self._slope(start, stages) < _LEAST:
            return start + self._single @ excess.astype(np.float32)
        found = start + of_excess @ excess
        change = np.inf
        for _ in range(6):
            new = np.where(converged, self._limits(found)[1], 0.0)
            converged &= np.isfinite(new).all(axis=0)
            change = np.abs(new - excess).max(axis=0, initial=0.0)
            if not np.any(change[converged] * gain > _LEAST):
                return found
            excess = np.where(converged, new, 0.0)
            found = start + of_excess @ excess
        for column in np.flatnonzero(converged & ~(change * gain < _LEAST)):
            found[:, column], converged[column] = self._clamped(start[:, column])
        return found

    def _clamped(self, start: F64) -> tuple[F64, bool]:
        """The same of one column by Newton on e, slopes by differences; and whether it converged."""
        n, of_excess = self._n, self._linear[2]
        steps = np.array([1e-7 * self.spec.opamp.swing, 1e-7 * self.spec.opamp.swing / max(self._ro, 1.0)])
        found, excess = start, np.zeros(n)
        for _ in range(40):
            nudged = np.stack([found, found, found], axis=1)
            nudged[:n, 1] += steps[0]
            nudged[n:, 2] += steps[1]
            asked = self._limits(nudged)[1]
            slopes = (asked[:, 1:] - asked[:, :1]) / steps
            jacobian = np.eye(n) - slopes[:, :1] * of_excess[:n] - slopes[:, 1:] * of_excess[n:]
            if not np.isfinite(jacobian).all():
                break
            change = np.linalg.solve(jacobian, asked[:, 0] - excess)
            excess = excess + change
            found = start + of_excess @ excess
            if max(np.abs(change).max(), np.abs(of_excess @ change).max()) < _LEAST:
                return found, True
        return start, False

    def _newton(self, start: F64, b: F64) -> tuple[F64, Bool]:
        """Solve with curved cells from `start`: z (2N, k) and whether each column converged.

        Chord steps, on the linear array's inverse at first; slopes are taken anew where a step shrinks too little.
        """
        n, drop, cells = self._n, self._leak * self._ro, self.ports.cells
        assert cells is not None
        z, done = start.copy(), np.zeros(start.shape[1], dtype=bool)
        seen = cells.seen[:, : 2 * n]
        for column in np.flatnonzero(np.isfinite(start).all(axis=0)):
            one, volts = z[:, [column]], b[:, [column]]
            sources, factors, before, moved = self._of_sources @ volts, None, np.inf, None
            for _ in range(60):
                into, slope, moved = self._bent(one, volts, moved)
                added = sources + into
                residue = -self.matrix @ one
                residue[:n] += self.offset[:, None] - drop * added[:n]
                residue[n:] -= added[n:]
                if self._limited:
                    excess = self._limits(self._outputs(one, added[:n]))[1]
                    if not np.isfinite(excess).all():
                        break
                    residue[:n] -= excess
                step = self._inverse @ residue if factors is None else lu_solve(factors, residue, check_finite=False)
                largest = float(np.abs(step).max())
                if not largest < _CHORD * before:
                    more = seen.T @ (slope * seen)
                    more[:n] *= drop
                    factors = lu_factor(self.matrix + more, check_finite=False)
                    step = lu_solve(factors, residue, check_finite=False)
                    largest = float(np.abs(step).max())
                before = largest
                one = one + step * min(1.0, 0.5 / max(largest, 1e-300))
                if not largest < 1e3:
                    break
                if largest < 1e-13:
                    done[column] = True
                    break
            z[:, column] = one[:, 0]
        return z, done


@compiled
def integrator_clamp(p: F64 | float, swing: float, reach: float) -> F64 | float:
    """Extra input voltage that the integrator's clamp asks for at p (circuits/opamp_behavioral.lib), V."""
    over = np.maximum(np.abs(p) - 0.9 * swing, 0.0) / (0.15 * swing)
    return np.sign(p) * (1.2 * reach) * (over * over * over)


@compiled
def _limited(outputs: F64, ro: float, leak: float, swing: float, most: float, reach: float) -> tuple[F64, F64]:
    """See DcEquations._limits."""
    n, columns = outputs.shape[0] // 2, outputs.shape[1]
    stage, excess = np.empty((n, columns)), np.empty((n, columns))
    for i in range(n):
        for c in range(columns):
            out, current = outputs[i, c], outputs[n + i, c]
            square = min((current / most) ** 2, 0.99**2)  # beyond, the verdict names the current
            drop = ro * current / np.sqrt(np.sqrt(1.0 - square * square))
            y = swing * np.arctanh((out + drop) / swing)
            stage[i, c] = y
            asked = (y * leak + integrator_clamp(y, swing, reach)) / reach
            square = asked * asked  # mostly tiny: to rounding by its series, in a tenth of the time
            up = asked * (1.0 + square * (1.0 / 3.0 + square / 5.0)) if square < 1e-6 else np.arctanh(asked)
            e = reach * up - leak * (out + ro * current)
            excess[i, c] = e if abs(y) < _LINEAR * swing else np.nan
    return stage, excess
