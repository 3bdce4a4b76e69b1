from __future__ import annotations

import math
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from amcsim.ngspice import NgspiceError, NgspiceTimeout, run_batch

DIVIDER = "divider\nV1 a 0 1\nR1 a b 1k\nR2 b 0 3k\n.op\n.end\n"

BAD = {
    "unknown sub-circuit": ("V1 a 0 1\nX1 a 0 nosuch\n.op", "unknown subckt"),
    "unknown model": ("V1 a 0 1\nM1 a a 0 0 nosuch w=1u l=1u\n.op", "nosuch"),
    "undefined parameter": ("V1 a 0 1\nR1 a 0 {nosuch}\n.op", "nosuch"),
    "missing include": (".include nothere.lib\nV1 a 0 1\nR1 a 0 1\n.op", "nothere.lib"),
    "two sources across one node": ("V1 a 0 1\nV2 a 0 2\nR1 a 0 1k\n.op", "singular matrix"),
    # ngspice ends these three with exit status 0.
    "floating node": ("V1 a 0 1\nR1 a b 1k\nC1 b c 1p\nC2 c 0 1p\nI1 0 b 1u\nR2 b 0 1k\n.op", "singular matrix"),
    "resistor without value": ("V1 a 0 1\nR1 a b\nR2 b 0 1\n.op", "r1"),
    "no analysis": ("V1 a 0 1\nR1 a 0 1", "no analysis"),
    "no operating point": ("B1 b 0 V={exp(V(b))+1}\nR1 b 0 1k\n.op", "b"),
}


def deck(body: str) -> str:
    return f"a bad deck\n{body}\n.end\n"


def test_divider() -> None:
    result = run_batch(DIVIDER)
    plot = result.plot("operating")
    assert plot["v(b)"][0] == pytest.approx(0.75, rel=1e-12)
    assert plot["i(v1)"][0] == pytest.approx(-0.25e-3, rel=1e-12)
    assert result.warnings == ()
    assert 0 < result.elapsed_s < 30
    with pytest.raises(KeyError, match="transient"):
        result.plot("transient")


def test_diode_meets_the_shockley_equation() -> None:
    plot = run_batch(
        "d\nV1 a 0 1\nR1 a b 1k\nD1 b 0 dm\n.model dm d(is=1e-14)\n.options reltol=1e-9\n.op\n.end\n"
    ).plots[0]
    v = float(plot["v(b)"][0].real)
    thermal = 1.38064852e-23 * 300.15 / 1.6021766208e-19
    # ngspice puts gmin = 1e-12 S across the junction.
    assert (1 - v) / 1e3 == pytest.approx(1e-14 * math.expm1(v / thermal) + 1e-12 * v, rel=1e-6)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_deck_is_refused_with_the_offending_line_and_kept(kind: str, tmp_path: Path) -> None:
    body, words = BAD[kind]
    with pytest.raises(NgspiceError, match=words) as caught:
        run_batch(deck(body), keep=tmp_path)
    error = caught.value
    assert "\n" not in str(error)
    assert error.folder is not None
    assert error.folder.parent == tmp_path
    assert str(error.folder) in str(error)
    assert (error.folder / "deck.cir").read_text() == deck(body)
    assert (error.folder / "log.txt").read_text() == error.log
    assert not (error.folder / "out.raw").exists()
    again = pickle.loads(pickle.dumps(error))  # errors travel between processes
    assert (str(again), again.folder) == (str(error), error.folder)


def test_a_value_that_is_not_finite_is_no_answer(tmp_path: Path) -> None:
    # 1e308 A into 1e10 ohm; ngspice itself exits with status 0 and no message.
    with pytest.raises(NgspiceError, match=r"not finite in v\(b\) of Operating Point"):
        run_batch(deck("I1 0 b 1e308\nR1 b 0 1e10\n.op"), keep=tmp_path)


