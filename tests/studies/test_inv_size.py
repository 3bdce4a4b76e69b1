"""The cost of wired INV circuits by size, side by side with sparse LU and ngspice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from amcsim.cli import app
from amcsim.studies.inv_size import compare


def test_all_find_the_same_answers() -> None:
    """splu knows no limits (1e-8 V of 0.1 V), nodal no curve of the access transistors (1e-6 V)."""
    found = compare(8, vectors=4)
    assert found.splu_difference_v < 1e-8
    assert found.ngspice_difference_v is not None
    assert found.ngspice_difference_v < 3e-6
    assert found.ok == 1.0


@pytest.mark.slow
def test_128_takes_half_a_second_and_half_a_millisecond_more_each() -> None:
    """Program, solve and verdict; processor time of one thread, on a machine that is not busy."""
    best = [compare(128, peers=False) for _ in range(3)]
    assert min(found.first_s for found in best) < 0.5
    assert min(found.further_s for found in best) < 0.5e-3
    assert min(found.batched_s for found in best) < 0.2e-3
    assert all(found.ok == 1.0 for found in best)
    assert max(found.splu_difference_v for found in best) < 1e-6


def test_the_command_prints_and_writes_the_table(tmp_path: Path) -> None:
    run = CliRunner().invoke
    wanted = ["bench", "inv-size", "--size", "4", "--no-peers"]
    said = run(app, [*wanted, "--json", "-o", str(tmp_path / "t.json")])
    assert said.exit_code == 0
    assert json.loads(said.stdout) == json.loads((tmp_path / "t.json").read_text())
    assert run(app, [*wanted, "-o", str(tmp_path / "t.md")]).exit_code == 0
    assert (tmp_path / "t.md").read_text().startswith("| size | 4 |\n| ---: | ---: |\n| first_s | ")
    refused = run(app, ["bench", "inv-size", "--size", "300"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "300 is no size of INV circuits: 2 to 256" in refused.stderr.replace("\n", " ")
