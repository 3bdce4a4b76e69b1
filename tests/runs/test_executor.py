"""Workers may be killed, crash, hang or raise; results stay complete, equal, and no process stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import run_tasks

from amcsim.runs import Store, TaskError, WorkerFailure, run
from amcsim.streams import Key

SCRIPT = Path(run_tasks.__file__)
ITEMS = 120


def collect(task: Any, payloads: list[Any], workers: int = 2, **options: Any) -> dict[int, Any]:
    results: dict[int, Any] = {}
    run(task, enumerate(payloads), workers=workers, on_result=results.__setitem__, **options)
    return results


def bits(samples: Any) -> dict[int, tuple[bytes, ...]]:
    return {number: tuple(arrays[name].tobytes() for name in sorted(arrays)) for number, arrays in samples}


@pytest.fixture(scope="module")
def undisturbed() -> dict[int, tuple[bytes, ...]]:
    return bits(collect(run_tasks.solve, list(range(ITEMS)), workers=1).items())


def parent(folder: Path, task: str, workers: int = 2) -> subprocess.Popen[bytes]:
    """A process that runs the task on workers, each of which leaves its process id in the folder `pids`."""
    (folder / "pids").mkdir(exist_ok=True)
    arguments = [folder / "store.sqlite", folder / "pids", workers, ITEMS, task]
    return subprocess.Popen([sys.executable, str(SCRIPT), *map(str, arguments)], start_new_session=True)


def workers_of(folder: Path) -> set[int]:
    return {int(name) for name in os.listdir(folder / "pids")}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Any, seconds: float = 20.0) -> bool:
    """Whether the condition came true in time; looks 100 times a second."""
    deadline = time.monotonic() + seconds
    while not (reached := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(reached)


def test_results_do_not_depend_on_the_number_of_workers(undisturbed: dict[int, tuple[bytes, ...]]) -> None:
    assert bits(collect(run_tasks.solve, list(range(ITEMS)), workers=2).items()) == undisturbed
    assert bits((number, run_tasks.solve(number)) for number in range(3)) == {n: undisturbed[n] for n in range(3)}


@pytest.mark.parametrize(
    ("workers", "parents", "most"), [(2, 2, 4), *(pytest.param(n, 4, 20, marks=pytest.mark.slow) for n in (1, 2, 3))]
)
def test_a_run_killed_again_and_again_ends_with_the_same_store(
    tmp_path: Path, undisturbed: dict[int, tuple[bytes, ...]], workers: int, parents: int, most: int
) -> None:
    chance = Key(5).generator()
    stored: list[int] = []
    for _ in range(parents):  # the parent
        known = workers_of(tmp_path) if stored else set()
        process = parent(tmp_path, "solve", workers)
        assert until(lambda known=known: bool(workers_of(tmp_path) - known))
        time.sleep(chance.uniform(0.1, 0.3))
        process.kill()
        process.wait()
        assert until(lambda: not any(map(alive, workers_of(tmp_path))), 5.0), "a worker outlived its parent"
        with Store(tmp_path / "store.sqlite", "kills") as store:
            stored.append(len(store))
    process = parent(tmp_path, "solve", workers)
    kills = 0
    while process.poll() is None:  # workers, a few times a second
        living = [pid for pid in workers_of(tmp_path) if alive(pid)]
        if living and kills < most:
            os.kill(int(chance.choice(living)), signal.SIGKILL)
            kills += 1
        time.sleep(chance.uniform(0.1, 0.3))
    assert process.returncode == 0
    assert kills >= 2
    assert 0 < stored[-1] < ITEMS, "the kills did not fall into the run"
    with Store(tmp_path / "store.sqlite", "kills") as store:
        assert bits(store) == undisturbed


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_parent(tmp_path: Path, ending: signal.Signals) -> None:
    process = parent(tmp_path, "stay")
    assert until(lambda: len(workers_of(tmp_path)) == 2)
    process.send_signal(ending)
    assert process.wait(10) == (130 if ending is signal.SIGINT else -ending)
    assert until(lambda: not any(map(alive, workers_of(tmp_path))), 5.0)


def test_an_item_that_fails_at_every_try_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    payloads = ["fine", "crash", "hang", "leave", "killed once", *["fine"] * 20]
    results: dict[int, str] = {}
    steps: list[int] = []
    options: dict[str, Any] = {"kwargs": {"marks": str(tmp_path)}, "timeout": 1.0, "retries": 1}
    with pytest.raises(WorkerFailure, match=r"item \d \(and 2 more\) failed in each of 2 tries: ") as failure:
        run(
            run_tasks.misbehave,
            enumerate(payloads),
            workers=2,
            on_result=results.__setitem__,
            progress=steps.append,
            **options,
        )
    assert results == {number: what for number, what in enumerate(payloads) if number not in (1, 2, 3)}
    assert failure.value.failures == {
        1: "its worker was ended by signal 11 (Segmentation fault)",
        2: "it took longer than 1 s",
        3: "its worker ended with exit status 3",
    }
    tries = {what: (tmp_path / what).stat().st_size for what in ("crash", "hang", "leave", "killed once")}
    assert tries == dict.fromkeys(tries, 2)
    assert sum(steps) == len(payloads)


@pytest.mark.slow
def test_time_does_not_run_while_all_is_stopped(tmp_path: Path) -> None:
    """As on a machine that is suspended: parent and worker stand still for longer than an item may take."""
    script = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import run_tasks
from amcsim.runs import run
run(run_tasks.solve, [(7, 7)], workers=1, on_result=lambda n, _: print(n), retries=0, timeout=3.0,
    kwargs={{"pids": {str(tmp_path / "pids")!r}, "pause": 2.0}})
"""
    (tmp_path / "pids").mkdir()
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert until(lambda: bool(workers_of(tmp_path)))
    stopped = [process.pid, *workers_of(tmp_path)]
    for signal_, pause in ((signal.SIGSTOP, 6.0), (signal.SIGCONT, 0.0)):
        for pid in stopped:
            os.kill(pid, signal_)
        time.sleep(pause)
    assert process.communicate()[0] == "7\n"
    assert process.returncode == 0


