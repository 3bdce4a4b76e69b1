"""`amcsim demo`: the whole chain once, and what it leaves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from amcsim.cli import app

Amcsim = Callable[..., Any]

pytestmark = pytest.mark.timeout(900)
"""Twenty seconds on idle cores, but it runs once for all tests here, on busy ones too."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """(its folder, what it printed) of a quick demo."""
    out = tmp_path_factory.mktemp("demo") / "page"
    result = CliRunner().invoke(app, ["demo", "--out", str(out), "--quick", "--seed", "2", "--json"])
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1), result.stderr
    assert "training, epochs: 16 of 16" in result.stderr
    said: dict[str, Any] = json.loads(result.stdout)
    return out, said


def test_everything_that_it_claims_holds(done: tuple[Path, dict[str, Any]]) -> None:
    out, said = done
    assert [claim["text"] for claim in said["claims"] if not claim["holds"]] == []
    assert said["holds"]
    assert said["page"] == str(out / "index.html")
    assert "epochs to 100 %" not in " ".join(claim["text"] for claim in said["claims"])  # four epochs are too few


def test_the_page_shows_each_part_and_needs_nothing_else(done: tuple[Path, dict[str, Any]]) -> None:
    page = (done[0] / "index.html").read_text(encoding="utf-8")
    assert len(re.findall(r"<h2>", page)) == 8
    assert page.count("<img ") == 7
    assert set(re.findall(r'(?:src|href)="([^"]{1,30})', page)) <= {f"#s{k}" for k in range(1, 9)} | {
        "data:image/svg+xml;base64,PHN2"
    }
    for words in ("settled to 1 %", "28", "139", "unstable (pole)", "Zhang et al.", "220 µS", "single pass"):
        assert words in page
    assert "nan" not in re.findall(r"<td[^>]*>(nan|inf|None)</td>", page)


def test_every_figure_is_in_results_json_and_the_manifest_says_what_made_it(
    done: tuple[Path, dict[str, Any]],
) -> None:
    out, said = done

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} in results.json")

    found = json.loads((out / "results.json").read_text(), parse_constant=refuse)
    assert found["claims"] == said["claims"]
    assert found["trained"]["runs"]["K-FAC, surrogate"]["counts"]["high_precision_vectors"] == 8 * 139
    assert found["checked"]["leaf_solves"] == 139
    assert len(found["solved"]["waveforms"]["signals"]["v(x0)"]) == len(found["solved"]["waveforms"]["time"])
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["seed"] == 2
    assert manifest["campaign_sha256"] == found["campaign_sha256"]
    assert manifest["versions"]["ngspice"]


def test_the_calibration_has_a_folder_and_a_report_of_its_own(done: tuple[Path, dict[str, Any]]) -> None:
    (folder,) = done[0].glob("calibration-*")
    assert {path.name for path in folder.iterdir()} == {
        "dataset.nc", "manifest.json", "report.html", "samples.sqlite", "surrogate.json"
    }  # fmt: skip
    report = (folder / "report.html").read_text(encoding="utf-8")
    sha256 = json.loads((folder / "surrogate.json").read_text())["campaign_sha256"]
    assert sha256 in report
    assert folder.name == f"calibration-{sha256[:8]}"
    assert report.count("<img ") == 2
    for words in ("32 INV circuits", "4x4", "Statuses differ from ngspice's on 0 of 8", "recorded", "Ω/V"):
        assert words in report


def test_a_folder_that_is_a_file_is_refused(amcsim: Amcsim, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    assert "is a file; give a folder" in amcsim("demo", "--out", tmp_path / "taken").complaint
