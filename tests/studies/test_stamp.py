"""The study of bit-sliced INV, in its quick mode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from amcsim.cli import app
from amcsim.studies.stamp import WANTED, study


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return study(quick=True)


def test_sixteen_bits_of_a_and_twelve_of_x_need_both_slices_and_two_terms(result: dict[str, Any]) -> None:
    error = {(r["x_slices"], r["terms"]): r["error_median"] for r in result["slices"] if r["condition"] == 10.0}
    assert error[2, 2] < WANTED
    assert min(error[1, terms] for terms in range(7)) > WANTED
    assert error[2, 0] > 10 * WANTED
    assert error[3, 6] == pytest.approx(error[2, 6], rel=0.2)  # what is left is A's own rounding to 16 bits


def test_what_diverges_is_said_and_no_ok_is_wrong(result: dict[str, Any]) -> None:
    guard, rows = result["safeguards"], result["divergence"]
    assert guard["wrong"] == 0
    assert guard["not_converged"] > 0
    for row in rows:
        assert row["not_converged"] >= round(row["diverging"] * row["systems"])
        if row["radius_median"] < 0.2:
            assert row["ok"] == row["systems"]


def test_hp_inv_takes_write_errors_out_and_the_series_does_not(result: dict[str, Any]) -> None:
    error = {(r["cells"], r["solver"], r["analog_solves"]): r["error_median"] for r in result["against_hp_inv"]}
    assert error["6 bits", "bit-sliced", 12] == pytest.approx(error["6 bits", "bit-sliced", 6], rel=0.02)
    assert error["6 bits", "bit-sliced", 12] > 0.01
    assert error["6 bits", "HP-INV, plain", 12] < 1e-6
    assert error["ideal", "HP-INV, gcr", 4] < error["ideal", "bit-sliced", 4]


def test_training_counts_the_cells_it_writes(result: dict[str, Any]) -> None:
    part = result["training"]
    first, every, fifth = part["writes"]
    # 172 parameters; 12 arrays of 4x4; two signs of two slices each
    assert first["weight_cells_a_step"] == every["weight_cells_a_step"] == 172 * 4
    assert first["matrix_cells_a_step"] == 0
    assert every["matrix_cells_a_step"] == 12 * 16 * 4
    assert fifth["matrix_cells_a_step"] == pytest.approx(every["matrix_cells_a_step"] * 2 / 6)  # steps 0 and 5 of 6
    assert part["published_writes"] == pytest.approx(0.443)


def test_bit_sliced_updates_are_those_of_its_cells(result: dict[str, Any]) -> None:
    rows = {(r["settings"], r["solver"]): r for r in result["training"]["solvers"]}
    assert rows["tuned", "digital"]["update_error_median"] == 0.0
    assert 1e-3 < rows["tuned", "bit-sliced, 8-bit cells"]["update_error_median"] < 0.02  # cells within 1/512
    assert rows["tuned", "one pass, calibrated"]["update_error_median"] > 0.05  # +-10 uS of 200
    assert rows["tuned", "bit-sliced, 8-bit cells"]["array_writes_a_step"] == 12


def test_the_command_writes_figures_and_page(
    result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amcsim.studies.stamp.study", lambda *_, **__: result)  # made once
    said = CliRunner().invoke(app, ["reproduce", "stamp", "--quick", "--json", "-o", str(tmp_path / "r.html")])
    assert said.exit_code == 0, said.stderr
    assert json.loads(said.stdout)["safeguards"]["wrong"] == 0
    assert (tmp_path / "r.html").read_text().count("image/svg+xml") == 2
