"""An INV on each backend by size, and all tables in one go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from amcsim.cli import app
from amcsim.studies import inv_speed
from amcsim.studies.inv_speed import compare


def test_backends_agree_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inv_speed, "BATCH", 20)
    rows = compare(4, repeats=1)
    assert [row.backend for row in rows] == ["ngspice", "nodal", "surrogate", "surrogate, 20 at once"]
    assert rows[0].difference == 0.0
    for row in rows[1:3]:
        assert row.difference is not None
        assert 0.0 < row.difference < 1e-3
        assert row.same_status
    assert all(row.first > 0 and row.further > 0 and not row.said for row in rows)
    assert rows[0].further > rows[2].further


def test_what_is_not_asked_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inv_speed, "BATCH", 20)
    above, nodal, *_ = compare(6, largest_ngspice=5, repeats=1)
    assert above.said == "not asked above 5"
    assert nodal.difference is None


@pytest.mark.slow
def test_all_tables_in_one_file(tmp_path: Path) -> None:
    out = tmp_path / "all.md"
    said = CliRunner().invoke(app, ["bench", "all", "--quick", "--json", "-o", str(out)])
    assert said.exit_code == 0
    assert list(json.loads(said.stdout)["tables"]) == ["wires", "montecarlo", "inv"]
    assert [line for line in out.read_text().splitlines() if line.startswith("## ")] == [
        "## wires",
        "## montecarlo",
        "## inv",
    ]
