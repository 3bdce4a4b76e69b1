"""K-FAC as a PyTorch optimiser whose linear systems go through any solver of amcsim.

For a layer with gradient dW (out, in) the Fisher block is approximated by A (x) G, so the preconditioned update is

    U = (G + beta I)^-1 dW (A + alpha I)^-1        and        u = (G + beta I)^-1 db        for the bias.

Factors, with N images, T output locations (1 for a Linear layer), a the layer's inputs (for Conv2d its patches, (in,) =
channels x kernel), g the gradient of one image's loss with respect to the layer's output:

    A = 1/N sum_n sum_t a a^T,    G = 1/N sum_n sum_t g g^T,    one or both of them divided by T (`spatial_mean`).

Sources: Martens & Grosse 2015 (K-FAC); Grosse & Martens 2016 (KFC), whose Omega sums over locations and whose Gamma
averages over them: `spatial_mean="gradient"`. `"activation"` averages in A instead (K-FAC-expand of Eschenhagen et al.
2023); the undamped product is the same. `"both"` makes the block T times too small. Zhang et al. do not say which they
take; median epochs to full letters accuracy of 10 seeds, alpha = beta = damping: activation 18.5, both 14.5, gradient
more than 50 (its A is 16 times larger against the same damping, its G 16 times smaller).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from amcsim._types import F64
from amcsim.solvers.base import Counts, Programmed, Solver
from amcsim.streams import Key

__all__ = ["KFAC"]

CHOICES: dict[str, tuple[str, ...]] = {
    "damping_split": ("full", "sqrt"),
    "fisher": ("empirical", "mc"),
    "bias": ("separate", "joint"),
    "schedule": ("paper", "reuse"),
    "spatial_mean": ("gradient", "activation", "both"),
}


@dataclass
class _Layer:
    """What the hooks saw of a layer since the last step."""

    name: str
    module: nn.Linear | nn.Conv2d
    inputs: Tensor | None = None
    """(N, in, T)."""
    output: Tensor | None = None
    gradients: Tensor | None = None
    """(N, out, T), of the batch's mean loss."""


