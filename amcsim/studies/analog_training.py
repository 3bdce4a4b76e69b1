"""Second-order training on analog arrays: the first demonstration's figures, and what they follow from.

Zhang et al., "First Demonstration of Second-order Training of Deep Neural Networks with In-memory Analog Matrix
Computing", figures 14 to 20. Parts of the study, on the same kind of images:

- `effects`: the leaf systems of a whole run on calibrated arrays, one condition of the circuit changed at a time, and
  `grid`, all of them together: LP error by every definition, passes, diverging arrays.
- `analog`: trainings through the surrogate under named conditions, 24-bit words to epoch 28 and 26 bits after, against
  the digital run of the same seed.
- `choices`: epochs to full training accuracy over what the paper leaves open.
- `optimizers`: K-FAC, digital and analog, SGD with momentum and Adam: the paper's settings, and the best of as many
  trials for each, chosen on other seeds.
- `shown`: curves, confusion on the test images, and their t-SNE after the first and the last epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from amcsim.access import on_resistance
from amcsim.campaign.calibrate import calibrate
from amcsim.campaign.design import Campaign
from amcsim.campaign.families import FAMILIES
from amcsim.runs import run
from amcsim.specs import preset
from amcsim.streams import Key
from amcsim.studies.analog_conditions import CONDITIONS, WIDTHS, Condition
from amcsim.studies.analog_runs import LIMIT, Item, Plan, compute, outputs
from amcsim.studies.leaf_systems import Systems, leaf_systems
from amcsim.studies.spread import middle, or_never, runs, spread
from amcsim.surrogate.model import Surrogate
from amcsim.surrogate.shipped import shipped_surrogate
from amcsim.training.data import load
from amcsim.training.loop import DATA, DEFAULTS, TrainConfig, train

__all__ = ["FULL", "PAPER", "QUICK", "WANTED_LP", "WANTED_PASSES", "steps", "study"]

PAPER: dict[str, float] = {
    "lp_error": 0.5833,
    "passes": 20.4,
    "arrays": 2800,
    "hp_error": 1.3e-4,
    "update_error": 0.0447,
    "kfac_epochs": 37,
    "sgd_epochs": 50,
    "adam_epochs": 94,
    "test_accuracy": 0.851,
}
"""Figures 14 to 20."""
WANTED_LP, WANTED_PASSES = (0.5, 0.65), (18.0, 23.0)
"""What counts as the paper's LP error and passes."""
_CALIBRATED = 48
"""ngspice circuits behind each surrogate that is fitted here."""
_CHOICES: dict[str, tuple[Any, ...]] = {
    "activation": ("tanh", "relu"),
    "damping_split": ("full", "sqrt"),
    "spatial_mean": ("activation", "both", "gradient"),
    "ema": (None, 0.95),
}
"""What the paper leaves open; the rest is the paper's."""
_TRIALS: dict[str, dict[str, tuple[Any, ...]]] = {
    "kfac": {"lr": (0.03, 0.05, 0.1, 0.3), "momentum": (0.0, 0.9), "damping": (0.01, 0.03, 0.1)},
    "sgd": {"lr": (0.03, 0.1, 0.3, 1.0, 2.0, 4.0), "weight_decay": (0.0, 3e-4), "decay": (0.96, 1.0)},
    "adam": {"lr": (0.003, 0.01, 0.03, 0.1, 0.2, 0.4), "weight_decay": (0.0, 3e-3), "decay": (0.96, 1.0)},
}
"""24 settings of each; SGD keeps its Nesterov momentum of 0.9, Adam its betas of 0.9."""
SHOWN = "3 um, 8 states, board"
"""Which of CONDITIONS the pictures are of, where it is among them."""
FULL = Plan()
QUICK = Plan(
    "digits", seeds=2, tuning_seeds=1, analog_seeds=1, epochs=3, limit=3, most=3, widths=WIDTHS[:1], map_rounds=250
)


def _items(plan: Plan) -> list[Item]:
    """All computations but those with the best trials."""
    return [
        *(("analog", (c, s)) for c in plan.conditions for s in range(plan.analog_seeds)),
        *(("choice", (o, s)) for o in plan.settings(_CHOICES) for s in range(plan.seeds)),
        *(
            ("trial", (name, options, 1000 + s))
            for name, axes in _TRIALS.items()
            for options in plan.settings(axes)
            for s in range(plan.tuning_seeds)
        ),
        *(("run", (name, {}, s)) for name in DEFAULTS for s in range(plan.seeds)),
        *(("effect", c.changes) for c in plan.effects),
        *(("cell", changes) for _, changes in plan.grid),
    ]


