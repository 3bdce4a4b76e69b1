"""A campaign leaves the same dataset to the bit whatever was killed meanwhile, and a full disk loses nothing done."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import run_campaign

from amcsim.campaign import calibrate
from amcsim.campaign.sample import Samples
from amcsim.runs import Store
from amcsim.status import Reason, Status
from amcsim.streams import Key

SCRIPT = Path(run_campaign.__file__)
CAMPAIGN = run_campaign.small_campaign(36)


Shaped = dict[tuple[int, int], Samples]


def undisturbed(folder: Path, circuits: int) -> tuple[Shaped, bytes]:
    """Samples and dataset of a run on one worker that nothing happens to."""
    samples, _ = calibrate.sampled(run_campaign.small_campaign(circuits), folder, workers=1)
    return samples, (folder / "dataset.nc").read_bytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shaped, bytes]:
    return undisturbed(tmp_path_factory.mktemp("undisturbed"), CAMPAIGN.total)


def parent(folder: Path, circuits: int, where: str) -> subprocess.Popen[str]:
    """A process that runs the campaign and prints the number 1 for each sample that it has committed."""
    arguments = [sys.executable, str(SCRIPT), str(folder), str(circuits), where]
    return subprocess.Popen(arguments, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def committed(folder: Path, circuits: int) -> int:
    name = f"{run_campaign.small_campaign(circuits).sha256} ngspice {calibrate.library_version()}"
    with Store(folder / "samples.sqlite", name) as store:
        return len(store)


def workers_of(pid: int) -> list[int]:
    """Live children of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(ppid) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def kill_one(pids: list[int], chance: np.random.Generator) -> list[int]:
    """Kill one of the processes, taken by chance; whom it met: nobody where none is there, or it has just ended."""
    met = [int(chance.choice(pids))] if pids else []
    try:
        for pid in met:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return []
    return met


