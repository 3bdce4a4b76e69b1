"""What K-FAC knows of a layer: its inputs and output gradients as rows, its weight as a matrix, its factors' sums.

A layer maps inputs a to outputs W a + b at T locations of each of N images: one for a Linear layer on (N, in), the
tokens of (N, ..., in), the output pixels of a Conv2d (a is a patch, channels x kernel), the tokens of an Embedding (a
is one-hot), and, where a module is used several times in one forward pass, the locations of all its uses.
With `groups` a Conv2d is so many convolutions beside each other, and has one pair of factors for each: its matrices are
(groups, n, n). (curvlinops averages the groups' inputs into one factor instead, and has one G for all of them.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["CHUNK", "Layer", "Use", "find_layers", "sorted_into_groups"]

CHUNK = 2**24
"""Numbers of a layer's patches that are held at a time (128 MB in float64)."""
_NOT_TOLD = ("damping", "ema", "decoupled_weight_decay", "nesterov")
"""Keys of a group that are K-FAC's alone."""


@dataclass(eq=False)
class Use:
    """One forward pass through a layer that waits for its gradient."""

    x: Tensor
    gradients: list[Tensor] = field(default_factory=list)
    """With respect to the output: one for each backward pass of the Fisher."""
    edge: Any = None
    """Where in autograd's graph the output is, before anything is done to it in place."""