def _last(plan: Plan, best: Mapping[str, dict[str, Any]]) -> list[Item]:
    """Each optimiser at its best, and K-FAC through the preset's circuit by the paper's settings and by the best."""
    return [
        *(("run", (name, best[name], s)) for name in _TRIALS for s in range(plan.seeds)),
        *(("solved", (options, s)) for options in ({}, best["kfac"]) for s in range(plan.seeds)),
    ]


def steps(*, quick: bool = False) -> int:
    """How often `study` reports progress."""
    plan = QUICK if quick else FULL
    return len(plan.widths) + len(_items(plan)) + len(_last(plan, {name: {} for name in _TRIALS}))


def study(
    seed: int = 0,
    *,
    quick: bool = False,
    workers: int = 1,
    progress: Callable[[int], object] | None = None,
    plan: Plan | None = None,
) -> dict[str, Any]:
    """All figures, of FULL, QUICK or another plan; the same on any number of workers.

    Raises DataError where the letters cannot be had, NgspiceError where ngspice cannot be run.
    """
    plan = plan or (QUICK if quick else FULL)
    advance = progress or (lambda done: None)
    systems = leaf_systems(load(plan.data, Key(seed).child(DATA)), plan.epochs, seed)
    surrogates = {}
    with TemporaryDirectory() as folder:
        for w in plan.widths:
            surrogates[w] = _surrogate(w, Path(folder), seed, workers)
            advance(1)

    def computed(items: list[Item], systems: Systems) -> list[Any]:
        found: dict[int, Any] = {}
        shared = {"plan": plan, "surrogates": surrogates, "seed": seed, "systems": systems}
        run(
            compute,
            list(enumerate(items)),
            workers=workers,
            on_result=found.__setitem__,
            kwargs=shared,
            progress=advance,
        )
        return [found[i] for i in range(len(items))]

    items = _items(plan)
    done = list(zip(items, computed(items, systems), strict=True))

    def of(kind: str) -> list[tuple[Any, Any]]:
        return [(what, result) for (name, what), result in done if name == kind]

    best = {name: _best(name, of("trial")) for name in _TRIALS}
    last = _last(plan, best)
    ends = list(zip(last, computed(last, {}), strict=True))
    analog = of("analog")
    return {
        "study": "analog-training",
        "settings": {"seed": seed, "quick": quick, **vars(plan), "limits": LIMIT, "defaults": DEFAULTS},
        "wanted": {"lp_error": WANTED_LP, "passes": WANTED_PASSES},
        "published": PAPER,
        "technologies": [_technology(w, surrogates[w]) for w in plan.widths],
        "effects": [
            {"name": c.name, "source": c.source, "changes": c.changes, **figures}
            for c, (_, figures) in zip(plan.effects, of("effect"), strict=True)
        ],
        "grid": [{**names, **figures} for (names, _), (_, figures) in zip(plan.grid, of("cell"), strict=True)],
        "analog": [
            _trained(CONDITIONS[c], [result for (other, _), result in analog if other == c], Key(seed).child(9, c))
            for c in plan.conditions
        ],
        "choices": _by_setting(of("choice"), Key(seed).child(10)),
        "trials": best,
        "optimizers": _compared(of("run"), ends, best, Key(seed).child(11)),
        "shown": _shown(of("run"), analog, plan, seed),
    }


