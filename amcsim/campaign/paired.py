"""The surrogate's Monte-Carlo against ngspice's: the same circuits drawn again and again, on shared and on other draws.

On shared realisations the two backends read the same cells, so that what differs is the surrogate's own error: of each
output the ratio of standard deviations, and how far the 5, 50 and 95 % quantiles lie apart, in standard deviations of
that output in ngspice (its own magnitude may be zero, its spread is not). With bootstrap intervals, realisations
resampled in pairs.

On independent seeds only distributions can be compared. Test: of each output the difference of ln(standard deviation)
and of each quantile over its standard error (bootstrap of either sample) is standard normal where both are one
distribution; the smallest p-value of all comparisons, times their number (Bonferroni), must not be below 1 %.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from amcsim._types import F64
from amcsim.analysis.montecarlo import montecarlo, realisations
from amcsim.campaign.families import draw_matrix
from amcsim.solvers.arrays import surrogate_array
from amcsim.specs import Spec
from amcsim.status import Status
from amcsim.streams import Key
from amcsim.surrogate.model import Surrogate
from amcsim.topology.inv import INV
from amcsim.topology.mvm import MVM

__all__ = ["CASES", "QUANTILES", "Case", "Spread", "compare", "consistent", "paired", "pooled"]

QUANTILES = 0.05, 0.5, 0.95
TOLERANCE = 0.02
"""Of ratios, and of quantiles in standard deviations, on shared realisations."""
_LEVEL = 0.01
"""Chance that `consistent` refuses one distribution."""
_RESAMPLES = 300
_STREAM = 2**31 + 1
"""First number of the path of these streams; validation has the one before."""
_FEWEST = 20
"""Realisations of a circuit that both must answer."""


@dataclass(frozen=True)
class Case:
    """One circuit: which, of what family and shape."""

    circuit: Literal["inv", "mvm"]
    family: str
    rows: int
    columns: int

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.circuit.upper()} {self.rows}x{self.columns} {self.family}"


CASES = (
    Case("inv", "wishart", 4, 4),
    Case("mvm", "normal", 4, 4),
    Case("inv", "random", 4, 4),
    Case("inv", "ill_conditioned", 4, 4),
    Case("mvm", "sparse", 8, 8),
    Case("inv", "wishart", 8, 8),
    Case("inv", "random", 8, 8),
    Case("mvm", "non_negative", 8, 4),
    Case("inv", "wishart", 16, 16),
    Case("mvm", "normal", 16, 16),
)
"""Ten circuits of the shipped sizes; the first two are a quick look."""


@dataclass(frozen=True, eq=False)
class Spread:
    """One circuit's outputs over its realisations, by both backends."""

    case: Case
    samples: int
    """Realisations drawn."""
    used: int
    """Of them, those that the surrogate calls ok and ngspice converged on."""
    sigma: F64
    """Standard deviations in ngspice, (m,), V."""
    ratio: F64
    """Surrogate's standard deviations over ngspice's, (m,), on shared realisations."""
    ratio_interval: F64
    """95 % bootstrap interval of `ratio`, (2, m)."""
    quantiles: F64
    """(surrogate - ngspice) quantile over sigma, (3, m)."""
    quantiles_interval: F64
    """95 % bootstrap interval of `quantiles`, (2, 3, m)."""
    z: F64
    """Independent seeds: difference over its standard error of ln(sigma) and of the quantiles, (4, m)."""
    resolution: F64
    """Standard errors of those differences: of ln(sigma), and of the quantiles in sigma, (4, m)."""
    spice_s: float
    """Time of ngspice, s, on all its workers."""
    surrogate_s: float
    """Time of the surrogate, s, on one core, with drawing, programming and verdict."""

    @property
    def worst_ratio(self) -> float:
        """Largest |ratio - 1|."""
        return float(np.abs(self.ratio - 1.0).max())

    @property
    def worst_quantile(self) -> float:
        """Largest difference of a quantile, in sigma."""
        return float(np.abs(self.quantiles).max())

    def as_dict(self) -> dict[str, Any]:
        """One line of the table."""
        return {
            "circuit": self.case.name,
            "samples": self.samples,
            "used": self.used,
            "ratio": self.ratio,
            "ratio_interval": self.ratio_interval,
            "quantiles": self.quantiles,
            "quantiles_interval": self.quantiles_interval,
            "worst_ratio": self.worst_ratio,
            "worst_quantile": self.worst_quantile,
            "within_tolerance": max(self.worst_ratio, self.worst_quantile) <= TOLERANCE,
            "z": self.z,
            "resolution": self.resolution,
            "ngspice_s": self.spice_s,
            "surrogate_s": self.surrogate_s,
        }


def statistics(x: F64) -> F64:
    """ln(standard deviation), then the quantiles, of x (..., n, m): (4, ..., m)."""
    return np.concatenate([np.log(x.std(axis=-2, ddof=1))[None], np.quantile(x, QUANTILES, axis=-2)])


