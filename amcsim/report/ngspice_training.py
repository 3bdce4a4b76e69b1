"""The page of studies.ngspice_training: figures as PNG beside it, and inside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amcsim.report.page import Section, count, document, facts, figure, number, paragraph, percent, provenance, table
from amcsim.runs import plain, write_json, write_manifest, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "training_page", "write_results"]

_BOTH = ("ngspice", "surrogate")
_PAPER = {"lp": 0.5833, "passes": 20.4, "solves": 283_606}
"""Zhang et al., figures 14 and 15."""


def figures(result: Mapping[str, Any]) -> dict[str, tuple[Figure, str]]:
    """Figure and caption by the name of its file."""
    from amcsim.plot.runs import overlaid_by_epoch, overlaid_updates

    runs = {_name(run): run for run in result["runs"]}
    conditions = [compared["condition"] for compared in result["comparisons"]]
    found = {}
    for condition in conditions:
        panels: dict[str, Any] = {}
        for label, name in (("training accuracy", "accuracy"), ("training loss (nats)", "loss")):
            panels[label] = {condition: tuple(runs[f"{side}, {condition}"][name] for side in _BOTH)}
            panels[label]["digital"] = (runs["digital"][name], [])
        found[f"curves-{condition}"] = (
            overlaid_by_epoch(panels, _BOTH),
            f"Accuracy and loss on the whole training set, `{condition}`.",
        )
    for compared in result["comparisons"]:
        condition = compared["condition"]
        updates = {
            name.replace("_", " "): (np.asarray(vectors["ngspice"]), np.asarray(vectors["surrogate"]))
            for name, vectors in compared["updates"].items()
        }
        found[f"updates-{condition}"] = (
            overlaid_updates(updates, _BOTH),
            f"The update vectors of every step, `{condition}`: their norms, their components, their relative "
            "difference (what is equal to the last bit is drawn at 1e-17). Each run follows its own updates.",
        )
    panels = {
        label: {c: tuple(runs[f"{side}, {c}"][name] for side in _BOTH) for c in conditions}
        for label, name in (("LP error, mean by vector", "lp_error_by_epoch"), ("passes a vector", "passes_by_epoch"))
    }
    found["solvers"] = (overlaid_by_epoch(panels, _BOTH), "The arrays' own answers, before refinement, by epoch.")
    return found


def write_results(result: dict[str, Any], folder: Path, command: str) -> Path:
    """Write index.html, results.json, manifest.json and the figures into `folder`; the page. Raises OSError."""
    from amcsim.plot.style import save

    for name, (drawn, _) in figures(result).items():
        save(drawn, folder / f"{name}.png")
    write_json(folder / "results.json", plain(result))
    manifest = write_manifest(folder, command, result["settings"]["seed"])
    page = folder / "index.html"
    write_text(page, training_page(result, json.loads(manifest.read_text(encoding="utf-8"))))
    return page


def training_page(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """The whole page as HTML; `manifest` is manifest.json's content."""
    settings = result["settings"]
    analog = [run for run in result["runs"] if run["promised_s"]]
    through = [run for run in analog if run["backend"] == "ngspice"]
    worst = max(compared["update_difference_max"] for compared in result["comparisons"])
    lead = [
        paragraph(
            f"K-FAC on {settings['data']}, {settings['epochs']} epochs, through 4x4 arrays: "
            + " and ".join(f"{count(run['counts']['analog_solves'])} operating points" for run in through)
            + " of the whole circuit in ngspice, each judged as every answer of that backend is, beside the same runs "
            f"through the surrogate. No update vector of ngspice's runs is further than {number(worst)} from the "
            "surrogate's, relative."
        )
    ]
    drawn = {name: figure(*parts) for name, parts in figures(result).items()}
    curves, updates = ([p for name, p in drawn.items() if name.startswith(kind)] for kind in ("curves", "updates"))
    said = [("seed", str(settings["seed"])), ("workers", str(settings["workers"]))]
    said += [(name, _converters(spec["converters"])) for name, spec in settings["conditions"].items()]
    sections = [
        Section("What it took", [_times(analog), facts(said, "Settings.")]),
        Section("Curves", [*curves, _ends(result["runs"])]),
        Section("Update vectors", [*updates, _differences(result["comparisons"])]),
        Section("Low-precision answers", [drawn["solvers"], _low(analog)]),
    ]
    return document("The paper's training with ngspice in the loop", lead, sections, provenance(manifest))


def _name(run: Mapping[str, Any]) -> str:
    return f"{run['backend']}, {run['condition']}" if run["condition"] else str(run["backend"])


def _converters(spec: Mapping[str, Any]) -> str:
    bits = spec["dac_bits"]
    return "ideal converters" if bits is None else f"{bits}-bit converters of +-{number(spec['dac_full_scale'])} V"


def _times(runs: list[Any]) -> str:
    rows = [
        [
            _name(run),
            count(run["counts"]["analog_solves"]),
            count(run["counts"]["array_programmings"] + run["counts"]["reprogrammings"]),
            number(run["elapsed_s"]),
            number(run["cpu_s"]),
            number(run["promised_s"]),
            count(round(run["solves_per_s"])),
        ]
        for run in runs
    ]
    columns = ["run", "leaf solves", "arrays written", "elapsed (s)", "processor (s)", "wanted (s)", "solves a second"]
    return table(columns, rows, "One process a run, the runs side by side on as many cores as there are workers.")


def _ends(runs: list[Any]) -> str:
    rows = [
        [
            _name(run),
            percent(run["accuracy"][-1]),
            number(run["loss"][-1], 6),
            percent(run["test_accuracy"]),
            str(run["epochs_to_full_accuracy"] or "never"),
        ]
        for run in runs
    ]
    return table(["run", "accuracy", "loss (nats)", "test accuracy", "epochs to 100 %"], rows, "Where the runs end.")


def _differences(comparisons: list[Any]) -> str:
    names = {
        "update_difference_median": "median",
        "update_difference_max": "largest",
        "first_step_update_difference_max": "first step, largest",
        "accuracy_difference_max": "accuracy, largest",
        "loss_difference_max": "loss (nats), largest",
        "lp_error_ratio": "LP error, ratio",
        "passes_ratio": "passes, ratio",
    }
    rows = [[c["condition"], *(number(c[name]) for name in names)] for c in comparisons]
    return table(["condition", *names.values()], rows, "ngspice's run against the surrogate's; updates relative.")


def _low(runs: list[Any]) -> str:
    rows = [["paper", percent(_PAPER["lp"]), "", number(_PAPER["passes"]), "", count(int(_PAPER["solves"])), ""]]
    rows += [
        [
            _name(run),
            percent(run["lp"]["mean_by_vector"]),
            percent(run["lp"]["mean_by_array"]),
            number(run["passes"]),
            count(run["hp"]["diverging_arrays"]),
            count(run["counts"]["analog_solves"]),
            ", ".join(f"{count(n)} {status}" for status, n in run["leaf_statuses"].items()),
        ]
        for run in runs
    ]
    columns = ["run", "LP error by vector", "by array", "passes", "diverging arrays", "leaf solves", "they ended"]
    said = "A saturated leaf solve still is a correction; HP-INV judges by its residual."
    return table(columns, rows, said, words=(0, 6))