@dataclass(eq=False)
class Layer:
    """A Linear, Conv2d or Embedding whose weight is trained, and what was seen of it since the last step."""

    name: str
    module: nn.Linear | nn.Conv2d | nn.Embedding
    joint: bool
    """Whether the bias is one more column of the weight: each input then ends in a one."""
    uses: list[Use] = field(default_factory=list)
    images: int = 0
    rows: int = 0
    """Images times locations."""
    a: Tensor | None = None
    """Sum of a a^T, (*groups, in, in); of an Embedding, whose a a^T are diagonal, the diagonal, (in,)."""
    g: Tensor | None = None
    """Sum of g g^T, (*groups, out, out)."""

    @property
    def parameters(self) -> list[Tensor]:
        """Weight, and bias where there is one to train."""
        bias = getattr(self.module, "bias", None)
        return [self.module.weight] if bias is None or not bias.requires_grad else [self.module.weight, bias]

    @property
    def groups(self) -> tuple[int, ...]:
        """Leading axes of all matrices: (groups,) of a grouped convolution, else ()."""
        groups = self.module.groups if isinstance(self.module, nn.Conv2d) else 1
        return (groups,) if groups > 1 else ()

    def matrix(self, parameter: Tensor, weight: bool) -> Tensor:
        """A weight, or what has its shape, as (*groups, out, in); a bias as (*groups, out, 1)."""
        if isinstance(self.module, nn.Embedding):
            return parameter.T
        count = self.groups[0] if self.groups else 1
        return parameter.reshape(*self.groups, parameter.shape[0] // count, -1 if weight else 1)

    def shaped(self, matrix: Tensor, parameter: Tensor) -> Tensor:
        """The inverse of `matrix`."""
        return (matrix.T if isinstance(self.module, nn.Embedding) else matrix).reshape(parameter.shape)

    def forget(self) -> None:
        """Drop the sums, and the uses that are in them or waited for the rest of their pass."""
        self.uses = [use for use in self.uses if not use.gradients]
        self.images = self.rows = 0
        self.a = self.g = None

    def fold(self, reduce: bool, own_mean: bool) -> None:
        """Add the uses that have gradients to the sums, and forget all uses.

        reduce: of each image's locations the mean a and the sum of g are taken before the products. own_mean: gradients
        are of the mean loss of this pass's N images, and weighted by N^2; else of a mean over several passes together.
        """
        uses, self.uses = [use for use in self.uses if use.gradients], []
        if not uses:
            return
        wanted = {nn.Conv2d: 4, nn.Linear: 2, nn.Embedding: 1}[type(self.module)]
        if uses[0].x.ndim < wanted:
            shape = ("(N, ...)", "(N, ..., features)", "", "(N, channels, height, width)")[wanted - 1]
            raise ValueError(f"layer {self.name!r}: K-FAC takes inputs {shape}, not {tuple(uses[0].x.shape)}")
        images = uses[0].x.shape[0]
        if any(use.x.shape[0] != images for use in uses):
            sizes = ", ".join(str(use.x.shape[0]) for use in uses)
            raise ValueError(
                f"layer {self.name!r}: K-FAC saw uses of it with {sizes} images in one pass; want the same"
            )
        scale = float(images**2) if own_mean else 1.0
        self.images += images
        if reduce and not isinstance(self.module, nn.Embedding):
            self._fold_reduced(uses, scale)
            return
        for use in uses:
            a, locations = self._sum_a(use.x)
            self.rows += images * locations
            self.a = a if self.a is None else self.a + a
            for gradient in use.gradients:
                rows = self._gradient_rows(gradient, use.x).flatten(-2)
                self._add_g(rows, scale)

    def _fold_reduced(self, uses: list[Use], scale: float) -> None:
        rows = [self._input_rows(use.x) for use in uses]
        mean = torch.stack([r.sum(-1) for r in rows]).sum(0) / sum(r.shape[-1] for r in rows)
        self.rows += mean.shape[-1]
        a = mean @ mean.mT
        self.a = a if self.a is None else self.a + a
        for gradients in zip(*(use.gradients for use in uses), strict=True):
            sums = [self._gradient_rows(g, use.x).sum(-1) for g, use in zip(gradients, uses, strict=True)]
            self._add_g(torch.stack(sums).sum(0), scale)

    def _add_g(self, rows: Tensor, scale: float) -> None:
        g = rows @ rows.mT
        if scale != 1.0:
            g *= scale
        self.g = g if self.g is None else self.g + g

    def _sum_a(self, x: Tensor) -> tuple[Tensor, int]:
        """Sum of a a^T over images and locations, and the locations of an image."""
        module = self.module
        if isinstance(module, nn.Embedding):
            tokens = x.flatten()
            if module.padding_idx is not None:
                tokens = tokens[tokens != module.padding_idx]
            counts = torch.bincount(tokens, minlength=module.num_embeddings)
            return counts.to(module.weight.dtype), x[0].numel()
        one = self._input_rows(x[:1])
        step = max(1, CHUNK // max(one.numel(), 1))
        total: Tensor | None = None
        for chunk in x.split(step):
            rows = self._input_rows(chunk).flatten(-2)  # one long product is several times quicker than a batched one
            total = rows @ rows.mT if total is None else total + rows @ rows.mT
        return cast(Tensor, total), one.shape[-1]

    def _input_rows(self, x: Tensor) -> Tensor:
        """Inputs a as (*groups, in, N, T)."""
        module = self.module
        if isinstance(module, nn.Conv2d):
            padding: Any = module.padding
            if isinstance(padding, str) or module.padding_mode != "zeros":
                mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
                x = nn.functional.pad(x, module._reversed_padding_repeated_twice, mode=mode)
                padding = 0
            patches = nn.functional.unfold(x, module.kernel_size, module.dilation, padding, module.stride)
            rows = self._grouped(patches)
        else:
            rows = x.reshape(x.shape[0], -1, x.shape[-1]).permute(2, 0, 1)
        return nn.functional.pad(rows, (0, 0, 0, 0, 0, 1), value=1.0) if self.joint else rows

    def _gradient_rows(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Output gradients as (*groups, out, N, T)."""
        if isinstance(self.module, nn.Conv2d):
            return self._grouped(gradient.flatten(2))
        if isinstance(self.module, nn.Embedding) and self.module.padding_idx is not None:
            gradient = gradient * (x != self.module.padding_idx)[..., None]
        return gradient.reshape(gradient.shape[0], -1, gradient.shape[-1]).permute(2, 0, 1)

    def _grouped(self, channels: Tensor) -> Tensor:
        """(N, groups x c, T) as (*groups, c, N, T)."""
        images, count, locations = channels.shape
        if not self.groups:
            return channels.transpose(0, 1)
        groups = self.groups[0]
        return channels.reshape(images, groups, count // groups, locations).permute(1, 2, 0, 3)


def find_layers(model: nn.Module, joint: bool, exclude: Collection[str]) -> tuple[list[Layer], list[str]]:
    """The layers K-FAC takes, in the model's order, and the names of all other parameters that are trained.

    Left over are modules of other kinds (norm layers, subclasses that may compute what they like), those named in
    `exclude` with all they hold, Embeddings with max_norm, scale_grad_by_freq or sparse gradients, and weights that
    several modules share. Raises ValueError for a name in `exclude` that the model lacks.
    """
    modules = dict(model.named_modules())
    missing = sorted(set(exclude) - set(modules))
    if missing:
        raise ValueError(f"K-FAC: exclude names {missing[0]!r}, which is no module of the model")
    owners: dict[int, int] = {}
    for module in modules.values():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    layers, covered = [], set()
    for name, module in modules.items():
        if (
            any(f"{name}.".startswith(f"{outside}.") for outside in exclude)
            or not _supported(module)
            or any(owners[id(p)] > 1 for p in module.parameters())
        ):
            continue
        has_bias = getattr(module, "bias", None) is not None and module.bias.requires_grad
        layer = Layer(name or "model", cast(Any, module), joint and has_bias)
        layers.append(layer)
        covered |= {id(p) for p in layer.parameters}
    return layers, [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in covered]


def _supported(module: nn.Module) -> bool:
    own = dict(module.named_parameters())
    if type(module) not in (nn.Linear, nn.Conv2d, nn.Embedding) or not set(own) <= {"weight", "bias"}:
        return False
    if isinstance(module, nn.Embedding) and (module.max_norm or module.scale_grad_by_freq or module.sparse):
        return False
    return "weight" in own and own["weight"].requires_grad


def sorted_into_groups(
    model: nn.Module, layers: list[Layer], left: list[str], groups: Iterable[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The user's groups and one of the rest, split into those of K-FAC and those of the inner optimiser."""
    own = {id(p): p for layer in layers for p in layer.parameters}
    names = dict(model.named_parameters())
    others: dict[int, nn.Parameter] = {id(names[n]): names[n] for n in left}
    ours, theirs = [], []
    for group in groups:
        params = group["params"]
        wanted = [params] if isinstance(params, Tensor) else list(params)
        mine = [own.pop(id(p)) for p in wanted if id(p) in own]
        rest = [others.pop(id(p)) for p in wanted if id(p) in others]
        if len(mine) + len(rest) < len(wanted):
            raise ValueError("K-FAC: a group holds a parameter that is frozen, in another group, or not of the model")
        options = {name: value for name, value in group.items() if name != "params"}
        if mine:
            ours.append({**options, "params": mine})
        if rest:
            theirs.append({**{n: v for n, v in options.items() if n not in _NOT_TOLD}, "params": rest})
    if own:
        ours.insert(0, {"params": list(own.values())})
    if others:
        theirs.insert(0, {"params": list(others.values())})
    return ours, theirs
