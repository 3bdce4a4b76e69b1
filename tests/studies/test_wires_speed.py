"""Wired arrays side by side with other programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from amcsim.cli import app
from amcsim.studies.wires_speed import compare


def test_all_find_the_same_currents() -> None:
    found = compare(24, 2.0, repeats=1)
    assert found.difference is not None
    assert found.difference < 1e-6
    assert found.badcrossbar is not None
    assert found.badcrossbar_difference is not None
    assert found.badcrossbar_difference < 1e-10
    assert (found.crosssim is None) == bool(found.crosssim_said)  # it is on no index: where it is, it runs
    cells = 2 * 24**2 * 8
    assert cells < found.memory < 40 * cells


def test_a_billionth_at_256_and_2_ohm() -> None:
    """By splu. The bound is in the norm of all currents; their sums, of both signs, are four times further off."""
    found = compare(256, 2.0, tolerance=2e-10, repeats=1, peers=False)
    assert found.difference is not None
    assert found.difference < 1e-9
    assert found.error < 2e-10


@pytest.mark.slow
def test_1024_is_solved() -> None:
    """2 million cells; splu takes a minute and a half and 6.7 GB, and agrees."""
    found = compare(1024, 1.0, tolerance=1e-9, repeats=1)
    assert found.error < 1e-9
    assert found.difference is not None
    assert found.difference < 1e-8  # the bound is in a norm of all currents; at a sense node they add up
    assert found.splu is not None
    assert found.splu > 10.0 * found.ours
    assert found.badcrossbar is None
    assert found.memory < 400e6


@pytest.mark.slow
@pytest.mark.parametrize(("size", "faster"), [(64, 3.0), (128, 6.0), (256, 10.0)])
@pytest.mark.parametrize("ohm", [1.0, 2.0])
def test_ours_is_that_much_faster(size: int, faster: float, ohm: float) -> None:
    found = compare(size, ohm)
    assert found.difference is not None
    assert found.difference < 1e-6
    assert found.splu is not None
    assert found.splu / found.ours > faster
    assert found.badcrossbar is not None
    assert found.badcrossbar / found.ours > faster


def test_the_command_prints_and_writes_the_table(tmp_path: Path) -> None:
    run: Callable[..., Any] = CliRunner().invoke
    wanted = ["bench", "wires", "--size", "8", "--ohm", "1", "--no-peers"]
    said = run(app, [*wanted, "--json", "-o", str(tmp_path / "t.json")])
    assert said.exit_code == 0
    assert json.loads(said.stdout) == json.loads((tmp_path / "t.json").read_text())
    assert run(app, [*wanted, "-o", str(tmp_path / "t.md")]).exit_code == 0
    assert (tmp_path / "t.md").read_text().startswith("| size | 8 |\n| ---: | ---: |\n| ohm | 1 |\n| amcsim_s | ")
    refused = run(app, [*wanted, "-o", str(tmp_path / "t.csv")])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "the ending must be one of .md, .json" in refused.stderr