def _surrogate(w: float, folder: Path, seed: int, workers: int) -> Surrogate:
    """The surrogate of 4x4 arrays with access transistors of that width: shipped, or fitted now."""
    spec = preset("pku_350nm").replace(cell={"w": w})
    if spec == preset("pku_350nm"):
        return shipped_surrogate(spec, (4, 4))
    samples = dict.fromkeys(FAMILIES, _CALIBRATED // len(FAMILIES))
    campaign = Campaign(schema_version=1, spec=spec, sizes=(4,), seed=seed, samples=samples)
    return calibrate(campaign, folder / f"{w:g}", workers=workers, command="amcsim reproduce analog-training").surrogate


def _technology(w: float, surrogate: Surrogate) -> dict[str, Any]:
    figures = surrogate.figures
    return {
        "width": w,
        "on_resistance": on_resistance(surrogate.spec.cell),
        "error_of_error_median": figures.error_of_error_median if figures else None,
        "error_of_error_p95": figures.error_of_error_p95 if figures else None,
    }


def _best(name: str, trials: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Options with the fewest epochs, median over the tuning seeds; of equals those that end at the least loss."""
    found: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    for (optimizer, options, _), ended in trials:
        if optimizer == name:
            found.setdefault(repr(options), (options, []))[1].append(ended)

    def rank(entry: tuple[dict[str, Any], list[dict[str, Any]]]) -> tuple[float, float]:
        final = [e["loss"][-1] for e in entry[1]]
        return middle([or_never(e["epochs"]) for e in entry[1]]), float(np.mean(np.nan_to_num(final, nan=np.inf)))

    return min(found.values(), key=rank)[0]


def _by_setting(done: list[tuple[Any, Any]], key: Key) -> list[dict[str, Any]]:
    """Rows of the sweep over what the paper leaves open."""
    found: dict[str, tuple[dict[str, Any], list[Any]]] = {}
    for (options, _), ended in done:
        found.setdefault(repr(options), (options, []))[1].append(ended)
    return [{**options, **runs(ended, key.child(i))} for i, (options, ended) in enumerate(found.values())]


def _compared(done: list[tuple[Any, Any]], ends: list[tuple[Item, Any]], best: Any, key: Key) -> list[dict[str, Any]]:
    """Rows by optimiser: the paper's settings and the best, digital and through the circuit."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for (name, _, _), ended in done:
        groups.setdefault((name, "paper"), []).append(ended)
    for (kind, what), ended in ends:
        if kind == "run":
            groups.setdefault((what[0], "best"), []).append(ended)
        else:
            groups.setdefault(("kfac, analog", "best" if what[0] else "paper"), []).append(ended)
    return [
        {
            "optimizer": name,
            "settings": settings,
            "options": best[name.split(",")[0]] if settings == "best" else {},
            **runs(ended, key.child(i)),
        }
        for i, ((name, settings), ended) in enumerate(sorted(groups.items()))
    ]


def _trained(condition: Condition, results: list[Any], key: Key) -> dict[str, Any]:
    """Figures of one condition over its seeds."""
    names = results[0]["figures"]
    figures = {}
    for i, name in enumerate(names):
        values = [r["figures"][name] for r in results]
        figures[name] = spread(values, key.child(i)) if None not in values else None
    return {
        "name": condition.name,
        "source": condition.source,
        "changes": condition.changes,
        "seeds": len(results),
        "epochs": [r["run"]["epochs"] for r in results],
        "digital_epochs": [r["digital"]["epochs"] for r in results],
        "figures": figures,
    }


def _shown(runs: list[tuple[Any, Any]], analog: list[tuple[Any, Any]], plan: Plan, seed: int) -> dict[str, Any]:
    """What one seed looks like: curves, confusion and t-SNE under the last of CONDITIONS."""
    from sklearn.manifold import TSNE

    curves = {name: ended for (name, options, s), ended in runs if s == 0 and not options}
    here = [c for c in plan.conditions if CONDITIONS[c].name == SHOWN] or plan.conditions[:1]
    result = next(r for (c, s), r in analog if c == here[0] and s == 0)
    curves["kfac, analog"] = result["run"]
    dataset = load(plan.data, Key(0).child(DATA))
    first = train(TrainConfig(dataset, epochs=1, seed=0))
    labels = dataset.y_test
    predicted = result["outputs"].argmax(axis=1)
    size = len(dataset.classes)
    confusion = np.bincount(labels * size + predicted, minlength=size * size).reshape(size, size)
    maps = {
        name: TSNE(random_state=seed, perplexity=30.0, init="pca", max_iter=plan.map_rounds).fit_transform(outputs)
        for name, outputs in (("epoch 1", outputs(plan, 0, first)), (f"epoch {plan.epochs}", result["outputs"]))
    }
    return {
        "condition": CONDITIONS[here[0]].name,
        "curves": {name: {n: ended[n] for n in ("accuracy", "loss")} for name, ended in curves.items()},
        "classes": dataset.classes,
        "labels": labels.tolist(),
        "confusion": confusion.tolist(),
        "tsne": {name: np.round(points, 3).tolist() for name, points in maps.items()},
    }