def test_an_endless_transient_is_killed_with_its_process(tmp_path: Path) -> None:
    endless = deck("V1 a 0 sin(0 1 1meg)\nR1 a b 1k\nC1 b 0 1n\n.tran 1n 1000")
    with pytest.raises(NgspiceTimeout, match=r"killed after 0.5 s; deck and log are in") as caught:
        run_batch(endless, timeout=0.5, keep=tmp_path)
    folder = caught.value.folder
    assert folder is not None
    assert sorted(path.name for path in folder.iterdir()) == ["deck.cir", "log.txt"]
    if Path("/proc/self/cwd").exists():
        left = [
            p for p in Path("/proc").glob("[0-9]*") if os.access(p / "cwd", os.R_OK) and (p / "cwd").resolve() == folder
        ]
        assert left == []


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="without util-linux an orphan ends by its processor time")
def test_ngspice_ends_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves the caller no time to end it."""
    endless = deck("V1 a 0 sin(0 1 1meg)\nR1 a b 1k\nC1 b 0 1n\n.tran 1n 1000")
    script = f"from amcsim.ngspice import run_batch; run_batch({endless!r}, timeout=60, keep={str(tmp_path)!r})"
    caller = subprocess.Popen([sys.executable, "-c", script])
    running = lambda: [p for p in Path("/proc").glob("[0-9]*") if _runs_in(p, tmp_path)]  # noqa: E731
    assert until(running, 30.0)
    caller.kill()
    caller.wait()
    assert until(lambda: not running(), 5.0)


def _runs_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").resolve().is_relative_to(folder) and (process / "comm").read_text() == "ngspice\n"
    except OSError:  # gone meanwhile, or not ours
        return False


def until(condition: Callable[[], object], seconds: float) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_measures_are_read_and_a_failed_one_is_missing() -> None:
    body = "V1 a 0 pulse(0 1 0 1p 1p 1 2)\nR1 a b 1k\nC1 b 0 1n\n.tran 1n 3u\n"
    result = run_batch("m\n" + body + ".meas tran t50 when v(b)=0.5\n.MEAS tran never when v(b)=2\n.end\n")
    # tstep = tau/1000, trapezoidal rule and linear interpolation: 1e-5 of a time constant.
    assert result.measures == {"t50": pytest.approx(1e-6 * math.log(2), abs=1e-11)}
    assert result.plot("transient")["v(b)"].size > 1000


def test_a_deck_with_its_own_control_section_runs_it() -> None:
    body = "V1 a 0 pulse(0 3 0 1u 1u 1 2)\nR1 a 0 1k\n"
    result = run_batch(
        f"c\n{body}.control\ntran 1n 2u\nmeas tran rise trig v(a) val=1 rise=1 targ v(a) val=2 rise=1\n"
        "let half=3/2\nprint half\n.endc\n.end\n"
    )
    assert "half = 1.5" in result.log
    assert result.measures == {"rise": pytest.approx(1e-6 / 3, rel=1e-6)}
    assert result.plots == ()


def test_a_success_leaves_nothing_behind_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    run_batch(DIVIDER)
    assert list((tmp_path / "tmp").iterdir()) == []
    run_batch(DIVIDER, keep=tmp_path / "kept")
    (folder,) = (tmp_path / "kept").iterdir()
    assert {path.name for path in folder.iterdir()} == {"deck.cir", "log.txt", "out.raw"}


def test_start_up_files_of_the_user_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".spiceinit").write_text("echo start-up file read\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert "start-up file read" not in run_batch(DIVIDER).log


def test_a_memory_limit_ends_the_run(tmp_path: Path) -> None:
    ladder = "\n".join(f"R{k} n{k} n{k + 1} 1" for k in range(20_000))
    with pytest.raises(NgspiceError, match="ngspice"):
        run_batch(deck(f"V1 n0 0 1\n{ladder}\nRe n20000 0 1\n.op"), memory_limit=40_000_000, keep=tmp_path)


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMCSIM_NGSPICE", "no-such-ngspice")
    with pytest.raises(NgspiceError, match=r"no-such-ngspice.*apt-get install ngspice"):
        run_batch(DIVIDER)


@pytest.mark.parametrize("timeout", [0.0, -1.0, math.nan])
def test_a_time_out_must_be_positive(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        run_batch(DIVIDER, timeout=timeout)
