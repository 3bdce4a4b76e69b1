"""HP-INV on random systems: passes, failures, array writes and analog solves by size, condition, precision and method.

Systems are symmetric positive-definite as damped K-FAC factors are: eigenvalues log-uniform from 1 to 1/condition, the
two ends among them, random eigenvectors, normal right-hand sides. "LP precision of p bits": cells are written to within
half of one of 2^p states, uniformly, in both arrays; nothing else is wrong with the leaf (solvers.emulated). All
methods meet the same systems on the same written arrays.

Two runs a cell: *alone*, one programming and no digital help, gives passes and failures of the method; *guarded*, one
re-programming and the digital host, gives what it costs and the check that must never fail: an answer that says `ok`
and whose residual, formed here anew in extended precision, lies above the stop rule is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from amcsim._types import F64, Bool
from amcsim.solvers.base import Programmed, Solution, Solver
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.hp_inv import HpInv, Stop
from amcsim.solvers.stack import leaf_solver
from amcsim.specs import Spec, preset
from amcsim.status import Status
from amcsim.streams import Key

__all__ = ["METHODS", "PUBLISHED", "steps", "study", "systems", "wrong"]

Method = Literal["plain", "minimal_residual", "gcr"]
METHODS: tuple[Method, ...] = ("plain", "minimal_residual", "gcr")
PUBLISHED = {"n": 16, "stop_bits": 24, "passes": 10}
"""16x16 matrices to 24 bits in about ten passes, as published for HP-INV with low-precision arrays in blocks."""

_FULL: dict[str, Any] = {
    "systems": {4: 88, 8: 88, 16: 88, 32: 88, 64: 24, 128: 16, 256: 8},
    "conditions": (1.0, 10.0, 100.0, 1e3, 1e4),
    "bits": (2, 3, 4, 6, 8),
    "block_systems": {16: 40, 64: 20, 256: 2},
}
_QUICK: dict[str, Any] = {
    "systems": {4: 12, 16: 12, 64: 4},
    "conditions": (1.0, 100.0, 1e4),
    "bits": (2, 4, 8),
    "block_systems": {16: 6, 64: 2},
}
_STOPS = {"24 bits": 2.0**-24, "32 bits": 2.0**-32, "float64": 2.0**-48}
_RADIUS_TO = 64
"""Largest n whose spectral radii are found: above, the eigenvalues would take longer than the study."""


def systems(n: int, condition: float, count: int, key: Key) -> tuple[F64, F64]:
    """`count` matrices (count, n, n) of that condition, and right-hand sides (count, n, 1)."""
    draw = key.generator()
    q = np.linalg.qr(draw.normal(size=(count, n, n)))[0]
    exponent = draw.uniform(size=(count, n))
    exponent[:, 0], exponent[:, -1] = 0.0, 1.0
    return (q * condition ** -exponent[:, None, :]) @ q.swapaxes(-1, -2), draw.normal(size=(count, n, 1))


def written(bits: int) -> Spec:
    """20 to 220 uS, every cell written to within half of one of 2^bits states."""
    spec = Spec()
    half = spec.g_unit / 2**bits / 2
    return spec.replace(programming={"model": "uniform", "tolerance": half})


def wrong(a: F64, b: F64, answer: Solution, stop: float) -> Bool:
    """(*batch, k): says ok, and is not: NaN, or a residual in extended precision above the stop by a thousandth."""
    wide = np.longdouble
    with np.errstate(all="ignore"):
        r = b.astype(wide) - np.einsum("...ij,...jk->...ik", a.astype(wide), answer.x.astype(wide))
        held = np.sqrt((r * r).sum(axis=-2)) <= 1.001 * stop * np.sqrt((b.astype(wide) ** 2).sum(axis=-2))
    return np.asarray((answer.status == Status.OK) & ~held)


def steps(*, quick: bool = False) -> int:
    """How often `study` reports progress."""
    grid = _QUICK if quick else _FULL
    return len(grid["systems"]) * len(grid["conditions"]) * len(grid["bits"])


def study(seed: int = 0, *, quick: bool = False, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """All figures: `rows` of the grid; `safeguards` over it; `blocks`, 4x4 arrays under BlockAMC; `stops`; `published`.

    Full: 10,000 systems; quick: some hundreds. Figures without a value are None.
    """
    grid = _QUICK if quick else _FULL
    rows = []
    for i, (n, count) in enumerate(grid["systems"].items()):
        for j, condition in enumerate(grid["conditions"]):
            for k, bits in enumerate(grid["bits"]):
                key = Key(seed, (0, i, j, k))
                a, b = systems(n, condition, count, key.child(0))
                leaf = Emulated(written(bits))
                radius = _radius(leaf.program(a, key.child(1)), n)
                cell = {"n": n, "condition": condition, "bits": bits, "systems": count, **radius}
                rows += [cell | _measured(leaf, a, b, key.child(1), method) for method in METHODS]
                if progress:
                    progress(1)
    return {
        "study": "hp-inv",
        "settings": {"seed": seed, "quick": quick, "stop": _STOPS["24 bits"], "methods": METHODS, **grid},
        "rows": rows,
        "safeguards": _safeguards(rows),
        "blocks": _blocks(grid["block_systems"], seed),
        "stops": _stops(24 if quick else 88, seed),
        "published": PUBLISHED,
    }


def _radius(handle: Programmed, n: int) -> dict[str, float | None]:
    """Median of rho(I - A_lp^-1 A), and the share of arrays where it is 1 or more: plain refinement diverges there."""
    if n > _RADIUS_TO:
        return {"radius_median": None, "diverging": None}
    inverse = handle.solve(np.broadcast_to(np.eye(n), handle.a.shape)).x
    m = np.eye(n) - inverse @ handle.a
    finite: Bool = np.asarray(np.isfinite(m).all(axis=(-2, -1)))
    rho = np.where(finite, np.abs(np.linalg.eigvals(np.where(finite[:, None, None], m, 0.0))).max(axis=-1), np.inf)
    median = float(np.median(rho))
    return {"radius_median": median if median < np.inf else None, "diverging": float(np.mean(rho >= 1.0))}


def _measured(leaf: Solver, a: F64, b: F64, key: Key, method: Method, stop: float = 2.0**-24) -> dict[str, Any]:
    """Figures of one method on one batch; what counts are, is per system."""
    options: dict[str, Any] = {"method": method, "stop": Stop(relative=stop)}
    alone = HpInv(leaf, max_reprograms=0, fallback=False, **options).program(a, key).solve(b)
    handle = HpInv(leaf, **options).program(a, key)
    answer = handle.solve(b)
    ok, count = alone.status == Status.OK, len(a)
    passes = alone.iterations[ok]
    spent = handle.counts + answer.counts
    exact = np.linalg.solve(a, b)
    off = np.linalg.norm(answer.x - exact, axis=-2) / np.linalg.norm(exact, axis=-2)
    return {
        "method": method,
        "failed_alone": float(np.mean(~ok)),
        "passes_median": float(np.median(passes)) if passes.size else None,
        "passes_mean": float(passes.mean()) if passes.size else None,
        "passes_p95": float(np.percentile(passes, 95)) if passes.size else None,
        "reprogrammed": answer.counts.reprogrammings / spent.array_programmings if spent.array_programmings else None,
        "digital_fallbacks": answer.counts.digital_fallbacks / count,
        "array_writes": (spent.array_programmings + spent.reprogrammings) / count,
        "analog_solves": spent.analog_solves / count,
        "not_ok": int(np.count_nonzero(answer.status)),
        "wrong": int(wrong(a, b, answer, stop).sum() + wrong(a, b, alone, stop).sum()),
        "residual_worst": float(answer.residual.max()),
        "error_worst": float(off.max()),
    }


def _safeguards(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Over the whole grid, every method."""
    answers = sum(row["systems"] for row in rows)
    weighed = {
        m: {
            "failed_alone": sum(r["failed_alone"] * r["systems"] for r in rows if r["method"] == m),
            "digital_fallbacks": sum(r["digital_fallbacks"] * r["systems"] for r in rows if r["method"] == m),
            "analog_solves": sum(r["analog_solves"] * r["systems"] for r in rows if r["method"] == m),
            "array_writes": sum(r["array_writes"] * r["systems"] for r in rows if r["method"] == m),
        }
        for m in METHODS
    }
    return {
        "systems": answers // len(METHODS),
        "answers": answers,
        "wrong": sum(row["wrong"] for row in rows),
        "not_ok": sum(row["not_ok"] for row in rows),
        "residual_worst": max(row["residual_worst"] for row in rows),
        "by_method": {m: {name: round(v) for name, v in figures.items()} for m, figures in weighed.items()},
    }


