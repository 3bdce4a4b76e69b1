"""The paper's network: 8x8 image, 5x5 convolution to 4 channels, 2x2 average pooling, 16 features to 4 classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from amcsim.streams import Key

__all__ = ["ACTIVATIONS", "PLACEMENTS", "LetterNet", "initialise"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu, "none": lambda x: x}
PLACEMENTS = ("conv", "pool")


class LetterNet(nn.Module):
    """Conv 5x5, 1 -> 4 channels; activation; average pool 2x2; fully connected 16 -> classes; biases, float64.

    Source: Zhang et al., figures 12 and 13, which fix the factor sizes 25, 4, 16, 4 and leave the activation open.
    `placement` puts the activation after the convolution ("conv") or after the pooling ("pool").
    """

    def __init__(self, key: Key, activation: str = "tanh", placement: str = "conv", classes: int = 4) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}: choose one of {', '.join(ACTIVATIONS)}")
        if placement not in PLACEMENTS:
            raise ValueError(f"unknown activation placement {placement!r}: choose one of {', '.join(PLACEMENTS)}")
        self.activation, self.placement = ACTIVATIONS[activation], placement
        # skip_init: PyTorch's own initialisation would draw from (and advance) the caller's global generator.
        self.conv = nn.utils.skip_init(nn.Conv2d, 1, 4, 5, dtype=torch.float64)
        self.fc = nn.utils.skip_init(nn.Linear, 16, classes, dtype=torch.float64)
        initialise(self, key)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, 1, 8, 8)."""
        h = self.conv(x)
        if self.placement == "conv":
            h = nn.functional.avg_pool2d(self.activation(h), 2)
        else:
            h = self.activation(nn.functional.avg_pool2d(h, 2))
        logits: Tensor = self.fc(h.flatten(1))
        return logits


def initialise(model: nn.Module, key: Key) -> None:
    """Draw weights and biases of Linear and Conv2d layers from `key`: uniform in +-1/sqrt(fan-in), PyTorch's law."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        for number, layer in enumerate(layers):
            bound = layer.weight[0].numel() ** -0.5
            for which, parameter in enumerate(layer.parameters(recurse=False)):
                draw = key.child(number, which).generator().uniform(-bound, bound, tuple(parameter.shape))
                parameter.copy_(torch.from_numpy(draw))
