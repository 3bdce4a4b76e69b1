"""The page of studies.analog_training, from its JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from amcsim.report.page import Section, count, document, facts, figure, number, paragraph, percent, provenance, table

__all__ = ["DEFINITIONS", "analog_training_page", "matches"]

DEFINITIONS = {
    "mean_by_vector": "by vector",
    "median_by_vector": "median",
    "mean_by_array": "by array",
    "pooled": "pooled",
    "pooled_unit_range": "unit range",
    "mean": "by vector",
    "median": "median",
}
"""Of relative errors; see Recorder.summary."""
_OPTIMIZERS = {"kfac": "K-FAC, digital", "kfac, analog": "K-FAC, analog", "sgd": "SGD, momentum", "adam": "Adam"}


def matches(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Cells of the grid with the published LP error (by vector) and passes to a relative 24 bits."""
    (low, high), (few, many) = result["wanted"]["lp_error"], result["wanted"]["passes"]
    return [
        r for r in result["grid"] if low <= (r["lp_mean_by_vector"] or 0.0) <= high and few <= r["passes_mean"] <= many
    ]


def analog_training_page(result: dict[str, Any]) -> str:
    """Figures beside the paper's, what LP error follows from, and how training fares."""
    paper, found = result["published"], matches(result)
    clean = [r for r in found if r["diverging_arrays"] <= 0.001 * r["arrays"]]
    lead = [
        paragraph(
            f"An LP error of {percent(paper['lp_error'])} and {paper['passes']} passes: of {len(result['grid'])} "
            f"combinations of conditions, each inside a range with a source, {len(found)} give both, with "
            f"{_range([r['diverging_arrays'] for r in found])} arrays of {count(result['grid'][0]['arrays'])} on which "
            f"plain refinement does not converge; {len(clean)} of them with none in a thousand. No single condition "
            "is singled out by that."
        )
    ]
    sections = [
        Section("The published figures", _published(result)),
        Section("What the LP error follows from", _effects(result)),
        Section("All conditions together", _grid(result, found)),
        Section("Training through the circuit", _analog(result)),
        Section("K-FAC against first-order training", _optimizers(result)),
        Section("What the paper leaves open", _choices(result)),
        Section("Settings", _settings(result)),
    ]
    return document("Second-order training on analog arrays", lead, sections, provenance(result["manifest"]))


def _range(values: list[float]) -> str:
    return f"{number(min(values))} to {number(max(values))}" if values else "no"


def _bare(value: float | None, digits: int = 3) -> str:
    """In %, without the sign."""
    return percent(value, digits).removesuffix("%").strip()


def _published(result: dict[str, Any]) -> list[str]:
    """Each figure by every definition, under each condition; the definition nearest to the paper's is marked."""
    paper, conditions = result["published"], result["analog"]
    errors = list(DEFINITIONS)[:5]
    updates = [(k, d) for k in ("same_step", "drift") for d in ("mean", "median", "pooled")]
    words = {"same_step": "same step", "drift": "drift"}
    groups: list[tuple[str, float, dict[str, str]]] = [
        ("LP error", paper["lp_error"], {f"lp_{d}": DEFINITIONS[d] for d in errors}),
        ("HP error", paper["hp_error"], {f"hp_{d}": DEFINITIONS[d] for d in errors}),
        ("passes", paper["passes"], {"hp_iterations_mean": "mean"}),
        (
            "update vectors",
            paper["update_error"],
            {f"update_{k}_{d}": f"{words[k]}, {DEFINITIONS[d]}" for k, d in updates},
        ),
        ("test accuracy", paper["test_accuracy"], {"test_accuracy": "last"}),
    ]
    rows = []
    for name, published, definitions in groups:
        text = number if name == "passes" else _bare
        row = {d: [name if name == "passes" else f"{name}, %", text(published), definitions[d]] for d in definitions}
        for condition in conditions:
            figures = condition["figures"]
            known = {d: figures[d]["median"] for d in definitions if figures.get(d) and figures[d]["median"]}
            nearest = min(known, key=lambda d: abs(np.log(known[d] / published)), default=None)
            for d in definitions:
                value = figures.get(d)
                if value is None:
                    row[d].append("-")
                    continue
                star = " *" if d == nearest and len(definitions) > 1 else ""
                row[d].append(
                    f"{text(value['median'], 2)}{star} ({text(value['least'], 2)} to {text(value['most'], 2)})"
                )
        rows += list(row.values())
    caption = (
        "Trainings through the circuit: median over seeds (least to most). By vector: mean of relative errors; by "
        "array: of their means by array; pooled: from sums of squares; unit range: with each vector in units of "
        "its largest entry. Same step: against the exact solution of that step; drift: against the digital run. * "
        "The definition nearest to the paper."
    )
    columns = ["figure", "paper", "definition", *(c["name"] for c in conditions)]
    return [table(columns, rows, caption, words=(0, 2))]