@contextmanager
def killing(pids: Callable[[], list[int]], every: float) -> Iterator[list[int]]:
    """Meanwhile one of the processes, taken by chance, is killed about each `every` s; yields whom it met."""
    chance, stop, kills = Key(8).generator(), threading.Event(), list[int]()

    def kill() -> None:
        while not stop.wait(every * chance.uniform(0.5, 1.5)):
            kills.extend(kill_one(pids(), chance))

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield kills
    finally:
        stop.set()
        thread.join()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("circuits", "where", "parents"),
    [(36, "2", 1), *(pytest.param(2000, n, 5, marks=pytest.mark.slow) for n in ("1", "2"))],
)
def test_a_campaign_whose_parent_and_workers_are_killed_gives_the_same_dataset(
    tmp_path: Path, expected: tuple[Shaped, bytes], circuits: int, where: str, parents: int
) -> None:
    """Of a few circuits a worker is killed after each sixth, by the clock none might be met before the last is done."""
    if circuits != CAMPAIGN.total:
        expected = undisturbed(tmp_path / "undisturbed", circuits)
    folder, done = tmp_path / "disturbed", 0
    for _ in range(parents):
        process = parent(folder, circuits, where)
        assert process.stdout is not None
        for _ in range(circuits // (4 * parents)):
            process.stdout.readline()
        process.kill()
        process.communicate()
        assert done < (done := committed(folder, circuits)) < circuits
    process = parent(folder, circuits, where)
    said, kills, chance = "", list[int](), Key(9).generator()
    if circuits == CAMPAIGN.total:
        assert process.stdout is not None
        while len(kills) < 2 and (line := process.stdout.readline()):
            said += line
            if said.count("\n") % 6 == 0:
                kills += kill_one(workers_of(process.pid), chance)
        rest, problems = process.communicate()
    else:
        with killing(lambda: workers_of(process.pid), 1.5) as kills:
            rest, problems = process.communicate()
    said += rest
    assert process.returncode == 0, problems
    assert said.startswith(f"resuming: {done} of {circuits} samples are done\n")
    print(f"{parents} parents and {len(kills)} workers killed")  # noqa: T201
    assert len(kills) >= (2 if circuits == CAMPAIGN.total else 5)
    assert (folder / "dataset.nc").read_bytes() == expected[1]


@pytest.mark.slow
def test_on_dask_with_a_worker_killed_every_few_seconds(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    from dask import config

    expected = undisturbed(tmp_path / "undisturbed", 1500)
    with (
        config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as dask,
    ):

        def running() -> list[int]:
            return [nanny.pid for nanny in dask.workers.values() if nanny.pid and nanny.status.name == "running"]

        with killing(running, 3.0) as kills:
            process = parent(tmp_path / "disturbed", 1500, dask.scheduler_address)
            _, problems = process.communicate()
    assert process.returncode == 0, problems
    assert len(kills) >= 5
    print(f"{len(kills)} Dask workers killed")  # noqa: T201
    assert (tmp_path / "disturbed" / "dataset.nc").read_bytes() == expected[1]


def test_a_circuit_that_ends_its_worker_each_time_is_a_sample_without_an_answer(
    tmp_path: Path, expected: tuple[Shaped, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """libngspice dies of it in a worker, which is replaced; all other samples are those of an undisturbed run."""
    monkeypatch.setattr(calibrate, "run_sample", run_campaign.sometimes_deadly)
    said: list[str] = []
    found, _ = calibrate.sampled(CAMPAIGN, tmp_path, workers=2, say=said.append)
    for shape, one in found.items():
        dead = one.ids == run_campaign.DEADLY
        assert (one.status[dead] == Status.NOT_CONVERGED).all()
        assert (one.reason[dead] == Reason.SIMULATOR).all()
        assert np.isnan(one.x[dead]).all()
        same = expected[0][shape]
        assert one.volts.tobytes() == same.volts.tobytes()
        assert one.realisation.g_pos.tobytes() == same.realisation.g_pos.tobytes()
        assert one.x[~dead].tobytes() == same.x[~dead].tobytes()
        assert one.status[~dead].tobytes() == same.status[~dead].tobytes()
    assert len(said) == 1
    assert said[0].startswith(
        "1 sample is not_converged, since ngspice failed at every try; sample 5: libngspice gave up"
    )


def test_another_ngspice_in_a_worker_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of two versions would make a dataset that depends on who computed what."""
    monkeypatch.setattr(calibrate, "library_version", lambda: 99)
    with pytest.raises(RuntimeError, match=r"libngspice is of version \d+ here, but the samples are of version 99"):
        calibrate.sampled(CAMPAIGN, tmp_path, workers=1)


def test_a_bad_address_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not the address of a Dask scheduler"):
        calibrate.sampled(CAMPAIGN, tmp_path / "out", workers=0, scheduler="nonsense")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_ends_in_a_sentence_and_keeps_what_was_committed(
    tmp_path: Path, expected: tuple[Shaped, bytes]
) -> None:
    design = tmp_path / "campaign.toml"
    samples = "\n".join(f"{family} = {count}" for family, count in CAMPAIGN.samples.items())
    design.write_text(f'schema_version = 1\nspec = "pku_350nm"\nsizes = [2, 3]\nseed = 9\n[samples]\n{samples}\n')
    out = tmp_path / "out"

    def limited(size: int) -> subprocess.CompletedProcess[str]:
        """The command, in which no file can grow beyond so many bytes: a write fails as on a full disk."""
        command = [sys.executable, "-m", "amcsim", "calibrate", str(design), "--out", str(out), "--workers", "1"]
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))
        return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)

    done = limited(100_000)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"amcsim: {out}/samples.sqlite cannot be written (")
    assert last.endswith("): make room on its disk and run the same command again")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (out / "dataset.nc").exists()
    assert 0 < (kept := committed(out, CAMPAIGN.total)) < CAMPAIGN.total
    said: list[str] = []
    calibrate.sampled(CAMPAIGN, out, workers=2, say=said.append)
    assert said == [f"resuming: {kept} of {CAMPAIGN.total} samples are done"]
    assert (out / "dataset.nc").read_bytes() == expected[1]
    (out / "dataset.nc").unlink()
    done = limited(20_000)  # HDF5 itself would crash here
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"amcsim: {out}/dataset.nc: cannot be written: File too large"
    assert not (out / "dataset.nc").exists()
    assert committed(out, CAMPAIGN.total) == CAMPAIGN.total
