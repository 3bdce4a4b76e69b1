"""The study of HP-INV: its systems, its check, its command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from amcsim.cli import app
from amcsim.solvers.exact import Exact
from amcsim.streams import Key
from amcsim.studies import hp_inv


@pytest.fixture(scope="module")
def result() -> dict[str, object]:
    return hp_inv.study(quick=True)


def test_systems_have_the_condition_asked_for() -> None:
    for condition in (1.0, 10.0, 1e4):
        a, b = hp_inv.systems(8, condition, 5, Key(0))
        np.testing.assert_allclose(np.linalg.cond(a), condition, rtol=1e-6)
        np.testing.assert_allclose(a, a.swapaxes(-1, -2), atol=1e-14)
        assert b.shape == (5, 8, 1)


def test_the_check_sees_a_wrong_answer() -> None:
    """One digit changed in one answer is one wrong answer; where it does not say ok, none."""
    a, b = hp_inv.systems(6, 10.0, 4, Key(1))
    answer = Exact().program(a, Key(0)).solve(b)
    assert not hp_inv.wrong(a, b, answer, 2.0**-24).any()
    x = answer.x.copy()
    x[2, 3, 0] *= 1 + 1e-5
    assert hp_inv.wrong(a, b, answer._replace(x=x), 2.0**-24)[:, 0].tolist() == [False, False, True, False]
    said = answer.status.copy()
    said[2] = 3
    assert not hp_inv.wrong(a, b, answer._replace(x=x, status=said), 2.0**-24).any()
    x[0] = np.nan
    assert hp_inv.wrong(a, b, answer._replace(x=x, status=said), 2.0**-24).any(axis=1).tolist()[0]


def test_no_answer_of_the_grid_is_wrong_and_gcr_fails_least(result: dict) -> None:  # type: ignore[type-arg]
    guard = result["safeguards"]
    assert guard["systems"] == sum(hp_inv._QUICK["systems"].values()) * 9
    assert guard["wrong"] == guard["not_ok"] == 0
    figures = guard["by_method"]
    assert figures["gcr"]["failed_alone"] < 0.5 * min(figures[m]["failed_alone"] for m in ("plain", "minimal_residual"))
    assert all(figures["gcr"][k] < figures["plain"][k] for k in ("array_writes", "analog_solves", "digital_fallbacks"))


def test_plain_refinement_fails_where_the_radius_says_so(result: dict) -> None:  # type: ignore[type-arg]
    for row in result["rows"]:
        if row["method"] == "plain":  # beyond 0.9 the patience of ten passes gives some up early
            assert row["failed_alone"] >= row["diverging"]


def test_the_published_passes_are_reached(result: dict) -> None:  # type: ignore[type-arg]
    """16x16 to 24 bits in about ten: 4x4 arrays of 3 bits at condition 10, plain refinement and better."""
    found = {
        r["method"]: r["passes_mean"]
        for r in result["blocks"]
        if (r["n"], r["condition"], r["leaf"]) == (16, 10.0, "3 bits")
    }
    assert 7 <= found["gcr"] <= found["minimal_residual"] <= found["plain"] <= 16


def test_the_command_writes_figures_and_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = hp_inv._QUICK | {"systems": {4: 3, 16: 2}, "block_systems": {4: 2}, "bits": (4,)}
    monkeypatch.setattr(hp_inv, "_QUICK", small)
    wanted = ["reproduce", "hp-inv", "--quick"]
    said = CliRunner().invoke(app, [*wanted, "--json", "-o", str(tmp_path / "r.json")])
    assert said.exit_code == 0, said.stderr
    assert json.loads(said.stdout) == json.loads((tmp_path / "r.json").read_text())
    assert CliRunner().invoke(app, [*wanted, "-o", str(tmp_path / "r.html")]).exit_code == 0
    page = (tmp_path / "r.html").read_text()
    assert "wrong answers" in page
    assert page.count("<svg") + page.count("image/svg+xml") == 2
    refused = CliRunner().invoke(app, [*wanted, "-o", str(tmp_path / "r.csv")])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "must be one of .json, .html" in refused.stderr
