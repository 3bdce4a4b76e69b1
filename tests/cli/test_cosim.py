from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amcsim.ngspice.raw import read_raw

Amcsim = Callable[..., Any]


@pytest.fixture
def converters(tmp_path: Path) -> list[str]:
    """The board with 8-bit converters, read after 10 us."""
    spec = 'base = "pku_350nm"\n[converters]\ndac_bits = 8\nadc_bits = 8\nread_window = 10e-6\n'
    (tmp_path / "board.toml").write_text(spec)
    return ["--spec", str(tmp_path / "board.toml")]


def test_cosim_refines_in_one_transient(
    amcsim: Amcsim, problem: list[str], converters: list[str], tmp_path: Path
) -> None:
    files = [tmp_path / f"hp{ending}" for ending in (".html", ".raw", ".csv")]
    out = [word for file in files for word in ("-o", file)]
    said = amcsim("cosim", "inv", *problem, *converters, "--passes", 6, *out, "--json").json
    assert (said["status"], said["reason"], said["unsettled_passes"]) == ("unsettled", "refinement", [])
    assert len(said["passes"]) == 6
    residuals = [row["residual"] for row in said["passes"]]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[-1] == said["residual"] < 1e-3 * residuals[0]
    assert said["x"] == pytest.approx(said["x_exact"], rel=3e-3, abs=3e-3)
    assert max(row["steps_from_solver"] for row in said["passes"]) <= 1 + 1e-9
    assert [row["time_s"] for row in said["passes"]] == pytest.approx(1e-5 * np.arange(1, 7))
    assert said["files"] == [str(file) for file in files]
    page = files[0].read_text()
    assert '"pass 6"' in page
    (plot,) = read_raw(files[1])
    assert plot["time"][-1] == pytest.approx(60e-6)
    assert plot["residual"][0] == 1.0


def test_a_short_window_is_reported(amcsim: Amcsim, problem: list[str], converters: list[str]) -> None:
    ended = amcsim("cosim", "inv", *problem, *converters, "--window", 3e-7, "--passes", 4)
    assert ended.code == 0
    assert "unsettled (window)" in ended.out
    assert "passes read too early  1, 2, 3, 4" in ended.out
    said = amcsim("cosim", "inv", *problem, *converters, "--window", 3e-7, "--passes", 4, "--json").json
    assert said["unsettled_passes"] == [1, 2, 3, 4]
    assert max(row["code_error"] for row in said["passes"]) > 5


def test_cosim_refuses_bad_input_in_one_sentence(amcsim: Amcsim, problem: list[str], tmp_path: Path) -> None:
    np.savetxt(tmp_path / "zero.txt", np.zeros(4))
    np.save(tmp_path / "two.npy", np.ones((4, 2)))
    for options, words in (
        (["-o", tmp_path / "w.gif"], "ending must be one of .png"),
        (["--window", "1e-9"], "must be longer than the DACs' rise of 1e-08 s"),
        (["--window", "-1"], "read_window = -1"),
        (["--window", "nan"], "read_window"),
        (["--stop", "2"], "outside 0 to 1"),
        (["--stop", "nan"], "outside 0 to 1"),
        (["--passes", "0"], "--passes"),
        (["--rhs", tmp_path / "zero.txt"], "it is zero"),
        (["--rhs", tmp_path / "two.npy"], "2 columns; this command takes one"),
    ):
        assert words in amcsim("cosim", "inv", *problem, *options).complaint


def test_cells_are_programmed_in_one_transient(amcsim: Amcsim, tmp_path: Path) -> None:
    said = amcsim(
        "cosim", "write-verify", "--targets", "40e-6,180e-6", "--tolerance", 5e-6, "-o", tmp_path / "wv.html", "--json"
    ).json
    reads = np.array(said["reads"])
    assert said["reached"] == [True, True]
    assert reads[-1] == pytest.approx([40e-6, 180e-6], abs=5e-6)
    assert reads[0] == pytest.approx(said["start"], rel=0.06)  # read at 0.2 V, where the law is 4 % above its slope
    assert said["pulses"] == np.count_nonzero(said["pulses_v"], axis=0).tolist()
    assert 0.1e-9 < sum(said["energy_J"]) < 2e-9
    assert '"cell 1, target 180 uS"' in (tmp_path / "wv.html").read_text()
    ended = amcsim("cosim", "write-verify", "--targets", "40e-6", "--pulses", 1, "--tolerance", 1e-6)
    assert "no" in ended.out.split()
    for options, words in (
        (["--targets", "a,b"], "separated by commas"),
        (["--targets", "1e-3"], "allowed is"),
        (["--tolerance", "nan"], "allowed is 0.1 to 100 uS"),
        (["--spec", "ideal"], "through its transistor"),
        (["-o", tmp_path / "wv.gif"], "ending must be one of"),
    ):
        assert words in amcsim("cosim", "write-verify", *options).complaint
