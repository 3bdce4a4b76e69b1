"""Solvers by name, and the stack that trains: BlockAMC over HP-INV over one kind of 4x4 array."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

from amcsim.solvers.base import Solver
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.circuit import CircuitSolver
from amcsim.solvers.exact import Exact
from amcsim.solvers.hp_inv import HpInv
from amcsim.solvers.nodal import NodalSolver
from amcsim.solvers.record import Recorded, Recorder
from amcsim.solvers.surrogate import SurrogateSolver
from amcsim.specs import Spec
from amcsim.surrogate.model import Surrogate, SurrogateFileError, load_surrogate

__all__ = ["BACKENDS", "SHIPPED", "Stack", "leaf_solver", "shipped_surrogate", "training_stack"]

BACKENDS = ("exact", "nodal", "ngspice", "surrogate")
SHIPPED = "pku_350nm"
"""Preset whose surrogate comes with the package."""


def shipped_surrogate(preset: str = SHIPPED) -> Surrogate:
    """The surrogate that comes with the package for a preset. Raises SurrogateFileError where there is none."""
    file = files("amcsim.calibration") / f"{preset}_4x4.surrogate.json"
    if not file.is_file():
        raise SurrogateFileError(f"no surrogate is shipped for {preset!r}: calibrate one and give its file")
    with as_file(file) as path:
        return load_surrogate(path)


def leaf_solver(backend: str, spec: Spec, surrogate: str | Path | Surrogate | None = None) -> Solver:
    """The solver of that name for single arrays of `spec`; "exact" reads no spec.

    `surrogate`: for the backend of that name, a file or a loaded one; None is the shipped one.
    Raises ValueError for another name or a surrogate given to another backend, SurrogateFileError for a bad file.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is unknown; there are {', '.join(BACKENDS)}")
    if backend == "surrogate":
        if surrogate is None:
            surrogate = shipped_surrogate()
        return SurrogateSolver(surrogate if isinstance(surrogate, Surrogate) else load_surrogate(surrogate), spec)
    if surrogate is not None:
        raise ValueError(f"a surrogate goes with the backend 'surrogate' only, not with {backend!r}")
    if backend == "exact":
        return Exact()
    return NodalSolver(spec) if backend == "nodal" else CircuitSolver(spec)


@dataclass(frozen=True)
class Stack:
    """A solver for matrices of any size, and what its two levels did."""

    solver: Solver
    low: Recorder = field(default_factory=Recorder)
    """Every pass of a leaf, against the exact answer of that pass: the LP-INV errors."""
    high: Recorder = field(default_factory=Recorder)
    """Every refined answer of a leaf: the HP-INV errors."""

    def summary(self) -> dict[str, float | int | None]:
        """Figures of Recorder.summary of both levels, named lp_... and hp_...."""
        levels = {"lp": self.low, "hp": self.high}
        return {f"{level}_{name}": value for level, r in levels.items() for name, value in r.summary().items()}


def training_stack(
    leaf: Solver, schedule: Literal["paper", "reuse"] = "paper", *, passes: int | None = None, hp: HpInv | None = None
) -> Stack:
    """BlockAMC to 4x4 leaves over HP-INV over `leaf`, recorded at both levels.

    `passes` cuts HP-INV to so many analog passes, with neither re-programming nor digital help (1 is the analog answer
    alone); None refines to `hp`'s stop rule (default: 24 bits, plain, float64). `hp.inner` is replaced by the leaf.
    Raises ValueError for passes below 1 or an unknown schedule.
    """
    low, high = Recorder(), Recorder()
    options = replace(hp or HpInv(leaf), inner=Recorded(leaf, low))
    if passes is not None:
        options = replace(options, max_iterations=passes, max_reprograms=0, fallback=False)
    return Stack(BlockAmc(Recorded(options, high), schedule=schedule), low, high)
