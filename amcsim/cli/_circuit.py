"""The INV circuit that `netlist` and `waves` work on: the same draw and the same voltages as `solve` takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amcsim._types import F64
from amcsim.cli._input import load_problem
from amcsim.nodal.inv import InvModel
from amcsim.solvers.nodal import NodalProgrammed, NodalSolver
from amcsim.specs import load_spec
from amcsim.streams import Key

__all__ = ["Drawn", "drawn"]


@dataclass(frozen=True)
class Drawn:
    """One drawn circuit with its input voltages."""

    handle: NodalProgrammed
    volts: F64
    """Input voltages, (m,), V."""
    unit: float
    """Output volts for one unit of x."""
    expected: tuple[F64, F64]
    """Nodal operating point of (x, xn), (m,) each, V; zeros where there is none within the amplifiers' limits."""

    @property
    def m(self) -> int:
        """Matrix size."""
        return self.volts.size

    @property
    def model(self) -> InvModel:
        """The nodal model."""
        return self.handle.models[()]


def drawn(matrix: str, rhs: str, spec: str, seed: int) -> Drawn:
    """Read a problem with one right-hand side and draw its circuit. Raises ValueError."""
    a, b = load_problem(matrix, rhs)
    if b.size != a.shape[0]:
        raise ValueError(f"right-hand side {rhs} has {b.shape[1]} columns; this command takes one")
    handle = NodalSolver(load_spec(spec)).program(a, Key(seed))
    volts, unit = handle.inputs(b.reshape(-1, 1))
    point, m = handle.models[()].operating_point(volts), a.shape[0]
    u = point.u[:, 0] if point.converged[0] else np.zeros(2 * m)
    return Drawn(handle, volts[:, 0], float(unit[0, 0]), (u[:m], u[m : 2 * m]))
