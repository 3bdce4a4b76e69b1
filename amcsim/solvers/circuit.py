"""INV arrays in ngspice: the reference that the other backends are held against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from amcsim._types import F64, I64
from amcsim.analysis.inv import operating_points, transient
from amcsim.mapping import check_matrix
from amcsim.ngspice.messages import NgspiceError
from amcsim.nodal.verdict import judge, start_up_times
from amcsim.realisation import Realisation, realise
from amcsim.solvers.nodal import NodalProgrammed
from amcsim.specs import Spec
from amcsim.streams import Key

__all__ = ["CircuitProgrammed", "CircuitSolver"]


@dataclass(frozen=True)
class CircuitProgrammed(NodalProgrammed):
    """Holds no session: the process's session is altered to this realisation at each solve.

    ngspice gives the DC points and, where the verdict asks for one, the start-up transient; poles and certificates come
    from the nodal state matrix, since ngspice has no eigenvalues to give.
    """

    def answer(self, volts: F64) -> tuple[F64, I64, I64]:
        """See AnalogProgrammed. Raises NgspiceError when ngspice cannot be run."""
        x = np.empty_like(volts)
        status = np.empty(volts.shape[:-2] + volts.shape[-1:], dtype=np.int64)
        reason = np.empty_like(status)
        for index, model in self.models.items():
            r, m = self.realisation[index], model.answers
            point = model.operating_point(volts[index])
            u = point.u.copy()
            u[: 4 * m] = operating_points(self.spec, r, volts[index])
            times = start_up_times(model)

            run = partial(_start_up, self.spec, r, times)
            current = model.output_current(u, volts[index])
            x[index], status[index], reason[index] = judge(model, volts[index], u, current, point.converged, run)
        return x, status, reason


def _start_up(spec: Spec, r: Realisation, times: F64, b: F64) -> F64:
    """Outputs (t, m) at `times` of ngspice's transient from rest; NaN where it does not get to the end."""
    try:
        waves = transient(spec, r, b, float(times[-1]), from_rest=True)
    except NgspiceError:
        return np.full((times.size, b.size), np.nan)
    x = waves.matrix("x")
    return np.stack([np.interp(times, waves.time, x[:, i]) for i in range(b.size)], axis=1)


@dataclass(frozen=True)
class CircuitSolver:
    """The INV circuit in ngspice (amcsim.analysis.inv)."""

    spec: Spec

    def program(self, a: F64, key: Key) -> CircuitProgrammed:
        """Write a, (*batch, m, m). Raises ValueError for a bad matrix, SpecError for an unsupported spec."""
        a = check_matrix(a)
        return CircuitProgrammed(a, self.spec, realise(a, self.spec, key))
