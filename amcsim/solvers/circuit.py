"""Arrays in ngspice: the reference that the other backends are held against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from amcsim._types import F64, I64
from amcsim.analysis.array import operating_points, transient
from amcsim.mapping import check_matrix
from amcsim.ngspice.messages import NgspiceDied, NgspiceError
from amcsim.nodal.loop import LoopModel
from amcsim.nodal.verdict import judge, start_up_times
from amcsim.realisation import Realisation, realise
from amcsim.solvers.analog import AnalogProgrammed
from amcsim.solvers.nodal import NodalArray
from amcsim.specs import Spec
from amcsim.streams import Key
from amcsim.topology.circuit import Topology

__all__ = ["CircuitArray", "CircuitProgrammed", "CircuitSolver"]


@dataclass(frozen=True)
class CircuitArray(NodalArray):
    """Holds no session: the process's session is altered to this realisation at each solve.

    ngspice gives the DC points and, where the verdict asks for one, the start-up transient; poles and certificates come
    from the nodal state matrix, since ngspice has no eigenvalues to give. With amplifiers of transistors that matrix is
    the behavioural equivalent's, and each answer has to be the end of a transient of the transistors as well.
    """

    def judged(self, index: tuple[int, ...], model: LoopModel, volts: F64) -> tuple[F64, I64, I64]:
        """See NodalArray. Raises NgspiceError when ngspice cannot be run."""
        r = self.realisation[index]
        point = model.operating_point(volts)
        u = point.u.copy()
        u[: 2 * model.n] = operating_points(self.topology, self.spec, r, volts)
        run = partial(_start_up, self.topology, self.spec, r, start_up_times(model))
        return judge(
            model, volts, u, model.output_current(u, volts), point.converged, run, doubt=self.spec.opamp.transistors
        )


def _start_up(topology: Topology, spec: Spec, r: Realisation, times: F64, b: F64) -> F64:
    """Answers (t, m) at `times` of ngspice's transient from rest; NaN where it does not get to the end.

    Amplifiers of transistors rest at the circuit's DC point without input: from all voltages at zero the supplies would
    step as well. Where they end is asked and no settling time, so that steps may be longer: half the time for a 16x16.
    """
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
