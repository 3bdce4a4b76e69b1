"""Results as files: each is read back by what reads it, ngspice included."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from amcsim.analysis.export import ENDINGS, write_result
from amcsim.analysis.result import Axis, Measure, Result, Trace
from amcsim.ngspice.batch import run_batch
from amcsim.ngspice.raw import read_raw

TIME = np.array([0.0, 1e-9, 1 / 3e6, 1e-6])
RESULT = Result(
    "tran",
    'step, "small"',
    Axis("time", "s", TIME),
    {
        "v(x0)": Trace(1 - np.exp(-TIME / 1e-7), "V"),
        "supply current, total": Trace(np.array([0.0, np.nan, 2e-3, 1e-3]), "A", shown=False),
    },
    {"settling": Measure(4.6e-7, "s", ("v(x0)", 4.6e-7)), "bandwidth": Measure(float("inf"), "Hz")},
    {"poles": np.array([-1e7])},
)


def test_csv_holds_every_bit_and_units_where_the_name_tells_none(tmp_path: Path) -> None:
    write_result(RESULT, tmp_path / "r.csv")
    header, *rows = csv.reader((tmp_path / "r.csv").read_text().splitlines())
    assert header == ["time_s", "v(x0)", "supply current, total_A"]
    table = np.array(rows, dtype=float).T
    np.testing.assert_array_equal(table, [TIME, *(t.values for t in RESULT.traces.values())])


def test_json_has_null_for_what_is_no_number(tmp_path: Path) -> None:
    write_result(RESULT, tmp_path / "r.json")
    said = json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert said["measures"] == {"settling": {"value": 4.6e-7, "unit": "s"}, "bandwidth": {"value": None, "unit": "Hz"}}
    assert said["poles"] == [-1e7]
    assert said["axis"] == {"name": "time", "unit": "s", "log": False, "values": TIME.tolist()}
    assert said["traces"]["supply current, total"]["values"] == [0.0, None, 2e-3, 1e-3]


def test_ngspice_loads_the_raw_file(tmp_path: Path) -> None:
    raw = tmp_path / "r.raw"
    write_result(RESULT, raw)
    (plot,) = read_raw(raw)
    assert (plot.name, plot.variables) == (
        "Transient Analysis",
        (("time", "time"), ("v(x0)", "voltage"), ("supply_current,_total", "current")),
    )
    log = run_batch(
        f"load\nV1 a 0 1\n.control\nload {raw}\nset numdgt=15\nprint length(time) v(x0)[2]\nquit\n.endc\n.end\n"
    ).log
    assert f"v(x0)[2] = {RESULT.traces['v(x0)'].values[2]:.15e}" in log


def test_pictures_hold_what_is_shown_and_other_endings_are_refused(tmp_path: Path) -> None:
    write_result(RESULT, tmp_path / "R.PNG")
    assert (tmp_path / "R.PNG").read_bytes().startswith(b"\x89PNG")
    assert [ax.get_ylabel() for ax in RESULT.plot().axes] == ["voltage (mV)"]
    with pytest.raises(ValueError, match=r"'r.gif': the ending must be one of .png, .svg"):
        write_result(RESULT, tmp_path / "r.gif")
    for ending in ENDINGS:
        write_result(RESULT, tmp_path / f"all{ending}")
        with pytest.raises(OSError, match="no"):
            write_result(RESULT, tmp_path / "no" / f"all{ending}")
    assert len(list(tmp_path.iterdir())) == 1 + len(ENDINGS)
