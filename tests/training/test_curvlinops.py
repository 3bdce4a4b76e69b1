"""K-FAC's factors and preconditioned gradients against those of curvlinops, where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from amcsim.solvers.exact import Exact
from amcsim.streams import Key
from amcsim.training.kfac import KFAC
from amcsim.training.networks import LetterNet, initialise

pytestmark = pytest.mark.filterwarnings("ignore")  # the peer's own imports warn
peer = pytest.importorskip("curvlinops", reason="curvlinops-for-pytorch is not installed")
DAMPING = 0.03


class _Tokens(nn.Module):
    """A Linear layer shared by the tokens of a sequence, and logits of each token or of their mean."""

    def __init__(self, each: bool) -> None:
        super().__init__()
        self.first, self.last, self.each = nn.Linear(5, 6), nn.Linear(6, 3, bias=False), each

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(torch.tanh(self.first(x)))
        return logits.movedim(-1, 1) if self.each else logits.mean(1)


def _cnn() -> nn.Module:
    layers = [nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 3, (3, 1), padding="same")]
    last = [nn.Conv2d(3, 5, 2, dilation=2, bias=False), nn.Flatten(), nn.Linear(20, 4)]
    return nn.Sequential(*layers, nn.Tanh(), *last)


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(7, 12), nn.Tanh(), nn.Linear(12, 9, bias=False), nn.ReLU(), nn.Linear(9, 4))


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...], int]] = {
    "letters": (lambda: LetterNet(Key(5)), (6, 1, 8, 8), (6,), 4),
    "cnn": (_cnn, (6, 2, 8, 7), (6,), 4),
    "mlp": (_mlp, (8, 7), (8,), 4),
    "tokens, one label": (lambda: _Tokens(each=False), (6, 3, 5), (6,), 3),
    "tokens, a label each": (lambda: _Tokens(each=True), (6, 3, 5), (6, 3), 3),
}


def _problem(case: str) -> tuple[nn.Module, Tensor, Tensor]:
    rng = np.random.default_rng(3)
    make, shape, of_labels, classes = CASES[case]
    model = make().double()
    initialise(model, Key(1))
    return model, torch.from_numpy(rng.standard_normal(shape)), torch.from_numpy(rng.integers(0, classes, of_labels))


def _stepped(model: nn.Module, x: Tensor, y: Tensor, **options: Any) -> tuple[KFAC, dict[str, Tensor], list[Tensor]]:
    """K-FAC after one step of rate 1, the moves of all parameters, and their gradients."""
    optimizer = KFAC(model, Exact(), Key(2), lr=1.0, weight_decay=0.0, damping=DAMPING, **options)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    outputs = model(x)
    optimizer.observe(outputs)
    nn.functional.cross_entropy(outputs, y).backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    optimizer.step()
    moves = {name: before[name] - p.detach() for name, p in model.named_parameters()}
    model.load_state_dict(before)
    optimizer.close()
    return optimizer, moves, gradients


@pytest.mark.parametrize(("fisher", "bias"), [("empirical", "separate"), ("type2", "joint")])
@pytest.mark.parametrize(("mean", "approximation"), [("activation", "expand"), ("reduce", "reduce")])
@pytest.mark.parametrize("case", sorted(CASES))
def test_factors_and_preconditioned_gradients_are_those_of_curvlinops(
    case: str, mean: Any, approximation: str, fisher: Any, bias: Any
) -> None:
    model, x, y = _problem(case)
    optimizer, moves, gradients = _stepped(model, x, y, spatial_mean=mean, fisher=fisher, bias=bias)
    operator = peer.KFACLinearOperator(
        model,
        nn.CrossEntropyLoss(),
        list(model.parameters()),
        [(x, y)],
        fisher_type="type-2" if fisher == "type2" else fisher,
        kfac_approx=approximation,
        separate_weight_and_bias=bias == "separate",
        check_deterministic=False,
    )
    operator.compute_kronecker_factors()
    for name, theirs in operator._input_covariances.items():
        a, g = optimizer.factors(name)
        np.testing.assert_allclose(a, theirs.numpy(), rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(g, operator._gradient_covariances[name].numpy(), rtol=1e-10, atol=1e-14)
    inverse = peer.KFACInverseLinearOperator(operator, damping=DAMPING)
    for (name, ours), wanted in zip(moves.items(), inverse @ gradients, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-8 * float(wanted.abs().max()), err_msg=name)


def test_pi_corrected_damping_is_curvlinops_heuristic() -> None:
    model, x, y = _problem("cnn")
    _, moves, gradients = _stepped(model, x, y, bias="joint", damping_split="pi")
    loss, parameters = nn.CrossEntropyLoss(), list(model.parameters())
    operator = peer.KFACLinearOperator(
        model,
        loss,
        parameters,
        [(x, y)],
        fisher_type="empirical",
        separate_weight_and_bias=False,
        check_deterministic=False,
    )
    inverse = peer.KFACInverseLinearOperator(operator, damping=DAMPING, use_heuristic_damping=True)
    for (name, ours), wanted in zip(moves.items(), inverse @ gradients, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-8 * float(wanted.abs().max()), err_msg=name)


def test_a_grouped_convolution_is_so_many_convolutions_side_by_side() -> None:
    """Curvlinops averages over groups; three single convolutions on three slices are what it has no say in."""
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.standard_normal((5, 6, 7, 7))), torch.from_numpy(rng.integers(0, 3, 5))
    grouped = nn.Conv2d(6, 9, 3, stride=2, padding=1, groups=3).double()
    initialise(grouped, Key(4))

    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(nn.Conv2d(2, 3, 3, stride=2, padding=1).double() for _ in range(3))
            with torch.no_grad():
                for number, part in enumerate(self.parts):
                    part.weight.copy_(grouped.weight[3 * number : 3 * number + 3])  # type: ignore[union-attr,operator,index]
                    part.bias.copy_(grouped.bias[3 * number : 3 * number + 3])  # type: ignore[union-attr,operator,index]

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([part(piece) for part, piece in zip(self.parts, x.split(2, 1), strict=True)], 1).mean(
                (2, 3)
            )

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = grouped

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.conv(x)
            return out.mean((2, 3))

    split = Split()
    optimizer, moves, _ = _stepped(Whole(), x, y)
    _, _, gradients = _stepped(split, x, y)
    a, g = optimizer.factors("conv")
    assert (a.shape, g.shape) == ((3, 18, 18), (3, 3, 3))
    operator = peer.KFACLinearOperator(
        split,
        nn.CrossEntropyLoss(),
        list(split.parameters()),
        [(x, y)],
        fisher_type="empirical",
        check_deterministic=False,
    )
    wanted = peer.KFACInverseLinearOperator(operator, damping=DAMPING) @ gradients
    np.testing.assert_allclose(moves["conv.weight"], torch.cat(wanted[0::2]), rtol=0, atol=1e-10)
    np.testing.assert_allclose(moves["conv.bias"], torch.cat(wanted[1::2]), rtol=0, atol=1e-10)
