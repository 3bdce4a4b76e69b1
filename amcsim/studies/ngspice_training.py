"""The paper's whole training run with ngspice in the loop, beside the same run through the surrogate and digitally.

K-FAC on four letters (Zhang et al.: 100 steps of 139 INV vectors each in 50 epochs of two batches), BlockAMC to 4x4
arrays that are written anew at every visit, 2,800 in all, HP-INV to 24 bits: every pass of every vector is an operating
point of the whole array circuit in ngspice, judged as every answer of that backend is (poles, bounds, settling, a
certificate or else a start-up transient in ngspice). All runs draw the same write errors and offsets.

Under the preset pku_350nm a vector takes nine passes. Under `coarse` it takes about the paper's twenty: its converters
have 4 bits of +-0.75 V, of which +-0.3 V are used.

An epoch depends on nothing but the parameters that it starts from. So epochs are the items that workers are given, the
runs go on side by side, what is done is kept in a store, and no result depends on the number of workers.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from amcsim._types import F64
from amcsim.ngspice.messages import NgspiceDied
from amcsim.runs import ReplaceWorker, Store, TaskError, json_text
from amcsim.runs.executor import RECYCLE_ITEMS, packed
from amcsim.runs.pool import Limits, Pool
from amcsim.solvers.base import Counts
from amcsim.solvers.record import Recorder
from amcsim.solvers.stack import Stack, leaf_solver, training_stack
from amcsim.specs import Spec, preset
from amcsim.status import Status
from amcsim.streams import Key
from amcsim.training.data import Dataset, load
from amcsim.training.loop import DATA, Start, TrainConfig, train

__all__ = ["CONDITIONS", "PROMISED", "Plan", "study"]

CONDITIONS: dict[str, dict[str, Any]] = {
    "preset": {},
    "coarse": {"converters": {"dac_bits": 4, "adc_bits": 4, "dac_full_scale": 0.75, "adc_full_scale": 0.75}},
}
"""What differs from pku_350nm."""
PROMISED = {"ngspice": 600.0, "surrogate": 10.0}
"""Seconds that a run may take."""
_DIGITAL = "digital"
_LAYERS = ("conv_weight", "conv_bias", "fc_weight", "fc_bias")
_Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Plan:
    """What is run. Two runs of one plan give the same figures, times apart."""

    data: str = "letters"
    seed: int = 0
    epochs: int = 50
    conditions: Mapping[str, Spec] = field(
        default_factory=lambda: {name: preset("pku_350nm").replace(**changes) for name, changes in CONDITIONS.items()}
    )
    max_steps: int | None = None

    @property
    def runs(self) -> tuple[tuple[str, str], ...]:
        """(condition, backend) of each run; the digital one knows no condition."""
        return (("", _DIGITAL), *((c, b) for c in self.conditions for b in PROMISED))

    @property
    def sha256(self) -> str:
        """Of everything that the figures depend on."""
        said = [
            self.data,
            self.seed,
            self.epochs,
            self.max_steps,
            {c: s.model_dump() for c, s in self.conditions.items()},
        ]
        return hashlib.sha256(json_text(said).encode()).hexdigest()


def study(
    plan: Plan, *, workers: int, store: Path | str = ":memory:", progress: Callable[[int], object] | None = None
) -> dict[str, Any]:
    """All figures of a plan. Epochs are kept in the file `store`, and one that is begun goes on from there.

    `progress(1)` for each epoch of each run. Raises DataError, StoreError, TaskError, WorkerFailure.
    """
    dataset = load(plan.data, Key(plan.seed).child(DATA))
    advance = progress or (lambda _: None)
    begun = time.perf_counter()
    with Store(store, plan.sha256) as kept:
        _complete(plan, dataset, kept, workers, advance)
        runs = {run: [kept.get(_number(plan, k, e)) for e in range(plan.epochs)] for k, run in enumerate(plan.runs)}
    figures = [_figures(plan, run, epochs) for run, epochs in runs.items()]
    return {
        "study": "ngspice-training",
        "settings": {
            "data": plan.data,
            "seed": plan.seed,
            "epochs": plan.epochs,
            "max_steps": plan.max_steps,
            "workers": workers,
            "conditions": {name: spec.model_dump() for name, spec in plan.conditions.items()},
            "promised_s": PROMISED,
        },
        "elapsed_s": time.perf_counter() - begun,
        "runs": figures,
        "comparisons": [_compared(plan, c, runs[c, "ngspice"], runs[c, "surrogate"]) for c in plan.conditions],
    }


def _number(plan: Plan, run: int, epoch: int) -> int:
    return run * plan.epochs + epoch


def _complete(plan: Plan, dataset: Dataset, kept: Store, workers: int, advance: Callable[[int], object]) -> None:
    """Compute the epochs that the store lacks."""
    done = kept.ids()
    advance(len(done))

    def item(run: int, epoch: int) -> tuple[int, Any]:
        before = kept.get(_number(plan, run, epoch - 1)) if epoch else {}
        parameters = {name.removeprefix("parameter:"): v for name, v in before.items() if name.startswith("parameter:")}
        return _number(plan, run, epoch), (*plan.runs[run], epoch, parameters)

    def take(number: int, arrays: _Arrays) -> None:
        kept.put(number, arrays)
        advance(1)
        if (number + 1) % plan.epochs:
            pool.queue.append(item(number // plan.epochs, (number + 1) % plan.epochs))

    def failed(number: int, reason: str) -> None:
        raise TaskError(f"epoch {number % plan.epochs + 1} of {plan.runs[number // plan.epochs]}: {reason}", "")

    limits = Limits(timeout=None, retries=2, memory_limit=None, recycle_items=RECYCLE_ITEMS)
    pool = Pool(packed(_epoch, {"plan": plan, "dataset": dataset}, None), workers, limits)
    lacking = [[e for e in range(plan.epochs) if _number(plan, k, e) not in done] for k in range(len(plan.runs))]
    # ngspice's runs first: they take longest
    todo = sorted((plan.runs[k][1] != "ngspice", k, epochs[0]) for k, epochs in enumerate(lacking) if epochs)
    for k in [k for k, epochs in enumerate(lacking) if epochs and plan.runs[k][1] == "surrogate"][:1]:
        # machine code is made once on a machine and kept: no part of a run
        _epoch((*plan.runs[k], 0, {}), replace(plan, max_steps=1), dataset)
    try:
        if todo:
            pool.work([item(k, e) for _, k, e in todo], take, failed)
            pool.stop()
    finally:
        pool.kill()


def _epoch(payload: tuple[str, str, int, dict[str, F64]], plan: Plan, dataset: Dataset) -> _Arrays:
    """One epoch of one run: parameters after it, updates, recorded errors, counts and times, as arrays."""
    condition, backend, epoch, parameters = payload
    stack: Stack | None = None
    if backend != _DIGITAL:
        stack = training_stack(leaf_solver(backend, plan.conditions[condition]), "paper")
    solver = stack.solver if stack else None
    config = TrainConfig(
        dataset, solver=solver, epochs=epoch + 1, seed=plan.seed, max_steps=plan.max_steps, record=True
    )
    begun = time.process_time()
    try:
        result = train(config, None, stack, Start(epoch, parameters) if epoch else None)
    except NgspiceDied as error:
        raise ReplaceWorker(str(error)) from None
    found: _Arrays = {f"parameter:{name}": value for name, value in result.parameters.items()}
    for name in _LAYERS:
        steps = [step[f"{name}_update"].ravel() for step in result.recorded]
        found[f"update:{name}"] = np.array(steps)
    if stack:
        for level, recorder in (("lp", stack.low), ("hp", stack.high)):
            found |= {f"{level}:{name}": value for name, value in recorder.contents().items()}
    ended = result.accuracy[-1:] + result.loss[-1:]
    found["ended"] = np.array([*ended, result.test_accuracy]) if ended else np.zeros(0)
    found["spent"] = np.array([result.elapsed_s, time.process_time() - begun])
    names = Counts().as_dict()
    found["counts"] = np.array([result.counts[name] for name in ("steps", "update_vectors", *names)])
    return found


def _merged(epochs: list[_Arrays], level: str) -> Recorder:
    recorder = Recorder()
    for epoch in epochs:
        prefix = f"{level}:"
        recorder.extend({name.removeprefix(prefix): v for name, v in epoch.items() if name.startswith(prefix)})
    return recorder


def _figures(plan: Plan, run: tuple[str, str], epochs: list[_Arrays]) -> dict[str, Any]:
    """What one run shows."""
    condition, backend = run
    epochs = [epoch for epoch in epochs if epoch["counts"][0]]
    ended = np.array([epoch["ended"] for epoch in epochs])
    elapsed, cpu = np.sum([epoch["spent"] for epoch in epochs], axis=0).tolist()
    names = ("steps", "update_vectors", *Counts().as_dict())
    counts = dict(zip(names, np.sum([epoch["counts"] for epoch in epochs], axis=0).tolist(), strict=True))
    full = np.flatnonzero(ended[:, 0] == 1.0)
    figures: dict[str, Any] = {
        "condition": condition,
        "backend": backend,
        "accuracy": ended[:, 0].tolist(),
        "loss": ended[:, 1].tolist(),
        "test_accuracy": float(ended[-1, 2]),
        "epochs_to_full_accuracy": int(full[0]) + 1 if full.size else None,
        "counts": counts,
        "elapsed_s": elapsed,
        "cpu_s": cpu,
        "promised_s": PROMISED.get(backend),
    }
    if backend == _DIGITAL:
        return figures
    low, high = _merged(epochs, "lp"), _merged(epochs, "hp")
    by_epoch = [(_merged([epoch], "lp").summary(), _merged([epoch], "hp").summary()) for epoch in epochs]
    return figures | {
        "passes": counts["analog_solves"] / counts["high_precision_vectors"],
        "solves_per_s": counts["analog_solves"] / elapsed,
        "lp": low.summary(),
        "hp": high.summary(),
        "lp_error_by_epoch": [one["mean_by_vector"] for one, _ in by_epoch],
        "passes_by_epoch": [two["iterations_mean"] for _, two in by_epoch],
        "leaf_statuses": {str(Status(s)): int(n) for s, n in enumerate(low.statuses) if n},
    }


def _compared(plan: Plan, condition: str, ours: list[_Arrays], theirs: list[_Arrays]) -> dict[str, Any]:
    """ngspice's run against the surrogate's: update vectors step by step, curves, passes."""
    pairs = [(one, two) for one, two in zip(ours, theirs, strict=True) if one["counts"][0]]
    updates: dict[str, Any] = {}
    for name in _LAYERS:
        u, v = (np.concatenate([pair[side][f"update:{name}"] for pair in pairs]) for side in (0, 1))
        size = np.linalg.norm(v, axis=1)
        updates[name] = {
            "ngspice": u,
            "surrogate": v,
            "difference": np.linalg.norm(u - v, axis=1) / np.where(size > 0, size, 1.0),
        }
    ended = np.array([[one["ended"], two["ended"]] for one, two in pairs])
    off = np.abs(ended[:, 0] - ended[:, 1])
    differences = np.concatenate([found["difference"] for found in updates.values()])
    low = [_merged([pair[side] for pair in pairs], "lp") for side in (0, 1)]
    high = [_merged([pair[side] for pair in pairs], "hp") for side in (0, 1)]
    return {
        "condition": condition,
        "updates": updates,
        "update_difference_median": float(np.median(differences)),
        "update_difference_max": float(differences.max()),
        "first_step_update_difference_max": float(max(found["difference"][0] for found in updates.values())),
        "accuracy_difference_max": float(off[:, 0].max()),
        "loss_difference_max": float(off[:, 1].max()),
        "lp_error_ratio": _ratio(low, "mean_by_vector"),
        "passes_ratio": _ratio(high, "iterations_mean"),
    }


def _ratio(recorders: list[Recorder], name: str) -> float | None:
    """ngspice's figure over the surrogate's."""
    one, two = (recorder.summary()[name] for recorder in recorders)
    return one / two if one is not None and two else None
