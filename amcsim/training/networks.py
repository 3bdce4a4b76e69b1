"""The paper's network: 8x8 image, 5x5 convolution to 4 channels, 2x2 average pooling, 16 features to 4 classes.

The larger ones of the examples are a mirrored autoencoder and ResNet-20. All are in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from amcsim.streams import Key

__all__ = ["ACTIVATIONS", "AUTOENCODER", "PLACEMENTS", "Autoencoder", "LetterNet", "ResNet20", "initialise"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu, "none": lambda x: x}
PLACEMENTS = ("conv", "pool")
AUTOENCODER = (784, 1000, 500, 250, 30)
"""Sizes of the layers from image to code, mirrored behind it (Table I of Zhang et al.)."""


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


class Autoencoder(nn.Module):
    """Fully connected layers of `sizes` to the code and back; tanh, none on the code; logits of the pixels.

    Source of the sizes: Hinton & Salakhutdinov 2006, Martens & Grosse 2015.
    """

    def __init__(self, key: Key, sizes: Sequence[int] = AUTOENCODER) -> None:
        super().__init__()
        both = [*sizes, *reversed(sizes[:-1])]
        self.layers = nn.ModuleList(nn.utils.skip_init(nn.Linear, m, n, dtype=torch.float64) for m, n in pairwise(both))
        self.code = len(sizes) - 2
        initialise(self, key)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, pixels) of images (n, ...)."""
        h = x.flatten(1)
        for number, layer in enumerate(self.layers):
            h = layer(h)
            if number not in (self.code, len(self.layers) - 1):
                h = torch.tanh(h)
        return h


class _Block(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the input; where the size changes that is strided and padded."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.stride, self.more = 1 + (out > channels), out - channels
        self.conv1 = nn.utils.skip_init(
            nn.Conv2d, channels, out, 3, stride=self.stride, padding=1, bias=False, dtype=torch.float64
        )
        self.conv2 = nn.utils.skip_init(nn.Conv2d, out, out, 3, padding=1, bias=False, dtype=torch.float64)
        self.norm1, self.norm2 = (nn.BatchNorm2d(out, dtype=torch.float64) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        skip = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return torch.relu(h + skip)


class ResNet20(nn.Module):
    """Three stages of three blocks with 16, 32, 64 channels; 270,000 weights; any image size from 4x4 up.

    Source: He et al. 2016, section 4.2 (n = 3, shortcuts without weights).
    """

    def __init__(self, key: Key, classes: int, channels: int = 1, width: int = 16) -> None:
        super().__init__()
        self.conv = nn.utils.skip_init(nn.Conv2d, channels, width, 3, padding=1, bias=False, dtype=torch.float64)
        self.norm = nn.BatchNorm2d(width, dtype=torch.float64)
        outs = [width] * 3 + [2 * width] * 3 + [4 * width] * 3
        self.blocks = nn.Sequential(*(_Block(m, n) for m, n in pairwise([width, *outs])))
        self.fc = nn.utils.skip_init(nn.Linear, 4 * width, classes, dtype=torch.float64)
        initialise(self, key)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, channels, height, width)."""
        h = self.blocks(torch.relu(self.norm(self.conv(x))))
        logits: Tensor = self.fc(h.mean((2, 3)))
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
