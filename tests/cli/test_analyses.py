"""The analyses' commands: the same figures as from Python, files, tables, one sentence for bad input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amcsim.analysis.noise import noise
from amcsim.analysis.stability import stability
from amcsim.cli._circuit import drawn

Amcsim = Callable[..., Any]


def python(problem: list[str]) -> tuple[object, ...]:
    found = drawn("inv", problem[1], problem[3], "pku_350nm", 3)
    return found.handle.topology, found.handle.spec, found.handle.realisation, found.volts


def test_a_command_says_what_python_finds(amcsim: Amcsim, problem: list[str]) -> None:
    said = amcsim("stability", "inv", *problem, "--seed", "3", "--json").json
    found = stability(*python(problem))  # type: ignore[arg-type]
    assert said["measures"]["margin"] == {"value": found.measures["margin"].value, "unit": ""}
    assert said["poles"] == found.details["poles"]
    said = amcsim("noise", "inv", *problem, "--seed", "3", "--stop", "1e6", "--json").json
    wanted = noise(*python(problem), stop=1e6)  # type: ignore[arg-type]
    assert said["measures"]["integrated"]["value"] == wanted.measures["integrated"].value


@pytest.mark.parametrize("name", ["ac", "dc", "tran", "noise", "stability", "supply"])
@pytest.mark.parametrize("circuit", ["inv", "mvm"])
def test_every_analysis_of_either_circuit_gives_its_table_and_json(
    amcsim: Amcsim, problem: list[str], name: str, circuit: str, tmp_path: Path
) -> None:
    csv = tmp_path / "result.csv"
    ended = amcsim(name, circuit, *problem, "-o", csv, "--json")
    assert ended.code == 0, ended.err
    assert (ended.json["analysis"], ended.json["files"]) == (name, [str(csv)])
    header = csv.read_text(encoding="utf-8").splitlines()[0]
    assert header.split(",")[0].split("_")[0] in ("frequency", "time", "input scale", "input")


def test_people_read_measures_and_limits(amcsim: Amcsim, problem: list[str], tmp_path: Path) -> None:
    table = tmp_path / "table.toml"
    table.write_text("schema_version = 1\n[ac.bandwidth]\nmin = 1e12\n[tran.settling]\nmax = 1\n", encoding="utf-8")
    ended = amcsim("ac", "inv", *problem, "--table", table)
    assert ended.code == 0
    assert "bandwidth_x3" in ended.out
    assert "FAIL" in ended.out
    said = amcsim("ac", "inv", *problem, "--table", table, "--json").json
    assert said["pass"] is False
    assert [row["name"] for row in said["table"]] == ["ac.bandwidth"]  # rows of other analyses are theirs
    assert "no path from its supplies" in amcsim("supply", "inv", *problem).out


def test_the_same_measures_come_from_ngspice(amcsim: Amcsim, problem: list[str]) -> None:
    nodal, spice = (
        amcsim("ac", "inv", *problem, "--input", 1, "--backend", name, "--json").json["measures"]
        for name in ("nodal", "ngspice")
    )
    assert nodal["bandwidth"]["value"] == pytest.approx(spice["bandwidth"]["value"], rel=2e-3)


def test_montecarlo_and_corners_check_a_table(amcsim: Amcsim, problem: list[str], tmp_path: Path) -> None:
    table = tmp_path / "table.toml"
    table.write_text("schema_version = 1\n[op.error]\nmax = 0.2\n[noise.integrated]\nmax = 1\n", encoding="utf-8")
    page = tmp_path / "samples.json"
    said = amcsim("montecarlo", "inv", *problem, "--samples", 30, "--table", table, "-o", page, "--json").json
    assert said["analyses"] == ["op", "noise"]
    low, value, high = (said["measures"][k]["value"] for k in ("yield_low", "yield", "yield_high"))
    assert low < value < high
    errors = np.array(json.loads(page.read_text(encoding="utf-8"))["traces"]["op.error"]["values"])
    assert value == pytest.approx((errors <= 0.2).mean())
    said = amcsim("corners", "inv", *problem, "--table", table, "--json").json
    assert len(said["values"]["op.error"]) == len(said["corners"]) == 9
    assert said["measures"]["passed"]["value"] == sum(e <= 0.2 for e in said["values"]["op.error"])
    assert "worst" in amcsim("corners", "inv", *problem, "--table", table).out
    shown = amcsim("montecarlo", "mvm", *problem, "--samples", 3, "-a", "ac").out
    assert "p95" in shown


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["ac", "inv", "--input", "9"], "inputs 0 to 3"),
        (["ac", "inv", "--start", "10", "--stop", "1"], "wanted 0 < start < stop"),
        (["noise", "inv", "--temperature", "900"], "allowed is -200 to 300"),
        (["dc", "inv", "--points", "6"], "odd number"),
        (["tran", "inv", "--overload", "3", "--dac-time-constant", "1e-6"], "exclude each other"),
        (["montecarlo", "inv", "-a", "tea"], "analysis 'tea' is unknown"),
        (["stability", "inv", "-o", "margin.doc"], "ending must be one of"),
        (["ac", "eigen"], "eigen"),
        (["corners", "inv", "--table", "nowhere.toml"], "does not exist"),
    ],
)
def test_bad_input_is_one_sentence(amcsim: Amcsim, problem: list[str], options: list[str], words: str) -> None:
    assert words in amcsim(*options, *problem).complaint


def test_a_table_without_a_row_for_the_analysis_is_refused(amcsim: Amcsim, problem: list[str], tmp_path: Path) -> None:
    table = tmp_path / "table.toml"
    table.write_text("schema_version = 1\n[ac.bandwidth]\nmin = 1\n", encoding="utf-8")
    assert "no row for noise" in amcsim("noise", "inv", *problem, "--table", table).complaint


def test_what_is_infinite_is_null_in_json(amcsim: Amcsim, problem: list[str]) -> None:
    said = amcsim("supply", "inv", *problem, "--stop", "1e4", "--json").json
    assert said["measures"]["rejection_vdd"]["value"] is None
    assert math.isfinite(said["measures"]["rejection_wl"]["value"])
