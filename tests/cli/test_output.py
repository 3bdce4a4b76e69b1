"""Tables for people."""

from __future__ import annotations

import pytest

from amcsim.cli._output import print_table


def test_columns_that_do_not_fit_go_into_a_further_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cell is not broken for want of width, and each table begins with the first column."""
    monkeypatch.setenv("COLUMNS", "40")
    columns = ["quantity", *(f"size {k}" for k in range(7))]
    rows = [["seconds", *(f"{k + 1}.23e-05" for k in range(7))], ["ratio", *"1234567"]]
    print_table(columns, rows)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 40
    assert all(cell in said for row in rows for cell in row)
    assert said.count("seconds") == said.count("quantity") == 4  # two columns of 11 beside one of 11, and borders


def test_a_heading_is_wrapped_before_a_cell_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    print_table(["method", *["a heading of some words"] * 4], [["minimal_residual", *["123456"] * 4]])
    said = capsys.readouterr().out
    assert "minimal_residual" in said
    assert max(map(len, said.splitlines())) <= 60


def test_one_narrow_table_stays_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_table(["entry", "x", "exact"], [["0", "1.5", "1.25"]])
    assert len(capsys.readouterr().out.splitlines()) == 5
