"""What the study of analog training computes on its workers: leaf systems met by a circuit, and whole trainings."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from amcsim._types import F64
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.hp_inv import FixedPoint, HpInv
from amcsim.solvers.record import Recorded, Recorder
from amcsim.solvers.surrogate import SurrogateSolver
from amcsim.specs import Spec, preset
from amcsim.streams import Key
from amcsim.studies.analog_conditions import CONDITIONS, EFFECTS, WIDTHS, Changes, Condition, grid
from amcsim.studies.leaf_systems import Systems, leaf_figures
from amcsim.surrogate.model import Surrogate
from amcsim.training.data import load
from amcsim.training.loop import DATA, INIT, TrainConfig, TrainResult, train, update_drift
from amcsim.training.networks import LetterNet

__all__ = ["LIMIT", "Item", "Plan", "compute", "outputs"]

LIMIT = {"kfac": 60, "sgd": 120, "adam": 120}
"""Epochs; a run that does not reach full accuracy in them counts as longer than all that do."""
_SWITCH = 28
"""Epochs with words of 24 bits; 26 after."""

Item = tuple[str, Any]
"""Kind of a computation, and what it is to do."""


@dataclass(frozen=True)
class Plan:
    """How much is done."""

    data: Literal["letters", "digits"] = "letters"
    seeds: int = 10
    tuning_seeds: int = 3
    analog_seeds: int = 3
    """Of each of CONDITIONS."""
    epochs: int = 50
    limit: int | None = None
    """Epochs of digital runs; None is LIMIT."""
    most: int | None = None
    """Effects, cells of the grid, choices and trials, evenly picked; None is all."""
    widths: tuple[float, ...] = WIDTHS
    """Technologies, each fitted to ngspice runs of its own but the preset's."""

    map_rounds: int = 1000
    """Of t-SNE (250 or more)."""

    def _has(self, changes: Changes) -> bool:
        return changes.get("cell", {}).get("w", WIDTHS[0]) in self.widths

    @property
    def conditions(self) -> list[int]:
        """Numbers among CONDITIONS."""
        return [i for i, c in enumerate(CONDITIONS) if self._has(c.changes)]

    @property
    def effects(self) -> list[Condition]:
        """Those of EFFECTS that are met."""
        return self.picked(c for c in EFFECTS if self._has(c.changes))

    @property
    def grid(self) -> list[tuple[dict[str, str], Changes]]:
        """Those cells of the grid that are met."""
        return self.picked(cell for cell in grid() if self._has(cell[1]))

    def picked(self, values: Iterable[Any]) -> list[Any]:
        """At most `most` of the values."""
        found = list(values)
        return found if self.most is None else found[:: -(-len(found) // self.most)]

    def settings(self, axes: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
        """Every value of an axis with every other's."""
        return self.picked(dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))

    def epochs_of(self, optimizer: str) -> int:
        """Of a digital run."""
        return self.limit or LIMIT[optimizer]


def compute(item: Item, *, plan: Plan, surrogates: dict[float, Surrogate], seed: int, systems: Systems) -> Any:
    """One computation, on a worker."""
    kind, what = item
    if kind in ("effect", "cell"):
        spec = Condition("", what, "").spec
        leaf = SurrogateSolver(surrogates[spec.cell.w], spec)
        figures = leaf_figures(leaf, systems, Key(seed).child(12))
        words = leaf_figures(leaf, systems, Key(seed).child(12), number_format=FixedPoint(24))
        return figures | {f"fixed_{n}": words[n] for n in ("passes_mean", "hp_mean_by_vector", "diverging_arrays")}
    if kind == "analog":
        condition = CONDITIONS[what[0]]
        return _analog(surrogates[condition.spec.cell.w], condition.spec, plan, {}, what[1], plan.epochs)
    if kind == "solved":
        options, s = what
        spec = preset("pku_350nm")
        return _analog(surrogates[spec.cell.w], spec, plan, options, s, plan.epochs_of("kfac"))["run"]
    if kind == "choice":
        options, s = what
        kept = {name: value for name, value in options.items() if name != "activation"}
        config = TrainConfig(
            plan.data, epochs=plan.epochs_of("kfac"), seed=s, activation=options["activation"], options=kept
        )
        return _ended(train(config))
    name, options, s = what
    return _ended(train(TrainConfig(plan.data, name, epochs=plan.epochs_of(name), seed=s, options=options)))


def _ended(result: TrainResult) -> dict[str, Any]:
    """What is kept of a run."""
    return {
        "epochs": result.epochs_to_full_accuracy,
        "test_accuracy": result.test_accuracy,
        "accuracy": result.accuracy,
        "loss": result.loss,
    }


def _analog(
    surrogate: Surrogate, spec: Spec, plan: Plan, options: dict[str, Any], seed: int, epochs: int
) -> dict[str, Any]:
    """A training through the surrogate by the paper's schedule, and the digital run of the same seed."""
    low, high = Recorder(), Recorder()
    leaf = Recorded(SurrogateSolver(surrogate, spec), low)

    def solver(word: int) -> BlockAmc:
        return BlockAmc(Recorded(HpInv(leaf, number_format=FixedPoint(word)), high), schedule="paper")

    config = TrainConfig(plan.data, epochs=epochs, seed=seed, options=options, record=True)
    digital = train(config)
    analog = train(replace(config, solver=solver(24), solver_after=(_SWITCH, solver(26))))
    figures: dict[str, float | int | None] = {f"lp_{name}": value for name, value in low.summary().items()}
    figures |= {f"hp_{name}": value for name, value in high.summary().items()}
    figures |= analog.errors | update_drift(analog, digital) | analog.counts
    return {
        "run": _ended(analog),
        "digital": _ended(digital),
        "figures": figures | {"test_accuracy": analog.test_accuracy},
        "outputs": outputs(plan, seed, analog),
    }


def outputs(plan: Plan, seed: int, result: TrainResult) -> F64:
    """Logits of the test images at a run's end, (n, classes)."""
    import torch

    key = Key(seed)
    model = LetterNet(key.child(INIT))
    model.load_state_dict({name: torch.from_numpy(value) for name, value in result.parameters.items()})
    with torch.no_grad():
        logits = model(torch.from_numpy(load(plan.data, key.child(DATA)).x_test))
    return np.asarray(logits.numpy(), dtype=np.float64)
