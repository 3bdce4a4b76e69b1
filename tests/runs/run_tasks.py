"""Tasks for worker processes, and a parent to be killed: `python run_tasks.py STORE PIDS WORKERS ITEMS TASK`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from amcsim.runs import ReplaceWorker, Store, run
from amcsim.streams import Key

prepared = ""


def prepare() -> None:
    global prepared
    prepared = "yes"


def tell(_: int) -> dict[str, str | None]:
    print("a task may print", flush=True)  # noqa: T201
    return {"prepared": prepared, "threads": os.environ.get("OMP_NUM_THREADS"), "pid": str(os.getpid())}


def solve(number: int, pids: str = "", pause: float = 0.0) -> dict[str, np.ndarray]:
    """A sum that depends on its order to the last bit, on random numbers named by the item."""
    if pids:
        (Path(pids) / str(os.getpid())).touch()
    time.sleep(pause)
    draws = Key(11).child(number).generator().standard_normal((40, 41))
    return {"x": np.linalg.solve(draws[:, :40], draws[:, 40]), "total": np.asarray(draws.sum())}


def stay(number: int, pids: str) -> None:
    """Never end; odd items keep the interpreter's lock meanwhile, as a library may."""
    (Path(pids) / str(os.getpid())).touch()
    if number % 2:
        ctypes.PyDLL(None).sleep(60)
    time.sleep(60)


kept: list[bytes] = []


def grow(size: int) -> int:
    """Keep so many bytes for good; the process that did."""
    kept.append(b"x" * size)
    return os.getpid()


def misbehave(what: str, marks: str = "") -> str:
    if marks:
        with (Path(marks) / what).open("a") as file:
            file.write("x")
    match what:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "killed once" if (Path(marks) / what).stat().st_size == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        case "leave":
            sys.exit(3)
        case "give up":
            raise ReplaceWorker("its library died")
        case "give up once" if (Path(marks) / what).stat().st_size == 1:
            raise ReplaceWorker("its library died")
        case "hunger":
            return str(np.ones(1 << 34)[0])
        case "hang":
            time.sleep(60)
        case "raise":
            raise EOFError("the file ends too early")
        case "unsendable":
            return lambda: None  # type: ignore[return-value]
    return what


def main(store: str, pids: str, workers: str, items: str, task: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started the tests with `&`
    with Store(store, "kills") as results:
        wanted = [(number, number) for number in results.missing(range(int(items)))]
        kwargs = {"pids": pids} | ({"pause": 0.03} if task == "solve" else {})
        try:
            run(globals()[task], wanted, workers=int(workers), on_result=results.put, kwargs=kwargs, retries=9)
        except KeyboardInterrupt:
            sys.exit(130)


if __name__ == "__main__":
    import run_tasks  # workers import tasks by this name; those of a script itself are refused

    run_tasks.main(*sys.argv[1:])
