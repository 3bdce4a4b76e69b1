"""Bit-sliced INV after STAMP: error by slices and terms, where the series diverges, and against HP-INV.

Systems as in studies.hp_inv. "Error" is ||x - x*|| / ||x*||, with x* of A, or of A rounded to 16 bits where said. The
wanted words: 16 bits of A in 8 + 8, at least 12 bits of x.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from amcsim._types import F64
from amcsim.solvers.base import Solver
from amcsim.solvers.bit_sliced import BitSliced, BitSlicedProgrammed, slices_of
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.exact import solve_or_nan
from amcsim.solvers.hp_inv import HpInv
from amcsim.specs import Spec
from amcsim.status import Status
from amcsim.streams import Key
from amcsim.studies.hp_inv import systems, written

__all__ = ["PUBLISHED", "WANTED", "steps", "study"]

PUBLISHED = {"a_bits": 16, "x_bits": 12, "slice_bits": 8}
WANTED = 2.0**-12
"""Relative error of a 12-bit answer."""

_FULL: dict[str, Any] = {"count": 60, "sizes": (4, 16, 64, 128), "conditions": (3.0, 10.0, 30.0, 100.0, 1e3, 1e4)}
_QUICK: dict[str, Any] = {"count": 12, "sizes": (4, 16), "conditions": (10.0, 100.0, 1e4)}
_HIGH_BITS = (4, 6, 8)
_PARTS = 6


def steps(*, quick: bool = False) -> int:
    """How often `study` reports progress."""
    return _PARTS


def study(seed: int = 0, *, quick: bool = False, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """All figures: `slices`, `divergence` with `safeguards` over it, `against_hp_inv`, `blocks`, `training`.

    Raises DataError where the letters cannot be had (full mode).
    """
    from amcsim.studies.stamp_training import training

    grid = _QUICK if quick else _FULL
    parts: dict[str, Any] = {}
    for name, part in (
        ("slices", _slices),
        ("divergence", _divergence),
        ("against_hp_inv", _against_hp_inv),
        ("blocks", _blocks),
    ):
        parts[name] = part(grid, seed)
        if progress:
            progress(1)
    parts["training"] = training(seed, quick=quick, progress=progress)
    guard = {
        "systems": sum(r["systems"] for r in parts["divergence"]),
        "wrong": sum(r["wrong"] for r in parts["divergence"]),
        "not_converged": sum(r["not_converged"] for r in parts["divergence"]),
    }
    settings = {"seed": seed, "quick": quick, "tolerance": BitSliced(Emulated()).tolerance, **grid}
    return {"study": "stamp", "settings": settings, "safeguards": guard, "published": PUBLISHED, **parts}


def _error(x: F64, exact: F64) -> F64:
    """Relative error of each system, (count,)."""
    return np.asarray(np.linalg.norm(x - exact, axis=(-2, -1)) / np.linalg.norm(exact, axis=(-2, -1)))


def _rounded(a: F64) -> F64:
    """A in 16 bits."""
    high, low = slices_of(a, 16, 8)
    return high + low


def _slices(grid: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """n = 16, ideal 8-bit arrays: the error by slices of x and terms of the series."""
    rows = []
    for condition in (10.0, 100.0):
        a, b = systems(16, condition, grid["count"], Key(seed, (0, int(condition))))
        exact, rounded = solve_or_nan(a, b), solve_or_nan(_rounded(a), b)
        for x_slices in (1, 2, 3):
            for terms in range(7):
                # a tolerance that nothing meets: every vector takes all terms
                solver = BitSliced(Emulated(), x_slices=x_slices, terms=terms, tolerance=1e-300)
                answer = solver.program(a, Key(seed)).solve(b)
                known = np.isfinite(answer.x).all(axis=(-2, -1))
                rows.append(
                    {
                        "condition": condition,
                        "x_slices": x_slices,
                        "terms": terms,
                        "analog_solves": x_slices * (terms + 1),
                        "error_median": _median(_error(answer.x, exact)[known]),
                        "error_of_rounded_median": _median(_error(answer.x, rounded)[known]),
                        "without_answer": int(np.count_nonzero(~known)),
                    }
                )
    return rows


def _divergence(grid: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Ideal arrays: rho(P), how vectors end, and wrong answers by size, condition and bits of A_H.

    Wrong: says ok, and is off the answer of the rounded matrix by more than a 12-bit answer may be.
    """
    rows = []
    for n in grid["sizes"]:
        count = max(grid["count"] * 16 // max(n, 16), 4)
        for condition in grid["conditions"]:
            a, b = systems(n, condition, count, Key(seed, (1, n, int(condition))))
            rounded = solve_or_nan(_rounded(a), b)  # the same sum for every cut
            for high_bits in _HIGH_BITS:
                handle: BitSlicedProgrammed = BitSliced(Emulated(), high_bits=high_bits, terms=200).program(
                    a, Key(seed)
                )
                answer = handle.solve(b)
                ok = answer.status[:, 0] == Status.OK
                radius = float(np.median(handle.radius))
                rows.append(
                    {
                        "n": n,
                        "condition": condition,
                        "high_bits": high_bits,
                        "systems": count,
                        "radius_median": radius if radius < np.inf else None,
                        "diverging": float(np.mean(~(handle.radius < 1.0))),
                        "ok": int(ok.sum()),
                        "not_converged": int(np.sum(answer.status == Status.NOT_CONVERGED)),
                        "analog_solves_mean": _mean(answer.iterations[:, 0][ok]),
                        "wrong": int(np.sum(~(_error(answer.x, rounded)[ok] <= WANTED))),
                    }
                )
    return rows


def _against_hp_inv(grid: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """n = 16, condition 10: median error by analog solves, two slices of x a term against a pass of HP-INV each.

    Both have arrays of 8 bits and an 8-bit ADC; cells are ideal or written to within half of one of 2^8 or 2^6 states.
    """
    a, b = systems(16, 10.0, grid["count"], Key(seed, (2,)))
    exact, key, rows = solve_or_nan(a, b), Key(seed, (3,)), []
    for name, spec in (("ideal", Spec()), ("8 bits", written(8)), ("6 bits", written(6))):
        leaf = Emulated(spec)
        for solves in (2, 4, 6, 8, 12):
            series: Solver = BitSliced(leaf, terms=solves // 2 - 1, tolerance=1e-300)
            once = BitSliced(leaf, x_slices=1, terms=0)
            contenders = {"bit-sliced": series}
            for method in ("plain", "gcr"):
                contenders[f"HP-INV, {method}"] = HpInv(
                    once, method=method, max_iterations=solves, max_reprograms=0, fallback=False
                )
            for contender, solver in contenders.items():
                x = solver.program(a, key).solve(b).x
                error = _median(_error(x, exact))
                rows.append({"cells": name, "solver": contender, "analog_solves": solves, "error_median": error})
    return rows


def _blocks(grid: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Alone, and as the leaf of BlockAMC: ideal arrays, condition 10."""
    rows = []
    for n in (16, 64):
        count = max(grid["count"] // (n // 8), 2)
        a, b = systems(n, 10.0, count, Key(seed, (4, n)))
        exact = solve_or_nan(a, b)
        for leaf in sorted({4, 16, n}):
            inner = BitSliced(Emulated())
            solver: Solver = inner if leaf == n else BlockAmc(inner, leaf=leaf)
            handle = solver.program(a, Key(seed))
            answer = handle.solve(b)
            rows.append(
                {
                    "n": n,
                    "leaf": leaf,
                    "systems": count,
                    "ok": int(np.sum(answer.status == Status.OK)),
                    "error_median": _median(_error(answer.x, exact)),
                    "analog_solves": (handle.counts + answer.counts).analog_solves / count,
                    "array_writes": (handle.counts + answer.counts).array_programmings / count,
                }
            )
    return rows


def _median(values: F64) -> float | None:
    """None where nothing is known."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


def _mean(values: Any) -> float | None:
    return float(np.mean(values)) if values.size else None
