"""Solvers by name, and the stack that trains: BlockAMC over HP-INV over one kind of 4x4 array."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast, get_args

from amcsim.solvers.base import Solver
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.circuit import CircuitSolver
from amcsim.solvers.exact import Exact
from amcsim.solvers.hp_inv import HpInv
from amcsim.solvers.mvm import Backend, MvmSolver
from amcsim.solvers.nodal import NodalSolver
from amcsim.solvers.record import Recorded, Recorder
from amcsim.solvers.surrogate import SurrogateSolver
from amcsim.specs import Spec
from amcsim.surrogate.model import Surrogate, load_surrogate
from amcsim.surrogate.shipped import shipped_surrogate

__all__ = ["BACKENDS", "Stack", "large_arrays", "leaf_solver", "product_solver", "training_stack"]

BACKENDS: tuple[str, ...] = get_args(Backend)


def leaf_solver(backend: str, spec: Spec, surrogate: str | Path | Surrogate | None = None, *, size: int = 4) -> Solver:
    """The INV solver of that name for single arrays of `spec`; "exact" reads no spec.

    `surrogate`: for the backend of that name, a file or a loaded one; None is the one shipped for arrays of `size`.
    Raises ValueError for another name or a surrogate given to another backend, SurrogateFileError for a bad file,
    DomainError where none is shipped.
    """
    model = _surrogate(backend, spec, surrogate, (size, size), "inv")
    if model is not None:
        return SurrogateSolver(model, spec)
    if backend == "exact":
        return Exact()
    return NodalSolver(spec) if backend == "nodal" else CircuitSolver(spec)


def large_arrays(
    backend: str,
    spec: Spec,
    surrogate: str | Path | Surrogate | None = None,
    *,
    size: int = 128,
    passes: int | None = None,
) -> BlockAmc:
    """BlockAMC, arrays kept, to leaves of up to `size` rows, over HP-INV by flexible GCR, over arrays of that backend.

    `passes` cuts HP-INV to so many analog passes, with neither re-programming nor digital help; None refines to 24
    bits. Raises as `leaf_solver`.
    """
    leaf = HpInv(leaf_solver(backend, spec, surrogate, size=size), method="gcr")
    if passes is not None:
        leaf = replace(leaf, max_iterations=passes, max_reprograms=0, fallback=False)
    return BlockAmc(leaf, leaf=size)


def product_solver(
    backend: str, spec: Spec, surrogate: str | Path | Surrogate | None = None, shape: tuple[int, int] = (4, 4)
) -> MvmSolver:
    """The MVM solver of that name for arrays of that shape; as `leaf_solver`."""
    model = _surrogate(backend, spec, surrogate, shape, "mvm")
    return MvmSolver(spec, cast(Backend, backend), model)


def _surrogate(
    backend: str, spec: Spec, surrogate: str | Path | Surrogate | None, shape: tuple[int, int], circuit: str
) -> Surrogate | None:
    """The surrogate that a backend of that name takes, if any."""
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is unknown; there are {', '.join(BACKENDS)}")
    if backend != "surrogate":
        if surrogate is not None:
            raise ValueError(f"a surrogate goes with the backend 'surrogate' only, not with {backend!r}")
        return None
    if surrogate is None:
        return shipped_surrogate(spec, shape, circuit)
    return surrogate if isinstance(surrogate, Surrogate) else load_surrogate(surrogate)


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
