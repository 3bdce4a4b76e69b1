"""K-FAC with bit-sliced INV, and the cells it writes against first-order training on ReRAM.

The network and images are those of Zhang et al. (amcsim.training). Every solver has the same cells: to within half of
one of 2^8 states, or the calibrated arrays of pku_350nm; "one pass" is the array's answer as it is.

Writes. First-order training on ReRAM keeps its weights in cells and writes all of them at every step; second-order
training does so too, and writes the arrays of A and G every T steps. Cells are two for a number (signs) times two
(16 bits in 8 + 8, weights and matrices alike). STAMP's 55.7 % fewer are "as there are fewer epochs".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from amcsim.solvers.base import Solver
from amcsim.solvers.bit_sliced import BitSliced
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.hp_inv import HpInv
from amcsim.solvers.stack import leaf_solver
from amcsim.specs import preset
from amcsim.streams import Key
from amcsim.studies.hp_inv import written
from amcsim.studies.spread import middle, or_never, runs
from amcsim.training.loop import TrainConfig, TrainResult, train

__all__ = ["PUBLISHED_WRITES", "solvers", "training"]

PUBLISHED_WRITES = 1.0 - 0.557
"""Cells that STAMP writes over those of first-order training on ReRAM."""
CELLS_A_NUMBER = 4
"""Two signs of two slices."""
_LEAF = 4
_TUNED = {"lr": 0.05, "momentum": 0.9}
_FULL: dict[str, Any] = {
    "data": "letters",
    "seeds": 6,
    "tuning_seeds": 3,
    "epochs": {"kfac": 30, "sgd": 60},
    "periods": (1, 5, 20),
    "rates": {"K-FAC": (0.02, 0.05, 0.1, 0.3), "SGD": (0.3, 1.0, 2.0, 4.0)},
}
_QUICK: dict[str, Any] = {
    "data": "digits",
    "seeds": 1,
    "tuning_seeds": 1,
    "epochs": {"kfac": 3, "sgd": 3},
    "periods": (1, 5),
    "rates": {"K-FAC": (0.05,), "SGD": (1.0,)},
}


def solvers() -> dict[str, Solver | None]:
    """Contenders by name; None is digital."""
    cells, board = Emulated(written(8)), leaf_solver("surrogate", preset("pku_350nm"))
    return {
        "digital": None,
        "HP-INV, 8-bit cells": BlockAmc(HpInv(cells)),
        "bit-sliced, 8-bit cells": BlockAmc(BitSliced(cells)),
        "one pass, 8-bit cells and ADC": BlockAmc(BitSliced(cells, x_slices=1, terms=0)),
        "HP-INV, calibrated": BlockAmc(HpInv(board)),
        "bit-sliced, calibrated": BlockAmc(BitSliced(board)),
        "one pass, calibrated": BlockAmc(board),
    }


def training(seed: int = 0, *, quick: bool = False, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """`solvers`: epochs, accuracy, update errors and array writes of each; `writes`: against first order, by T.

    Raises DataError where the letters cannot be had.
    """
    plan = _QUICK if quick else _FULL
    contenders = solvers()
    if quick:
        contenders = {name: contenders[name] for name in ("digital", "bit-sliced, 8-bit cells", "one pass, calibrated")}
    rows: list[dict[str, Any]] = []
    settings: dict[str, dict[str, Any]] = {"paper's": {}, "tuned": _TUNED}
    for which, options in settings.items():
        for name, solver in contenders.items():
            ended = [_run(plan, "kfac", seed + s, options, solver) for s in range(plan["seeds"])]
            rows.append({"settings": which, "solver": name, **_summed(ended, Key(seed, (9, len(rows))))})
    if progress:
        progress(1)
    writes = _writes(plan, seed)
    if progress:
        progress(1)
    return {"data": plan["data"], "published_writes": PUBLISHED_WRITES, "solvers": rows, "writes": writes}


def _run(
    plan: dict[str, Any], optimizer: str, seed: int, options: dict[str, Any], solver: Solver | None = None
) -> TrainResult:
    config = {
        "data": plan["data"],
        "epochs": plan["epochs"][optimizer],
        "seed": seed,
        "schedule": "reuse",
        "solver": solver,
    }
    return train(TrainConfig(optimizer=optimizer, options=options, **config))  # type: ignore[arg-type]


def _summed(ended: list[TrainResult], key: Key) -> dict[str, Any]:
    found = runs([{"epochs": r.epochs_to_full_accuracy, "test_accuracy": r.test_accuracy} for r in ended], key)
    updates = [error for r in ended if (error := r.errors.get("update_same_step_median")) is not None]
    steps = sum(r.counts["steps"] for r in ended)
    arrays = sum(r.counts["array_programmings"] + r.counts["reprogrammings"] for r in ended)
    return found | {
        "update_error_median": float(middle(updates)) if updates else None,
        "array_writes_a_step": arrays / steps,
        "analog_solves_a_step": sum(r.counts["analog_solves"] for r in ended) / steps,
    }


def _writes(plan: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """First order and K-FAC of several T, each at the rate that was quickest on other seeds: cells to full accuracy."""
    asked: list[tuple[str, str, int | None]] = [("SGD with momentum", "sgd", None)]
    asked += [(f"K-FAC, T = {period}", "kfac", period) for period in plan["periods"]]
    found: list[dict[str, Any]] = []
    for k, (name, optimizer, period) in enumerate(asked):
        rates = plan["rates"]["SGD" if period is None else "K-FAC"]
        slowness = [_typical(plan, optimizer, seed + 1000, _options(r, period)) for r in rates] if rates[1:] else [0.0]
        chosen = rates[slowness.index(min(slowness))]
        ended = [
            _run(plan, optimizer, seed + s, _options(chosen, period), _array(period)) for s in range(plan["seeds"])
        ]
        weights = CELLS_A_NUMBER * sum(v.size for v in ended[0].parameters.values())
        arrays = sum(r.counts["array_programmings"] for r in ended) / sum(r.counts["steps"] for r in ended)
        matrices = CELLS_A_NUMBER * _LEAF**2 * arrays
        epochs = float(middle([or_never(r.epochs_to_full_accuracy) for r in ended]))
        row = _summed(ended, Key(seed, (8, k))) | {"name": name, "rate": chosen, "period": period}
        known = math.isfinite(epochs)
        per_epoch = ended[0].counts["steps"] / len(ended[0].accuracy)
        row |= {"weight_cells_a_step": weights, "matrix_cells_a_step": matrices}
        row |= {"weight_writes": weights * per_epoch * epochs if known else None}
        row |= {"matrix_writes": matrices * per_epoch * epochs if known else None}
        base = found[0]["weight_writes"] if found else row["weight_writes"]
        for ratio, cells in (
            ("weights_over_first", row["weight_writes"]),
            ("all_over_first", row["weight_writes"] + row["matrix_writes"] if known else None),
            ("matrices_over_first", row["matrix_writes"]),
        ):
            row[ratio] = cells / base if cells is not None and base else None
        found.append(row)
    return found


def _options(rate: float, period: int | None) -> dict[str, Any]:
    """Momentum and no decay of the rate for both: the fairest of the trials of reproduce analog-training."""
    return {"lr": rate, "decay": 1.0} if period is None else {"lr": rate, "momentum": 0.9, "inverse_every": period}


def _array(period: int | None) -> Solver | None:
    return None if period is None else BlockAmc(BitSliced(Emulated(written(8))))


def _typical(plan: dict[str, Any], optimizer: str, seed: int, options: dict[str, Any]) -> float:
    """Median epochs of digital runs."""
    ended = [_run(plan, optimizer, seed + s, options) for s in range(plan["tuning_seeds"])]
    return float(middle([or_never(r.epochs_to_full_accuracy) for r in ended]))
