"""The shipped write errors: complete, within tolerance, made with the model that is shipped; files that are none."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from amcsim.analysis.cells import library_hashes
from amcsim.specs import SpecError, preset
from amcsim.streams import Key
from amcsim.write_error import TABLE, draw_write_errors, load_write_errors

TEXT = (files("amcsim.calibration") / TABLE).read_text(encoding="utf-8")


def test_every_case_was_run_and_reached_its_tolerance() -> None:
    tables = load_write_errors(TEXT)
    assert {(t.verify, t.tolerance) for t in tables} == {(v, tol) for v in ("cell", "device") for tol in (10e-6, 2e-6)}
    for table in tables:
        np.testing.assert_allclose(table.targets, np.linspace(20e-6, 220e-6, 8), rtol=1e-6)
        assert np.abs(table.quantiles).max() <= table.tolerance
    assert [row["reached"] for row in json.loads(TEXT)["tables"]] == [1.0] * 4


def test_the_fit_was_made_with_the_compact_model_that_is_shipped() -> None:
    for name in (TABLE, "rram_pulses.json"):
        data = json.loads((files("amcsim.calibration") / name).read_text(encoding="utf-8"))
        assert data["provenance"]["libraries_sha256"] == library_hashes(), f"run scripts/rram_calibration.py for {name}"


def test_draws_have_the_quantiles_of_the_table() -> None:
    spec = preset("pku_350nm").replace(programming={"model": "write_verify"})
    table = next(t for t in load_write_errors(TEXT) if (t.verify, t.tolerance) == ("device", 10e-6))
    drawn = draw_write_errors(np.full(40000, table.targets[3]), spec.programming, spec.cell, Key(1).generator())
    for p in (0.1, 0.5, 0.9):
        wanted = table.quantiles[3, np.searchsorted(table.probabilities, p - 1e-9)]
        assert np.mean(drawn <= wanted) == pytest.approx(p, abs=0.01)  # 0.25 % standard error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not readable"),
        ("[]", "not readable"),
        ('{"schema_version": 2}', "schema_version = 2; this release reads 1"),
        ('{"schema_version": 1, "probabilities": [0, 1], "tables": [{"verify": "cell", "tolerance": 1e-5, '
         '"targets": [1e-5, 2e-5], "quantiles": [[0, 1]]}]}', "a row a target"),
    ],
)  # fmt: skip
def test_files_that_are_no_table_are_refused(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        load_write_errors(text)
