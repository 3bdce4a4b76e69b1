"""The paper's network: shapes, activation, and an initialisation that leaves PyTorch's own generator alone."""

from __future__ import annotations

import pytest
import torch

from amcsim.streams import Key
from amcsim.training.networks import LetterNet


def test_the_network_has_the_shapes_of_figure_12() -> None:
    model = LetterNet(Key(0))
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert shapes == {"conv.weight": (4, 1, 5, 5), "conv.bias": (4,), "fc.weight": (4, 16), "fc.bias": (4,)}
    assert all(p.dtype == torch.float64 for p in model.parameters())
    assert model(torch.zeros(7, 1, 8, 8, dtype=torch.float64)).shape == (7, 4)


def test_initialisation_is_by_key_and_bounded_by_the_fan_in() -> None:
    before = torch.random.get_rng_state()
    one, same, other = LetterNet(Key(1)), LetterNet(Key(1)), LetterNet(Key(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.conv.weight, other.conv.weight)
    assert 0.15 < one.conv.weight.abs().max() <= 0.2  # 1 / sqrt(25)
    assert 0.2 < one.fc.weight.abs().max() <= 0.25  # 1 / sqrt(16)


def test_activation_sits_where_it_is_placed() -> None:
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64) * 50
    after_conv, after_pool = LetterNet(Key(0)), LetterNet(Key(0), placement="pool")
    h = after_conv.conv(x)
    pool = torch.nn.functional.avg_pool2d
    assert torch.equal(after_conv(x), after_conv.fc(pool(torch.tanh(h), 2).flatten(1)))
    assert torch.equal(after_pool(x), after_pool.fc(torch.tanh(pool(h, 2)).flatten(1)))
    # Without an activation the placements are one linear map.
    linear = [LetterNet(Key(0), "none", place)(x) for place in ("conv", "pool")]
    assert torch.equal(*linear)


def test_unknown_activations_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown activation 'gelu': choose one of tanh, relu, none"):
        LetterNet(Key(0), "gelu")
    with pytest.raises(ValueError, match="choose one of conv, pool"):
        LetterNet(Key(0), placement="fc")
