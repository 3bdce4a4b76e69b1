from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from amcsim.ngspice import NgspiceError, Session, run_batch, session_for

DECK = """two sub-circuits and a transistor
.subckt half in out params: r=1k
Rr in m {r}
Vos m out 1m
.ends half
V1 a 0 1
X1 a b half r=2k
X2 b 0 half
M1 a b 0 0 nm w=10u l=1u
.model nm nmos(level=3 vto=0.2 kp=100u)
.options reltol=1e-9
CARDS.end
"""
PLAIN = DECK.replace("CARDS", "")
VECTORS = ["v(b)", "x1.m", "i(v1)", "@m1[id]"]


def run_script(script: str, **env: str) -> str:
    """What a fresh process prints; a library that dies must not take the tests' own along."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | env,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def session() -> Session:
    fresh = Session()
    fresh.load(PLAIN)
    return fresh


def test_the_operating_point_is_that_of_a_batch_run(session: Session) -> None:
    plot = run_batch(DECK.replace("CARDS", ".save all @m1[id]\n.op\n")).plots[0]
    batch = [plot[name][0] for name in ("v(b)", "v(x1.m)", "i(v1)", "i(@m1[id])")]
    np.testing.assert_allclose(session.op(VECTORS), batch, rtol=1e-12)
    assert batch[3] > 1e-6  # the transistor takes part


def test_alter_reaches_devices_inside_sub_circuits(session: Session) -> None:
    session.load(PLAIN.replace("M1 a b", "*"))
    session.alter({"r.x1.rr": 5e3, "r.x2.rr": 15e3, "v.x1.vos": 3e-3, "v1": 3.0})
    # A divider of 5 and 15 kohm below 3 V, with 3 mV and 1 mV in series: v(b) is 1 mV above the lower resistor.
    assert session.op(["v(b)"])[0] == pytest.approx((3 - 4e-3) * 0.75 + 1e-3, rel=1e-9)


def test_altering_there_and_back_gives_the_same_bits(session: Session) -> None:
    before = session.op(VECTORS)
    session.alter({"r.x1.rr": 5e3, "v1": 0.5})
    assert not np.array_equal(session.op(VECTORS), before)
    session.alter({"R.X1.Rr": 2e3, "V1": 1.0})
    assert session.op(VECTORS).tobytes() == before.tobytes()
    session.alter({"v1": 0.5})
    session.alter({"V1": 1.0, "r.x1.rr": 2e3})
    assert session.op(VECTORS).tobytes() == before.tobytes()
    again = Session()
    again.load(PLAIN)
    assert again.op(VECTORS).tobytes() == before.tobytes()


def test_hundreds_of_values_are_altered_at_once() -> None:
    rungs = range(300)
    ladder = "\n".join(f"Rladder_rung{k} n{k} n{k + 1} 1" for k in rungs)
    session = Session()
    session.load(f"ladder\nV1 n0 0 1\n{ladder}\nRe n300 0 1k\n.end\n")
    values = np.linspace(1.0, 7.0, 300)
    session.alter({f"rladder_rung{k}": v for k, v in zip(rungs, values, strict=True)})
    assert session.op(["i(v1)"])[0] == pytest.approx(-1 / (1000 + values.sum()), rel=1e-12)


def test_a_transient_gives_arrays_over_time() -> None:
    session = Session()
    session.load("rc\nV1 a 0 dc 0 pulse(0 1 0 1p 1p 1 2)\nR1 a b 1k\nC1 b 0 1n\n.end\n")
    found = session.tran(np.float64(5e-9), 3e-6, ["v(b)", "i(v1)"])
    assert set(found) == {"time", "v(b)", "i(v1)"}
    assert found["time"][-1] == pytest.approx(3e-6)
    # Trapezoidal rule at 1/200 of the time constant: error of the order of (1/200)^2/12 after the first steps.
    np.testing.assert_allclose(found["v(b)"], 1 - np.exp(-found["time"] / 1e-6), atol=1e-3)
    session.alter_pulse("v1", (0, 2, 0, 1e-12, 1e-12, 1, 2))
    assert session.tran(5e-9, 3e-6, ["v(b)"])["v(b)"][-1] == pytest.approx(2 * found["v(b)"][-1], rel=1e-6)
    from_zero = session.tran(5e-9, 1e-6, ["v(b)"], max_step=1e-9, uic=True)
    assert np.diff(from_zero["time"]).max() <= 1.001e-9


def test_a_failed_operating_point_raises_and_the_session_goes_on() -> None:
    session = Session()
    session.load("b\nV1 a 0 1\nB1 b 0 V={V(a) > 2 ? V(b)+1 : V(a)}\nR1 b 0 1k\n.end\n")
    good = session.op(["v(b)"])
    session.alter({"v1": 3.0})
    with pytest.raises(NgspiceError, match=r"^op failed: ") as caught:
        session.op(["v(b)"])
    assert "stepping failed" in caught.value.log
    assert caught.value.folder is None
    session.alter({"v1": 1.0})
    # ngspice 39 keeps a gmin of 1e-12 S on the diagonal once gmin stepping failed; a session must not.
    assert session.op(["v(b)"]).tobytes() == good.tobytes()


@pytest.mark.parametrize(
    ("deck", "words"),
    [
        ("t\nV1 a 0 1\nX1 a 0 nosuch\n.end\n", "unknown subckt"),
        ("t\nV1 a 0 1\nM1 a a 0 0 nosuch w=1u l=1u\n.end\n", "nosuch"),
        ("t\nV1 a 0 1\nR1 a 0 1\n.control\nop\n.endc\n.end\n", r"\.control"),
    ],
)
def test_a_bad_deck_is_refused_and_the_next_one_runs(session: Session, deck: str, words: str) -> None:
    with pytest.raises(NgspiceError, match=words):
        session.load(deck)
    session.load(PLAIN)
    assert session.op(["v(a)"])[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("deck", "words"),
    [
        ("t\nV1 a 0 1\nV2 a 0 2\nR1 a 0 1k\n.end\n", "singular matrix"),
        # These two are solved by ngspice without complaint in its return value.
        ("t\nV1 a 0 1\nR1 a b 1k\nC1 b c 1p\nC2 c 0 1p\nI1 0 b 1u\nR2 b 0 1k\n.end\n", "singular matrix"),
        ("t\nV1 a 0 1\nI1 0 b 1e308\nR1 b 0 1e10\n.end\n", "not finite in v\\(b\\)"),
    ],
)
def test_an_operating_point_that_is_none_raises(deck: str, words: str) -> None:
    session = Session()
    session.load(deck)
    with pytest.raises(NgspiceError, match=words):
        session.op(["v(a)", "v(b)"] if " b " in deck else ["v(a)"])


def test_a_resistor_without_value_is_no_resistor() -> None:
    """ngspice 39 takes 1 mohm and warns at the first run, 46 leaves it out with a warning at loading."""

    def solve() -> None:
        session = Session()
        session.load("t\nV1 a 0 1\nR1 a b\nR2 b 0 1\n.end\n")
        session.op(["v(b)"])

    with pytest.raises(NgspiceError, match="r1"):
        solve()


@pytest.mark.parametrize("name", ["v(z)", "e", "pi", "i(v9)", "@r9[i]", "x1.z"])
def test_an_unknown_vector_is_refused_even_where_ngspice_has_a_constant_of_that_name(
    session: Session, name: str
) -> None:
    with pytest.raises(NgspiceError, match="no vector"):
        session.op([name])
    assert session.op(["v(a)"])[0] == pytest.approx(1.0)


def test_alter_refuses_what_it_cannot_set_and_sets_nothing(session: Session) -> None:
    before = session.op(VECTORS)
    with pytest.raises(NgspiceError, match="rnosuch"):
        session.alter({"v1": 2.0, "rnosuch": 1.0})
    with pytest.raises(ValueError, match="r1 = nan"):
        session.alter({"v1": 2.0, "r1": float("nan")})
    with pytest.raises(ValueError, match="not the name of a device"):
        session.alter({"v1": 2.0, "v1 = 1; shell touch /tmp/x; alter v1": 1.0})
    # None of the values of a refused call is set.
    assert session.op(VECTORS).tobytes() == before.tobytes()


def test_one_session_owns_the_library_at_a_time(session: Session) -> None:
    other = Session()
    with pytest.raises(NgspiceError, match="no circuit is loaded"):
        other.op(["v(a)"])
    other.load("t\nV1 a 0 2\nR1 a 0 1\n.end\n")
    assert not session.loaded
    with pytest.raises(NgspiceError, match="another session"):
        session.op(["v(a)"])
    assert other.op(["v(a)"])[0] == 2.0
    other.close()
    with pytest.raises(NgspiceError, match="no circuit is loaded"):
        other.op(["v(a)"])


def test_session_for_parses_only_when_the_deck_differs() -> None:
    first = session_for(PLAIN)
    first.alter({"v1": 0.25})
    assert session_for(PLAIN) is first
    assert first.op(["v(a)"])[0] == 0.25
    second = session_for(PLAIN.replace("V1 a 0 1", "V1 a 0 2"))
    assert second.op(["v(a)"])[0] == 2.0
    assert session_for(PLAIN).op(["v(a)"])[0] == 1.0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_stays_flat(session: Session) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def solve(count: int) -> None:
        for k in range(count):
            session.alter({"v1": 1.0 + k * 1e-6, "r.x1.rr": 2e3 + k})
            session.op(VECTORS)

    solve(400)
    before = resident()
    solve(2000)
    # Leaving plots or the history of commands in place costs 1 kB a solve and more.
    assert resident() - before < 500_000


def test_a_library_that_gives_up_is_dead_for_good_and_says_why() -> None:
    said = run_script(f"""