class KFAC(torch.optim.Optimizer):
    """K-FAC for models whose parameters all lie in Linear and Conv2d layers and whose loss is a mean over the batch.

    One forward pass in training (with gradients), `observe(logits)`, one backward pass, `step()`.

    lr, weight_decay (added to the gradient), momentum (heavy ball on the update): as in torch.optim.SGD.
    damping, damping_split: alpha = beta = damping ("full") or sqrt(damping) ("sqrt").
    ema: decay of the running mean of the factors; None takes each batch's own factors.
    inverse_every: T, the steps between refreshes of the inverted factors.
    fisher: "empirical" takes g from the true labels, "mc" from labels sampled from the model (`key`).
    bias: "separate" solves it through G alone (the paper), "joint" as one more column of dW.
    schedule: "paper" programs anew at each visit: A, G for the weights, G for the bias (one physical array);
        "reuse" programs A and G once per refresh and keeps them.
    Write errors of visit `which` (0 A, 1 G, 2 G for the bias) of layer l at step s come from key.child(s, l, which).

    Public records: `counts`; `norms`, one (vectors, 2) array a step of ||u - u*|| and ||u*||, u* being the exact
    solution with the same factors; `recorded`, with record=True one dict a step: for layer `conv` conv_A_matrix (in,
    in), conv_A_rhs (in, out), conv_G_matrix (out, out), conv_G_rhs (out, in; schedule "reuse": and the bias as last
    column), conv_G_bias_matrix, conv_G_bias_rhs (out, 1; schedule "paper"), conv_weight_update (out, in),
    conv_bias_update (out, 1), or conv_weight_and_bias_update where bias is "joint". Matrices are damped.
    """

    def __init__(
        self,
        model: nn.Module,
        solver: Solver,
        key: Key,
        lr: float = 0.3,
        damping: float = 0.03,
        weight_decay: float = 1e-5,
        momentum: float = 0.0,
        ema: float | None = None,
        inverse_every: int = 1,
        damping_split: Literal["full", "sqrt"] = "full",
        fisher: Literal["empirical", "mc"] = "empirical",
        bias: Literal["separate", "joint"] = "separate",
        schedule: Literal["paper", "reuse"] = "paper",
        spatial_mean: Literal["gradient", "activation", "both"] = "activation",
        record: bool = False,
    ) -> None:
        chosen = {"damping_split": damping_split, "fisher": fisher, "bias": bias, "schedule": schedule}
        _check_choices({**chosen, "spatial_mean": spatial_mean})
        _check_range("lr", lr, 0.0, np.inf)
        _check_range("damping", damping, 0.0, np.inf)
        _check_range("weight_decay", weight_decay, 0.0, np.inf)
        _check_range("momentum", momentum, 0.0, 1.0)
        _check_range("ema", 0.0 if ema is None else ema, 0.0, 1.0)
        _check_range("inverse_every", inverse_every, 1, np.inf)
        self._layers = _supported_layers(model)
        parameters = [p for layer in self._layers for p in layer.module.parameters()]
        defaults = {"lr": lr, "damping": damping, "weight_decay": weight_decay, "momentum": momentum, "ema": ema}
        super().__init__(parameters, {**defaults, "inverse_every": inverse_every, "steps": 0, "refreshed_at": 0})
        self.solver, self.key, self.counts = solver, key, Counts()
        self.damping_split, self.fisher, self.bias, self.schedule = damping_split, fisher, bias, schedule
        self.spatial_mean, self.record = spatial_mean, record
        self.norms: list[F64] = []
        self.recorded: list[dict[str, F64]] = []
        self._programmed: dict[tuple[int, int], Programmed] = {}
        self._hooks = [layer.module.register_forward_hook(self._forward_hook(layer)) for layer in self._layers]

    def _forward_hook(self, layer: _Layer) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def keep_gradient(gradient: Tensor) -> None:
            layer.gradients = _by_location(gradient.detach())

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if not torch.is_grad_enabled():
                return
            rows = _rows(layer, inputs[0].detach())
            joint = self.bias == "joint" and layer.module.bias is not None
            layer.inputs = nn.functional.pad(rows, (0, 0, 0, 1), value=1.0) if joint else rows
            if self.fisher == "mc":
                layer.output = output
            else:
                output.register_hook(keep_gradient)

        return hook

    def observe(self, logits: Tensor) -> None:
        """Tell K-FAC the model's outputs (N, classes), before backward; fisher="mc" samples its labels from them."""
        if self.fisher == "empirical":
            return
        group = self.param_groups[0]
        chance = torch.softmax(logits.detach(), 1).cumsum(1).numpy()
        draw = self.key.child(group["steps"], len(self._layers)).generator().random((len(chance), 1))
        labels = torch.from_numpy(np.minimum((chance < draw).sum(1), chance.shape[1] - 1))
        seen = [layer for layer in self._layers if layer.output is not None]
        loss = nn.functional.cross_entropy(logits, labels)
        outputs = [layer.output for layer in seen if layer.output is not None]
        for layer, gradient in zip(seen, torch.autograd.grad(loss, outputs, retain_graph=True), strict=True):
            layer.gradients = _by_location(gradient)
            layer.output = None

    def factors(self, name: str) -> tuple[F64, F64]:
        """The factors A (in, in) and G (out, out) of the named layer, undamped, of the last step."""
        for layer in self._layers:
            if layer.name == name and "A" in self.state[layer.module.weight]:
                state = self.state[layer.module.weight]
                return _numpy(state["A"]), _numpy(state["G"])
        known = ", ".join(layer.name for layer in self._layers)
        raise ValueError(f"no factors of a layer {name!r}: layers are {known}, and have factors after the first step")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update factors and parameters from the last forward and backward pass; `closure` is not supported."""
        if closure is not None:
            raise ValueError("K-FAC takes no closure: run forward and backward once, then call step()")
        group = self.param_groups[0]
        for layer in self._layers:
            self._update_factors(layer, group["ema"])
        if group["steps"] % group["inverse_every"] == 0:
            self._programmed.clear()
            group["refreshed_at"] = group["steps"]
            for layer in self._layers:
                state = self.state[layer.module.weight]
                state["A_used"], state["G_used"] = state["A"], state["G"]
        norms: list[tuple[float, float]] = []
        if self.record:
            self.recorded.append({})
        for number, layer in enumerate(self._layers):
            norms += self._update_layer(number, layer, group)
        self.norms.append(np.array(norms))
        group["steps"] += 1

    def _update_factors(self, layer: _Layer, ema: float | None) -> None:
        lacking = any(p.grad is None for p in layer.module.parameters())
        if lacking or layer.inputs is None or layer.gradients is None:
            raise RuntimeError(f"K-FAC saw no forward and backward pass of layer {layer.name!r} since the last step")
        a, g, state = layer.inputs, layer.gradients, self.state[layer.module.weight]
        layer.inputs = layer.gradients = None
        images, locations = a.shape[0], a.shape[2]
        # One long product is several times quicker than a batched one; g is of the mean loss, hence times N^2 / N.
        a_rows, g_rows = a.transpose(0, 1).flatten(1), g.transpose(0, 1).flatten(1)
        new = {"A": a_rows @ a_rows.T / images, "G": g_rows @ g_rows.T * images}
        if self.spatial_mean in ("activation", "both"):
            new["A"] /= locations
        if self.spatial_mean in ("gradient", "both"):
            new["G"] /= locations
        for name, value in new.items():
            state[name] = value if ema is None or name not in state else ema * state[name] + (1.0 - ema) * value

    def _update_layer(self, number: int, layer: _Layer, group: dict[str, Any]) -> list[tuple[float, float]]:
        """Solve and apply a layer's update; returns (error, reference) norms of its update vectors."""
        module, state = layer.module, self.state[layer.module.weight]
        damping = group["damping"] ** (0.5 if self.damping_split == "sqrt" else 1.0)
        a, g = _damped(state["A_used"], damping), _damped(state["G_used"], damping)
        gradients = [
            _numpy(p.grad + group["weight_decay"] * p).reshape(p.shape[0], -1)
            for p in module.parameters()
            if p.grad is not None
        ]
        if self.bias == "joint" and module.bias is not None:
            gradients = [np.hstack(gradients)]
        name = layer.name
        half = self._solve(f"{name}_A", (number, 0), a, gradients[0].T)
        if self.schedule == "reuse":
            both = self._solve(f"{name}_G", (number, 1), g, np.hstack([half.T, *gradients[1:]]))
            updates = np.split(both, [gradients[0].shape[1]], axis=1) if len(gradients) == 2 else [both]
        else:
            updates = [self._solve(f"{name}_G", (number, 1), g, half.T)]
            updates += [self._solve(f"{name}_G_bias", (number, 2), g, b) for b in gradients[1:]]
        exact = [np.linalg.solve(g, b) for b in [np.linalg.solve(a, gradients[0].T).T, *gradients[1:]]]
        norms = [(float(np.linalg.norm(u - e)), float(np.linalg.norm(e))) for u, e in zip(updates, exact, strict=True)]
        if self.record:
            names = ("weight", "bias") if len(updates) == 2 else ("weight_and_bias",)
            self.recorded[-1].update({f"{name}_{w}_update": u for w, u in zip(names, updates, strict=True)})
        by_parameter = np.split(np.hstack(updates), [module.weight[0].numel()], axis=1)
        for parameter, update in zip(module.parameters(), by_parameter, strict=False):
            self._apply(parameter, torch.from_numpy(update).to(parameter).reshape(parameter.shape), group)
        return norms

    def _apply(self, parameter: Tensor, update: Tensor, group: dict[str, Any]) -> None:
        if group["momentum"]:
            state = self.state[parameter]
            update = update + group["momentum"] * state["velocity"] if "velocity" in state else update
            state["velocity"] = update
        parameter.add_(update, alpha=-group["lr"])

    def _solve(self, name: str, system: tuple[int, int], matrix: F64, rhs: F64) -> F64:
        """Solve matrix x = rhs, (n, n) and (n, k); columns that the solver has no answer for go to the digital host."""
        group = self.param_groups[0]
        rhs = np.ascontiguousarray(rhs)
        programmed = self._programmed.get(system)
        if programmed is None:
            at = group["refreshed_at"] if self.schedule == "reuse" else group["steps"]
            programmed = self.solver.program(matrix, self.key.child(at, *system))
            self.counts += programmed.counts
            if self.schedule == "reuse":
                self._programmed[system] = programmed
        solution = programmed.solve(rhs)
        self.counts += solution.counts
        x = solution.x
        lost = ~np.isfinite(x).all(0)
        if lost.any():
            x = x.copy()
            x[:, lost] = np.linalg.solve(matrix, rhs[:, lost])
            self.counts += Counts(digital_fallbacks=int(lost.sum()))
        if self.record:
            self.recorded[-1].update({f"{name}_matrix": matrix, f"{name}_rhs": rhs})
        return x

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from `state_dict()`: kept arrays are programmed again with the same keys, so with the same errors."""
        super().load_state_dict(state_dict)
        self._programmed.clear()

    def close(self) -> None:
        """Take the hooks off the model."""
        for hook in self._hooks:
            hook.remove()


def _supported_layers(model: nn.Module) -> list[_Layer]:
    layers = []
    covered: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            if isinstance(module, nn.Conv2d) and (
                module.groups != 1 or isinstance(module.padding, str) or module.padding_mode != "zeros"
            ):
                raise ValueError(f"layer {name!r}: K-FAC takes Conv2d with groups = 1 and numeric zero padding only")
            layers.append(_Layer(name or "model", module))
            covered |= {id(p) for p in module.parameters()}
    left = [name for name, p in model.named_parameters() if id(p) not in covered]
    if left or not layers:
        raise ValueError(f"K-FAC takes Linear and Conv2d layers only; parameters outside them: {left or 'all'}")
    return layers


def _rows(layer: _Layer, x: Tensor) -> Tensor:
    """A layer's inputs as (N, in, T): patches of a Conv2d, the features themselves (T = 1) of a Linear."""
    m = layer.module
    if isinstance(m, nn.Conv2d):
        return nn.functional.unfold(x, m.kernel_size, m.dilation, m.padding, m.stride)  # type: ignore[arg-type]
    if x.ndim != 2:
        raise ValueError(f"layer {layer.name!r}: K-FAC takes inputs (N, features), not {tuple(x.shape)}")
    return x[..., None]


def _by_location(gradient: Tensor) -> Tensor:
    """Output gradients as (N, out, T)."""
    return gradient.flatten(2) if gradient.ndim == 4 else gradient[..., None]


def _damped(factor: Tensor, damping: float) -> F64:
    matrix = _numpy(factor).copy()
    matrix[np.diag_indices_from(matrix)] += damping
    return matrix


def _numpy(tensor: Tensor) -> F64:
    return np.asarray(tensor.detach().numpy(), dtype=np.float64)


def _check_choices(chosen: dict[str, str]) -> None:
    for name, value in chosen.items():
        if value not in CHOICES[name]:
            raise ValueError(f"K-FAC: {name} is {value!r}, choose one of {', '.join(CHOICES[name])}")


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value < high:
        raise ValueError(f"K-FAC: {name} is {value}, allowed is {low} <= {name} < {high}")