def _blocks(sizes: dict[int, int], seed: int) -> list[dict[str, Any]]:
    """HP-INV around BlockAMC of 4x4 arrays: cells of 3 and 4 bits, and the calibrated surrogate of pku_350nm."""
    leaves: dict[str, Solver] = {f"{bits} bits": Emulated(written(bits)) for bits in (3, 4)}
    leaves["surrogate"] = leaf_solver("surrogate", preset("pku_350nm"))
    rows = []
    for n, count in sizes.items():
        for condition in (10.0, 100.0):
            a, b = systems(n, condition, count, Key(seed, (1, n, int(condition))))
            for name, leaf in leaves.items():
                if name == "surrogate" and n > 64:
                    continue
                cell = {"n": n, "condition": condition, "leaf": name, "systems": count}
                rows += [cell | _measured(BlockAmc(leaf), a, b, Key(seed, (2, n, int(condition))), m) for m in METHODS]
    return rows


def _stops(count: int, seed: int) -> list[dict[str, Any]]:
    """Passes by stop rule at n = 16, condition 10, 4 bits; float64's is 2^-48, near what its words can hold."""
    a, b = systems(16, 10.0, count, Key(seed, (3,)))
    leaf, key = Emulated(written(4)), Key(seed, (4,))
    return [
        {"stop": name, "relative": stop, "systems": count} | _measured(leaf, a, b, key, method, stop)
        for name, stop in _STOPS.items()
        for method in METHODS
    ]
