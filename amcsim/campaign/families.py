"""Families of matrices that campaigns draw from; each returns (m, m) with max |A| near 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from amcsim._types import F64
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.exact import Exact
from amcsim.streams import Key

__all__ = ["FAMILIES", "draw_matrix", "leaf_blocks"]


def _random(m: int, rng: np.random.Generator) -> F64:
    """Non-symmetric, dominated by the diagonal: I + 0.35 N / sqrt(m), N standard normal."""
    a: F64 = np.eye(m) + 0.35 * rng.standard_normal((m, m)) / np.sqrt(m)
    return a


def _wishart(m: int, rng: np.random.Generator) -> F64:
    """X' X / (4m) + 0.1 I with X of 4m standard normal rows: covariances, as Kronecker factors are."""
    x = rng.standard_normal((4 * m, m))
    return x.T @ x / (4 * m) + 0.1 * np.eye(m)


def _ill_conditioned(m: int, rng: np.random.Generator) -> F64:
    """Symmetric positive definite, condition number log-uniform in 3 to 30, random eigenvectors."""
    q = np.linalg.qr(rng.standard_normal((m, m)))[0]
    condition = np.exp(rng.uniform(np.log(3.0), np.log(30.0)))
    a: F64 = (q * np.geomspace(1.0, 1.0 / condition, m)) @ q.T
    return a


FAMILIES: Mapping[str, Callable[[int, np.random.Generator], F64]] = {
    "random": _random,
    "wishart": _wishart,
    "ill_conditioned": _ill_conditioned,
}
"""Families by name; "recorded" (blocks from an .npz) stands beside them."""


def leaf_blocks(systems: Mapping[str, F64], m: int) -> F64:
    """All (m, m) leaves that BlockAMC makes of recorded systems, each (..., n, n): (k, m, m), scaled to max |A| = 1.

    Raises ValueError where there is none.
    """
    found = []
    for name in sorted(systems):
        a = np.asarray(systems[name], dtype=np.float64)
        if a.ndim < 2 or a.shape[-1] != a.shape[-2] or a.shape[-1] < m:
            continue
        arrays = BlockAmc(Exact(), leaf=m).program(a.reshape(-1, *a.shape[-2:]), Key(0)).arrays or ()
        found += [array.a for array in arrays if array.a.shape[-1] == m]
    if not found:
        raise ValueError(f"the recorded systems hold no leaf of size {m}")
    blocks = np.concatenate(found)
    scale = np.abs(blocks).max(axis=(1, 2))
    scaled: F64 = blocks[scale > 0] / scale[scale > 0][:, None, None]
    return scaled


def draw_matrix(family: str, m: int, key: Key, recorded: F64 | None) -> F64:
    """One matrix of the named family, (m, m); "recorded" picks a block of `recorded`, (k, m, m)."""
    rng = key.generator()
    if family == "recorded":
        if recorded is None:
            raise ValueError('the family "recorded" needs recorded systems')
        block: F64 = recorded[int(rng.integers(len(recorded)))]
        return block
    return FAMILIES[family](m, rng)
