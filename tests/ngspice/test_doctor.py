from __future__ import annotations

import pytest

import amcsim.ngspice
from amcsim.ngspice import Check, check, ngspice_version
from amcsim.ngspice.messages import fatal_line, warning_lines


def by_name() -> dict[str, Check]:
    return {item.name: item for item in check()}


def test_this_machine_is_fit_and_nothing_required_needs_mending() -> None:
    found = by_name()
    assert set(found) == {"Python", "ngspice", "ngspice .op", "KLU solver", "PySpice", "libngspice", "PyTorch"}
    for item in found.values():
        assert item.ok or not item.required, item
        assert item.ok == (item.fix == "")
    assert f"version {ngspice_version()} " in found["ngspice"].detail
    assert "known answers met to 0e+00 V" in found["libngspice"].detail
    assert not found["KLU solver"].required
    assert found["KLU solver"].ok == (ngspice_version() >= 42)


def test_a_machine_without_ngspice_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMCSIM_NGSPICE", "no-such-ngspice")
    monkeypatch.setenv("AMCSIM_LIBNGSPICE", "/nowhere/libngspice.so")
    found = by_name()
    for name in ("ngspice", "ngspice .op", "libngspice"):
        assert not found[name].ok
        assert found[name].fix == "apt-get install ngspice libngspice0"
    assert "no-such-ngspice" in found["ngspice"].detail
    assert found["libngspice"].detail.startswith("libngspice cannot be loaded from /nowhere/libngspice.so")


def test_public_names_are_there() -> None:
    assert all(getattr(amcsim.ngspice, name) is not None for name in amcsim.ngspice.__all__)
    assert not hasattr(amcsim.ngspice, "nosuch")


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (["Note: Starting dynamic gmin stepping", "Note: Dynamic gmin stepping completed"], None),
        (["Warning: singular matrix:  check node b", "Note: One successful gmin step"], None),
        (["Error: -2 out of range for sqrt", "    in line b1"], None),
        (["Error: measure  t  when(WHEN) : out of interval"], None),
        (
            [
                "Warning: singular matrix:  check node b",
                "Note: Transient op started",
                "Note: Transient op finished successfully",
            ],
            "Warning: singular matrix: check node b",
        ),
        (
            ["Trying gmin =   1.0000E-03 Warning: singular matrix:  check node q", "op simulation(s) aborted"],
            "Warning: singular matrix: check node q",
        ),
        (
            ["doAnalyses: TRAN:  Timestep too small; time = 1e-9", "tran simulation(s) aborted"],
            "doAnalyses: TRAN: Timestep too small; time = 1e-9",
        ),
        (["Error: there aren't any circuits loaded."], "Error: there aren't any circuits loaded."),
    ],
)
def test_messages_are_told_apart(log: list[str], line: str | None) -> None:
    assert fatal_line(log) == line


def test_warnings_are_listed_once() -> None:
    assert warning_lines(["Warning: a", "note", " Warning: a ", "warning, b"]) == ("Warning: a", "warning, b")