def test_a_worker_that_gives_up_is_replaced_and_its_item_tried_again(tmp_path: Path) -> None:
    payloads = ["fine", "give up once", "give up", "hunger", *["fine"] * 20]
    failed: dict[int, str] = {}
    options: dict[str, Any] = {"kwargs": {"marks": str(tmp_path)}, "memory_limit": 4 << 30, "retries": 1}
    done = collect(run_tasks.misbehave, payloads, on_failure=failed.__setitem__, **options)
    assert done == {number: what for number, what in enumerate(payloads) if number not in (2, 3)}
    assert failed == {2: "its library died", 3: "it needs more memory than its worker may have"}
    tries = {what: (tmp_path / what).stat().st_size for what in ("give up once", "give up", "hunger")}
    assert tries == dict.fromkeys(tries, 2)


def test_an_item_is_not_blamed_for_kills_from_outside(tmp_path: Path) -> None:
    """Without any retry, an item whose worker something else killed is done all the same."""
    payloads = ["killed once", *["fine"] * 9]
    done = collect(run_tasks.misbehave, payloads, kwargs={"marks": str(tmp_path)}, retries=0)
    assert done == dict(enumerate(payloads))
    assert (tmp_path / "killed once").stat().st_size == 2


def test_workers_are_replaced_after_many_items_or_when_they_have_grown() -> None:
    pids = collect(run_tasks.grow, [1] * 60, workers=1, recycle_items=20)
    # Cheap items travel by the chunk, and a worker is looked at between two.
    assert 2 <= len(set(pids.values())) <= 3
    pids = collect(run_tasks.grow, [1, 300 << 20, 300 << 20, 300 << 20, 1, 1, 1], workers=1)
    assert len(set(pids.values())) == 2
    assert len(set(collect(run_tasks.grow, [1] * 200, workers=1).values())) == 1


