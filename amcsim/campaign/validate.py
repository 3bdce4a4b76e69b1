"""How far to trust a surrogate: fresh circuits, or the user's, in ngspice and in the surrogate, on the same draws."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from amcsim._types import F64
from amcsim.campaign.families import FAMILIES, draw_matrix
from amcsim.campaign.fit import answers, usable
from amcsim.campaign.sample import Samples, error_of_error, solve_in_ngspice
from amcsim.solvers.surrogate import SurrogateSolver
from amcsim.specs import Spec
from amcsim.status import Status
from amcsim.streams import Key
from amcsim.surrogate.model import Surrogate

__all__ = ["Validation", "validate"]

_VALIDATION_STREAM = 2**31
"""First number of the path of validation streams; campaigns use the sample ids, all below it."""
_REPEATED_SOLVES = 200_000
_PROGRAMMED = 20_000


@dataclass(frozen=True)
class Validation:
    """Figures of one comparison, and the samples behind them."""

    samples: Samples
    x: F64
    """The surrogate's outputs, (n, m), V."""
    status: np.ndarray
    """The surrogate's statuses, (n,)."""
    errors: F64
    """error_of_error of the samples that both answer, (n_used,)."""
    relative: F64
    """||x - x_spice|| / ||x_spice||, (n_used,)."""
    rates: dict[str, float]
    """Solves a second on one core."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of `amcsim validate`."""
        return {
            "error_of_error_median": float(np.median(self.errors)),
            "error_of_error_p95": float(np.percentile(self.errors, 95)),
            "relative_error_median": float(np.median(self.relative)),
            "samples": int(self.samples.ids.size),
            "samples_compared": int(self.errors.size),
            "status_disagreements": int((self.status != self.samples.status).sum()),
            "statuses": {str(s): int((self.samples.status == s).sum()) for s in Status},
            **self.rates,
        }


def validate(
    surrogate: Surrogate,
    spec: Spec,
    *,
    m: int,
    seed: int,
    count: int = 200,
    matrices: tuple[F64, F64] | None = None,
    recorded: F64 | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Validation:
    """Compare on `count` fresh circuits of all families in turn, or on the user's (a (k, m, m), b (k, m)).

    Raises DomainError outside the surrogate's domain, ValueError where no circuit has an answer, NgspiceError.
    """
    key = Key(seed, (_VALIDATION_STREAM,))
    if matrices is None:
        families = [*FAMILIES, *(["recorded"] if recorded is not None else [])]
        a = np.stack([draw_matrix(families[i % len(families)], m, key.child(i, 0), recorded) for i in range(count)])
        b = np.stack([key.child(i, 1).generator().standard_normal(m) for i in range(count)])
    else:
        a, b = matrices
    results, elapsed = [], 0.0
    for i, (one, rhs) in enumerate(zip(a, b, strict=True)):
        begin = time.perf_counter()
        results.append(solve_in_ngspice(spec, one, rhs, key.child(i, 2)))
        elapsed += time.perf_counter() - begin
        progress(i + 1)
    samples = Samples.stack(list(range(len(results))), results)
    x, status = answers(surrogate, spec, samples)
    both = usable(samples) & np.isfinite(x).all(axis=1)
    if not both.any():
        raise ValueError("none of the circuits has an answer both in ngspice and in the surrogate")
    linear = samples.linear_answer(spec)
    return Validation(
        samples=samples,
        x=x,
        status=status,
        errors=error_of_error(x[both], samples.x[both], linear[both]),
        relative=np.linalg.norm((x - samples.x)[both], axis=1) / np.linalg.norm(samples.x[both], axis=1),
        rates=_rates(surrogate, spec, a, b, key.child(len(results))) | {"ngspice_solves_per_s": len(results) / elapsed},
    )


def _rates(surrogate: Surrogate, spec: Spec, a: F64, b: F64, key: Key) -> dict[str, float]:
    """Solves a second of the surrogate on these circuits: many right-hand sides an array, and one array a solve.

    Both with ranging, bounds and verdict; the second with the drawing of the circuit and the full verdict where the
    fast one does not vouch.
    """
    solver = SurrogateSolver(surrogate, spec)
    tiles = -(-_PROGRAMMED // len(a))
    many, rhs = np.tile(a, (tiles, 1, 1)), np.tile(b, (tiles, 1))[..., None]
    begin = time.perf_counter()
    solver.program(many, key).solve(rhs)
    programmed = time.perf_counter() - begin
    handle = solver.program(a, key)
    handle.solve(b[..., None])
    vectors = np.moveaxis(key.generator().standard_normal((-(-_REPEATED_SOLVES // len(a)), *b.shape)), 0, -1)
    begin = time.perf_counter()
    handle.solve(vectors)
    repeated = time.perf_counter() - begin
    return {
        "surrogate_solves_per_s": vectors.shape[0] * vectors.shape[-1] / repeated,
        "surrogate_solves_with_programming_per_s": len(many) / programmed,
    }
