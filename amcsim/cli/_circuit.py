"""The circuit that `netlist` and `waves` work on: the same draw and the same voltages as `solve` takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amcsim._types import F64
from amcsim.cli._input import load_problem
from amcsim.realisation import realise
from amcsim.solvers.arrays import nodal_array
from amcsim.solvers.compensated import compensate
from amcsim.solvers.nodal import NodalArray
from amcsim.specs import load_spec
from amcsim.streams import Key

__all__ = ["Drawn", "drawn"]


@dataclass(frozen=True)
class Drawn:
    """One drawn circuit with its input voltages."""

    handle: NodalArray
    volts: F64
    """Input voltages, (n,), V."""
    unit: float
    """Volts of the answering outputs for one unit of x; negative where the circuit inverts."""
    expected: F64
    """Nodal operating point of all outputs, V; zeros where there is none within the amplifiers' limits."""

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix, (m, n)."""
        m, n = self.handle.a.shape
        return m, n

    @property
    def name(self) -> str:
        """Circuit and shape, such as INV 4x4."""
        return f"{self.handle.topology.name.upper()} {self.shape[0]}x{self.shape[1]}"

    @property
    def output(self) -> str:
        """Name of the answering outputs, to which their number is appended."""
        return self.handle.topology.outputs[0]

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


def drawn(circuit: str, matrix: str, rhs: str, spec: str, seed: int, *, compensated: bool = False) -> Drawn:
    """Read a problem with one right-hand side and draw its circuit. Raises ValueError."""
    a, b = load_problem(matrix, rhs, circuit)
    if b.size != a.shape[1]:
        raise ValueError(f"right-hand side {rhs} has {b.shape[1]} columns; this command takes one")
    technology = load_spec(spec)
    if compensated:
        a = compensate(a, technology, "mvm" if circuit == "mvm" else "inv").matrix
    handle = nodal_array(circuit, technology, a, realise(a, technology, Key(seed)))
    with np.errstate(all="ignore"):
        volts, unit = handle.inputs(b.reshape(-1, 1))
    if not (np.isfinite(volts).all() and np.isfinite(unit).all()):
        raise ValueError(f"right-hand side {rhs}: no voltage stands for numbers as small or large beside this matrix")
    model = handle.models[()]
    point = model.operating_point(volts)
    expected = point.u[: model.n, 0] if point.converged[0] else np.zeros(model.n)
    return Drawn(handle, volts[:, 0], model.sign * float(unit[0, 0]), expected)
