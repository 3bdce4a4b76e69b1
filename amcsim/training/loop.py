"""The training loop: one configuration in; curves, errors and counts out; one seed, one run, to the bit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import nn

from amcsim._types import F64
from amcsim.solvers.base import Counts, Solver
from amcsim.streams import Key
from amcsim.training.data import DataError, Dataset, load, save_npz
from amcsim.training.kfac import KFAC
from amcsim.training.networks import LetterNet

__all__ = ["DEFAULTS", "Recorder", "Start", "TrainConfig", "TrainResult", "train", "update_drift"]

DEFAULTS: dict[str, dict[str, Any]] = {
    "kfac": {"lr": 0.3, "weight_decay": 1e-5, "damping": 0.03, "decay": 1.0},
    "sgd": {"lr": 1.0, "weight_decay": 3e-4, "momentum": 0.9, "nesterov": True, "decay": 0.96},
    "adam": {"lr": 0.1, "weight_decay": 3e-3, "betas": (0.9, 0.9), "decay": 0.96},
}
"""Figure 17 of Zhang et al.; `decay` multiplies the learning rate after each epoch."""
DATA, INIT, ORDER, SOLVER = range(4)
"""Sub-streams of a run's seed."""


class Recorder(Protocol):
    """What a solver's recorder of LP and HP errors must offer."""

    def summary(self) -> Mapping[str, float | None]:
        """Errors by name."""
        ...


@dataclass(frozen=True)
class TrainConfig:
    """What to train. `options` replaces hyper-parameters of DEFAULTS[optimizer] or, for kfac, arguments of KFAC."""

    data: str | Dataset = "digits"
    optimizer: Literal["kfac", "sgd", "adam"] = "kfac"
    solver: Solver | None = None
    """K-FAC's linear solver; None solves exactly."""
    solver_after: tuple[int, Solver] | None = None
    """(epochs, solver): another solver after so many epochs, as the paper's 26 bits after 28 epochs of 24 bits."""
    epochs: int = 50
    seed: int = 0
    schedule: Literal["paper", "reuse"] = "paper"
    batch_size: int = 100
    max_steps: int | None = None
    """Stop after so many steps, if the epochs do not end before."""
    options: Mapping[str, Any] = field(default_factory=dict)
    activation: str = "tanh"
    placement: str = "conv"
    folder: str | Path | None = None
    """Folder of EMNIST's idx files, for data = "letters"."""
    record: bool = False
    """Keep each step's systems and updates in TrainResult.recorded."""
    snapshots: Path | None = None
    """Write them to this .npz: for each name of KFAC.recorded one array (steps, ...)."""


@dataclass(frozen=True)
class Start:
    """A run of K-FAC between two epochs, from which it goes on as if it had never been interrupted."""

    epoch: int
    """Epochs done."""
    parameters: Mapping[str, F64]
    """The network's, by name, as TrainResult gives them."""


_STATELESS = frozenset({"lr", "damping", "weight_decay", "damping_split", "fisher", "bias", "spatial_mean"})
"""Options of K-FAC with which a step depends on nothing but the parameters and the step's number."""


@dataclass(frozen=True)
class TrainResult:
    """How a run went. Lists have one entry an epoch; a last epoch cut short by max_steps counts as one."""

    accuracy: list[float]
    """On the whole training set, 0..1."""
    loss: list[float]
    """Mean cross-entropy on the whole training set, nats."""
    test_accuracy: float
    epochs_to_full_accuracy: int | None
    """First epoch (from 1) with every training image right."""
    errors: dict[str, float | None]
    """Update vectors u against the exact solution u* of the same step's systems, and what the recorder adds."""
    iterations_mean: float | None
    """Analog solves for one high-precision vector; None without HP-INV."""
    counts: dict[str, int]
    elapsed_s: float
    recorded: list[dict[str, F64]]
    parameters: dict[str, F64]
    """Of the network at the end, by name."""

    def as_dict(self) -> dict[str, Any]:
        """Everything but `recorded` and `parameters`, ready for JSON."""
        return {name: value for name, value in vars(self).items() if name not in ("recorded", "parameters")}


