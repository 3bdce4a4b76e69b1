"""K-FAC as a PyTorch optimiser whose linear systems go through any solver of amcsim.

For a layer with gradient dW (out, in) the Fisher block is approximated by A (x) G, so the preconditioned update is

    U = (G + beta I)^-1 dW (A + alpha I)^-1        and        u = (G + beta I)^-1 db        for the bias.

Factors, with N images, T locations each (amcsim.training.layers), a the layer's inputs, g the gradient of one image's
loss with respect to the layer's output:

    A = 1/N sum_n sum_t a a^T,    G = 1/N sum_n sum_t g g^T,    one or both of them divided by T (`spatial_mean`).

Sources: Martens & Grosse 2015 (K-FAC); Grosse & Martens 2016 (KFC), whose Omega sums over locations and whose Gamma
averages over them: `spatial_mean="gradient"`. `"activation"` averages in A instead (K-FAC-expand of Eschenhagen et al.
2023); the undamped product is the same. `"both"` makes the block T times too small. `"reduce"` is their K-FAC-reduce:
a averaged and g summed over an image's locations before the products (an Embedding stays with "activation"). Zhang et
al. do not say which they take; median epochs to full letters accuracy of 10 seeds, alpha = beta = damping: activation
18.5, both 14.5, gradient more than 50 (its A is 16 times larger against the same damping, its G 16 times smaller).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from amcsim._types import F64, Bool
from amcsim.solvers.base import Counts, Programmed, Solver
from amcsim.streams import Key
from amcsim.training.fisher import Capture
from amcsim.training.layers import Layer, find_layers, sorted_into_groups
from amcsim.training.systems import as_numpy, damped, error_norms

__all__ = ["KFAC"]

CHOICES: dict[str, tuple[str, ...]] = {
    "damping_split": ("full", "sqrt", "pi"),
    "fisher": ("empirical", "mc", "type2"),
    "likelihood": ("categorical", "bernoulli", "gaussian"),
    "bias": ("separate", "joint"),
    "schedule": ("paper", "reuse"),
    "spatial_mean": ("gradient", "activation", "both", "reduce"),
}
Inner = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]


class KFAC(torch.optim.Optimizer):
    """K-FAC on the Linear, Conv2d and Embedding layers of any model whose loss is a mean over the batch.

    Forward pass in training (with gradients), `observe(outputs)`, backward pass, `step()`. Several passes before a step
    accumulate: their losses must add up to the mean over all their images. A module used several times in a pass has
    the locations of all its uses. Layers without a gradient are skipped, as torch's own optimisers do.

    lr, weight_decay, momentum (heavy ball on the update), nesterov: as in torch.optim.SGD. Weight decay is coupled,
        that is added to the gradient and preconditioned with it; with decoupled_weight_decay weights shrink by
        lr x weight_decay a step, as in AdamW.
    damping, damping_split: alpha = beta = damping ("full") or sqrt(damping) ("sqrt"); "pi": alpha = pi sqrt(damping),
        beta = sqrt(damping) / pi, pi^2 the ratio of A's to G's mean eigenvalue (Martens & Grosse, 6.3).
    ema: decay of the running mean of the factors; None takes each batch's own factors.
    factor_every, inverse_every: steps between updates of the factors, and T, between refreshes of what is inverted:
        in between, systems and kept arrays are those of the last refresh, its damping included.
    fisher: "empirical" takes g from the true labels, "mc" from labels sampled from the model (`key`), "type2" from the
        loss's own curvature, one backward pass an output. `likelihood` is what the latter two take outputs for: logits
        of classes, (N, classes, ...); logits of pixels, (N, ..., pixels); means of unit variance, (N, ..., outputs).
    bias: "separate" solves it through G alone (the paper), "joint" as one more column of dW.
    schedule: "paper" programs anew at each visit: A, G for the weights, G for the bias (one physical array);
        "reuse" programs A and G once per refresh and keeps them, writing again (counted) those that a solve disturbed.
    groups: torch's parameter groups, each with "params" and its own lr, damping, weight_decay, momentum, nesterov, ema;
        parameters in none form one of the arguments above. damping and ema of a layer are those of its weight's group.
    inner: makes the optimiser of the parameters that K-FAC has no factors for (`left`: norm layers, shared weights,
        other modules; see layers.find_layers), from groups; None is Adam with rate 1e-3, and says so once.
    exclude: names of modules to leave to it.
    reference: solve each system exactly as well, for `norms`.
    Write errors of visit `which` (0 A, 1 G, 2 G for the bias) of layer l at step s come from key.child(s, l, which).

    Public records: `counts`; `norms`, one (vectors, 2) array a step of ||u - u*|| and ||u*||, u* being the exact
    solution with the same factors; `recorded`, with record=True one dict a step: for layer `conv` conv_A_matrix (in,
    in), conv_A_rhs (in, out), conv_G_matrix (out, out), conv_G_rhs (out, in; schedule "reuse": and the bias as last
    column), conv_G_bias_matrix, conv_G_bias_rhs (out, 1; schedule "paper"), conv_weight_update (out, in),
    conv_bias_update (out, 1), or conv_weight_and_bias_update where bias is "joint". Matrices are damped, and those of a
    grouped convolution (groups, ...). An Embedding's A is diagonal, (in,), and divided by digitally.
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
        damping_split: Literal["full", "sqrt", "pi"] = "full",
        fisher: Literal["empirical", "mc", "type2"] = "empirical",
        bias: Literal["separate", "joint"] = "separate",
        schedule: Literal["paper", "reuse"] = "paper",
        spatial_mean: Literal["gradient", "activation", "both", "reduce"] = "activation",
        record: bool = False,
        *,
        nesterov: bool = False,
        decoupled_weight_decay: bool = False,
        factor_every: int = 1,
        likelihood: Literal["categorical", "bernoulli", "gaussian"] = "categorical",
        groups: Iterable[Mapping[str, Any]] = (),
        inner: Inner | None = None,
        exclude: Collection[str] = (),
        reference: bool = True,
    ) -> None:
        chosen = {"damping_split": damping_split, "fisher": fisher, "bias": bias, "schedule": schedule}
        _check_choices({**chosen, "spatial_mean": spatial_mean, "likelihood": likelihood})
        _check_range("inverse_every", inverse_every, 1, np.inf)
        _check_range("factor_every", factor_every, 1, np.inf)
        layers, self.left = find_layers(model, bias == "joint", exclude)
        if not layers:
            raise ValueError(f"K-FAC found no layer of its own; parameters outside: {self.left or 'none'}")
        self._layers = layers
        self._complete = False
        defaults = {"lr": lr, "damping": damping, "weight_decay": weight_decay, "momentum": momentum, "ema": ema}
        defaults |= {"nesterov": nesterov, "decoupled_weight_decay": decoupled_weight_decay}
        own, others = sorted_into_groups(model, layers, self.left, groups)
        intervals = {"inverse_every": inverse_every, "factor_every": factor_every, "steps": 0, "refreshed_at": 0}
        super().__init__(own, {**defaults, **intervals})
        self.inner: torch.optim.Optimizer | None = None
        if others:
            if inner is None:
                names = ", ".join(self.left[:3]) + (f" and {len(self.left) - 3} more" if len(self.left) > 3 else "")
                warnings.warn(f"K-FAC has no factors for {names}: Adam at rate 1e-3 takes them", stacklevel=2)
            self.inner = inner(others) if inner is not None else torch.optim.Adam(others, lr=1e-3)
            self.param_groups += self.inner.param_groups  # the same objects, so that schedulers reach them
        self._complete = True
        self.solver, self.key, self.counts = solver, key, Counts()
        self.damping_split, self.bias, self.schedule = damping_split, bias, schedule
        self.spatial_mean, self.record, self.reference = spatial_mean, record, reference
        self.norms: list[F64] = []
        self.recorded: list[dict[str, F64]] = []
        self._programmed: dict[tuple[int, int], Programmed] = {}
        self._restored = False
        self._capture = Capture(layers, fisher, likelihood, spatial_mean == "reduce", key)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused once K-FAC is made: its layers are found then. Raises ValueError, too, for bad values of a group."""
        if self._complete:
            raise ValueError("K-FAC takes parameter groups when it is made (groups=), not later")
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for name, top in (
            ("lr", np.inf),
            ("damping", np.inf),
            ("weight_decay", np.inf),
            ("momentum", 1.0),
            ("ema", 1.0),
        ):
            _check_range(name, 0.0 if group[name] is None else group[name], 0.0, top)
        if group["nesterov"] and not group["momentum"]:
            raise ValueError("K-FAC: nesterov needs a momentum above 0")

    @property
    def _own_groups(self) -> list[dict[str, Any]]:
        return self.param_groups[: len(self.param_groups) - (len(self.inner.param_groups) if self.inner else 0)]

    def observe(self, outputs: Tensor) -> None:
        """Tell K-FAC the model's outputs before backward; "mc" and "type2" run their own backward passes from them."""
        self._capture.observe(outputs, self.param_groups[0]["steps"])

    def factors(self, name: str) -> tuple[F64, F64]:
        """The factors A (in, in) and G (out, out) of the named layer, undamped, of the last step."""
        for layer in self._layers:
            if layer.name == name and "A" in self.state[layer.module.weight]:
                state = self.state[layer.module.weight]
                return as_numpy(state["A"]), as_numpy(state["G"])
        known = ", ".join(layer.name for layer in self._layers)
        raise ValueError(f"no factors of a layer {name!r}: layers are {known}, and have factors after the first step")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update factors and parameters from the passes since the last step; `closure` is not supported."""
        if closure is not None:
            raise ValueError("K-FAC takes no closure: run forward and backward once, then call step()")
        first = self.param_groups[0]
        steps = first["steps"]
        of_weight = {id(p): group for group in self._own_groups for p in group["params"]}
        live = [(n, layer) for n, layer in enumerate(self._layers) if layer.module.weight.grad is not None]
        if not live:
            raise RuntimeError("K-FAC saw no backward pass since the last step: no layer has a gradient")
        refresh = steps % first["inverse_every"] == 0
        for _, layer in live:
            state, group = self.state[layer.module.weight], of_weight[id(layer.module.weight)]
            if steps % first["factor_every"] == 0 or "A" not in state:
                self._update_factors(layer, group["ema"])
            if refresh or "A_used" not in state:
                state["A_used"], state["G_used"], state["damping"] = state["A"], state["G"], group["damping"]
        if refresh:
            self._programmed.clear()
            self._restored = False
            for group in self._own_groups:
                group["refreshed_at"] = steps
        norms: list[tuple[float, float]] = []
        if self.record:
            self.recorded.append({})
        for number, layer in live:
            norms += self._update_layer(number, layer, of_weight)
        if self.reference:
            self.norms.append(np.array(norms))
        if self.inner is not None:
            self.inner.step()
        for group in self._own_groups:
            group["steps"] = steps + 1
        self._capture.reset()
        self._capture.watching = (steps + 1) % first["factor_every"] == 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As torch's; factors of passes whose gradients are given up go with them."""
        super().zero_grad(set_to_none)
        self._capture.discard()

    def _update_factors(self, layer: Layer, ema: float | None) -> None:
        new, state = self._capture.take(layer), self.state[layer.module.weight]
        if new is None:
            raise RuntimeError(
                f"K-FAC saw no forward and backward pass of layer {layer.name!r} since the last step (a layer whose "
                "weight is used without calling it must be named in exclude)"
            )
        a, g, locations = new
        if self.spatial_mean != "gradient":
            a = a / locations
        if self.spatial_mean in ("gradient", "both"):
            g = g / locations
        for name, value in (("A", a), ("G", g)):
            state[name] = value if ema is None or name not in state else ema * state[name] + (1.0 - ema) * value

    def _update_layer(
        self, number: int, layer: Layer, of_weight: Mapping[int, dict[str, Any]]
    ) -> list[tuple[float, float]]:
        """Solve and apply a layer's update; returns (error, reference) norms of its update vectors."""
        parameters, state, name = layer.parameters, self.state[layer.module.weight], layer.name
        a, g = damped(state["A_used"], state["G_used"], state["damping"], self.damping_split)
        gradients: list[F64] = []
        for parameter in parameters:
            group = of_weight[id(parameter)]
            coupled = 0.0 if group["decoupled_weight_decay"] else group["weight_decay"]
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            full = gradient + coupled * parameter if coupled else gradient
            gradients.append(as_numpy(layer.matrix(full, weight=not gradients)))
        if layer.joint:
            gradients = [np.concatenate(gradients, axis=-1)]
        columns = gradients[0].shape[-1]
        half = self._solve(f"{name}_A", (number, 0), a, gradients[0].swapaxes(-1, -2)).swapaxes(-1, -2)
        if self.schedule == "reuse":
            both = self._solve(f"{name}_G", (number, 1), g, np.concatenate([half, *gradients[1:]], axis=-1))
            updates = np.split(both, [columns], axis=-1) if len(gradients) == 2 else [both]
        else:
            updates = [self._solve(f"{name}_G", (number, 1), g, half)]
            updates += [self._solve(f"{name}_G_bias", (number, 2), g, b) for b in gradients[1:]]
        norms = error_norms(a, g, gradients, updates) if self.reference else []
        if self.record:
            names = ("weight", "bias") if len(updates) == 2 else ("weight_and_bias",) if layer.joint else ("weight",)
            self.recorded[-1].update({f"{name}_{w}_update": u for w, u in zip(names, updates, strict=True)})
        if layer.joint:
            updates = np.split(updates[0], [columns - 1], axis=-1)
        for parameter, update in zip(parameters, updates, strict=True):
            self._apply(parameter, layer.shaped(torch.from_numpy(update).to(parameter), parameter), of_weight)
        return norms

    def _apply(self, parameter: Tensor, update: Tensor, of_weight: Mapping[int, dict[str, Any]]) -> None:
        group = of_weight[id(parameter)]
        if group["decoupled_weight_decay"]:
            parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
        if momentum := group["momentum"]:
            state = self.state[parameter]
            velocity = update + momentum * state["velocity"] if "velocity" in state else update
            state["velocity"] = velocity
            update = update + momentum * velocity if group["nesterov"] else velocity
        parameter.add_(update, alpha=-group["lr"])

    def _solve(self, name: str, system: tuple[int, int], matrix: F64, rhs: F64) -> F64:
        """Solve matrix x = rhs, (*groups, n, n) and (*groups, n, k), or (n,) for a diagonal.

        Vectors that the solver has no answer for go to the digital host.
        """
        if matrix.ndim == 1:
            return rhs / matrix[:, None]
        rhs = np.ascontiguousarray(rhs)
        solution = self._array(system, matrix).solve(rhs)
        self.counts += solution.counts
        if self.schedule == "reuse" and np.count_nonzero(solution.disturbed):
            self._programmed.pop(system)
            self.state[self._layers[system[0]].module.weight][f"rewrite_{system[1]}"] = (
                self.param_groups[0]["steps"] + 1
            )
        x = solution.x
        lost: Bool = np.logical_not(np.isfinite(x).all(-2))
        if lost.any():
            x = x.copy()
            for index in np.ndindex(*matrix.shape[:-2]):
                columns = np.flatnonzero(lost[index])
                x[index][:, columns] = np.linalg.solve(matrix[index], rhs[index][:, columns])
            self.counts += Counts(digital_fallbacks=int(lost.sum()))
        if self.record:
            self.recorded[-1].update({f"{name}_matrix": matrix, f"{name}_rhs": rhs})
        return x

    def _array(self, system: tuple[int, int], matrix: F64) -> Programmed:
        """The array of a system: a new one, or with schedule "reuse" the one that was written at the last refresh.

        A kept array that a solve has disturbed is written again, with the key of the step that needs it.
        """
        steps, kept = self.param_groups[0]["steps"], self.schedule == "reuse"
        programmed = self._programmed.get(system)
        if programmed is None:
            at, again = (self.param_groups[0]["refreshed_at"] if kept else steps), False
            state = self.state[self._layers[system[0]].module.weight]
            if (rewritten := state.get(f"rewrite_{system[1]}", -1)) > at:
                at, again = rewritten, rewritten == steps
            programmed = self.solver.program(matrix, self.key.child(at, *system))
            counts = programmed.counts
            if again:
                counts = counts.as_rewriting
            if not self._restored or again:
                self.counts += counts
            if kept:
                self._programmed[system] = programmed
        return programmed

    def state_dict(self) -> dict[str, Any]:
        """Torch's, with the inner optimiser's under "inner" and what was spent under "counts"."""
        state = super().state_dict()
        state["counts"] = self.counts.as_dict()
        if self.inner is not None:
            state["inner"] = self.inner.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from `state_dict()`.

        Kept arrays are drawn again with the same keys, so with the same errors: they are the arrays that were written,
        and are not counted again.
        """
        super().load_state_dict({name: value for name, value in state_dict.items() if name not in ("inner", "counts")})
        if self.inner is not None:
            own = self._own_groups
            self.inner.load_state_dict(state_dict["inner"])
            self.param_groups = own + self.inner.param_groups
        self.counts = Counts(**state_dict["counts"])
        self._programmed.clear()
        self._restored = self.schedule == "reuse"
        self._capture.reset()
        self._capture.known = {layer.name for layer in self._layers if "A" in self.state[layer.module.weight]}
        self._capture.watching = self.param_groups[0]["steps"] % self.param_groups[0]["factor_every"] == 0

    def close(self) -> None:
        """Take the hooks off the model."""
        self._capture.close()


def _check_choices(chosen: dict[str, str]) -> None:
    for name, value in chosen.items():
        if value not in CHOICES[name]:
            raise ValueError(f"K-FAC: {name} is {value!r}, choose one of {', '.join(CHOICES[name])}")


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value < high:
        raise ValueError(f"K-FAC: {name} is {value}, allowed is {low} <= {name} < {high}")
