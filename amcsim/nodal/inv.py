"""The INV circuit of one realisation: operating points and state matrix.

Unknowns u = (x, xn, v, q, p, pn, y, yn), m of each: outputs of amplifiers and inverters, summing nodes, inverter
inputs, integrators, second-pole stages. With the port admittance Y of the passive array (inputs included) and a row
each for

    x, xn : Ro I/(1 - (I/I_max)^4)^(1/4) + x - vsat tanh(y/vsat) = 0,  I = current into the array and the inverter
    v, q  : Kirchhoff's current law
    p, pn : p/A0 + c(p) - (I_sl/gm) tanh(gm/I_sl (Vos - v)) = 0   (c: clamp of the integrator)
    y, yn : y - p = 0

the linear part is C u' + G u = w. `ideal` and `linear` amplifiers are this without the limits; `ideal` has 1/A0 = 0.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgWarning, lu_factor, lu_solve

from amcsim._types import C128, F64, Bool
from amcsim.access import on_resistance
from amcsim.nodal.ports import Ports, reduce_to_ports
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.inv import inv_network

__all__ = ["InvModel", "OperatingPoint", "build"]


@dataclass(frozen=True)
class OperatingPoint:
    """Solutions of the circuit's DC equations; which of them is reached is the verdict's business."""

    u: F64
    """(8m, k), all unknowns, V."""
    current: F64
    """(2m, k), output currents of amplifiers and inverters, A."""
    converged: Bool
    """(k,): whether Newton's iteration ended."""


