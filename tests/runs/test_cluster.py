"""On Dask as on local workers: the same results to the bit, though workers are killed, and a sentence where it ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import run_tasks

from amcsim.runs import TaskError, WorkerFailure, cluster, run, run_on_dask
from amcsim.streams import Key

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
dask_config = pytest.importorskip("dask.config")


@contextmanager
def local_cluster(workers: int = 2, threads: int = 1) -> Iterator[Any]:
    # A LocalCluster gives up workers that are gone for 15 s at a glance; a real cluster's nannies go on.
    with (
        dask_config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=threads, processes=True, dashboard_address=":0"
        ) as started,
    ):
        yield started


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    with local_cluster() as started:
        yield started


def collect(dask: Any, task: Any, payloads: list[Any], **options: Any) -> dict[int, Any]:
    results: dict[int, Any] = {}
    scheduler = dask if isinstance(dask, str) else dask.scheduler_address
    run_on_dask(task, enumerate(payloads), scheduler=scheduler, on_result=results.__setitem__, **options)
    return results


def bits(results: dict[int, Any]) -> dict[int, tuple[bytes, ...]]:
    return {number: tuple(arrays[name].tobytes() for name in sorted(arrays)) for number, arrays in results.items()}


def kill_workers(dask: Any, stop: threading.Event, kills: list[int], every: float, most: int) -> None:
    """A Dask worker, taken by chance, about each `every` s, so many times; its nanny starts another."""
    chance = Key(3).generator()
    while len(kills) < most and not stop.wait(every * chance.uniform(0.5, 1.5)):
        # A nanny whose worker is killed at its start gives up for good.
        pids = [nanny.pid for nanny in dask.workers.values() if nanny.pid and nanny.status.name == "running"]
        if pids:
            kills.append(int(chance.choice(pids)))
            os.kill(kills[-1], signal.SIGKILL)


@pytest.mark.parametrize(
    ("items", "every", "most"), [(120, 0.7, 2), pytest.param(2000, 3.0, 100, marks=pytest.mark.slow)]
)
def test_results_are_those_of_a_local_run_though_workers_are_killed(items: int, every: float, most: int) -> None:
    expected: dict[int, Any] = {}
    run(run_tasks.solve, [(n, n) for n in range(items)], workers=2, on_result=expected.__setitem__)
    kills: list[int] = []
    stop = threading.Event()
    with local_cluster() as dask:
        killer = threading.Thread(target=kill_workers, args=(dask, stop, kills, every, most))
        killer.start()
        try:
            found = collect(dask, run_tasks.solve, list(range(items)), kwargs={"pause": 0.03})
        finally:
            stop.set()
            killer.join()
    assert len(kills) >= 2
    assert bits(found) == bits(expected)


def test_failing_items_end_as_on_local_workers(dask: Any, tmp_path: Any) -> None:
    payloads = ["fine", "crash", "hang", "give up", "hunger", "give up once", "killed once", *["fine"] * 20]
    options: dict[str, Any] = {"kwargs": {"marks": str(tmp_path)}, "timeout": 1.0, "retries": 1}
    failed: dict[int, str] = {}
    steps: list[int] = []
    done = collect(
        dask,
        run_tasks.misbehave,
        payloads,
        memory_limit=4 << 30,
        on_failure=failed.__setitem__,
        progress=steps.append,
        **options,
    )
    assert done == {number: what for number, what in enumerate(payloads) if number not in (1, 2, 3, 4)}
    assert failed == {
        1: "its worker was ended by signal 11 (Segmentation fault)",
        2: "it took longer than 1 s",
        3: "its library died",
        4: "it needs more memory than its worker may have",
    }
    assert sum(steps) == len(payloads)
    with pytest.raises(WorkerFailure, match="item 0 failed in each of 2 tries: its library died") as failure:
        collect(dask, run_tasks.misbehave, ["give up"], **options)
    assert failure.value.failures == {0: "its library died"}


def test_tasks_run_in_prepared_processes_of_their_own_with_one_blas_thread(dask: Any) -> None:
    results = collect(dask, run_tasks.tell, [0] * 8, initializer=run_tasks.prepare).values()
    assert {(result["prepared"], result["threads"]) for result in results} == {("yes", "1")}
    with distributed.Client(dask.scheduler_address, set_as_default=False) as client:
        assert not {int(result["pid"]) for result in results} & set(client.run(os.getpid).values())


def test_an_exception_names_its_item(dask: Any) -> None:
    with pytest.raises(TaskError, match=r"^item 2: EOFError: the file ends too early$") as error:
        collect(dask, run_tasks.misbehave, ["fine", "fine", "raise"])
    assert "in misbehave" in error.value.traceback
    assert collect(dask, run_tasks.misbehave, ["fine"]) == {0: "fine"}, "the cluster goes on"


def test_workers_of_several_threads_are_refused() -> None:
    with (
        local_cluster(workers=1, threads=2) as dask,
        pytest.raises(WorkerFailure, match=r"^the Dask worker tcp:.* has 2 threads: start workers with --nthreads 1$"),
    ):
        collect(dask, run_tasks.misbehave, ["fine"])


def test_workers_of_another_version_are_refused(dask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_versions", lambda: "amcsim 9.0")
    with pytest.raises(WorkerFailure, match=r"^the Dask worker tcp://.* has amcsim .*, not amcsim 9\.0$"):
        collect(dask, run_tasks.misbehave, ["fine"])


def test_no_scheduler_no_workers_and_a_lost_scheduler_are_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(cluster, "_LONELY_SECONDS", 0.5)
    with pytest.raises(WorkerFailure, match=r"^no Dask scheduler answers at tcp://127\.0\.0\.1:9: "):
        collect("tcp://127.0.0.1:9", run_tasks.misbehave, ["fine"])
    for address in ("nonsense", "tcp://", "tcp://host", "http://host:1", "host:70000", "a b:1", "host:1\n", ""):
        with pytest.raises(ValueError, match=r"is not the address of a Dask scheduler: write tcp://HOST:PORT"):
            collect(address, run_tasks.misbehave, ["fine"])
    for address in ("host:8786", "tls://a-b.example.org:1", "tcp://[::1]:8786", "127.0.0.1:65535"):
        cluster.check_scheduler(address)
    with local_cluster(workers=0) as dask, pytest.raises(WorkerFailure, match=r"has no workers$"):
        collect(dask, run_tasks.misbehave, ["fine"])
    with local_cluster(workers=1) as dask:
        results: dict[int, Any] = {}

        def close_after_some(number: int, value: Any) -> None:
            results[number] = value
            if len(results) == 10:
                threading.Thread(target=dask.close).start()

        with pytest.raises(WorkerFailure, match=r"^the Dask scheduler at tcp://.* was lost: "):
            run_on_dask(
                run_tasks.solve,
                [(n, n) for n in range(400)],
                kwargs={"pause": 0.02},
                scheduler=dask.scheduler_address,
                on_result=close_after_some,
            )
        assert 10 <= len(results) < 400
