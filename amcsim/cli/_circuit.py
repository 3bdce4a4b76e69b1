"""The INV circuit that `netlist` and `waves` work on: the same draw and the same voltages as `solve` takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amcsim._types import F64
from amcsim.cli._input import load_problem
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
    def stop(self) -> float:
        """Length of a transient that shows settling, s: thrice the linearised circuit's to 0.1 %, in two digits.

        At least 1 us, at most the read window, which it is for an unstable circuit.
        """
        model, window = self.handle.models[()], self.handle.spec.converters.read_window
        if not model.stable:
            return window
        settled = float(model.settling_time(model.operating_point(self.volts[:, None]).u, 1e-3)[0])
        return float(f"{min(max(3 * settled, 1e-6), window):.1e}")


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