def train(
    config: TrainConfig,
    progress: Callable[[int, float, float], None] | None = None,
    recorder: Recorder | None = None,
    start: Start | None = None,
) -> TrainResult:
    """Train the paper's network; `progress(epoch, accuracy, loss)` is called after each epoch (from 1).

    With `start` it goes on from there to config.epochs, and the result is of these epochs alone; K-FAC only, without
    memory from step to step (momentum, running means, kept inverses). Raises ValueError for a bad configuration and
    DataError where the data cannot be had. PyTorch runs on one thread meanwhile.
    """
    _check(config)
    if start is not None and (config.optimizer != "kfac" or not config.options.keys() <= _STATELESS):
        raise ValueError("a start goes with the optimizer 'kfac' only, and without options that it would remember")
    key = Key(config.seed)
    dataset = config.data if isinstance(config.data, Dataset) else load(config.data, key.child(DATA), config.folder)
    with _one_thread():
        begun = time.perf_counter()
        x, y = torch.from_numpy(dataset.x_train), torch.from_numpy(dataset.y_train)
        model = LetterNet(key.child(INIT), config.activation, config.placement, len(dataset.classes))
        optimizer, decay = _make_optimizer(config, model, key.child(SOLVER))
        accuracy: list[float] = []
        losses: list[float] = []
        before = steps = begun_at = 0
        if start is not None:
            model.load_state_dict({name: torch.from_numpy(value) for name, value in start.parameters.items()})
            begun_at = start.epoch
            before = steps = begun_at * -(-len(y) // config.batch_size)
            for group in optimizer.param_groups:
                group["steps"] = steps
        for epoch in range(begun_at, config.epochs):
            if config.solver_after is not None and epoch == config.solver_after[0] and isinstance(optimizer, KFAC):
                optimizer.solver = config.solver_after[1]
            order = torch.from_numpy(key.child(ORDER, epoch).generator().permutation(len(y)))
            for batch in order.split(config.batch_size):
                if steps == config.max_steps:
                    break
                optimizer.zero_grad()
                logits = model(x[batch])
                if isinstance(optimizer, KFAC):
                    optimizer.observe(logits)
                torch.autograd.backward(nn.functional.cross_entropy(logits, y[batch]))
                optimizer.step()
                steps += 1
            decay.step()
            reached, loss = _evaluate(model, x, y)
            accuracy.append(reached)
            losses.append(loss)
            if progress is not None:
                progress(epoch + 1, reached, loss)
            if steps == config.max_steps:
                break
        test_accuracy, _ = _evaluate(model, torch.from_numpy(dataset.x_test), torch.from_numpy(dataset.y_test))
        elapsed = time.perf_counter() - begun
    kfac = optimizer if isinstance(optimizer, KFAC) else None
    if kfac is not None:
        kfac.close()
        if config.snapshots is not None:
            save_npz(config.snapshots, **{n: np.stack([r[n] for r in kfac.recorded]) for n in kfac.recorded[0]})
    counts = kfac.counts if kfac is not None else Counts()
    vectors = sum(map(len, kfac.norms)) if kfac is not None else 0
    return TrainResult(
        accuracy=accuracy,
        loss=losses,
        test_accuracy=test_accuracy,
        epochs_to_full_accuracy=next((i + 1 + begun_at for i, a in enumerate(accuracy) if a == 1.0), None),
        errors={
            **(_update_errors(np.concatenate(kfac.norms)) if kfac is not None else {}),
            **(recorder.summary() if recorder is not None else {}),
        },
        iterations_mean=counts.analog_solves / counts.high_precision_vectors if counts.high_precision_vectors else None,
        counts={"steps": steps - before, "update_vectors": vectors, **counts.as_dict()},
        elapsed_s=elapsed,
        recorded=kfac.recorded if kfac is not None else [],
        parameters={name: value.detach().numpy().copy() for name, value in model.state_dict().items()},
    )


def update_drift(run: TrainResult, reference: TrainResult) -> dict[str, float | None]:
    """Relative errors of a run's update vectors against those of another run, step by step.

    Same-step errors and the drift of the two trajectories together, as Zhang et al. figure 16 (4.47 %) may have it.
    Raises ValueError where a run was not made by K-FAC with record=True, or has other steps.
    """
    if not run.recorded or len(run.recorded) != len(reference.recorded):
        raise ValueError("update_drift needs two K-FAC runs of as many steps, made with record=True")
    pairs = [
        (float(np.linalg.norm(ours[name] - theirs[name])), float(np.linalg.norm(theirs[name])))
        for ours, theirs in zip(run.recorded, reference.recorded, strict=True)
        for name in ours
        if name.endswith("_update")
    ]
    return _errors(np.array(pairs), "update_drift")


def _update_errors(norms: F64) -> dict[str, float | None]:
    return _errors(norms, "update_same_step")


def _errors(norms: F64, name: str) -> dict[str, float | None]:
    """Mean and median over vectors, and pooled Frobenius norm, of norms (vectors, 2): ||u - u*|| and ||u*||."""
    relative = norms[:, 0] / np.where(norms[:, 1] > 0, norms[:, 1], 1.0)
    pooled = np.linalg.norm(norms[:, 0]) / np.linalg.norm(norms[:, 1])
    values = {"mean": np.mean(relative), "median": np.median(relative), "pooled": pooled}
    return {f"{name}_{how}": float(value) if np.isfinite(value) else None for how, value in values.items()}


def _evaluate(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    with torch.no_grad():
        logits = model(x)
        return float((logits.argmax(1) == y).double().mean()), float(nn.functional.cross_entropy(logits, y))


def _make_optimizer(
    config: TrainConfig, model: nn.Module, key: Key
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    options = {**DEFAULTS[config.optimizer], **config.options}
    decay = options.pop("decay")
    optimizer: torch.optim.Optimizer
    try:
        if config.optimizer == "kfac":
            record = config.record or config.snapshots is not None
            optimizer = KFAC(model, _solver(config), key, schedule=config.schedule, record=record, **options)
        elif config.optimizer == "sgd":
            optimizer = torch.optim.SGD(model.parameters(), **options)
        else:
            optimizer = torch.optim.Adam(model.parameters(), **options)
    except TypeError as error:
        raise ValueError(f"options of {config.optimizer}: {error}") from error
    return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, decay)


def _solver(config: TrainConfig) -> Solver:
    if config.solver is not None:
        return config.solver
    from amcsim.solvers.exact import Exact

    return Exact()


def _check(config: TrainConfig) -> None:
    if config.optimizer not in DEFAULTS:
        raise ValueError(f"unknown optimizer {config.optimizer!r}: choose one of {', '.join(DEFAULTS)}")
    for name in ("epochs", "batch_size", "max_steps"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}, allowed is 1 or more")
    for name in ("solver", "solver_after", "snapshots"):
        if config.optimizer != "kfac" and getattr(config, name) is not None:
            raise ValueError(f"{name} goes with the optimizer 'kfac' only, not with {config.optimizer!r}")
    if config.snapshots is not None and not config.snapshots.parent.is_dir():
        raise DataError(f"the folder of the snapshots file {config.snapshots} does not exist")


@contextmanager
def _one_thread() -> Iterator[None]:
    """One PyTorch thread: quicker for such small tensors, and sums in one order on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
