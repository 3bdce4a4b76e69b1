"""The linear systems of K-FAC: damped factors, and how far an update is from the exact one."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from amcsim._types import F64

__all__ = ["as_numpy", "damped", "error_norms"]


def damped(a: Tensor, g: Tensor, damping: float, split: str) -> tuple[F64, F64]:
    """A + alpha I and G + beta I of factors (*groups, n, n); a diagonal A is (n,).

    split: "full" alpha = beta = damping; "sqrt" their product is damping; "pi" that, and alpha / beta = pi^2, the ratio
    of A's to G's mean eigenvalue (1 where one of them is 0).
    """
    root = damping if split == "full" else damping**0.5
    left, right = as_numpy(a).copy(), as_numpy(g).copy()
    of_a, of_g = left if left.ndim == 1 else np.einsum("...ii->...i", left), np.einsum("...ii->...i", right)
    pi: F64 | float = 1.0
    if split == "pi":
        means = of_a.mean(axis=-1, keepdims=True), of_g.mean(axis=-1, keepdims=True)
        usable = (means[0] > 0) & (means[1] > 0)
        pi = np.sqrt(np.where(usable, means[0], 1.0) / np.where(usable, means[1], 1.0))
    of_a += root * pi
    of_g += root / pi
    return left, right


def error_norms(a: F64, g: F64, gradients: list[F64], updates: list[F64]) -> list[tuple[float, float]]:
    """||u - u*|| and ||u*|| of each update vector, u* the exact solution."""
    columns = gradients[0].swapaxes(-1, -2)
    half = columns / a[:, None] if a.ndim == 1 else np.linalg.solve(a, columns)
    exact = [np.linalg.solve(g, b) for b in [half.swapaxes(-1, -2), *gradients[1:]]]
    return [(float(np.linalg.norm(u - e)), float(np.linalg.norm(e))) for u, e in zip(updates, exact, strict=True)]


def as_numpy(tensor: Tensor) -> F64:
    """The same numbers in the host's memory, in float64."""
    return np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)
