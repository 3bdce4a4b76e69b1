"""Which gradients make up G: hooks on the layers, and the Fisher's own backward passes.

With N images and R loss terms each (the tokens of a sequence; 1 for one label an image) G is N R times the sum of g g^T
over images and locations, g being of the mean loss: the g g^T of single terms, averaged over images and summed over an
image's terms, over R.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from amcsim.streams import Key
from amcsim.training.layers import Layer, Use

__all__ = ["Capture"]


class Capture:
    """Hooks that keep inputs and output gradients of layers, pass by pass, and hand out the sums of a step."""

    def __init__(self, layers: list[Layer], fisher: str, likelihood: str, reduce: bool, key: Key) -> None:
        self._layers, self._likelihood, self._reduce, self._key = layers, likelihood, reduce, key
        self._empirical, self._sampled = fisher == "empirical", fisher == "mc"
        self.watching = True
        """Whether the coming step updates factors; else only layers that have none yet are watched."""
        self.known: set[str] = set()
        """Layers that have factors."""
        self._passes = 0
        self._terms = 1.0
        self._hooks = [la.module.register_forward_hook(self._hook(la), with_kwargs=True) for la in layers]

    def _hook(self, layer: Layer) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
            wanted = self.watching or layer.name not in self.known
            if not (wanted and torch.is_grad_enabled() and output.requires_grad):
                return
            if any(use.gradients for use in layer.uses):  # a backward pass lies between: this is the next pass
                layer.fold(self._reduce, own_mean=False)
            use = Use((args[0] if args else kwargs["input"]).detach())
            layer.uses.append(use)
            if self._empirical:
                output.register_hook(self._keeper(layer, use))
            else:
                use.edge = get_gradient_edge(output)

        return hook

    def _keeper(self, layer: Layer, use: Use) -> Callable[[Tensor], None]:
        def keep(gradient: Tensor) -> None:
            if use not in layer.uses or use.gradients:
                raise RuntimeError(
                    f"layer {layer.name!r}: K-FAC saw two backward passes through one forward pass; add the losses up"
                )
            use.gradients.append(gradient.detach())
            if all(other.gradients for other in layer.uses):
                layer.fold(self._reduce, own_mean=False)

        return keep

    def observe(self, outputs: Tensor, step: int) -> None:
        """Note how many loss terms an image has; unless the Fisher is empirical, run its backward passes."""
        rows = outputs.detach().movedim(1, -1) if self._likelihood == "categorical" else outputs.detach()
        terms = rows.shape[:-1].numel()
        self._terms = terms / outputs.shape[0]
        waiting = [(layer, use) for layer in self._layers for use in layer.uses]
        if self._empirical or not waiting:
            return
        flat, live = rows.reshape(terms, -1), outputs.movedim(1, -1) if self._likelihood == "categorical" else outputs
        stream = self._key.child(step, len(self._layers), *((self._passes,) if self._passes else ()))
        self._passes += 1
        slopes = [_sampled(self._likelihood, flat, stream)] if self._sampled else _roots(self._likelihood, flat)
        for slope in slopes:
            edges = [use.edge for _, use in waiting]
            seed = (slope / terms).reshape(live.shape)
            found = torch.autograd.grad(live, edges, seed, retain_graph=True, allow_unused=True)
            for (_, use), gradient in zip(waiting, found, strict=True):
                if gradient is not None:
                    use.gradients.append(gradient)
        for layer in self._layers:
            layer.fold(self._reduce, own_mean=True)

    def take(self, layer: Layer) -> tuple[Tensor, Tensor, float] | None:
        """A and G summed over locations, and the number of locations; None where nothing was seen of the layer."""
        layer.fold(self._reduce, own_mean=False)
        a, g, images, locations = layer.a, layer.g, layer.images, layer.rows / max(layer.images, 1)
        if a is None or g is None:
            return None
        self.known.add(layer.name)
        return a / images, g * (images * self._terms) if self._empirical else g * (self._terms / images), locations

    def reset(self) -> None:
        """Begin the next step."""
        self._passes = 0
        for layer in self._layers:
            layer.forget()
            layer.uses.clear()

    def discard(self) -> None:
        """The gradients are set to zero: what belongs to them goes, too."""
        if self._empirical:
            for layer in self._layers:
                layer.forget()

    def close(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()


def _sampled(likelihood: str, outputs: Tensor, key: Key) -> Tensor:
    """Gradient of each row's loss with a label drawn from the row itself, (rows, outputs)."""
    generator, shape = key.generator(), tuple(outputs.shape)
    if likelihood == "gaussian":
        return torch.from_numpy(generator.standard_normal(shape)).to(outputs)
    if likelihood == "bernoulli":
        chance = torch.sigmoid(outputs)
        return chance - (torch.from_numpy(generator.random(shape)).to(outputs) < chance).to(outputs)
    chance = torch.softmax(outputs, 1)
    draw = generator.random((shape[0], 1))
    labels = np.minimum((chance.cumsum(1).cpu().numpy() < draw).sum(1), shape[1] - 1)
    return chance - nn.functional.one_hot(torch.from_numpy(labels).to(outputs.device), shape[1])


def _roots(likelihood: str, outputs: Tensor) -> Iterator[Tensor]:
    """Columns S_c, (rows, outputs) each, of a root of the loss's second derivatives: sum_c S_c S_c^T."""
    count = outputs.shape[1]
    chance = torch.softmax(outputs, 1) if likelihood == "categorical" else torch.sigmoid(outputs)
    for c in range(count):
        column = torch.zeros_like(outputs)
        column[:, c] = 1.0
        if likelihood == "categorical":
            column = chance[:, c : c + 1].sqrt() * (column - chance)
        elif likelihood == "bernoulli":
            column = column * (chance * (1.0 - chance)).sqrt()
        yield column
