"""K-FAC: factors against per-image autograd, updates against the dense Kronecker inverse, counts against the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from amcsim._types import F64
from amcsim.solvers.base import Counts, Programmed, Solution, Solver
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.exact import Exact
from amcsim.solvers.hp_inv import HpInv
from amcsim.specs import Spec
from amcsim.streams import Key
from amcsim.training.kfac import KFAC
from amcsim.training.networks import LetterNet, initialise

NOISY = Emulated(Spec.model_validate({"programming": {"model": "uniform", "tolerance": 1e-5}}))
loss_of = nn.functional.cross_entropy


def _batch(images: int = 6) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(3)
    return torch.from_numpy(rng.random((images, 1, 8, 8))), torch.from_numpy(rng.integers(0, 4, images))


def _backward(model: nn.Module, optimizer: KFAC, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    logits = model(x)
    optimizer.observe(logits)
    loss_of(logits, y).backward()


def _stepped(solver: Solver | None = None, **options: Any) -> tuple[LetterNet, KFAC, dict[str, F64]]:
    """A network after one step on six images, its optimiser, and the gradients that the step saw."""
    model = LetterNet(Key(5))
    optimizer = KFAC(model, solver or Exact(), Key(9), **options)
    _backward(model, optimizer, *_batch())
    gradients = {name: p.grad.numpy().copy() for name, p in model.named_parameters() if p.grad is not None}
    optimizer.step()
    return model, optimizer, gradients


def _factors_by_image(model: LetterNet, x: Tensor, y: Tensor) -> dict[str, tuple[F64, F64]]:
    """Sums over images and locations of a a^T and g g^T, image by image and location by location."""
    factors = {"conv": (np.zeros((25, 25)), np.zeros((4, 4))), "fc": (np.zeros((16, 16)), np.zeros((4, 4)))}
    for image, label in zip(x, y, strict=True):
        h = model.conv(image[None])
        features = nn.functional.avg_pool2d(torch.tanh(h), 2).flatten(1)
        logits = model.fc(features)
        of_h, of_logits = torch.autograd.grad(loss_of(logits, label[None]), (h, logits))
        for row in range(4):
            for column in range(4):
                a = image[0, row : row + 5, column : column + 5].numpy().ravel()
                g = of_h[0, :, row, column].numpy()
                factors["conv"][0][:] += np.outer(a, a)
                factors["conv"][1][:] += np.outer(g, g)
        a = features[0].detach().numpy()
        factors["fc"][0][:] += np.outer(a, a)
        factors["fc"][1][:] += np.outer(of_logits[0], of_logits[0])
    return factors


@pytest.mark.parametrize(
    ("spatial_mean", "by_a", "by_g"), [("activation", 16, 1), ("gradient", 1, 16), ("both", 16, 16)]
)
def test_factors_equal_the_sums_over_single_images(spatial_mean: str, by_a: int, by_g: int) -> None:
    expected = _factors_by_image(LetterNet(Key(5)), *_batch())
    _, optimizer, _ = _stepped(spatial_mean=spatial_mean)
    a, g = optimizer.factors("conv")
    np.testing.assert_allclose(a, expected["conv"][0] / 6 / by_a, rtol=1e-12)
    np.testing.assert_allclose(g, expected["conv"][1] / 6 / by_g, rtol=1e-10, atol=1e-15)
    a, g = optimizer.factors("fc")
    np.testing.assert_allclose(a, expected["fc"][0] / 6, rtol=1e-12)
    np.testing.assert_allclose(g, expected["fc"][1] / 6, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("split", ["full", "sqrt"])
@pytest.mark.parametrize("schedule", ["paper", "reuse"])
def test_the_update_is_the_dense_kronecker_inverse_times_the_gradient(split: str, schedule: str) -> None:
    start = dict(LetterNet(Key(5)).named_parameters())
    model, optimizer, gradients = _stepped(damping_split=split, schedule=schedule, lr=0.7, weight_decay=0.01)
    damping = 0.03 if split == "full" else 0.03**0.5
    after = dict(model.named_parameters())
    for layer in ("conv", "fc"):
        a, g = optimizer.factors(layer)
        a, g = a + damping * np.eye(len(a)), g + damping * np.eye(len(g))
        for name, fisher in ((f"{layer}.weight", np.kron(g, a)), (f"{layer}.bias", g)):
            old = start[name].detach().numpy()
            wanted = np.linalg.inv(fisher) @ (gradients[name] + 0.01 * old).ravel()
            moved = (old - after[name].detach().numpy()).ravel() / 0.7
            np.testing.assert_allclose(moved, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


def test_a_joint_bias_is_one_more_input_that_is_always_one() -> None:
    start = LetterNet(Key(5))
    model, optimizer, gradients = _stepped(bias="joint", weight_decay=0.0, lr=1.0)
    for layer in ("conv", "fc"):
        a, g = optimizer.factors(layer)
        assert a[-1, -1] == pytest.approx(1.0, rel=1e-12)
        gradient = np.column_stack([gradients[f"{layer}.weight"].reshape(4, -1), gradients[f"{layer}.bias"]])
        wanted = np.linalg.inv(g + 0.03 * np.eye(4)) @ gradient @ np.linalg.inv(a + 0.03 * np.eye(len(a)))
        moved = [
            (old - new).detach().numpy().reshape(4, -1)
            for old, new in zip(getattr(start, layer).parameters(), getattr(model, layer).parameters(), strict=True)
        ]
        np.testing.assert_allclose(np.hstack(moved), wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


@pytest.mark.parametrize(("schedule", "programmings"), [("paper", 28), ("reuse", 12)])
def test_a_step_costs_the_papers_139_inversions(schedule: Any, programmings: int) -> None:
    """Zhang et al. Fig. 13: 4 vectors x 15 leaves + 25 + 1 for the convolution, 4 x 9 + 16 + 1 for the other layer."""
    _, optimizer, _ = _stepped(BlockAmc(HpInv(NOISY), schedule=schedule), schedule=schedule)
    assert optimizer.counts.high_precision_vectors == 139
    assert optimizer.counts.array_programmings == programmings
    assert [len(norms) for norms in optimizer.norms] == [4]


class _Spy:
    """Exact solver that notes the order of programmings and solves as (path of the key, n, k)."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def program(self, a: F64, key: Key) -> Programmed:
        spy, inner = self, Exact().program(a, key)
        self.seen.append(("program", key.path, len(a)))

        class Handle:
            a, counts = inner.a, inner.counts

            def solve(self, b: F64) -> Solution:
                spy.seen.append(("solve", *b.shape))
                return inner.solve(b)

        return Handle()


