"""Families of matrices that campaigns draw from, and the systems that they make of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from amcsim._types import F64
from amcsim.campaign.sequence import point
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.exact import Exact
from amcsim.streams import Key

__all__ = ["FAMILIES", "PRODUCT_FAMILIES", "draw_matrix", "draw_system", "families_of", "leaf_blocks"]


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


def _normal(m: int, n: int, rng: np.random.Generator) -> F64:
    """Weights of both signs, standard normal."""
    return rng.standard_normal((m, n))


def _sparse(m: int, n: int, rng: np.random.Generator) -> F64:
    """Standard normal weights of which a share, uniform in 0.5 to 0.95, is pruned to zero, but not all of them."""
    a, draw = rng.standard_normal((m, n)), rng.random((m, n))
    kept: F64 = np.where((draw > rng.uniform(0.5, 0.95)) | (draw == draw.max()), a, 0.0)
    return kept


def _non_negative(m: int, n: int, rng: np.random.Generator) -> F64:
    """Weights of one sign, uniform in 0 to 1: the other array stays at the floor."""
    return rng.random((m, n))


FAMILIES: Mapping[str, Callable[[int, np.random.Generator], F64]] = {
    "random": _random,
    "wishart": _wishart,
    "ill_conditioned": _ill_conditioned,
}
"""Square families by name, (m, m) with max |A| near 1, for INV; "recorded" (blocks from an .npz) stands beside them."""

PRODUCT_FAMILIES: Mapping[str, Callable[[int, int, np.random.Generator], F64]] = {
    "normal": _normal,
    "sparse": _sparse,
    "non_negative": _non_negative,
}
"""Families of any shape, for MVM; "recorded" (corners of the blocks) stands beside them."""

RECTANGULAR_EVERY = 3
"""Each third MVM circuit may be rectangular, its sides quarters of the size: few shapes, which stack."""


def families_of(circuit: str) -> tuple[str, ...]:
    """Names of the families of a circuit, "recorded" apart."""
    return tuple(PRODUCT_FAMILIES if circuit == "mvm" else FAMILIES)


def leaf_blocks(systems: Mapping[str, F64], m: int) -> F64:
    """All (m, m) leaves that BlockAMC makes of recorded systems, each (..., n, n): (k, m, m), scaled to max |A| = 1.

    Raises ValueError where there is none.
    """
    found = []
    for name in sorted(systems):
        a = np.asarray(systems[name])
        if a.dtype.kind not in "fiu" or not np.isfinite(a).all():
            raise ValueError(f"the array {name} holds {a.dtype} or NaN, not finite real numbers")
        a = a.astype(np.float64, copy=False)
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


def dimension(family: str, m: int, n: int) -> int:
    """Numbers that a matrix (m, n) of the family is made of."""
    return {"wishart": 4 * m * m, "ill_conditioned": m * m + 1, "sparse": 2 * m * n + 1, "recorded": 1}.get(
        family, m * n
    )


def draw_matrix(
    family: str, m: int, key: Key, recorded: F64 | None, n: int | None = None, rng: np.random.Generator | None = None
) -> F64:
    """One matrix of the named family, (m, n), square without n; `rng` in the place of the key's generator.

    "recorded" picks a block of `recorded`, (k, m, m), and cuts its corner out where the matrix is smaller.
    """
    rng, columns = key.generator() if rng is None else rng, m if n is None else n
    if family == "recorded":
        if recorded is None:
            raise ValueError('the family "recorded" needs recorded systems')
        block: F64 = recorded[int(rng.integers(len(recorded)))][:m, :columns]
        return block
    return FAMILIES[family](m, rng) if family in FAMILIES else PRODUCT_FAMILIES[family](m, columns, rng)


def draw_system(
    circuit: str, family: str, m: int, number: int, key: Key, recorded: F64 | None, sobol: tuple[Key, int] | None = None
) -> tuple[F64, F64, Key]:
    """The `number`-th system of a family: (a, vector, key of the realisation), from named streams below `key`.

    With `sobol`, a key and an index, matrix and vector are that point of a low-discrepancy sequence.
    INV: a (m, m). MVM: each RECTANGULAR_EVERY-th has sides of 1/4 to 4/4 m (rounded up), the others are (m, m).
    """
    rows = columns = m
    if circuit == "mvm" and number % RECTANGULAR_EVERY == RECTANGULAR_EVERY - 1:
        rows, columns = (-(-m * quarters // 4) for quarters in key.child(3).generator().integers(1, 5, 2).tolist())
    if sobol is not None:
        of_family = sobol[0].child(rows, columns)
        drawn = point(dimension(family, rows, columns) + columns, of_family, sobol[1])
        a = draw_matrix(family, rows, key.child(0), recorded, columns, drawn.generator)
        return a, drawn.standard_normal(columns), key.child(2)
    a = draw_matrix(family, rows, key.child(0), recorded, columns)
    return a, key.child(1).generator().standard_normal(columns), key.child(2)