_LP = ("lp_mean_by_vector", "lp_median_by_vector", "lp_mean_by_array", "lp_pooled", "lp_pooled_unit_range")
_LP_COLUMNS = ("LP by vector", "median", "by array", "pooled", "unit range")


def _figures(r: dict[str, Any]) -> list[str]:
    """What a condition does to the leaf systems of a run."""
    return [
        *(percent(r[name]) for name in _LP),
        number(r["passes_mean"]),
        number(r["fixed_passes_mean"]),
        count(r["diverging_arrays"]),
        percent(r["fixed_hp_mean_by_vector"]),
    ]


_COLUMNS = (*_LP_COLUMNS, "passes", "in words", "diverging", "HP")


def _effects(result: dict[str, Any]) -> list[str]:
    from amcsim.plot.scatter import bars

    rows = result["effects"]
    sources: dict[str, list[str]] = {}
    for r in rows:
        sources.setdefault(r["source"], []).append(r["name"])
    shown = {"mean over vectors": "lp_mean_by_vector", "median over vectors": "lp_median_by_vector"}
    drawn = bars(
        {name: [100 * (r[key] or 0.0) for r in rows] for name, key in shown.items()},
        [r["name"] for r in rows],
        "LP error (%)",
        100 * result["published"]["lp_error"],
    )
    return [
        figure(drawn, "One condition at a time, on top of the preset with writing to +-10 uS."),
        table(
            ["condition", *_COLUMNS],
            [[r["name"], *_figures(r)] for r in rows],
            f"All {count(rows[0]['arrays'])} arrays of a run of digital K-FAC, on calibrated surrogates, each written "
            "once. Passes: to a relative residual of 2^-24, and in words of 24 bits, to their last bit. Diverging: "
            "arrays on which plain refinement does not reach 2^-24 for some vector. HP: mean error where words end.",
        ),
        facts([(", ".join(names), source) for source, names in sources.items()], "Where the conditions are from."),
    ]


def _grid(result: dict[str, Any], found: list[dict[str, Any]]) -> list[str]:
    from amcsim.plot.scatter import conditions

    rows, paper, wanted = result["grid"], result["published"], result["wanted"]
    drawn = conditions(
        [100 * r["lp_mean_by_vector"] for r in rows],
        [r["passes_mean"] for r in rows],
        [r["diverging_arrays"] / r["arrays"] for r in rows],
        ("LP error, mean over vectors (%)", "passes to 24 bits", "diverging arrays (%)"),
        wanted=((100 * wanted["lp_error"][0], 100 * wanted["lp_error"][1]), tuple(wanted["passes"])),
        published=(100 * paper["lp_error"], paper["passes"]),
    )
    axes = [name for name in rows[0] if isinstance(rows[0][name], str)]

    def listed(some: list[dict[str, Any]], caption: str) -> str:
        body = [[*(r[a] for a in axes), *_figures(r)] for r in some]
        return table([*axes, *_COLUMNS], body, caption, words=tuple(range(len(axes))))

    parts = [figure(drawn, "Every combination; in the box, those with the published LP error and passes.")]
    if found:
        parts.append(listed(found, "Those in the box."))
    return [*parts, "<details><summary>All combinations</summary>", listed(rows, "The whole sweep."), "</details>"]


