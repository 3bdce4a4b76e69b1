"""K-FAC on models of every kind: its layers, what a pass is, groups of parameters, stale arrays, resuming."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from amcsim._types import F64
from amcsim.solvers.base import Counts, Programmed, Solution
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.exact import Exact
from amcsim.specs import Spec
from amcsim.streams import Key
from amcsim.training.kfac import KFAC
from amcsim.training.layers import Layer
from amcsim.training.networks import initialise

NOISY = Emulated(Spec.model_validate({"programming": {"model": "uniform", "tolerance": 1e-5}}))
loss_of = nn.functional.cross_entropy


def _numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def _made(model: nn.Module) -> Any:
    model = model.double()
    initialise(model, Key(8))
    return model


def _pass(model: nn.Module, optimizer: KFAC, x: Tensor, y: Tensor, share: float = 1.0) -> None:
    outputs = model(x)
    optimizer.observe(outputs)
    (share * loss_of(outputs, y)).backward()


def _moved(model: nn.Module, x: Tensor, y: Tensor, **options: Any) -> tuple[dict[str, Tensor], KFAC]:
    """How far one step of rate 1 moves each parameter; the model is as before."""
    optimizer = KFAC(model, Exact(), Key(0), lr=1.0, **options)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _pass(model, optimizer, x, y)
    optimizer.step()
    moves = {name: before[name] - p.detach() for name, p in model.named_parameters()}
    model.load_state_dict(before)
    model.zero_grad()
    optimizer.close()
    return moves, optimizer


def _same(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float = 1e-12) -> None:
    assert ours.keys() == theirs.keys()
    for name, move in ours.items():
        torch.testing.assert_close(move, theirs[name], rtol=0.0, atol=tolerance * float(theirs[name].abs().max()))


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "strided, padded, dilated": (nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)), (4, 2, 7, 8)),
    "same, uneven": (nn.Conv2d(2, 3, (2, 4), padding="same"), (4, 2, 5, 6)),
    "valid": (nn.Conv2d(2, 3, 2, padding="valid"), (4, 2, 5, 6)),
    "reflected": (nn.Conv2d(2, 3, 3, padding=2, padding_mode="reflect"), (4, 2, 5, 6)),
    "grouped": (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (4, 4, 5, 6)),
    "depthwise, circular": (nn.Conv2d(3, 3, 3, padding=1, groups=3, padding_mode="circular"), (4, 3, 5, 6)),
    "tokens": (nn.Linear(5, 3), (4, 6, 2, 5)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("case", sorted(LAYERS))
def test_rows_of_inputs_and_gradients_multiply_to_the_weights_gradient(case: str) -> None:
    """dW = sum g a^T over images and locations: it fixes the order, padding and place of every row."""
    module, shape = LAYERS[case]
    module.double()
    x = _numbers(*shape)
    out = module(x)
    gradient = _numbers(*out.shape, seed=1)
    (wanted,) = torch.autograd.grad(out, [module.weight], gradient)  # type: ignore[list-item]
    layer = Layer("it", module, joint=False)  # type: ignore[arg-type]
    a, g = layer._input_rows(x).flatten(-2), layer._gradient_rows(gradient, x).flatten(-2)
    torch.testing.assert_close(g @ a.mT, layer.matrix(wanted, weight=True))
    torch.testing.assert_close(layer.shaped(g @ a.mT, wanted), wanted)


class _Words(nn.Module):
    """Tokens to vectors to classes; `table` is an Embedding or a Linear on one-hot tokens."""

    def __init__(self, table: nn.Module) -> None:
        super().__init__()
        self.table, self.last = table, nn.Linear(4, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        of_one_hot = isinstance(self.table, nn.Linear)
        vectors = self.table(nn.functional.one_hot(tokens, 9).double() if of_one_hot else tokens)
        out: Tensor = self.last(torch.tanh(vectors).mean(1))
        return out


@pytest.mark.parametrize("split", ["full", "sqrt", "pi"])
def test_an_embedding_is_a_linear_layer_on_one_hot_tokens_whose_factor_is_never_dense(split: str) -> None:
    rng = np.random.default_rng(5)
    tokens, y = torch.from_numpy(rng.integers(0, 8, (6, 5))), torch.from_numpy(rng.integers(0, 3, 6))  # 8 is not there
    words, dense = _made(_Words(nn.Embedding(9, 4))), _made(_Words(nn.Linear(9, 4, bias=False)))
    with torch.no_grad():
        words.table.weight.copy_(dense.table.weight.T)
        words.last.load_state_dict(dense.last.state_dict())
    ours, optimizer = _moved(words, tokens, y, damping_split=split)
    theirs, _ = _moved(dense, tokens, y, damping_split=split)
    theirs["table.weight"] = theirs["table.weight"].T
    _same(ours, theirs)
    a, _ = optimizer.factors("table")
    np.testing.assert_allclose(a, np.bincount(tokens.flatten(), minlength=9) / 30, rtol=1e-12)


def test_padding_tokens_count_for_nothing() -> None:
    tokens, y = torch.tensor([[1, 2, 0, 0], [3, 1, 2, 0]]), torch.tensor([0, 1])
    model = _made(_Words(nn.Embedding(9, 4, padding_idx=0)))
    vectors = model.table(tokens).detach().requires_grad_()
    loss_of(model.last(torch.tanh(vectors).mean(1)), y).backward()
    _, optimizer = _moved(model, tokens, y)
    a, g = optimizer.factors("table")
    np.testing.assert_allclose(a[:4], np.array([0, 2, 2, 1]) / 8)
    rows = vectors.grad[tokens != 0]  # type: ignore[index]
    np.testing.assert_allclose(g, 2 * (rows.T @ rows).numpy(), rtol=1e-10)


@pytest.mark.parametrize("fisher", ["empirical", "type2"])
def test_accumulated_passes_are_one_batch(fisher: Any) -> None:
    x, y = _numbers(6, 2, 6, 6), torch.tensor([0, 1, 2, 2, 1, 0])
    model = _made(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 3)))
    wanted, _ = _moved(model, x, y, fisher=fisher)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = KFAC(model, Exact(), Key(0), lr=1.0, fisher=fisher)
    for part, share in ((slice(0, 4), 4 / 6), (slice(4, 6), 2 / 6)):
        _pass(model, optimizer, x[part], y[part], share)
    optimizer.step()
    _same({name: before[name] - p.detach() for name, p in model.named_parameters()}, wanted, 1e-10)


class _Twice(nn.Module):
    """One layer on two halves of the input, apart or as two locations."""

    def __init__(self, apart: bool) -> None:
        super().__init__()
        self.layer, self.last, self.apart = nn.Linear(4, 5), nn.Linear(5, 3), apart

    def forward(self, x: Tensor) -> Tensor:
        halves = x.reshape(-1, 2, 4)
        h = torch.stack([self.layer(halves[:, k]) for k in (0, 1)], 1) if self.apart else self.layer(halves)
        out: Tensor = self.last(torch.tanh(h).sum(1))
        return out


@pytest.mark.parametrize("fisher", ["empirical", "mc", "type2"])
@pytest.mark.parametrize("mean", ["gradient", "activation", "both", "reduce"])
def test_a_module_that_is_used_twice_has_the_locations_of_both_uses(mean: Any, fisher: Any) -> None:
    x, y = _numbers(6, 8), torch.tensor([0, 1, 2, 2, 1, 0])
    apart, together = _made(_Twice(apart=True)), _made(_Twice(apart=False))
    ours, _ = _moved(apart, x, y, spatial_mean=mean, fisher=fisher)
    theirs, _ = _moved(together, x, y, spatial_mean=mean, fisher=fisher)
    _same(ours, theirs, 1e-10)


def test_what_a_pass_is_may_not_be_doubtful() -> None:
    layer = _made(nn.Linear(4, 3))
    optimizer = KFAC(layer, Exact(), Key(0))
    out = layer(_numbers(5, 4))
    out.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="layer 'model': K-FAC saw two backward passes through one forward pass"):
        out.sum().backward()
    optimizer.zero_grad()
    with pytest.raises(ValueError, match="uses of it with 5, 4 images in one pass"):
        (layer(_numbers(5, 4)).sum() + layer(_numbers(4, 4)).sum()).backward()
    optimizer.zero_grad()
    with pytest.raises(RuntimeError, match="no layer has a gradient"):
        optimizer.step()


def test_zeroed_gradients_take_their_factors_with_them_and_may_be_zeroed_late() -> None:
    x, y = _numbers(6, 8), torch.tensor([0, 1, 2, 2, 1, 0])
    model = _made(_Twice(apart=True))
    wanted, _ = _moved(model, x, y)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = KFAC(model, Exact(), Key(0), lr=1.0)
    _pass(model, optimizer, 9.0 * x, y)  # given up
    model(x)  # looked at only
    outputs = model(x)
    optimizer.zero_grad()
    loss_of(outputs, y).backward()
    optimizer.step()
    _same({name: before[name] - p.detach() for name, p in model.named_parameters()}, wanted)


def test_layers_without_a_gradient_are_left_as_they_are() -> None:
    model = _made(nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2)]))
    optimizer = KFAC(model, Exact(), Key(0), inverse_every=3)
    kept = model[1].weight.detach().clone()
    for live in (0, 0, 1):
        optimizer.zero_grad()
        loss_of(model[live](_numbers(4, 3)), torch.tensor([0, 1, 1, 0])).backward()
        optimizer.step()
        assert torch.equal(model[1].weight, kept) == (live == 0)
    assert [len(norms) for norms in optimizer.norms] == [2, 2, 2]


def _with_norms() -> Any:
    return _made(nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)))


def test_norm_layers_go_to_the_inner_optimiser_which_is_said_once() -> None:
    x, y = _numbers(6, 1, 6, 6), torch.tensor([0, 1, 2, 2, 1, 0])
    with pytest.warns(UserWarning, match=r"no factors for 1.weight, 1.bias: Adam at rate 1e-3 takes them") as said:
        moves, optimizer = _moved(_with_norms(), x, y)
    assert len(said) == 1
    assert optimizer.left == ["1.weight", "1.bias"]
    torch.testing.assert_close(moves["1.weight"].abs(), torch.full((3,), 1e-3, dtype=torch.float64), rtol=1e-4, atol=0)
    model = _with_norms()
    optimizer = KFAC(model, Exact(), Key(0), inner=lambda params: torch.optim.SGD(params, lr=0.5))
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
    for rate in (0.5, 0.05):
        before = model[1].bias.detach().clone()
        optimizer.zero_grad()
        _pass(model, optimizer, x, y)
        optimizer.step()
        torch.testing.assert_close(before - model[1].bias, rate * model[1].bias.grad)
        decay.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.003)


class _Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out, self.mid = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False), nn.Linear(4, 4)
        self.out.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.out(torch.tanh(self.mid(self.table(tokens)))).movedim(-1, 1)
        return logits


UNSUPPORTED: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "tied weights": (_Tied, ["table.weight"]),
    "attention": (
        lambda: nn.ModuleList([nn.MultiheadAttention(4, 2), nn.Linear(4, 4)]),
        ["0.in_proj_weight", "0.in_proj_bias", "0.out_proj.weight", "0.out_proj.bias"],
    ),
    "weight norm": (
        lambda: nn.ModuleList([nn.utils.parametrizations.weight_norm(nn.Linear(3, 3, bias=False)), nn.Linear(3, 3)]),
        ["0.parametrizations.weight.original0", "0.parametrizations.weight.original1"],
    ),
    "sparse embedding": (lambda: nn.ModuleList([nn.Embedding(5, 2, sparse=True), nn.Linear(2, 2)]), ["0.weight"]),
    "another convolution": (lambda: nn.ModuleList([nn.Conv1d(1, 1, 1, bias=False), nn.Linear(2, 2)]), ["0.weight"]),
}


@pytest.mark.parametrize("case", sorted(UNSUPPORTED))
def test_weights_that_have_no_factors_of_their_own_are_left_over(case: str) -> None:
    make, names = UNSUPPORTED[case]
    with pytest.warns(UserWarning, match="K-FAC has no factors for"):
        assert KFAC(make(), Exact(), Key(0)).left == names


def test_named_modules_are_left_out_and_frozen_ones_stay() -> None:
    model = _made(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 3)))
    model[0].weight.requires_grad_(False)  # its bias goes to the inner optimiser
    optimizer = KFAC(model, Exact(), Key(0), exclude=("2",), inner=torch.optim.SGD)
    assert optimizer.left == ["0.bias", "2.weight", "2.bias"]
    kept = model[0].weight.clone()
    _pass(model, optimizer, _numbers(5, 3), torch.tensor([0, 1, 2, 1, 0]))
    optimizer.step()
    assert torch.equal(model[0].weight, kept)
    with pytest.raises(ValueError, match="exclude names '3', which is no module"):
        KFAC(model, Exact(), Key(0), exclude=("3",))


def test_a_weight_that_is_used_without_its_layer_is_an_error() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.layer.weight)

    model = Functional()
    optimizer = KFAC(model, Exact(), Key(0))
    model(torch.ones(2, 3)).sum().backward()
    with pytest.raises(RuntimeError, match=r"saw no forward and backward pass of layer 'layer'.*named in exclude"):
        optimizer.step()


def test_parameter_groups_have_their_own_rates_damping_and_decay() -> None:
    x, y = _numbers(6, 8), torch.tensor([0, 1, 2, 2, 1, 0])
    model = _made(_Twice(apart=False))
    plain, _ = _moved(model, x, y, weight_decay=0.0, damping=0.03)
    damped, _ = _moved(model, x, y, weight_decay=0.0, damping=0.5)
    decayed, _ = _moved(model, x, y, weight_decay=0.1, damping=0.03)
    both, _ = _moved(model, x, y, weight_decay=0.1, damping=0.5)
    groups = [
        {"params": [model.last.weight], "lr": 2.0, "damping": 0.5, "weight_decay": 0.0},
        {"params": model.layer.bias, "lr": 0.5, "weight_decay": 0.0},
    ]
    mixed, _ = _moved(model, x, y, weight_decay=0.1, damping=0.03, groups=groups)
    wanted = {
        "layer.weight": decayed["layer.weight"],
        "layer.bias": 0.5 * plain["layer.bias"],
        "last.weight": 2.0 * damped["last.weight"],
        "last.bias": both["last.bias"],  # of the weight's damping, its own decay
    }
    _same(mixed, wanted)
    with pytest.raises(ValueError, match="frozen, in another group, or not of the model"):
        KFAC(model, Exact(), Key(0), groups=[*groups, groups[0]])
    with pytest.raises(ValueError, match="takes parameter groups when it is made"):
        KFAC(model, Exact(), Key(0)).add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    with pytest.raises(ValueError, match="damping is -1"):
        KFAC(model, Exact(), Key(0), groups=[{"params": model.layer.weight, "damping": -1}])


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_torchs_on_the_preconditioned_gradients(nesterov: bool) -> None:
    x, y = _numbers(6, 8), torch.tensor([0, 1, 2, 2, 1, 0])
    model, twin = _made(_Twice(apart=False)), _made(_Twice(apart=False))
    optimizer = KFAC(model, Exact(), Key(0), lr=0.1, momentum=0.7, nesterov=nesterov, record=True)
    sgd = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.7, nesterov=nesterov)
    for _ in range(3):
        optimizer.zero_grad()
        _pass(model, optimizer, x, y)
        optimizer.step()
        for name, p in twin.named_parameters():
            p.grad = torch.from_numpy(optimizer.recorded[-1][f"{name.replace('.', '_')}_update"]).reshape(p.shape)
        sgd.step()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def test_decoupled_decay_shrinks_weights_beside_the_update() -> None:
    x, y = _numbers(6, 8), torch.tensor([0, 1, 2, 2, 1, 0])
    model = _made(_Twice(apart=False))
    plain, _ = _moved(model, x, y, weight_decay=0.0)
    decayed, _ = _moved(model, x, y, weight_decay=0.1, decoupled_weight_decay=True)
    _same(decayed, {name: plain[name] + 0.1 * p.detach() for name, p in model.named_parameters()})


class _Disturbed:
    """A leaf that says, at its third solve, that its array is disturbed."""

    def __init__(self) -> None:
        self.programmed: list[tuple[int, ...]] = []
        self.solves = 0

    def program(self, a: F64, key: Key) -> Programmed:
        spy, inner = self, NOISY.program(a, key)
        spy.programmed.append(key.path)

        class Handle:
            a, counts = inner.a, inner.counts

            def solve(self, b: F64) -> Solution:
                spy.solves += 1
                return inner.solve(b)._replace(disturbed=np.array(spy.solves == 3))

        return Handle()


def test_arrays_are_kept_until_the_next_refresh_and_written_again_when_disturbed() -> None:
    x, y = _numbers(6, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    model, leaf = _made(nn.Linear(4, 3)), _Disturbed()
    optimizer = KFAC(model, leaf, Key(0), schedule="reuse", inverse_every=4, factor_every=2, ema=0.5)
    factors = []
    for _ in range(6):
        optimizer.zero_grad()
        _pass(model, optimizer, x * (1 + len(factors)), y)
        optimizer.step()
        factors.append(optimizer.factors("model")[0])
    # Steps 0 and 4 refresh; the solve of A at step 1 disturbed its array, which step 2 writes again under its own key.
    assert leaf.programmed == [(0, 0, 0), (0, 0, 1), (2, 0, 0), (4, 0, 0), (4, 0, 1)]
    assert (optimizer.counts.array_programmings, optimizer.counts.reprogrammings) == (4, 1)
    kept = [np.array_equal(old, new) for old, new in itertools.pairwise(factors)]
    assert kept == [True, False, True, False, True]


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_everything_resumes_to_the_bit(stop: int, tmp_path: Path) -> None:
    x, y = _numbers(6, 1, 6, 6), torch.tensor([0, 1, 2, 2, 1, 0])

    def make(model: Any, solver: Any) -> KFAC:
        groups = [{"params": [model[4].weight, model[1].weight], "lr": 0.05}]
        intervals: Any = {"inverse_every": 4, "factor_every": 2, "schedule": "reuse", "ema": 0.9, "fisher": "mc"}
        terms: Any = {"momentum": 0.5, "nesterov": True, "damping_split": "pi", "groups": groups, "key": Key(1)}
        return KFAC(model, solver, inner=torch.optim.Adam, **intervals, **terms)

    model = _with_norms().float()
    optimizer = make(model, BlockAmc(NOISY, leaf=16))
    for step in range(7):
        if step == stop:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "run.pt")
        optimizer.zero_grad()
        _pass(model, optimizer, x.float(), y)
        optimizer.step()
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    resumed = _with_norms().float()
    resumed.load_state_dict(saved["model"])
    again = make(resumed, BlockAmc(NOISY, leaf=16))
    again.load_state_dict(saved["optimizer"])
    for _ in range(7 - stop):
        again.zero_grad()
        _pass(resumed, again, x.float(), y)
        again.step()
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), model.parameters(), strict=True))
    assert again.counts == optimizer.counts != Counts()
