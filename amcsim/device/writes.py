"""The write error's fit, and how it is judged: quantiles by state, intervals from fresh runs, an effect size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amcsim._types import F64, Bool
from amcsim.write_error import WriteError

__all__ = ["PROBABILITIES", "Agreement", "agreement", "fit_write_error", "quantile_interval"]

PROBABILITIES = np.concatenate([[0.0, 0.01, 0.025], np.arange(0.05, 0.951, 0.05), [0.975, 0.99, 1.0]])
"""At which quantiles are kept."""
_COMPARED = np.array([0.1, 0.25, 0.5, 0.75, 0.9])


def fit_write_error(targets: F64, errors: F64, tolerance: float, verify: str) -> WriteError:
    """Quantiles of errors (s, cells), S, of states `targets` (s,), S: the empirical ones, their ends the extremes.

    Write-verify cuts its error at the tolerance, and steps of pulses leave shapes that no family of distributions has.
    """
    quantiles = np.quantile(errors, PROBABILITIES, axis=1).T
    return WriteError(verify, tolerance, np.asarray(targets), PROBABILITIES, quantiles)


def quantile_interval(values: F64, probability: float, level: float = 0.95) -> tuple[float, float]:
    """Distribution-free interval of a quantile from a sample (n,): order statistics by the binomial law.

    Conover, Practical Nonparametric Statistics, section 3.2.
    """
    from scipy.stats import binom

    ordered = np.sort(values)
    low = int(binom.ppf(0.5 * (1 - level), values.size, probability)) - 1
    high = int(binom.ppf(0.5 * (1 + level), values.size, probability))
    return float(ordered[max(low, 0)]), float(ordered[min(high, values.size - 1)])


@dataclass(frozen=True, eq=False)
class Agreement:
    """A fitted write error against fresh errors."""

    probabilities: F64
    """Quantiles compared, (p,)."""
    inside: Bool
    """Whether the fit's quantile lies in the fresh sample's 95 % interval, (states, p)."""
    cliffs_delta: F64
    """P(fresh > fit) - P(fresh < fit) by state; below 0.147 in size is called negligible (Romano et al., 2006)."""
    standardised: F64
    """(fit - fresh) quantile over the fresh sample's standard deviation, (states, p)."""


def agreement(fit: WriteError, targets: F64, errors: F64) -> Agreement:
    """Compare a fit with fresh errors (s, cells), S, of states `targets` (s,), S.

    An effect size says how large a difference is; a p-value alone would say how many cells were run.
    """
    grid = (np.arange(2000) + 0.5) / 2000
    inside = np.empty((targets.size, _COMPARED.size), dtype=bool)
    standardised = np.empty(inside.shape)
    delta = np.empty(targets.size)
    for s, (target, fresh) in enumerate(zip(targets, errors, strict=True)):
        model = np.sort(fit.quantile(target, grid))
        below = np.searchsorted(model, fresh, side="left") + np.searchsorted(model, fresh, side="right")
        delta[s] = below.mean() / grid.size - 1.0
        expected = fit.quantile(target, _COMPARED)
        for k, (p, q) in enumerate(zip(_COMPARED, expected, strict=True)):
            low, high = quantile_interval(fresh, float(p))
            inside[s, k] = low <= q <= high
        standardised[s] = (expected - np.quantile(fresh, _COMPARED)) / fresh.std()
    return Agreement(_COMPARED, inside, delta, standardised)