def test_systems_are_solved_in_the_papers_order_under_named_keys() -> None:
    spy = _Spy()
    _stepped(spy, schedule="paper")
    conv = [("program", (0, 0, 0), 25), ("solve", 25, 4), ("program", (0, 0, 1), 4), ("solve", 4, 25)]
    conv += [("program", (0, 0, 2), 4), ("solve", 4, 1)]
    fc = [("program", (0, 1, 0), 16), ("solve", 16, 4), ("program", (0, 1, 1), 4), ("solve", 4, 16)]
    fc += [("program", (0, 1, 2), 4), ("solve", 4, 1)]
    assert spy.seen == conv + fc


def test_same_step_errors_are_against_the_exact_solution_of_the_same_systems() -> None:
    _, optimizer, _ = _stepped(Emulated(Spec(), output_gain=0.9), schedule="reuse")
    error, reference = optimizer.norms[0].T
    # Two systems in series scale a weight's update by .9^2, a bias passes one: exactly .19 and .1 off.
    np.testing.assert_allclose(error / reference, [0.19, 0.1, 0.19, 0.1], rtol=1e-9)


class _Loses:
    """Gives no answer for the first column."""

    def program(self, a: F64, key: Key) -> Programmed:
        inner = Exact().program(a, key)

        class Handle:
            a, counts = inner.a, inner.counts

            def solve(self, b: F64) -> Solution:
                solution = inner.solve(b)
                solution.x[:, 0] = np.nan
                return solution

        return Handle()


def test_columns_without_an_answer_fall_back_to_the_digital_host_and_are_counted() -> None:
    lost, lossy, _ = _stepped(_Loses())
    exact, _, _ = _stepped()
    assert lossy.counts == Counts(digital_fallbacks=6)
    for ours, theirs in zip(lost.parameters(), exact.parameters(), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=0, atol=1e-14)


def test_running_means_and_the_inverse_frequency() -> None:
    spy, model, (x, y) = _Spy(), LetterNet(Key(5)), _batch(20)
    optimizer = KFAC(model, spy, Key(0), ema=0.75, inverse_every=2, schedule="reuse")
    alone: list[F64] = []
    for step in range(4):
        reference = LetterNet(Key(5))
        reference.load_state_dict(model.state_dict())
        single = KFAC(reference, Exact(), Key(0))
        _backward(reference, single, x[5 * step : 5 * step + 5], y[5 * step : 5 * step + 5])
        single.step()
        alone.append(single.factors("fc")[0])
        _backward(model, optimizer, x[5 * step : 5 * step + 5], y[5 * step : 5 * step + 5])
        optimizer.step()
    mean = alone[0]
    for new in alone[1:]:
        mean = 0.75 * mean + 0.25 * new
    np.testing.assert_allclose(optimizer.factors("fc")[0], mean, rtol=1e-12)
    programmed = [seen[1] for seen in spy.seen if seen[0] == "program"]
    assert programmed == [(step, layer, which) for step in (0, 2) for layer in (0, 1) for which in (0, 1)]


def test_momentum_sums_past_updates() -> None:
    model, (x, y) = LetterNet(Key(5)), _batch()
    optimizer = KFAC(model, Exact(), Key(0), lr=0.1, momentum=0.5, record=True)
    places = [model.fc.bias.detach().clone().numpy()]
    for _ in range(2):
        _backward(model, optimizer, x, y)
        optimizer.step()
        places.append(model.fc.bias.detach().clone().numpy())
    first, second = (r["fc_bias_update"].ravel() for r in optimizer.recorded)
    np.testing.assert_allclose(places[0] - places[1], 0.1 * first, rtol=1e-9)
    np.testing.assert_allclose(places[1] - places[2], 0.1 * (second + 0.5 * first), rtol=1e-9)