def _analog(result: dict[str, Any]) -> list[str]:
    from amcsim.plot.curves import training_curves
    from amcsim.plot.scatter import class_maps

    shown = result["shown"]
    names = {name: _OPTIMIZERS[name] for name in shown["curves"]}
    accuracy, loss = ({names[n]: c[m] for n, c in shown["curves"].items()} for m in ("accuracy", "loss"))
    maps = {name: np.asarray(points) for name, points in shown["tsne"].items()}
    rows = [
        [
            c["name"],
            *(_bare(c["figures"][n]["median"] if c["figures"][n] else None) for n in ("lp_mean_by_vector",)),
            *(number(c["figures"][n]["median"]) for n in ("hp_iterations_mean", "reprogrammings", "digital_fallbacks")),
            ", ".join(map(_epochs, c["epochs"])),
            ", ".join(map(_epochs, c["digital_epochs"])),
        ]
        for c in result["analog"]
    ]
    columns = [
        "condition",
        "LP error, %",
        "passes",
        "re-programmings",
        "digital fallbacks",
        "epochs to 100 %",
        "digital",
    ]
    classes = shown["classes"]
    confusion = [[name, *(count(v) for v in row)] for name, row in zip(classes, shown["confusion"], strict=True)]
    return [
        table(columns, rows, "Medians; epochs by seed. Words of 24 bits to epoch 28, of 26 after."),
        facts([(c["name"], c["source"]) for c in result["analog"]], "The conditions."),
        figure(training_curves(accuracy, loss), f"Seed 0, paper settings; analog: {shown['condition']}."),
        figure(class_maps(maps, np.asarray(shown["labels"]), classes), "Outputs on the test images."),
        table(["class \\ predicted", *classes], confusion, "Confusion on the test images at the last epoch."),
    ]


def _epochs(value: float | None) -> str:
    return "never" if value is None else number(value)


def _interval(spread: dict[str, Any], text: Any = _epochs) -> list[str]:
    return [text(spread["median"]), f"{text(spread['low'])} to {text(spread['high'])}"]


def _optimizers(result: dict[str, Any]) -> list[str]:
    rows = [
        [
            _OPTIMIZERS[r["optimizer"]],
            r["settings"],
            ", ".join(f"{k} {v:g}" for k, v in r["options"].items()) or "Fig. 17",
            *_interval(r["epochs"]),
            f"{r['reached']} of {r['seeds']}",
            *_interval(r["test_accuracy"], percent),
        ]
        for r in result["optimizers"]
    ]
    columns = [
        "optimiser",
        "settings",
        "options",
        "epochs to 100 %",
        "95 % interval",
        "reached",
        "test",
        "95 % interval",
    ]
    paper = result["published"]
    return [
        paragraph(
            f"Published: {paper['kfac_epochs']} epochs for K-FAC, {paper['sgd_epochs']} for SGD with momentum, "
            f"{paper['adam_epochs']} for Adam. Best: of 24 settings each, chosen on seeds that are not in this table."
        ),
        table(columns, rows, "Medians over seeds with bootstrap intervals.", words=(0, 1, 2)),
    ]


def _choices(result: dict[str, Any]) -> list[str]:
    names = [n for n in result["choices"][0] if n not in ("seeds", "reached", "epochs", "test_accuracy")]
    rows = [
        [
            *("none" if r[n] is None else str(r[n]) for n in names),
            *_interval(r["epochs"]),
            f"{r['reached']} of {r['seeds']}",
            *_interval(r["test_accuracy"], percent),
        ]
        for r in sorted(result["choices"], key=lambda r: r["epochs"]["median"] or 1e9)
    ]
    columns = [n.replace("_", " ") for n in names]
    columns += ["epochs to 100 %", "95 % interval", "reached", "test", "95 % interval"]
    caption = "Digital K-FAC at the paper's learning rate, weight decay and damping."
    return [table(columns, rows, caption, words=tuple(range(len(names))))]


def _settings(result: dict[str, Any]) -> list[str]:
    settings = result["settings"]
    rows = [(name.replace("_", " "), str(settings[name])) for name in settings if name not in ("defaults", "widths")]
    technologies = [
        [
            f"{t['width'] * 1e6:g} um",
            f"{t['on_resistance']:.0f} ohm",
            percent(t["error_of_error_median"]),
            percent(t["error_of_error_p95"]),
        ]
        for t in result["technologies"]
    ]
    columns = ["access transistor", "on-resistance", "error of error, median", "95 %"]
    return [
        facts(rows, "Settings."),
        table(columns, technologies, "Surrogates, on circuits in ngspice that their fits did not see."),
    ]
