"""How far an answer of the surrogate may be from ngspice's: a bound that held-out circuits have calibrated.

On held-out circuits ln ||x - x_ngspice|| (V) is regressed on what is known of an answer (FEATURES): the size of the
circuit's own error ||x - x_lin||, of the answer, the array's gain, the headroom, the size. The bound is the prediction
plus a margin, the quantile of the leave-one-out residuals that conformal prediction takes, ceil((n + 1) level) of n
(Vovk et al., Algorithmic Learning in a Random World, 2005): so a share `level` of circuits of the campaign's kind lies
within it, and somewhat more, as it is taken a standard error higher. Norms of few outputs scatter more: each size with
enough held-out circuits has a margin of its own, sizes between them one in between. An answer farther from the held-out
ones (Mahalanobis distance) than any of them has its margin widened in proportion.
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from amcsim._types import F64

__all__ = ["FEATURES", "Confidence", "features", "fit_confidence"]

FEATURES = ("circuit_error", "answer", "gain", "peak", "size")
"""ln of: ||x - x_lin|| (V), ||x|| (V), norm of dx/db (Frobenius, over sqrt(m)), largest voltage (V), longest side."""
_PRIOR = np.array([0.5, 0.5, 0.0, 0.0, 0.0])
"""Exponents that few circuits leave as they are: an error in proportion to the answer's and the circuit's own."""
_RIDGE = 1.0
"""Weight of the prior, in circuits whose features are one standard deviation off."""
_GROUP = 100
"""Held-out circuits of one size from which on that size has a margin of its own."""
_LEAST = 1e-15
"""V; rounding, below which no error is."""


class Confidence(BaseModel):
    """The calibrated bound."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    level: float = Field(gt=0.0, lt=1.0)
    """Share of circuits of the campaign's kind, at least, whose error lies within the bound."""
    samples: int = Field(ge=1)
    """Held-out circuits that calibrated it."""
    conservative: bool
    """Whether they were too few for that share: then the margin is beyond the largest residual."""
    intercept: float
    """Prediction of ln(error in volts) at the features' centre."""
    exponents: tuple[float, float, float, float, float]
    """Of the features, in the order of amcsim.surrogate.confidence.FEATURES."""
    margins: tuple[tuple[float, float], ...] = Field(min_length=1)
    """(ln size, what is added to the prediction), sizes rising: straight lines between them, constant beyond."""
    centre: tuple[float, float, float, float, float]
    """Mean features of the held-out circuits."""
    axes: tuple[tuple[float, float, float, float, float], ...]
    """Rows whose product with (features - centre) has unit covariance."""
    farthest: float = Field(gt=0.0)
    """Largest distance of a held-out circuit from the centre, in standard deviations."""

    def expected(self, known: F64) -> F64:
        """Predicted ||x - x_ngspice||, V, for features (..., 5), without margin: (...)."""
        off = known - np.array(self.centre)
        found: F64 = np.exp(np.minimum(self.intercept + off @ np.array(self.exponents), 700.0))
        return found

    def bound(self, known: F64) -> F64:
        """Bound on ||x - x_ngspice||, V, for features (..., 5): (...)."""
        off = known - np.array(self.centre)
        distance = np.linalg.norm(off @ np.array(self.axes).T, axis=-1)
        sizes, margins = np.array(self.margins).T
        margin = np.interp(known[..., -1], sizes, margins) * np.maximum(1.0, distance / self.farthest)
        found: F64 = self.expected(known) * np.exp(np.minimum(margin, 300.0))
        return found


def features(x: F64, linear: F64, volts: F64, gain: F64, on_cells: bool) -> F64:
    """FEATURES of answers x and x_lin, (*batch, m, k), at inputs (*batch, n, k), V, of arrays of gain (*batch,).

    `on_cells`: whether outputs lie on cells, and so count as voltages. (*batch, k, 5).
    """
    peak = np.abs(volts).max(axis=-2)
    if on_cells:
        peak = np.maximum(peak, np.abs(x).max(axis=-2))
    parts = [
        np.linalg.norm(x - linear, axis=-2),
        np.linalg.norm(x, axis=-2),
        np.broadcast_to(gain[..., None], peak.shape),
        peak,
        np.full(peak.shape, float(max(x.shape[-2], volts.shape[-2]))),
    ]
    found: F64 = np.log(np.maximum(np.stack(parts, axis=-1), _LEAST))
    return found


def _quantile(residuals: F64, level: float) -> float:
    """The conformal quantile, one standard error of its rank higher: rather more than `level` than less."""
    n = residuals.size
    rank = math.ceil((n + 1) * level + math.sqrt(n * level * (1.0 - level)))
    return float(np.sort(residuals)[min(rank, n) - 1])


def fit_confidence(known: F64, errors: F64, level: float = 0.95) -> Confidence:
    """Calibrate on held-out features (n, 5) and errors ||x - x_ngspice|| (n,), V."""
    n, count = known.shape
    y = np.log(np.maximum(errors, _LEAST))
    centre = known.mean(axis=0)
    off = known - centre
    spread = np.maximum(off.std(axis=0), 1e-6)
    # residuals beyond the prior's prediction, ridge in standardised features; the mean is free
    design = np.column_stack([np.ones(n), off / spread])
    beyond = y - off @ _PRIOR
    penalty = np.diag([0.0, *(_RIDGE,) * count])
    inverse = np.linalg.inv(design.T @ design + penalty)
    weights = inverse @ design.T @ beyond
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    residuals = (beyond - design @ weights) / np.maximum(1.0 - leverage, 0.05)
    few = math.ceil((n + 1) * level) > n
    own = [(float(one), residuals[known[:, -1] == one]) for one in np.unique(known[:, -1])]
    groups = [(one, group) for one, group in own if group.size >= _GROUP] or [(float(centre[-1]), residuals)]
    margins = tuple((one, max(_quantile(group, level), 0.0)) for one, group in groups)
    if few:
        margins = ((float(centre[-1]), max(float(residuals.max() + 2.0 * max(residuals.std(), 1.0)), 0.0)),)
    # directions in which held-out circuits do not differ count with a hundredth: leaving them is far
    values, vectors = np.linalg.eigh(np.cov(off.T).reshape(count, count) if n > 1 else np.zeros((count, count)))
    axes = (vectors / np.sqrt(np.maximum(values, 1e-4))).T
    farthest = float(np.linalg.norm(off @ axes.T, axis=1).max())

    def five(values: F64) -> tuple[float, float, float, float, float]:
        a, b, c, d, e = values.tolist()
        return a, b, c, d, e

    return Confidence(
        level=level,
        samples=n,
        conservative=few,
        intercept=float(weights[0]),
        exponents=five(_PRIOR + weights[1:] / spread),
        margins=margins,
        centre=five(centre),
        axes=tuple(map(five, axes)),
        farthest=max(farthest, 1e-3),
    )
