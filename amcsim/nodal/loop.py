"""A passive array closed by amplifiers: operating points and state matrix of one drawn circuit.

With N amplifiers, non-inverting inputs grounded, unknowns u = (out, sense, p, y), N of each: amplifier outputs, their
inverting inputs, integrators, second-pole stages. Y is the port admittance of everything passive (cells, wires, input
and inverter resistors) at (out, sense, sources). A row each for

    out   : Ro I/(1 - (I/I_max)^4)^(1/4) + out - vsat tanh(y/vsat) = 0,  I = current into the passive part
    sense : Kirchhoff's current law
    p     : p/A0 + c(p) - (I_sl/gm) tanh(gm/I_sl (Vos - sense)) = 0   (c: clamp of the integrator)
    y     : y - p = 0

the linear part is C u' + G u = w. `ideal` and `linear` amplifiers are this without the limits; `ideal` has 1/A0 = 0.
INV and MVM are such circuits (topology/inv.py, topology/mvm.py).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgWarning, lu_factor, lu_solve

from amcsim._types import C128, F32, F64
from amcsim.access import channel_capacitances
from amcsim.nodal.certificate import certified, lags_suffice
from amcsim.nodal.dc import DcEquations, OperatingPoint
from amcsim.nodal.ports import Ports
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.circuit import Topology
from amcsim.topology.inv import INV

__all__ = ["LoopModel"]


_SMALL = 100
"""States up to which eigenvectors are found with the eigenvalues."""


@dataclass(frozen=True)
class LoopModel:
    """One drawn circuit."""

    spec: Spec
    realisation: Realisation
    ports: Ports
    """In the order out, sense, sources."""
    offset: F64
    """Input offsets, (N,), V."""
    drive: F64
    """Source voltages for one volt at each input, (sources, inputs)."""
    answers: int
    """The first so many outputs are the circuit's answer ..."""
    sign: float
    """... times this."""
    on_cells: int
    """The first so many outputs lie on cells, where v_read_max bounds them."""
    loop: F64
    """What the answers' amplifiers see of their own outputs at DC, (answers, answers), S: G+ - G- of an INV circuit."""
    topology: Topology

    @property
    def n(self) -> int:
        """Number of amplifiers N."""
        return int(self.offset.size)

    @property
    def limited(self) -> bool:
        """Whether the amplifiers have limits (slew, swing, current)."""
        return self.spec.opamp.model == "behavioral"

    @property
    def output_resistance(self) -> float:
        """Output resistance of the amplifiers, ohm (`ideal` has none)."""
        return 0.0 if self.spec.opamp.model == "ideal" else self.spec.opamp.output_resistance

    @property
    def reach(self) -> float:
        """Input voltage at which an amplifier slews, V."""
        return self.spec.opamp.slew_rate / (2 * math.pi * self.spec.opamp.gbw)

    @cached_property
    def conductance(self) -> F64:
        """G, (4N, 4N)."""
        n = self.n
        g = np.zeros((4 * n, 4 * n))
        g[: 2 * n, : 2 * n] = self.ports.conductance[: 2 * n, : 2 * n]
        g[:n] *= self.output_resistance
        out, sense, p, y = (np.arange(k * n, (k + 1) * n) for k in range(4))
        g[out, out] += 1.0
        g[out, y] -= 1.0
        g[p, p] += 0.0 if self.spec.opamp.model == "ideal" else 1.0 / self.spec.opamp.gain
        g[p, sense] += 1.0
        g[y, y] += 1.0
        g[y, p] -= 1.0
        return g

    @cached_property
    def capacitance(self) -> F64:
        """C, (4N, 4N), rows scaled like those of G."""
        n, op = self.n, self.spec.opamp
        c = np.zeros((4 * n, 4 * n))
        c[: 2 * n, : 2 * n] = self.ports.capacitance[: 2 * n, : 2 * n]
        c[:n] *= self.output_resistance
        p, y = np.arange(2 * n, 3 * n), np.arange(3 * n, 4 * n)
        c[p, p] = 1.0 / (2 * math.pi * op.gbw)
        if op.second_pole is not None and op.model != "ideal":
            c[y, y] = 1.0 / (2 * math.pi * op.second_pole)
        return c

    @cached_property
    def _factors(self) -> tuple[F64, npt.NDArray[np.int32]]:
        with warnings.catch_warnings():  # a singular circuit answers with NaN, and the verdict says so
            warnings.simplefilter("ignore", LinAlgWarning)
            return lu_factor(self.conductance, check_finite=False)

    def excitation(self, b: F64) -> F64:
        """W of G u = w for input voltages b, (inputs, k), and the offsets; (4N, k)."""
        n = self.n
        w = np.zeros((4 * n, b.shape[1]))
        with np.errstate(invalid="ignore"):  # infinite inputs
            w[: 2 * n] = -self.ports.conductance[: 2 * n, 2 * n :] @ (self.drive @ b)
        w[:n] *= self.output_resistance
        w[2 * n : 3 * n] = self.offset[:, None]
        return w

    def output_current(self, u: F64, b: F64) -> F64:
        """Currents out of the amplifiers at DC, (N, k), A."""
        n = self.n
        y = self.ports.conductance[:n]
        with np.errstate(invalid="ignore"):  # a singular circuit's NaN
            current: F64 = y[:, : 2 * n] @ u[: 2 * n] + y[:, 2 * n :] @ (self.drive @ b)
            if self.ports.cells is not None:
                current = current + self.bent(u, b)[0][:n]
        return current

    def bent(self, u: F64, b: F64) -> tuple[F64, F64]:
        """Currents that curved cells add at outputs and senses, (2N, k), A, and their slopes beyond G, (cells, k)."""
        cells = self.ports.cells
        if cells is None:
            return np.zeros((2 * self.n, u.shape[1])), np.zeros((0, u.shape[1]))
        into, slope = cells.excess(np.concatenate([u[: 2 * self.n], self.drive @ b]))
        return into[: 2 * self.n], slope

    def at(self, u: F64, b: F64) -> LoopModel:
        """The circuit with its cells linearised at a solution u, (4N,), of input voltages b, (inputs,)."""
        cells = self.ports.cells
        if cells is None:
            return self
        slope = self.bent(u[:, None], b[:, None])[1]
        y = self.ports.conductance + cells.seen.T @ (slope * cells.seen)
        return replace(
            self, ports=replace(self.ports, conductance=y, cells=None), loop=self.topology.loop(y, self.answers)
        )

    @cached_property
    def into_sums(self) -> F32:
        """Conductances from every port to the answers' summing nodes, (2N + sources, answers), S; single precision."""
        rows = self.ports.conductance[self.n : self.n + self.answers]
        return np.ascontiguousarray(rows.T, dtype=np.float32)

    @cached_property
    def dc(self) -> DcEquations:
        """The circuit at rest."""
        return DcEquations(self.spec, self.ports, self.offset, self.drive)

    def operating_point(self, b: F64) -> OperatingPoint:
        """DC solutions for input voltages b, (inputs, k); see DcEquations.solve."""
        return self.dc.solve(b)

    @cached_property
    def _state(self) -> F64:
        """-G^-1 C; infinite, (1, 1), where G is singular."""
        matrix: F64 = lu_solve(self._factors, -self.capacitance, check_finite=False)
        return matrix if np.isfinite(matrix).all() else np.full((1, 1), np.inf)

    @cached_property
    def _modes(self) -> tuple[C128, C128]:
        """Time constants mu = -1/pole (s) and eigenvectors of `_state`."""
        if not np.isfinite(self._state).all():
            return np.full(1, np.inf + 0j), np.ones((1, 1), dtype=np.complex128)
        mu, vectors = np.linalg.eig(self._state)
        return mu.astype(np.complex128), vectors.astype(np.complex128)

    @cached_property
    def poles(self) -> C128:
        """Poles of the linearised circuit, rad/s; those faster than rounding can resolve are left out."""
        small = len(self._state) <= _SMALL  # their vectors cost little, and are often asked for next
        mu = self._modes[0] if small else np.linalg.eigvals(self._state).astype(np.complex128)
        kept = np.abs(mu) > 1e-9 * np.abs(mu).max(initial=0.0) if mu.size else np.zeros(0, dtype=bool)
        poles: C128 = 1.0 / mu[kept]
        return poles[np.argsort(-poles.real)]

    @cached_property
    def vouched(self) -> bool:
        """Whether the certificate finds this INV circuit of linear cells stable, settled and free of latched states.

        Milliseconds, where the poles of a large circuit take seconds. Where it does not vouch, they tell.
        """
        if self.topology.outputs != INV.outputs or self.topology.senses != INV.senses or self.ports.cells is not None:
            return False
        m, spec, y = self.answers, self.spec, self.ports.conductance
        sums = slice(2 * m, 3 * m)
        pos, neg, within = -y[sums, :m], -y[sums, m : 2 * m] * self.realisation.inverter_ratio, y[sums, sums]
        if not certified(pos[None], neg[None], within[None], spec)[0]:
            return False
        inner, outer = channel_capacitances(spec.cell)
        stray = 2 * m * (spec.wire.sl_capacitance + inner + outer), m * (spec.wire.bl_capacitance + inner)
        load = np.diag(y)
        return lags_suffice(pos, neg, within, spec, (load[:m], load[m : 2 * m]), stray)

    @property
    def stable(self) -> bool:
        """Whether all poles lie in the left half-plane."""
        return bool(self.poles.size == 0 or self.poles[0].real < 0)

    def step_residue(self, u: F64, times: F64) -> F64:
        """u(t) - u(inf) of the linearised circuit after a step from rest to u, (t, 4N, k); stable circuits only."""
        mu, vectors = self._modes
        rhs = -u.astype(np.complex128)
        try:
            weights = np.linalg.solve(vectors, rhs)
        except np.linalg.LinAlgError:  # a defective matrix has no full set of modes
            weights = np.linalg.lstsq(vectors, rhs, rcond=None)[0]
        slow = np.abs(mu) > 1e-9 * np.abs(mu).max(initial=1e-300)
        decay = np.exp(np.outer(times, 1.0 / mu[slow]))
        residue: F64 = ((vectors[:, slow] * decay[:, None, :]) @ weights[slow]).real
        return residue

    @cached_property
    def unit_points(self) -> F64:
        """Linear DC response to one volt at each input, in the last column to the offsets alone, (4N, inputs + 1)."""
        inputs = self.drive.shape[1]
        with_offsets = self.excitation(np.concatenate([np.eye(inputs), np.zeros((inputs, 1))], axis=1))
        with_offsets[:, :inputs] -= with_offsets[:, inputs:]
        points: F64 = lu_solve(self._factors, with_offsets, check_finite=False)
        return points

    @cached_property
    def unit_peaks(self) -> F64:
        """Largest |u(t)| of the linear step responses to `unit_points`, (4N, inputs + 1); stable circuits only."""
        response = self.unit_points + self.step_residue(self.unit_points, self.response_times)
        peaks: F64 = np.abs(response).max(axis=0)
        return peaks

    @cached_property
    def response_times(self) -> F64:
        """Instants (s) that show the peaks of a step response: from the amplifiers' scale to the slowest pole's."""
        slowest = -1.0 / self.poles[0].real if self.poles.size else 0.0
        return np.geomspace(0.02 / self.spec.opamp.gbw, max(10.0 * slowest, 1.0 / self.spec.opamp.gbw), 96)

    @cached_property
    def unit_residue(self) -> F64:
        """Answers minus their end values at the end of the read window, of the responses to `unit_points`."""
        window = np.array([self.spec.converters.read_window])
        residue: F64 = self.step_residue(self.unit_points, window)[0, : self.answers]
        return residue

    def settling_time(self, u: F64, tolerance: float) -> F64:
        """Time after which the answers stay within tolerance * their norm, (k,), s, from the linearised circuit."""
        slowest = 1.0 / max(-self.poles[0].real, 1e-300) if self.poles.size else 0.0
        if slowest == 0.0:
            return np.zeros(u.shape[1])
        times = np.concatenate([[0.0], np.geomspace(1e-3 * slowest, 40.0 * slowest, 600)])
        error = np.linalg.norm(self.step_residue(u, times)[:, : self.answers], axis=1)
        norm = np.linalg.norm(u[: self.answers], axis=0)
        outside = error > tolerance * np.where(norm > 0, norm, 1.0)
        last = np.where(outside.any(axis=0), outside.shape[0] - 1 - np.argmax(outside[::-1], axis=0), 0)
        after, column = np.minimum(last + 1, times.size - 1), np.arange(u.shape[1])
        # decaying exponentials are straight in the logarithm: to 1e-4 between instants that lie 2 % apart
        level = np.log(np.maximum(error, 1e-300) / (tolerance * np.where(norm > 0, norm, 1.0)))
        drop = np.maximum(level[last, column] - level[after, column], 1e-300)
        share = np.minimum(level[last, column] / drop, 1.0)
        settled: F64 = np.where(outside.any(axis=0), times[last] + share * (times[after] - times[last]), 0.0)
        return settled
