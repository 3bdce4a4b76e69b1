"""Arrays in ngspice: the reference that the other backends are held against."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from amcsim._types import F64, I64
from amcsim.analysis.array import array_deck, operating_points, swept_points, transient
from amcsim.mapping import check_matrix
from amcsim.netlist.deck import Deck
from amcsim.ngspice.messages import NgspiceDied, NgspiceError
from amcsim.nodal.loop import LoopModel
from amcsim.nodal.verdict import certified, judge, start_up_times
from amcsim.realisation import Realisation, realise
from amcsim.solvers.analog import AnalogProgrammed
from amcsim.solvers.nodal import NodalArray
from amcsim.specs import Spec
from amcsim.streams import Key
from amcsim.topology.circuit import Topology

__all__ = ["CircuitArray", "CircuitProgrammed", "CircuitSolver"]

_CALM = 0.9
"""Part of an amplifier's swing and output current up to which its DC equations have no second solution."""


@dataclass(frozen=True)
class CircuitArray(NodalArray):
    """Holds no session: the process's session is altered to this realisation at each solve.

    ngspice gives the DC points and, where the verdict asks for one, the start-up transient; poles and certificates come
    from the nodal state matrix, since ngspice has no eigenvalues to give. With amplifiers of transistors that matrix is
    the behavioural equivalent's, and each answer has to be the end of a transient of the transistors as well.
    """

    @cached_property
    def _decks(self) -> dict[tuple[int, ...], Deck]:
        """Circuits without inputs, made when asked for."""
        return {}

    def judged(self, index: tuple[int, ...], model: LoopModel, volts: F64) -> tuple[F64, I64, I64]:
        """See NodalArray. Raises NgspiceError when ngspice cannot be run."""
        r, n = self.realisation[index], model.n
        u = self._swept(index, model, volts)
        converged = np.ones(u.shape[1], dtype=bool)
        if not self._beyond_doubt(model, u, volts):
            point = model.operating_point(volts)
            u, converged = point.u.copy(), point.converged
            u[: 2 * n] = operating_points(self.topology, self.spec, r, volts)
        run = partial(_start_up, self.topology, self.spec, r, model)
        doubt = self.spec.opamp.transistors
        return judge(model, volts, u, model.output_current(u, volts), converged, run, doubt=doubt)

    def _swept(self, index: tuple[int, ...], model: LoopModel, volts: F64) -> F64:
        """ngspice's operating points in one sweep, (4N, k), V; NaN where there is none, and inside amplifiers."""
        u = np.full((4 * model.n, volts.shape[1]), np.nan)
        if np.isfinite(volts).all():
            if index not in self._decks:
                rest = np.zeros(volts.shape[0])
                self._decks[index] = array_deck(self.topology, self.spec, self.realisation[index], rest)
            with suppress(NgspiceError):
                u[: 2 * model.n] = swept_points(self.topology, self._decks[index], (model.drive @ volts).T)
        return u

    def _beyond_doubt(self, model: LoopModel, u: F64, volts: F64) -> bool:
        """Whether DC points that a sweep found, each from the one before, are the only ones their circuits have.

        That is so where the certificate holds and no amplifier is near its limits. Others are solved one by one, and
        looked at with the nodal solution at hand.
        """
        op = self.spec.opamp
        if model.ports.cells is not None or op.transistors or not np.isfinite(u[: 2 * model.n]).all():
            return False
        if not model.limited:
            return True
        if np.abs(u[: model.n]).max(initial=0.0) > _CALM * op.swing or not certified(model):
            return False
        return bool(np.abs(model.output_current(u, volts)).max(initial=0.0) <= _CALM * op.output_current)


def _start_up(topology: Topology, spec: Spec, r: Realisation, model: LoopModel, b: F64) -> F64:
    """Answers (t, m) at `start_up_times` of ngspice's transient from rest; NaN where it does not get to the end.

    Amplifiers of transistors rest at the circuit's DC point without input: from all voltages at zero the supplies would
    step as well. Where they end is asked and no settling time, so that steps may be longer: half the time for a 16x16.
    """
    times = start_up_times(model)
    m, stop, transistors = r.g_pos.shape[0], float(times[-1]), spec.opamp.transistors
    step = stop / 60 if transistors else None
    try:
        waves = transient(topology, spec, r, b, stop, step=step, from_rest=not transistors)
    except NgspiceDied:
        raise
    except NgspiceError:
        return np.full((times.size, m), np.nan)
    x = topology.sign * waves.matrix(topology.outputs[0])
    return np.stack([np.interp(times, waves.time, x[:, i]) for i in range(m)], axis=1)


@dataclass(frozen=True)
class CircuitProgrammed(CircuitArray, AnalogProgrammed):
    """INV arrays in ngspice."""


@dataclass(frozen=True)
class CircuitSolver:
    """The INV circuit in ngspice (amcsim.analysis.array)."""

    spec: Spec
    read: int = 0
    """Number of the read of an array that programming with the same key leaves (amcsim.variation)."""

    def program(self, a: F64, key: Key) -> CircuitProgrammed:
        """Write a, (*batch, m, m). Raises ValueError for a bad matrix, SpecError for an unsupported spec."""
        a = check_matrix(a)
        return CircuitProgrammed(a, self.spec, realise(a, self.spec, key, self.read))
