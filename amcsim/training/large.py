"""Training of larger networks: the mirrored autoencoder and ResNet-20, by K-FAC through any solver, SGD or Adam.

The autoencoder's K-FAC has the settings of Table I of Zhang et al.: batches of 1000, damping 3 as sqrt(3) on each
factor, running means of .9, inverses every 20 steps. Labels are sampled from the model (Bernoulli pixels), as in
Martens & Grosse 2015. The loss is the cross-entropy summed over an image's pixels, with which their rate of 1 diverges
at the start; 0.1 was the best of three rates tried on two epochs of MNIST. ResNet-20's rate and damping are the best
of 13 settings tried on the digits (docs/kfac.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from amcsim.solvers.base import Counts, Solver
from amcsim.solvers.exact import Exact
from amcsim.streams import Key
from amcsim.training.data import DataError, Dataset, load
from amcsim.training.kfac import KFAC
from amcsim.training.networks import AUTOENCODER, Autoencoder, ResNet20

__all__ = ["BATCH", "SETTINGS", "LargeConfig", "LargeResult", "make", "train_large"]

Model = Literal["autoencoder", "resnet20"]
BATCH: dict[Model, int] = {"autoencoder": 1000, "resnet20": 128}
_OF_BOTH: dict[str, Any] = {"schedule": "reuse", "bias": "joint", "fisher": "mc", "ema": 0.9, "reference": False}
SETTINGS: dict[Model, dict[str, dict[str, Any]]] = {
    "autoencoder": {
        "kfac": _OF_BOTH
        | {"lr": 0.1, "damping": 3.0, "damping_split": "sqrt", "inverse_every": 20, "likelihood": "bernoulli"},
        "sgd": {"lr": 3e-3, "momentum": 0.9, "nesterov": True},
        "adam": {"lr": 1e-3},
    },
    "resnet20": {
        "kfac": _OF_BOTH | {"lr": 0.01, "damping": 0.1, "damping_split": "pi", "inverse_every": 10, "momentum": 0.9},
        "sgd": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
        "adam": {"lr": 1e-3},
    },
}
DATA, INIT, ORDER, SOLVER = range(4)
"""Sub-streams of a run's seed."""


@dataclass(frozen=True)
class LargeConfig:
    """What to train. `options` replaces hyper-parameters of SETTINGS[model][optimizer]."""

    model: Model = "autoencoder"
    data: str | Dataset = "curves"
    optimizer: Literal["kfac", "sgd", "adam"] = "kfac"
    solver: Solver | None = None
    """K-FAC's linear solver; None solves exactly."""
    epochs: int = 5
    seed: int = 0
    batch_size: int | None = None
    """None is BATCH[model]. A last batch that is not full is left out."""
    max_steps: int | None = None
    """Stop after so many steps, if the epochs do not end before."""
    images: int | None = None
    """Train on so many images only."""
    options: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[int, ...] = AUTOENCODER[1:]
    """Layers of the autoencoder, behind the image, to the code."""
    folder: str | Path | None = None
    """Folder of the idx files of "mnist" or "letters"."""


@dataclass(frozen=True)
class LargeResult:
    """How a run went. Lists have one entry an epoch, but for `step_losses` and `step_s`; nats are of one image."""

    accuracy: list[float | None]
    """On the training images, 0..1; None for the autoencoder."""
    loss: list[float]
    """On the training images, nats."""
    test_accuracy: float | None
    test_loss: float
    squared_error: float | None
    """Of the autoencoder on the test images: the mean of ||x - sigmoid(logits)||^2."""
    epochs_to_full_accuracy: int | None
    step_losses: list[float]
    """Of each batch, nats."""
    step_s: list[float]
    """Processor time of each step, forward and backward pass included, s."""
    iterations_mean: float | None
    """Analog solves for one high-precision vector; None without HP-INV."""
    counts: dict[str, int]
    elapsed_s: float

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return dict(vars(self))