@pytest.mark.parametrize("schedule", ["paper", "reuse"])
def test_a_saved_run_resumes_to_the_bit(schedule: Any, tmp_path: Path) -> None:
    options: Any = {"ema": 0.9, "inverse_every": 3, "momentum": 0.5, "schedule": schedule, "fisher": "mc"}
    model, (x, y) = LetterNet(Key(5)), _batch()
    optimizer = KFAC(model, NOISY, Key(1), **options)
    for step in range(7):
        if step == 4:  # between two refreshes, so that kept arrays matter
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "run.pt")
        _backward(model, optimizer, x, y)
        optimizer.step()
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    resumed = LetterNet(Key(0))
    resumed.load_state_dict(saved["model"])
    again = KFAC(resumed, NOISY, Key(1), **options)
    again.load_state_dict(saved["optimizer"])
    for _ in range(3):
        _backward(resumed, again, x, y)
        again.step()
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), model.parameters(), strict=True))


def test_sampled_labels_give_the_true_fisher_on_average() -> None:
    """With labels drawn from the model, E[g g^T] of the last layer is diag(p) - p p^T, averaged over images."""
    model, (x, y) = LetterNet(Key(5)), _batch(4000)
    optimizer = KFAC(model, Exact(), Key(2), fisher="mc")
    _backward(model, optimizer, x, y)
    with torch.no_grad():
        p = torch.softmax(model(x), 1)
    optimizer.step()
    wanted = (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]).mean(0).numpy()
    # Entries of 4000 samples scatter by less than 0.5 / sqrt(4000) = 0.008; four of them.
    np.testing.assert_allclose(optimizer.factors("fc")[1], wanted, rtol=0, atol=0.032)


def test_strided_padded_convolutions_and_single_precision_work() -> None:
    conv = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    model = nn.Sequential(conv, nn.Tanh(), nn.Flatten(), nn.Linear(48, 4, bias=False))
    initialise(model, Key(0))
    optimizer = KFAC(model, Exact(), Key(0), weight_decay=0.0)
    x = torch.linspace(-1, 1, 5 * 2 * 64).reshape(5, 2, 8, 8)
    _backward(model, optimizer, x, torch.tensor([0, 1, 2, 3, 0]))
    gradient = conv.weight.grad
    before = conv.weight.detach().clone()
    optimizer.step()
    patches = nn.functional.pad(x, (1, 1, 1, 1)).unfold(2, 3, 2).unfold(3, 3, 2)  # (5, 2, 4, 4, 3, 3)
    rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(80, 18)
    a, g = optimizer.factors("0")
    np.testing.assert_allclose(a, (rows.T @ rows / 80).numpy(), rtol=1e-4, atol=1e-5)
    assert g.shape == (3, 3)
    assert gradient is not None
    wanted = (
        np.linalg.inv(g + 0.03 * np.eye(3)) @ gradient.reshape(3, 18).numpy() @ np.linalg.inv(a + 0.03 * np.eye(18))
    )
    moved = ((before - conv.weight.detach()) / 0.3).reshape(3, 18).numpy()
    np.testing.assert_allclose(moved, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    assert optimizer.norms[0].shape == (3, 2)  # no bias in the second layer


def test_evaluation_leaves_no_trace_and_close_takes_the_hooks_off() -> None:
    model, optimizer, _ = _stepped()
    with torch.no_grad():
        model(_batch()[0])
    with pytest.raises(RuntimeError, match="saw no forward and backward pass of layer 'conv'"):
        optimizer.step()
    optimizer.close()
    loss_of(model(_batch()[0]), _batch()[1]).backward()
    with pytest.raises(RuntimeError, match="saw no forward"):
        optimizer.step()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"damping": -1.0}, "damping is -1.0"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"ema": 1.5}, "ema is 1.5"),
        ({"inverse_every": 0}, "inverse_every is 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"fisher": "true"}, "fisher is 'true', choose one of empirical, mc, type2"),
        ({"factor_every": 0}, "factor_every is 0"),
        ({"nesterov": True}, "nesterov needs a momentum"),
    ],
)
def test_bad_arguments_are_refused_by_name(options: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        KFAC(LetterNet(Key(0)), Exact(), Key(0), **options)


def test_models_and_inputs_without_factors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no layer of its own; parameters outside: \['0.weight', '0.bias'\]"):
        KFAC(nn.Sequential(nn.BatchNorm1d(3)), Exact(), Key(0))
    layer = nn.Linear(3, 2)
    KFAC(layer, Exact(), Key(0))
    with pytest.raises(ValueError, match=r"takes inputs \(N, ..., features\), not \(3,\)"):
        layer(torch.zeros(3)).sum().backward()
