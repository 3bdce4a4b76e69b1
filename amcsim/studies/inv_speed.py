"""What an INV costs by size on each backend: ngspice, the nodal equations, the surrogate; one array, and in batches.

The same drawn circuits for all (preset pku_350nm: wired, access transistors, behavioural amplifiers), verdicts
included: matrices I + N(0, 1/(4 m)), right-hand sides N(0, 1) scaled into range as every solve is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from amcsim._types import F64
from amcsim.solvers.base import Solver
from amcsim.solvers.stack import leaf_solver
from amcsim.specs import preset
from amcsim.streams import Key
from amcsim.surrogate.model import DomainError

__all__ = ["BATCH", "InvSpeed", "compare"]

VECTORS = 32
"""Right-hand sides of the repeated solves."""
BATCH = 2000
"""Matrices of a batch of 4x4; fewer where they are larger."""


@dataclass(frozen=True)
class InvSpeed:
    """Seconds of one backend at one size."""

    size: int
    backend: str
    first: float
    """To program a drawn matrix and solve for one vector."""
    further: float
    """For each further vector on the same array."""
    difference: float | None
    """Largest distance of an answer from ngspice's, relative to that answer's norm; None where ngspice was not run."""
    same_status: bool | None
    said: str
    """Why there are no figures, or empty."""


def compare(size: int, *, largest_ngspice: int = 32, repeats: int = 3) -> list[InvSpeed]:
    """All backends at that size, then the surrogate on a batch of matrices at once; ngspice to `largest_ngspice`.

    A row without figures (NaN) says why. Times are the best of `repeats` arrays.
    """
    spec = preset("pku_350nm")
    draw = Key(size).generator()
    count = max(BATCH * 16 // size**2, repeats)
    a = np.eye(size) + draw.normal(size=(count, size, size)) / np.sqrt(size) / 2
    b = draw.standard_normal((count, size, VECTORS))
    rows, reference = [], None
    for backend in ("ngspice", "nodal", "surrogate"):
        if backend == "ngspice" and size > largest_ngspice:
            rows.append(_empty(size, backend, f"not asked above {largest_ngspice}"))
            continue
        try:
            solver = leaf_solver(backend, spec, size=size)
        except DomainError as error:
            rows.append(_empty(size, backend, str(error)))
            continue
        first, further, answers, status = _measured(solver, a[:repeats], b[:repeats])
        if backend == "ngspice":
            reference = answers, status
        off, same = None, None
        if reference is not None:
            known = np.isfinite(answers).all(axis=-2) & np.isfinite(reference[0]).all(axis=-2)
            apart = np.linalg.norm(answers - reference[0], axis=-2) / np.linalg.norm(reference[0], axis=-2)
            off, same = float(apart[known].max(initial=0.0)), bool((status == reference[1]).all())
        rows.append(InvSpeed(size, backend, first, further, off, same, ""))
        if backend == "surrogate":
            first, further = _batch(solver, a, b, repeats)
            rows.append(InvSpeed(size, f"surrogate, {count} at once", first, further, None, None, ""))
    return rows


def _empty(size: int, backend: str, said: str) -> InvSpeed:
    return InvSpeed(size, backend, float("nan"), float("nan"), None, None, said)


def _measured(solver: Solver, a: F64, b: F64) -> tuple[float, float, F64, F64]:
    """Seconds of a first vector with programming, and of a further one; answers and statuses of all."""
    firsts, furthers, answers, statuses = [], [], [], []
    solver.program(a[0], Key(0)).solve(b[0][:, :1])  # what is loaded once a process is not the array's
    for k, matrix in enumerate(a):
        begun = time.perf_counter()
        handle = solver.program(matrix, Key(k))
        handle.solve(b[k][:, :1])
        middle = time.perf_counter()
        answer = handle.solve(b[k])
        furthers.append((time.perf_counter() - middle) / b.shape[-1])
        firsts.append(middle - begun)
        answers.append(answer.x)
        statuses.append(answer.status)
    return min(firsts), min(furthers), np.array(answers), np.array(statuses, dtype=np.float64)


def _batch(solver: Solver, a: F64, b: F64, repeats: int) -> tuple[float, float]:
    """The same for a whole batch, a matrix."""
    firsts, furthers = [], []
    for k in range(repeats):
        begun = time.perf_counter()
        handle = solver.program(a, Key(k))
        handle.solve(b[..., :1])
        middle = time.perf_counter()
        handle.solve(b)
        furthers.append((time.perf_counter() - middle) / b.shape[-1] / len(a))
        firsts.append((middle - begun) / len(a))
    return min(firsts), min(furthers)