def make(config: LargeConfig, dataset: Dataset) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The network for that data and its optimiser. Raises ValueError for options that it does not know."""
    key, shape = Key(config.seed), dataset.x_train.shape
    model: nn.Module
    if config.model == "autoencoder":
        model = Autoencoder(key.child(INIT), (int(np.prod(shape[1:])), *config.hidden))
    else:
        if len(dataset.classes) < 2:
            raise ValueError(f"resnet20 needs data of several classes, not {dataset.name!r}")
        model = ResNet20(key.child(INIT), len(dataset.classes), shape[1])
    options = {**SETTINGS[config.model][config.optimizer], **config.options}
    try:
        if config.optimizer == "kfac":
            inner = _norms_optimizer
            return model, KFAC(model, config.solver or Exact(), key.child(SOLVER), inner=inner, **options)
        kind = torch.optim.SGD if config.optimizer == "sgd" else torch.optim.Adam
        return model, kind(model.parameters(), **options)
    except TypeError as error:
        raise ValueError(f"options of {config.optimizer}: {error}") from error


def _norms_optimizer(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, lr=1e-3)


def train_large(config: LargeConfig, progress: Callable[[int, int, float], None] | None = None) -> LargeResult:
    """Train; `progress(step, steps_an_epoch, loss)` is called after each step (from 1).

    Raises ValueError for a bad configuration and DataError where the data cannot be had. PyTorch runs on as many
    threads as it is set to: sums, and so the last digits, depend on their number.
    """
    if config.model not in SETTINGS or config.optimizer not in SETTINGS[config.model]:
        raise ValueError(f"there is no {config.model!r} with the optimizer {config.optimizer!r}")
    if config.optimizer != "kfac" and config.solver is not None:
        raise ValueError(f"solver goes with the optimizer 'kfac' only, not with {config.optimizer!r}")
    key, began = Key(config.seed), time.perf_counter()
    dataset = config.data if isinstance(config.data, Dataset) else load(config.data, key.child(DATA), config.folder)
    x, y = torch.from_numpy(dataset.x_train[: config.images]), torch.from_numpy(dataset.y_train[: config.images])
    size = config.batch_size or BATCH[config.model]
    if not 0 < size <= len(x):
        raise DataError(f"a batch of {size} images cannot be had from {len(x)}; set batch_size")
    model, optimizer = make(config, dataset)
    per_epoch = len(x) // size
    steps = min(config.epochs * per_epoch, config.max_steps or config.epochs * per_epoch)
    losses, seconds, of_epochs = [], [], []
    for step in range(steps):
        epoch, batch = divmod(step, per_epoch)
        if batch == 0:
            order = torch.from_numpy(key.child(ORDER, epoch).generator().permutation(len(x)))
        chosen, begun = order[batch * size : (batch + 1) * size], time.process_time()
        model.train()
        optimizer.zero_grad()
        outputs = model(x[chosen])
        if isinstance(optimizer, KFAC):
            optimizer.observe(outputs)
        loss = _loss(config.model, outputs, x[chosen], y[chosen])
        torch.autograd.backward(loss)
        optimizer.step()
        seconds.append(time.process_time() - begun)
        losses.append(loss.item())
        if progress is not None:
            progress(step + 1, per_epoch, losses[-1])
        if not np.isfinite(losses[-1]):
            raise ValueError(f"the loss of step {step + 1} is {losses[-1]}: choose a smaller lr or a larger damping")
        if batch == per_epoch - 1 or step == steps - 1:
            of_epochs.append(_evaluate(config.model, model, x, y, size))
    tested = _evaluate(config.model, model, torch.from_numpy(dataset.x_test), torch.from_numpy(dataset.y_test), size)
    counts = optimizer.counts if isinstance(optimizer, KFAC) else Counts()
    if isinstance(optimizer, KFAC):
        optimizer.close()
    accuracy = [None if config.model == "autoencoder" else right for _, right, _ in of_epochs]
    return LargeResult(
        accuracy=accuracy,
        loss=[value for value, _, _ in of_epochs],
        test_accuracy=None if config.model == "autoencoder" else tested[1],
        test_loss=tested[0],
        squared_error=tested[2] if config.model == "autoencoder" else None,
        epochs_to_full_accuracy=next((i + 1 for i, a in enumerate(accuracy) if a == 1.0), None),
        step_losses=losses,
        step_s=seconds,
        iterations_mean=counts.analog_solves / counts.high_precision_vectors if counts.high_precision_vectors else None,
        counts={"steps": len(losses), **counts.as_dict()},
        elapsed_s=time.perf_counter() - began,
    )


def _loss(model: Model, outputs: Tensor, x: Tensor, y: Tensor) -> Tensor:
    if model == "autoencoder":
        pixels = x.flatten(1)
        return nn.functional.binary_cross_entropy_with_logits(outputs, pixels, reduction="sum") / len(x)
    return nn.functional.cross_entropy(outputs, y)


def _evaluate(kind: Model, model: nn.Module, x: Tensor, y: Tensor, size: int) -> tuple[float, float, float]:
    """Mean loss, share of right answers and, of the autoencoder, mean squared error of an image."""
    model.eval()
    totals = np.zeros(3)
    with torch.no_grad():
        for images, labels in zip(x.split(size), y.split(size), strict=True):
            outputs = model(images)
            totals[0] += float(_loss(kind, outputs, images, labels)) * len(images)
            if kind == "autoencoder":
                totals[2] += float((images.flatten(1) - torch.sigmoid(outputs)).square().sum())
            else:
                totals[1] += float((outputs.argmax(1) == labels).sum())
    loss, right, squared = totals / len(x)
    return float(loss), float(right), float(squared)
