"""Progress is a bar for a person, a few lines for a log, nothing when quiet; never on standard output."""

from __future__ import annotations

import subprocess
import sys

import pytest

from amcsim.runs import progress


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 1000, 4))
    monkeypatch.setattr("time.monotonic", lambda: float(next(seconds)))
    with progress(6, "samples") as advance:
        for _ in range(6):
            advance(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "samples: 3 of 6 in 12 s\nsamples: 6 of 6 in 24 s\n"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(2, "samples", quiet=True) as advance:
        advance(2)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress(8, "samples") as advance:
        advance(8)
    out, err = capsys.readouterr()
    assert out == ""
    assert "samples" in err
    assert "8/8" in err


def test_rich_is_imported_only_for_the_bar() -> None:
    code = "import sys, amcsim.runs; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