@dataclass(frozen=True)
class InvModel:
    """One drawn INV circuit."""

    spec: Spec
    realisation: Realisation
    ports: Ports
    """In the order x, xn, sl, in."""

    @property
    def m(self) -> int:
        """Matrix size."""
        return int(self.realisation.offset.shape[-1])

    @property
    def limited(self) -> bool:
        """Whether the amplifiers have limits (slew, swing, current)."""
        return self.spec.opamp.model == "behavioral"

    def part(self, name: str) -> slice:
        """Rows of u that hold x, xn, v, q, p, pn, y or yn."""
        k = ("x", "xn", "v", "q", "p", "pn", "y", "yn").index(name)
        return slice(k * self.m, (k + 1) * self.m)

    @cached_property
    def conductance(self) -> F64:
        """G, (8m, 8m)."""
        m, spec = self.m, self.spec
        g = np.zeros((8 * m, 8 * m))
        n3 = 3 * m
        g[:n3, :n3] = self.ports.conductance[:n3, :n3]
        into, feedback = self._inverter_conductances
        x, xn, v, q, p, pn, y, yn = (np.arange(k * m, (k + 1) * m) for k in range(8))
        for a, b, value in ((x, q, into), (xn, q, feedback)):
            g[a, a] += value
            g[b, b] += value
            g[a, b] -= value
            g[b, a] -= value
        g[: 2 * m] *= self.output_resistance
        for out, stage in ((x, y), (xn, yn)):
            g[out, out] += 1.0
            g[out, stage] -= 1.0
        leak = 0.0 if spec.opamp.model == "ideal" else 1.0 / spec.opamp.gain
        for stage, sense, last in ((p, v, y), (pn, q, yn)):
            g[stage, stage] += leak
            g[stage, sense] += 1.0
            g[last, last] += 1.0
            g[last, stage] -= 1.0
        return g

    @cached_property
    def capacitance(self) -> F64:
        """C, (8m, 8m), rows scaled like those of G."""
        m, spec = self.m, self.spec
        c = np.zeros((8 * m, 8 * m))
        n3 = 3 * m
        c[:n3, :n3] = self.ports.capacitance[:n3, :n3]
        xn, q, p, pn, y, yn = (np.arange(k * m, (k + 1) * m) for k in (1, 3, 4, 5, 6, 7))
        across = spec.inverter.feedback_capacitance
        c[xn, xn] += across
        c[q, q] += across + spec.wire.inverter_capacitance
        c[xn, q] -= across
        c[q, xn] -= across
        c[: 2 * m] *= self.output_resistance
        c[p, p] = c[pn, pn] = 1.0 / (2 * math.pi * spec.opamp.gbw)
        if spec.opamp.second_pole is not None and spec.opamp.model != "ideal":
            c[y, y] = c[yn, yn] = 1.0 / (2 * math.pi * spec.opamp.second_pole)
        return c

    @property
    def output_resistance(self) -> float:
        """Output resistance of the amplifiers, ohm (`ideal` has none)."""
        return 0.0 if self.spec.opamp.model == "ideal" else self.spec.opamp.output_resistance

    @property
    def _inverter_conductances(self) -> tuple[float, F64]:
        resistance = self.spec.inverter.resistance
        return 1.0 / resistance, 1.0 / (resistance * self.realisation.inverter_ratio)

    @cached_property
    def _factors(self) -> tuple[F64, npt.NDArray[np.int32]]:
        with warnings.catch_warnings():  # a singular circuit answers with NaN, and the verdict says so
            warnings.simplefilter("ignore", LinAlgWarning)
            return lu_factor(self.conductance, check_finite=False)

    def excitation(self, b: F64) -> F64:
        """W of G u = w for input voltages b, (m, k): sources at -b and the offsets; (8m, k)."""
        m = self.m
        w = np.zeros((8 * m, b.shape[1]))
        w[2 * m : 3 * m] = self.ports.conductance[2 * m : 3 * m, 3 * m :] @ b
        w[4 * m : 5 * m] = self.realisation.offset[:, None]
        w[5 * m : 6 * m] = self.realisation.inverter_offset[:, None]
        return w

    def output_current(self, u: F64) -> F64:
        """Currents out of amplifiers and inverters at DC, (2m, k), A."""
        m = self.m
        into, feedback = self._inverter_conductances
        current = self.ports.conductance[: 2 * m, : 3 * m] @ u[: 3 * m]
        current[:m] += into * (u[:m] - u[3 * m : 4 * m])
        current[m:] += feedback[:, None] * (u[m : 2 * m] - u[3 * m : 4 * m])
        return current

    def operating_point(self, b: F64) -> OperatingPoint:
        """DC solutions for input voltages b, (m, k): linear solve, then chord steps on the limits' small curvature.

        A solution beyond the limits does not converge here; the start-up transient finds where such a circuit ends.
        """
        m = self.m
        w = self.excitation(b)
        linear: F64 = lu_solve(self._factors, w, check_finite=False)
        u, swing = linear, self.spec.opamp.swing
        converged = np.asarray(np.isfinite(u).all(axis=0))
        if self.limited:
            # a chord step shrinks by 1 - tanh'(y/vsat): beyond 1.2 vsat it cannot converge
            converged &= np.abs(u[6 * m :]).max(axis=0) < 1.2 * swing
            step = np.zeros_like(u)
            for _ in range(60):
                u = np.where(converged, u, linear)
                step = lu_solve(self._factors, w - self._curvature(u) - self.conductance @ u, check_finite=False)
                step = np.where(converged, step, 0.0)
                u = u + step
                converged &= np.abs(u[4 * m :]).max(axis=0) < 1.2 * swing
                if np.abs(step).max(initial=0.0) < 1e-14:
                    break
            converged &= np.abs(step).max(axis=0) < 1e-10
            u = np.where(converged, u, linear)
        return OperatingPoint(u, self.output_current(u), converged)

    def _curvature(self, u: F64) -> F64:
        """Residual of the rows minus its linear part, (8m, k)."""
        m, op = self.m, self.spec.opamp
        out = np.zeros_like(u)
        stage = u[6 * m :]
        drop = self.output_current(u)
        ratio = np.clip(drop / op.output_current, -0.99, 0.99)
        out[: 2 * m] = op.output_resistance * drop * ((1 - ratio**4) ** -0.25 - 1)
        out[: 2 * m] -= op.swing * np.tanh(stage / op.swing) - stage
        reach = op.slew_rate / (2 * math.pi * op.gbw)
        sense = np.concatenate([self.realisation.offset, self.realisation.inverter_offset])[:, None] - u[2 * m : 4 * m]
        out[4 * m : 6 * m] = integrator_clamp(u[4 * m : 6 * m], op.swing, reach)
        out[4 * m : 6 * m] -= reach * np.tanh(sense / reach) - sense
        return out

    @cached_property
    def _modes(self) -> tuple[C128, C128]:
        """Time constants mu = -1/pole (s) and eigenvectors of -G^-1 C."""
        matrix = lu_solve(self._factors, -self.capacitance, check_finite=False)
        if not np.isfinite(matrix).all():
            return np.full(1, np.inf + 0j), np.ones((1, 1), dtype=np.complex128)
        mu, vectors = np.linalg.eig(matrix)
        return mu.astype(np.complex128), vectors.astype(np.complex128)

    @cached_property
    def poles(self) -> C128:
        """Poles of the linearised circuit, rad/s; those faster than rounding can resolve are left out."""
        mu = self._modes[0]
        kept = np.abs(mu) > 1e-9 * np.abs(mu).max(initial=0.0) if mu.size else np.zeros(0, dtype=bool)
        poles: C128 = 1.0 / mu[kept]
        return poles[np.argsort(-poles.real)]

    @property
    def stable(self) -> bool:
        """Whether all poles lie in the left half-plane."""
        return bool(self.poles.size == 0 or self.poles[0].real < 0)

    def step_residue(self, u: F64, times: F64) -> F64:
        """u(t) - u(inf) of the linearised circuit after a step from rest to u, (t, 8m, k); stable circuits only."""
        mu, vectors = self._modes
        weights = np.linalg.lstsq(vectors, -u.astype(np.complex128), rcond=None)[0]
        slow = np.abs(mu) > 1e-9 * np.abs(mu).max(initial=1e-300)
        decay = np.exp(np.outer(times, 1.0 / mu[slow]))
        residue: F64 = np.einsum("im,tm,mk->tik", vectors[:, slow], decay, weights[slow], optimize=True).real
        return residue

    @cached_property
    def unit_points(self) -> F64:
        """Linear DC response to one volt at each input, and in the last column to the offsets alone, (8m, m + 1)."""
        with_offsets = self.excitation(np.concatenate([np.eye(self.m), np.zeros((self.m, 1))], axis=1))
        with_offsets[:, : self.m] -= with_offsets[:, self.m :]
        points: F64 = lu_solve(self._factors, with_offsets, check_finite=False)
        return points

    @cached_property
    def unit_peaks(self) -> F64:
        """Largest |u(t)| of the linear step responses to `unit_points`, (8m, m + 1); stable circuits only."""
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
        """x(t) - x(inf) at the end of the read window, of the step responses to `unit_points`, (m, m + 1)."""
        residue: F64 = self.step_residue(self.unit_points, np.array([self.spec.converters.read_window]))[0, : self.m]
        return residue

    def settling_time(self, u: F64, tolerance: float) -> F64:
        """Time after which x stays within tolerance * ||x|| of its end value, (k,), s, from the linearised circuit."""
        slowest = 1.0 / max(-self.poles[0].real, 1e-300) if self.poles.size else 0.0
        if slowest == 0.0:
            return np.zeros(u.shape[1])
        times = np.concatenate([[0.0], np.geomspace(1e-3 * slowest, 40.0 * slowest, 600)])
        error = np.linalg.norm(self.step_residue(u, times)[:, : self.m], axis=1)
        norm = np.linalg.norm(u[: self.m], axis=0)
        outside = error > tolerance * np.where(norm > 0, norm, 1.0)
        last = np.where(outside.any(axis=0), outside.shape[0] - 1 - np.argmax(outside[::-1], axis=0), 0)
        settled: F64 = np.where(outside.any(axis=0), times[np.minimum(last + 1, times.size - 1)], 0.0)
        return settled


def integrator_clamp(p: F64, swing: float, reach: float) -> F64:
    """Extra input voltage that the integrator's clamp asks for at p (circuits/opamp_behavioral.lib), V."""
    over = np.maximum(np.abs(p) - 0.9 * swing, 0.0) / (0.15 * swing)
    return np.sign(p) * 1.2 * reach * over**3


def build(spec: Spec, r: Realisation, series: float | None = None) -> InvModel:
    """The model of one unbatched realisation; `series` replaces the access device's analytic on-resistance, ohm."""
    ron = on_resistance(spec.cell) if series is None else series
    return InvModel(spec, r, reduce_to_ports(inv_network(r.offset.shape[-1], spec), spec, r, ron))
