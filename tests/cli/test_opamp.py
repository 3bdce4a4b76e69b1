"""`amcsim opamp`, and specs that name transistors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amcsim.ngspice import run_batch
from amcsim.specs import load_spec

Amcsim = Callable[..., Any]
OPAMP = ("opamp", "opamp_miller", "--load", "1000,500")


def test_the_written_section_is_a_spec_that_every_backend_takes(
    amcsim: Amcsim, problem: list[str], tmp_path: Path
) -> None:
    path, table = tmp_path / "classab.toml", tmp_path / "table.csv"
    ended = amcsim(
        "opamp",
        "opamp_classab",
        "--load",
        "1000",
        "--base",
        "pku_350nm",
        "-o",
        path,
        "-o",
        table,
        "--view",
        "ac",
        "--json",
    )
    assert (ended.code, ended.err) == (0, "")
    found = ended.json
    assert [row["load"] for row in found["loads"]] == [500.0, 1000.0]
    assert found["files"] == [str(path), str(table)]
    assert found["measures"]["gain"]["unit"] == "dB"
    assert table.read_text().startswith("frequency_Hz,gain_dB,")
    spec = load_spec(path)
    assert spec.opamp.gain == found["section"]["gain"]
    assert spec.cell == load_spec("pku_350nm").cell
    solved = [
        amcsim("solve", "inv", *problem, "--spec", path, "--backend", b, "--json").json for b in ("nodal", "ngspice")
    ]
    assert [s["status"] for s in solved] == ["ok", "ok"]


def test_people_get_figures_a_table_and_the_section(amcsim: Amcsim) -> None:
    ended = amcsim(*OPAMP)
    assert ended.code == 0
    for words in ("slew rise", "gain column", "bandwidth", "MHz", "[opamp]", 'model = "behavioral"'):
        assert words in ended.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("opamp", "tl072"), "'tl072' is neither a file nor one of opamp_miller"),
        (("opamp", "no.lib"), "no.lib is no file"),
        ((*OPAMP[:3], "1k"), "--load '1k' must be numbers with commas between, ohm"),
        ((*OPAMP[:3], "nan"), "load = nan: allowed is 0.1 to 1e+09"),
        ((*OPAMP, "--column", "0"), "load = 0: allowed is 0.1 to 1e+09"),
        ((*OPAMP, "--supply", "100"), "supply = 100: allowed is 0.5 to 60"),
        ((*OPAMP, "--capacitance", "-1"), "capacitance = -1"),
        ((*OPAMP, "--base", "board"), "preset 'board' is unknown"),
        ((*OPAMP, "-o", "x.txt"), "the ending must be one of .toml"),
    ],
)
def test_bad_input_is_one_sentence(amcsim: Amcsim, options: tuple[str, ...], words: str) -> None:
    assert words in amcsim(*options).complaint


def test_transistors_are_solved_in_ngspice_and_refused_elsewhere(
    amcsim: Amcsim, problem: list[str], tmp_path: Path
) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text('schema_version = 1\nbase = "pku_350nm"\n[opamp]\nmodel = "opamp_classab"\n')
    with_it = [*problem, "--spec", str(spec)]
    for backend in ("nodal", "surrogate"):
        assert "`amcsim opamp opamp_classab -o" in amcsim("solve", "inv", *with_it, "--backend", backend).complaint
    found = amcsim("solve", "inv", *with_it, "--backend", "ngspice", "--json").json
    assert found["status"] == "ok"
    deck = tmp_path / "deck.cir"
    written = amcsim("netlist", "inv", *with_it, "-o", deck, "--json").json
    settling = run_batch(deck.read_text()).measures["settling_to_1pct"]
    assert 1e-7 < settling < 1e-4
    waves = tmp_path / "waves.json"
    stepped = amcsim("waves", "inv", *with_it, "-o", waves, "--json").json
    assert stepped["settling_time_s"] == pytest.approx(settling, rel=0.05)
    assert json.loads(waves.read_text())["axis"]["name"] == "time"
    assert stepped["x"] == pytest.approx(found["x"], rel=1e-3)
    assert written["expected_v"] == pytest.approx(stepped["outputs"], abs=1e-3)
