"""ngspice in the training loop: the paper's counts, the surrogate's updates, and figures that no worker changes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from amcsim.cli import app
from amcsim.report.ngspice_training import write_results
from amcsim.runs import json_text
from amcsim.specs import preset
from amcsim.studies.ngspice_training import Plan, study

ONE_STEP = Plan("digits", epochs=1, max_steps=1, conditions={"preset": preset("pku_350nm")})
PART = Plan("digits", epochs=2, max_steps=3)


def figures(result: dict[str, Any]) -> str:
    """All but times and workers."""
    runs = [{k: v for k, v in run.items() if k not in ("elapsed_s", "cpu_s", "solves_per_s")} for run in result["runs"]]
    return json_text([runs, result["comparisons"]])


@pytest.mark.slow
def test_a_step_through_ngspice_counts_as_the_paper_and_updates_as_the_surrogate(tmp_path: Path) -> None:
    result = study(ONE_STEP, workers=1)
    digital, ngspice, surrogate = result["runs"]
    assert [run["backend"] for run in result["runs"]] == ["digital", "ngspice", "surrogate"]
    assert ngspice["counts"]["high_precision_vectors"] == 139
    assert ngspice["counts"]["array_programmings"] == 28
    assert ngspice["counts"]["analog_solves"] == ngspice["lp"]["vectors"] > 139
    assert ngspice["leaf_statuses"] == surrogate["leaf_statuses"]
    assert ngspice["lp"]["mean_by_vector"] == pytest.approx(surrogate["lp"]["mean_by_vector"], rel=1e-3)
    (compared,) = result["comparisons"]
    # the stop rule is 6e-8 of each leaf's right-hand side; that the runs come closer is their leaves' agreement
    assert compared["update_difference_max"] < 1e-6
    assert ngspice["loss"] == pytest.approx(digital["loss"], rel=1e-5)
    page = write_results(result, tmp_path, "amcsim reproduce ngspice-training")
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"<figure>", text)) == 3
    assert "58.3 %" in text
    written = {path.name for path in tmp_path.iterdir()}
    assert {"curves-preset.png", "updates-preset.png", "solvers.png", "results.json", "manifest.json"} < written
    assert json.loads((tmp_path / "results.json").read_text())["runs"][1]["counts"] == ngspice["counts"]


@pytest.mark.slow
def test_part_of_the_run_is_the_same_on_one_worker_on_two_and_interrupted(tmp_path: Path) -> None:
    one = study(PART, workers=1)
    coarse = next(run for run in one["runs"] if run["condition"] == "coarse" and run["backend"] == "ngspice")
    assert 0.4 < coarse["lp"]["mean_by_vector"] < 0.7
    assert 15 < coarse["passes"] < 25
    assert one["comparisons"][0]["update_difference_max"] < 1e-6
    store, left = tmp_path / "epochs.sqlite", 3

    def interrupt(done: int) -> None:
        nonlocal left
        left -= done
        if left < 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(PART, workers=2, store=store, progress=interrupt)
    resumed = study(PART, workers=2, store=store)
    assert figures(resumed) == figures(one)
    again = study(replace(PART), workers=1, store=store)
    assert again["elapsed_s"] < 5.0  # nothing is left to do
    assert figures(again) == figures(one)


def test_bad_conditions_are_one_sentence(tmp_path: Path) -> None:
    words = ["reproduce", "ngspice-training", "--quick", "-o", str(tmp_path), "--spec", "nowhere"]
    outcome = CliRunner().invoke(app, words)
    assert outcome.exit_code == 2
    assert "nowhere" in outcome.stderr