def compare(
    case: Case, spice: F64, shared: F64, other: F64, samples: int, key: Key, seconds: tuple[float, float]
) -> Spread:
    """ngspice's outputs and the surrogate's on the same realisations, (n, m) each, and on others, (k, m), V."""
    sigma = spice.std(axis=0, ddof=1)
    scale = np.concatenate([np.ones((1, sigma.size)), np.tile(sigma, (len(QUANTILES), 1))])
    n, rng = len(spice), key.generator()
    draws = rng.integers(0, n, (_RESAMPLES, n))
    again = [np.stack([statistics(x[rows]) for rows in draws]) for x in (spice, shared)]
    off = again[1] - again[0]
    away = np.stack([statistics(other[rows]) for rows in rng.integers(0, len(other), (_RESAMPLES, len(other)))])
    error = np.sqrt(again[0].var(axis=0, ddof=1) + away.var(axis=0, ddof=1))
    here, there = statistics(shared) - statistics(spice), statistics(other) - statistics(spice)
    low_high = np.quantile(off, (0.025, 0.975), axis=0)
    return Spread(
        case=case,
        samples=samples,
        used=n,
        sigma=sigma,
        ratio=np.exp(here[0]),
        ratio_interval=np.exp(low_high[:, 0]),
        quantiles=here[1:] / sigma,
        quantiles_interval=low_high[:, 1:] / sigma,
        z=there / error,
        resolution=error / scale,
        spice_s=seconds[0],
        surrogate_s=seconds[1],
    )


def consistent(spreads: tuple[Spread, ...]) -> tuple[bool, float]:
    """(whether independent seeds show one distribution at the 1 % level, smallest p-value times their number)."""
    z = np.concatenate([np.abs(s.z).ravel() for s in spreads])
    p = min(1.0, z.size * math.erfc(float(z.max()) / math.sqrt(2.0)))
    return p >= _LEVEL, p


def paired(
    cases: tuple[Case, ...],
    spec: Spec,
    surrogate_of: Callable[[Case], Surrogate],
    *,
    samples: int,
    seed: int,
    workers: int | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[Spread, ...]:
    """Draw each circuit `samples` times, in ngspice and in its surrogate; the surrogate besides on other seeds.

    Matrix, vector, realisations and bootstrap are named by the seed and the number of the case. Compared are
    realisations that the surrogate calls ok and ngspice converged on. Raises DomainError outside a surrogate's domain,
    ValueError where fewer than 20 realisations of a circuit have answers, and what the Monte-Carlo raises.
    """
    models = [surrogate_of(case) for case in cases]
    found = []
    for number, (case, surrogate) in enumerate(zip(cases, models, strict=True)):
        key = Key(seed, (_STREAM, number))
        a = draw_matrix(case.family, case.rows, key.child(0), None, case.columns)
        one = surrogate_array(surrogate, spec, a, realisations(a, spec, 1, key.child(2))[0])
        b = one.inputs(key.child(1).generator().standard_normal((case.columns, 1)))[0]
        topology = MVM if case.circuit == "mvm" else INV
        begin = time.perf_counter()
        result = montecarlo(topology, spec, a, b[:, 0], samples, key.child(2), workers=workers, progress=progress)
        spice_s = time.perf_counter() - begin
        columns = [result.traces[f"op.{topology.outputs[0]}{i}"].values for i in range(case.rows)]
        spice = np.stack(columns, axis=1)
        begin = time.perf_counter()
        shared = _by_surrogate(surrogate, spec, a, b, samples, key.child(2))
        surrogate_s = time.perf_counter() - begin
        other = _by_surrogate(surrogate, spec, a, b, samples, key.child(3))
        both = np.isfinite(spice).all(axis=1) & np.isfinite(shared).all(axis=1)
        other = other[np.isfinite(other).all(axis=1)]
        if min(int(both.sum()), len(other)) < _FEWEST:
            raise ValueError(
                f"{case.name}: only {int(both.sum())} of {samples} realisations have an answer in both; "
                f"a comparison needs {_FEWEST}"
            )
        found.append(compare(case, spice[both], shared[both], other, samples, key.child(4), (spice_s, surrogate_s)))
    return tuple(found)


def _by_surrogate(surrogate: Surrogate, spec: Spec, a: F64, b: F64, samples: int, key: Key) -> F64:
    """Outputs (samples, m), V; NaN where its verdict is not ok."""
    r = realisations(a, spec, samples, key)
    every = np.broadcast_to(a, (samples, *a.shape))
    x, status, _ = surrogate_array(surrogate, spec, every, r).answer(np.broadcast_to(b, (samples, *b.shape)))
    return np.where((status == Status.OK)[:, None, :], x, np.nan)[..., 0]


def pooled(spreads: tuple[Spread, ...]) -> dict[str, Any]:
    """The JSON object of `amcsim validate variation`."""
    same, p = consistent(spreads)
    z = np.concatenate([np.abs(s.z).ravel() for s in spreads])
    worst = {
        "worst_ratio": max(s.worst_ratio for s in spreads),
        "worst_quantile": max(s.worst_quantile for s in spreads),
    }
    resolution = np.concatenate([s.resolution for s in spreads], axis=1)
    return {
        **worst,
        "tolerance": TOLERANCE,
        "quantiles_in": "standard deviations of the output in ngspice",
        "within_tolerance": max(worst.values()) <= TOLERANCE,
        "independent_consistent": same,
        "independent_p": p,
        "independent_comparisons": int(z.size),
        "independent_within_95": float((z < 1.96).mean()),
        "independent_standard_errors": np.median(resolution, axis=1),
        "circuits": [s.as_dict() for s in spreads],
    }