def test_failed_items_go_to_on_failure_instead() -> None:
    failed: dict[int, str] = {}
    done = collect(run_tasks.misbehave, ["leave", "fine"], workers=1, retries=0, on_failure=failed.__setitem__)
    assert (done, failed) == ({1: "fine"}, {0: "its worker ended with exit status 3"})


def test_an_exception_names_its_item_and_ends_the_run() -> None:
    with pytest.raises(TaskError, match=r"^item 2: EOFError: the file ends too early$") as error:
        collect(run_tasks.misbehave, ["fine", "fine", "raise"])
    assert "in misbehave" in error.value.traceback


def test_a_result_that_cannot_travel_names_its_item() -> None:
    with pytest.raises(TaskError, match=r"^item 0: .*pickle"):
        collect(run_tasks.misbehave, ["unsendable"])


def test_an_error_of_the_receiver_leaves_no_worker() -> None:
    pids = []

    def full(_: int, result: dict[str, str]) -> None:
        pids.append(int(result["pid"]))
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run(run_tasks.tell, enumerate(range(9)), workers=2, on_result=full)
    assert len(pids) == 1
    assert not alive(pids[0])


def test_workers_are_prepared_and_have_one_blas_thread(capfd: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ)
    (result,) = collect(run_tasks.tell, [0], workers=4, initializer=run_tasks.prepare).values()
    assert (result["prepared"], result["threads"]) == ("yes", "1")
    assert dict(os.environ) == before
    out, err = capfd.readouterr()
    assert out == "", "standard output belongs to the caller"
    assert "a task may print" in err


def test_runs_from_standard_input_and_from_a_script_without_main_guard(tmp_path: Path) -> None:
    text = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import run_tasks
from amcsim.runs import run
run(run_tasks.misbehave, [(7, "fine")], workers=1, on_result=print)
try:
    def mine(_): return 0
    run(mine, [(0, 0)], workers=1, on_result=print)
except ValueError as error:
    print(error)
"""
    script = tmp_path / "script.py"
    script.write_text(text)
    # A file of the folder one works in must not be taken for a module of the library.
    (tmp_path / "json.py").write_text("raise SystemExit('not the json of the library')")
    options: dict[str, Any] = {"capture_output": True, "text": True, "check": True, "cwd": tmp_path}
    piped = subprocess.run([sys.executable, "-P", "-"], input=text, **options).stdout
    assert piped == subprocess.run([sys.executable, "-P", str(script)], **options).stdout
    assert piped.splitlines()[0] == "7 fine"
    assert "mine is defined in the script or notebook itself" in piped


def test_what_cannot_be_run_is_refused_before_a_worker_starts() -> None:
    with pytest.raises(ValueError, match="cannot be sent to worker processes"):
        collect(lambda _: 0, [1])
    with pytest.raises(ValueError, match="item 4 is given more than once"):
        run(run_tasks.solve, [(4, 0), (5, 0), (4, 1)], workers=1, on_result=print)
    for limits in ({"retries": -1}, {"timeout": 0.0}, {"memory_limit": 0}, {"recycle_items": 0}):
        with pytest.raises(ValueError, match=next(iter(limits))):
            collect(run_tasks.solve, [1], **limits)
    with pytest.raises(ValueError, match="workers = 0"):
        collect(run_tasks.solve, [1], workers=0)
    assert collect(run_tasks.solve, []) == {}


def test_large_payloads_and_results_travel_whole() -> None:
    big = np.arange(1 << 20, dtype=np.float64)  # 8 MB, far above what a socket buffers
    results = collect(np.negative, [big, big + 1, big + 2])
    assert all(np.array_equal(results[number], -(big + number)) for number in range(3))
