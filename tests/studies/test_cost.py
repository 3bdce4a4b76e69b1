"""The cost study in its quick mode, and its command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from amcsim.cli import app
from amcsim.studies.cost import study
from amcsim.studies.cost_circuits import circuit_figures, technology, written_cell


def test_one_assumption_changes_table_one(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[digital]\nmac_energy = 1e-12\n")
    first, second = study(quick=True), study(quick=True, assumptions=tmp_path / "mine.toml")
    rows = [result["table_one"]["rows"] for result in (first, second)]
    assert rows[1]["ours"]["efficiency"] > 1.5 * rows[0]["ours"]["efficiency"]
    assert rows[1]["ours"]["throughput"] == rows[0]["ours"]["throughput"]
    assert rows[1]["Zhang et al."] == rows[0]["Zhang et al."]
    assert second["settings"]["changed"] == ["digital.mac_energy"]


def test_the_command_writes_figures_and_page(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["reproduce", "cost", "--quick", "--json", "-o", str(tmp_path / "cost.html")])
    assert run.exit_code == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["measured"] is None
    assert result["assumptions"]["digital.mac_energy"]["source"].startswith("Horowitz")
    assert result["manifest"]["seed"] == 0
    page = (tmp_path / "cost.html").read_text()
    assert result["manifest"]["time"] in page
    assert page.count("image/svg+xml") == 3
    assert all(name in page for name in result["assumptions"])


def test_a_bad_file_is_one_sentence_and_exit_status_2(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[digital]\nmac_energy = -1\n")
    run = CliRunner().invoke(app, ["reproduce", "cost", "--quick", "--assumptions", str(tmp_path / "bad.toml")])
    assert run.exit_code == 2
    assert "digital.mac_energy = -1: allowed is above 0" in run.stderr


@pytest.mark.parametrize("circuit", ["inv", "mvm"])
def test_shipped_circuit_figures_are_what_ngspice_gives_at_4_rows(circuit: str) -> None:
    known = study(quick=True)["assumptions"]
    found = circuit_figures("integrated", circuit, 4, 4)  # type: ignore[arg-type]
    assert found["backend"] == "ngspice"
    # four of sixteen circuits: their medians scatter by a half
    if circuit == "inv":
        assert found["settling"] == pytest.approx(known["integrated.inv_settling_4"]["value"], rel=0.6)
    assert found["power_row"] == pytest.approx(known[f"integrated.{circuit}_power_row"]["value"], rel=0.05)


def test_equations_continue_ngspice_beyond_16_rows() -> None:
    known = study(quick=True)["assumptions"]
    found = circuit_figures("integrated", "inv", 64, 2)
    assert found["backend"] == "equations"
    assert found["settling"] == pytest.approx(known["integrated.inv_settling_64"]["value"], rel=0.5)
    assert technology("board").opamp.quiescent_current == 3.5e-3


def test_the_energy_of_a_written_cell_is_ngspices() -> None:
    known = study(quick=True)["assumptions"]
    found = written_cell(2, bits=6)
    assert found["reached"] == 1.0
    assert found["energy"] == pytest.approx(known["write.energy"]["value"], rel=0.5)
    assert found["time"] == pytest.approx(known["write.time"]["value"], rel=0.5)