from amcsim.ngspice import NgspiceError, Session
session = Session()
session.load({PLAIN!r})
print(session.dead)
for attempt in range(2):
    try:
        session.load("t\\nV1 a 0 1\\nR1 a 0 {{nosuch}}\\n.end\\n") if attempt == 0 else Session()
    except NgspiceError as error:
        print(error)
print(session.dead)
session.close()
""").splitlines()
    why = "libngspice gave up with status 1 and cannot be used again in this process; it said: Undefined parameter"
    assert said == ["False", f"{why} [nosuch]", f"{why} [nosuch]", "True"]


def test_a_forked_process_is_told_to_spawn() -> None:
    said = run_script(f"""
import os
from amcsim.ngspice import NgspiceError, Session
session = Session()
session.load({PLAIN!r})
if os.fork() == 0:
    try:
        session.op(["v(a)"])
    except NgspiceError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
print(session.op(["v(a)"])[0])
""").splitlines()
    assert said == ["libngspice was loaded before this process was forked; start workers by spawn", "1.0"]


def test_start_up_files_of_the_user_are_not_read_and_the_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".spiceinit").write_text("set amcsim_was_here\n")
    said = run_script(
        f"""
import os
os.chdir({str(tmp_path)!r})
from amcsim.ngspice.library import library
loaded = library()
loaded.lines.clear()
loaded.command(b"echo flag $?amcsim_was_here")
print(loaded.lines, os.getcwd() == {str(tmp_path)!r}, os.environ["HOME"] == {str(tmp_path)!r})
""",
        HOME=str(tmp_path),
    )
    assert said.split() == ["['flag", "0']", "True", "True"]


def test_a_library_elsewhere_is_taken_from_the_environment() -> None:
    said = run_script(
        """
from amcsim.ngspice import NgspiceError, Session
try:
    Session()
except NgspiceError as error:
    print(error)
""",
        AMCSIM_LIBNGSPICE="/nowhere/libngspice.so",
    )
    assert said.startswith("libngspice cannot be loaded from /nowhere/libngspice.so")


def test_importing_the_room_is_cheap() -> None:
    said = run_script(
        "import sys, amcsim.ngspice as room; print('PySpice' in sys.modules, 'numpy' in sys.modules); room.Session"
    )
    assert said.split() == ["False", "False"]
