"""`amcsim write-verify`: the loop on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Amcsim = Callable[..., Any]
SMALL = ["--targets", "50e-6,150e-6", "--cells", 2]


def test_it_says_what_was_reached_and_what_it_took(amcsim: Amcsim, tmp_path: Path) -> None:
    files = [tmp_path / "cells.csv", tmp_path / "cells.png"]
    said = amcsim("write-verify", *SMALL, "--tolerance", "2e-6", "--json", "-o", files[0], "-o", files[1]).json
    assert (said["targets"], said["reached"], said["reached_all"]) == ([50e-6, 150e-6], [1.0, 1.0], 1.0)
    assert max(np.abs(said["error_mean"])) <= 2e-6
    assert min(said["pulses_max"]) >= 1
    assert said["files"] == [str(f) for f in files]
    rows = files[0].read_text().splitlines()
    assert rows[0].split(",") == ["cumulative probability", "50 uS_S", "150 uS_S"]
    assert files[1].stat().st_size > 1000


def test_people_get_a_table(amcsim: Amcsim) -> None:
    ended = amcsim("write-verify", *SMALL, "--verify", "cell")
    assert ended.code == 0
    assert "energy" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--targets", "a,b"], "--targets 'a,b': give conductances in S, separated by commas"),
        (["--targets", "1e-3"], "targets of 1000 to 1000 uS: allowed is"),
        (["--tolerance", "1"], "tolerance = 1e+06 uS: allowed is 0.1 to 100 uS"),
        (["--spec", "ideal"], 'cell.access = "none": a cell is programmed through its transistor'),
        (["-o", "cells.doc"], "output cells.doc: the ending must be one of"),
    ],
)
def test_bad_input_is_one_sentence(amcsim: Amcsim, arguments: list[str], said: str) -> None:
    assert amcsim("write-verify", "--cells", 1, *arguments).complaint.startswith(said)


def test_every_backend_takes_written_cells(amcsim: Amcsim, problem: list[str], tmp_path: Path) -> None:
    text = 'base = "pku_350nm"\n[programming]\nmodel = "write_verify"\ntolerance = {}\nverify = "cell"\n'
    (tmp_path / "written.toml").write_text(text.format("2e-6"))
    given = [*problem, "--spec", tmp_path / "written.toml", "--json"]
    said = {b: amcsim("solve", "inv", *given, "--backend", b).json for b in ("exact", "nodal", "ngspice", "surrogate")}
    spice = np.array(said["ngspice"]["x"])
    assert 1e-3 < np.linalg.norm(spice - said["exact"]["x"]) / np.linalg.norm(spice) < 0.2
    for backend in ("nodal", "surrogate"):  # the same cells: only the transistors' curvature is between them
        np.testing.assert_allclose(said[backend]["x"], spice, atol=1e-3 * np.linalg.norm(spice))
    (tmp_path / "written.toml").write_text(text.format("3e-6"))
    refused = amcsim("solve", "inv", *given, "--backend", "nodal").complaint
    assert refused == 'programming.tolerance = 3e-06 S: the fit of "write_verify" covers 1e-05, 2e-06 S'
