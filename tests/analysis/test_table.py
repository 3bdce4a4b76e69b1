"""Spec tables and yield: rows, refusals, intervals against published figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from amcsim.analysis.result import Axis, Measure, Result
from amcsim.analysis.table import Limit, check, load_table, yield_interval


def result(**values: float) -> Result:
    measures = {name: Measure(value, "s") for name, value in values.items()}
    return Result("tran", "made up", Axis("time", "s", np.zeros(1)), {}, measures)


def table(folder: Path, text: str) -> Path:
    path = folder / "table.toml"
    path.write_text("schema_version = 1\n" + text, encoding="utf-8")
    return path


def test_rows_pass_or_fail_by_their_limits(tmp_path: Path) -> None:
    rows = load_table(
        table(
            tmp_path,
            '[tran.settling]\ntyp = 1e-6\nmax = 2e-6\nunit = "s"\n[tran.other]\nmin = 1\n[ac.bandwidth]\nmin = 1e6\n',
        )
    )
    assert [row.name for row in rows] == ["tran.settling", "tran.other", "ac.bandwidth"]
    verdicts = check(rows, {"tran": result(settling=1.5e-6, other=0.5)})
    assert [v.ok for v in verdicts] == [True, False]
    assert verdicts[0].as_dict() == {
        "name": "tran.settling", "value": 1.5e-6, "unit": "s", "min": None, "typ": 1e-6, "max": 2e-6, "ok": True
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "ok"), [(1.0, True), (2.0, True), (0.999, False), (2.001, False), (float("nan"), False)]
)
def test_limits_belong_to_the_range_and_nan_to_none(value: float, ok: bool) -> None:
    assert Limit("tran", "settling", min=1.0, max=2.0).holds(value) is ok


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[tran.settling]\ntyp = 1\n", "neither min nor max"),
        ("[tran.settling]\nmin = 2\nmax = 1\n", "rising order"),
        ("[tran.settling]\nmaximum = 1\n", "'maximum' is not one of"),
        ('[tran.settling]\nmax = "1"\n', "is not a number"),
        ("[trans.settling]\nmax = 1\n", "analysis 'trans' is unknown"),
        ("tran = 3\n", "'tran' is not a table of measures"),
        ("[tran]\nsettling = 3\n", "tran.settling is not a table"),
        ("", "has no rows"),
        ("[tran", "cannot be read"),
    ],
)
def test_a_wrong_table_is_refused_in_one_sentence(tmp_path: Path, text: str, complaint: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(ValueError, match=complaint) as raised:
        load_table(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_table_says_its_version_and_exists(tmp_path: Path) -> None:
    path = tmp_path / "table.toml"
    with pytest.raises(ValueError, match="does not exist"):
        load_table(path)
    path.write_text("[tran.settling]\nmax = 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="schema_version = None"):
        load_table(path)


def test_a_measure_that_is_not_there_or_in_another_unit_is_an_error() -> None:
    with pytest.raises(ValueError, match="tran has no measure 'setling'; there are settling"):
        check((Limit("tran", "setling", max=1.0),), {"tran": result(settling=1.0)})
    with pytest.raises(ValueError, match="is in 's', not in 'us'"):
        check((Limit("tran", "settling", max=1.0, unit="us"),), {"tran": result(settling=1.0)})


@pytest.mark.parametrize(("passed", "samples"), [(0, 10), (10, 10), (7, 20), (981, 1000)])
def test_intervals_are_those_of_scipy(passed: int, samples: int) -> None:
    test = binomtest(passed, samples)
    exact = test.proportion_ci(0.95, "exact")
    assert yield_interval(passed, samples) == pytest.approx((exact.low, exact.high), abs=1e-9)
    wilson = test.proportion_ci(0.9, "wilson")
    assert yield_interval(passed, samples, 0.9, "wilson") == pytest.approx((wilson.low, wilson.high), abs=1e-9)


def test_no_failure_in_n_bounds_the_yield_by_the_rule_of_three() -> None:
    assert 1 - yield_interval(300, 300, 0.9)[0] == pytest.approx(3 / 300, rel=0.01)


def test_a_count_beyond_the_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="is no count"):
        yield_interval(3, 2)
