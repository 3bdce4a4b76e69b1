"""A K-FAC step through simulated arrays beside the digital one, on the autoencoder 784-1000-500-250-30 mirrored.

Both train the same network on the same batches with the settings of Table I of Zhang et al. (batch 1000, damping 3 as
sqrt per factor, running means .9, T = 20), the digital one with LU factors kept between refreshes. Steps alternate,
with one thread, and times are of the processor, so that what else the machine does weighs on both.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from amcsim.solvers.base import Counts, Solver
from amcsim.solvers.exact import Exact
from amcsim.specs import Spec, load_spec
from amcsim.streams import Key
from amcsim.training.data import Dataset
from amcsim.training.kfac import KFAC
from amcsim.training.large import LargeConfig, make

__all__ = ["INTERVAL", "StepTimes", "compare", "onchip"]

INTERVAL = 20
"""Steps between refreshes, T of Table I."""


@dataclass(frozen=True)
class StepTimes:
    """Processor time of one way of solving, s."""

    passes_s: float
    """Forward and backward passes of a step, the Fisher's own included; median."""
    update_s: float
    """`step()` between two refreshes: factors, systems, parameters; median."""
    refresh_s: float
    """What `step()` takes longer where inverses are refreshed: factorising or programming."""
    counts: Counts
    drift: float
    """||w - w_digital|| / ||w_digital - w_0|| of the weights after the last step."""

    def step_s(self, interval: int) -> float:
        """A whole step, T = `interval` between refreshes, in the mean."""
        return self.passes_s + self.update_s + self.refresh_s / interval


def onchip() -> Spec:
    """The preset with what arrays of 128 rows need: 0.3 ohm a cell (assumed) and +-2 uS (what write-verify reaches).

    With the preset's 1 ohm and +-10 uS an answer of 128 rows is off by more than itself, and refinement gives up.
    """
    return load_spec("pku_350nm").replace(
        wire={"bl_resistance": 0.3, "sl_resistance": 0.3}, programming={"tolerance": 2e-6}
    )


def compare(
    solver: Solver, dataset: Dataset, *, steps: int = 3, batch: int = 1000, hidden: tuple[int, ...] | None = None
) -> tuple[StepTimes, StepTimes]:
    """(digital, through `solver`) over `steps` steps, the first of which refreshes. Raises ValueError below 2 steps."""
    if steps < 2:
        raise ValueError(f"steps = {steps} must be 2 or more: the first refreshes")
    sizes: dict[str, Any] = {"hidden": hidden} if hidden else {}
    runs = [_Run(LargeConfig(data=dataset, solver=s, batch_size=batch, **sizes), dataset) for s in (Exact(), solver)]
    start = runs[0].weights()
    order = torch.from_numpy(Key(0).generator().permutation(len(dataset.x_train)))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with threadpool_limits(1):  # threads that wait for each other spin, and that is processor time
            for used in (Exact(), solver):  # what is compiled once a machine is no part of a step
                used.program(np.eye(20), Key(0)).solve(np.ones((20, 40)))
            for step in range(steps):
                chosen = order[torch.arange(step * batch, (step + 1) * batch) % len(order)]
                for run in runs:
                    run.step(torch.from_numpy(dataset.x_train)[chosen])
    finally:
        torch.set_num_threads(threads)
    digital = runs[0].weights()
    moved = float(np.linalg.norm(digital - start))
    first, second = (run.times(float(np.linalg.norm(run.weights() - digital)) / moved) for run in runs)
    return first, second


class _Run:
    def __init__(self, config: LargeConfig, dataset: Dataset) -> None:
        self.model, self.optimizer = make(config, dataset)
        self.of_passes: list[float] = []
        self.of_steps: list[float] = []

    def step(self, x: Tensor) -> None:
        """One step on those images."""
        begun = time.process_time()
        self.optimizer.zero_grad()
        outputs = self.model(x)
        assert isinstance(self.optimizer, KFAC)
        self.optimizer.observe(outputs)
        pixels = x.flatten(1)
        loss = nn.functional.binary_cross_entropy_with_logits(outputs, pixels, reduction="sum") / len(x)
        torch.autograd.backward(loss)
        between = time.process_time()
        self.optimizer.step()
        self.of_passes.append(between - begun)
        self.of_steps.append(time.process_time() - between)

    def weights(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """All of them in one vector."""
        return np.concatenate([p.detach().numpy().ravel() for p in self.model.parameters()])

    def times(self, drift: float) -> StepTimes:
        """What the steps took."""
        update = float(np.median(self.of_steps[1:]))
        assert isinstance(self.optimizer, KFAC)
        passes, refresh = float(np.median(self.of_passes)), max(0.0, self.of_steps[0] - update)
        return StepTimes(passes, update, refresh, self.optimizer.counts, drift)
