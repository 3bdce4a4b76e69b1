"""The study of analog training: its parts agree with each other, whatever the number of workers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from amcsim.report.analog_training import analog_training_page, matches
from amcsim.runs import json_text, plain
from amcsim.runs.manifest import manifest
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.hp_inv import FixedPoint
from amcsim.specs import Spec
from amcsim.streams import Key
from amcsim.studies.analog_conditions import CONDITIONS, EFFECTS, WIDTHS, grid
from amcsim.studies.analog_runs import Plan
from amcsim.studies.analog_training import study
from amcsim.studies.leaf_systems import Systems, leaf_figures, leaf_systems
from amcsim.training.data import load

TINY = Plan(
    "digits", seeds=1, tuning_seeds=1, analog_seeds=1, epochs=1, limit=1, most=1, widths=WIDTHS[:1], map_rounds=250
)


@pytest.fixture(scope="module")
def systems() -> Systems:
    return leaf_systems(load("digits", Key(0)), 1, 0)


def test_a_step_asks_for_139_vectors_on_28_arrays(systems: Systems) -> None:
    assert sum(len(a) for a, _ in systems.values()) == 2 * 28
    assert sum(b.shape[0] * b.shape[2] for _, b in systems.values()) == 2 * 139


def test_a_gain_error_is_the_lp_error_and_nothing_diverges(systems: Systems) -> None:
    """Cells exact, answers times 0.51: 0.49^23 is above 2^-24, 0.49^24 below."""
    found = leaf_figures(Emulated(output_gain=0.51), systems, Key(0))
    for name in ("mean_by_vector", "median_by_vector", "mean_by_array", "pooled", "pooled_unit_range"):
        assert found[f"lp_{name}"] == pytest.approx(0.49, rel=1e-6)
    assert found["passes_mean"] == pytest.approx(24, abs=1e-6)
    assert (found["diverging_arrays"], found["vectors_lost"]) == (0, 0)


def test_words_of_24_bits_end_sooner_and_less_exactly(systems: Systems) -> None:
    leaf = Emulated(Spec().replace(programming={"model": "uniform", "tolerance": 10e-6}))
    exact = leaf_figures(leaf, systems, Key(0))
    words = leaf_figures(leaf, systems, Key(0), number_format=FixedPoint(24))
    assert words["passes_mean"] < exact["passes_mean"]  # type: ignore[operator]
    assert words["hp_mean_by_vector"] > 10 * exact["hp_mean_by_vector"]  # type: ignore[operator]


def test_arrays_that_cannot_converge_are_counted(systems: Systems) -> None:
    """An answer of the wrong sign doubles the error at each pass."""
    found = leaf_figures(Emulated(output_gain=-1.0), systems, Key(0))
    assert found["diverging_arrays"] == found["arrays"]
    assert found["vectors_lost"] == found["vectors"]


def test_conditions_are_valid_and_named_once() -> None:
    for condition in (*EFFECTS, *CONDITIONS):
        assert condition.source
        condition.spec.require_supported()
    assert len({c.name for c in EFFECTS}) == len(EFFECTS)
    cells = grid()
    assert len({json.dumps(names) for names, _ in cells}) == len(cells) == 200


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return study(0, plan=TINY)


def test_every_part_is_there_and_is_json(result: dict[str, Any]) -> None:
    again = json.loads(json_text(plain(result)))
    assert {r["optimizer"] for r in again["optimizers"]} == {"kfac", "kfac, analog", "sgd", "adam"}
    assert [c["name"] for c in again["analog"]] == ["preset"]
    figures = again["analog"][0]["figures"]
    assert figures["high_precision_vectors"]["median"] == 278
    assert figures["lp_vectors"]["median"] > 278
    assert sum(map(sum, again["shown"]["confusion"])) == len(again["shown"]["labels"])
    assert matches(again) == []  # the preset alone is far from the published error


def test_the_page_shows_every_part(result: dict[str, Any]) -> None:
    page = analog_training_page(result | {"manifest": manifest("amcsim reproduce", 0)})
    for words in ("58.3", "drift, by vector", "Confusion", "whole sweep", "Fig. 17"):
        assert words in page


@pytest.mark.slow
def test_workers_change_nothing(result: dict[str, Any]) -> None:
    assert json_text(plain(study(0, plan=TINY, workers=2))) == json_text(plain(result))
