"""One deck, one ngspice process: `ngspice -n -b` in a private folder, with a time-out, and its answer checked."""

from __future__ import annotations

import math
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .dialect import adapted
from .messages import NgspiceError, NgspiceTimeout, fatal_line, warning_lines
from .raw import Plot, RawFileError, read_raw

__all__ = ["BatchResult", "ngspice_path", "ngspice_version", "run_batch"]

# `-r` and .meas exclude each other, so a deck that measures is run from a control section which writes all plots.
_MEASURE_CONTROL = """.control
run
set appendwrite
foreach p $plots
  setplot $p
  write out.raw
end
quit
.endc
"""
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SPICE_LIB_DIR")
"""Of the environment: what finds ngspice and its own files."""
_FILE_LIMIT = 4 << 30
"""Bytes that a raw file or a log may reach."""
_MEASURE = re.compile(r"^([a-z_]\w*) *=  +([-+]?\d[-+.\de]*)(?: |$)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class BatchResult:
    """What a run of ngspice left."""

    plots: tuple[Plot, ...]
    """Analyses in the order in which ngspice ran them, which need not be the deck's."""
    log: str
    measures: Mapping[str, float]
    """Values of .meas by name, SI units; those that failed are missing."""
    warnings: tuple[str, ...]
    elapsed_s: float

    def plot(self, name: str) -> Plot:
        """The last plot whose name starts so, case ignored: "operating", "transient". Raises KeyError."""
        for plot in reversed(self.plots):
            if plot.name.lower().startswith(name.lower()):
                return plot
        raise KeyError(f"the run left no plot {name!r}, only {', '.join(plot.name for plot in self.plots) or 'none'}")


def ngspice_path() -> str:
    """The ngspice program: AMCSIM_NGSPICE, else the one on the path. Raises NgspiceError."""
    wanted = os.environ.get("AMCSIM_NGSPICE") or "ngspice"
    found = shutil.which(wanted)
    if found is None:
        raise NgspiceError(
            f"the program {wanted!r} was not found: install it (Debian: apt-get install ngspice) or set AMCSIM_NGSPICE"
        )
    return found


def ngspice_version() -> int:
    """Major version of the ngspice program, such as 39. Raises NgspiceError where it cannot be found or run."""
    return _version_of(ngspice_path())


@lru_cache(maxsize=8)
def _version_of(program: str) -> int:
    try:
        text = subprocess.run(
            [program, "--version"], capture_output=True, text=True, errors="replace", timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NgspiceError(f"{program} cannot be run: {error}") from None
    match = re.search(r"ngspice-(\d+)", text)
    if match is None:
        raise NgspiceError(f"{program} does not say its version")
    return int(match[1])


def run_batch(
    deck: str, *, timeout: float = 60.0, keep: Path | str | None = None, memory_limit: int | None = None
) -> BatchResult:
    """Run a deck (its analyses as .op, .tran, ... lines) and read what it left.

    ngspice does what a deck says, its commands and includes too: a deck of others goes through `check_spice` first.

    `timeout` in s; `memory_limit` in bytes of address space; a deck of an endless analysis is killed with its children.
    On failure deck and log are kept in a new folder, below `keep` if given, else below the system's temporary folder;
    the error names it. On success they are kept only where `keep` is given.
    Raises NgspiceError: no ngspice, exit status, fatal message, no answer, value that is not finite; NgspiceTimeout.
    """
    if not timeout > 0:
        raise ValueError(f"timeout = {timeout!r} s must be above 0")
    program = ngspice_path()
    has_control = re.search(r"^\s*\.control\b", deck, re.IGNORECASE | re.MULTILINE) is not None
    has_measure = re.search(r"^\s*\.meas", deck, re.IGNORECASE | re.MULTILINE) is not None
    text = adapted(deck, ngspice_version(), klu=False)
    text = text if text.endswith("\n") else text + "\n"
    command = [program, "-n", "-b"]
    if has_measure and not has_control:
        text = _before_end(text, _MEASURE_CONTROL)
    elif not has_control:
        command += ["-r", "out.raw"]
    if keep is not None:
        Path(keep).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="amcsim-ngspice-", dir=keep))
    try:
        (folder / "deck.cir").write_text(text, encoding="utf-8")
        started = time.perf_counter()
        status = _run([*command, "deck.cir"], folder, timeout, memory_limit)
        elapsed = time.perf_counter() - started
        log = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        result = _answer(folder, status, log, timeout, elapsed, expects_plots=not has_control)
    except NgspiceError:
        (folder / "out.raw").unlink(missing_ok=True)  # of an endless transient: gigabytes
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _run(command: list[str], folder: Path, timeout: float, memory_limit: int | None) -> int | None:
    """Exit status, or None after the time-out. The log goes to a file, so no pipe fills and none is left open."""
    env = {key: os.environ[key] for key in _KEPT if key in os.environ}
    if guard := shutil.which("setpriv"):  # of util-linux: the kernel ends ngspice with its caller, however that ends
        command = [guard, "--pdeathsig", "KILL", *command]
    env |= {"HOME": str(folder), "LC_ALL": "C", "OMP_NUM_THREADS": "1", "NGSPICE_MEAS_PRECISION": "15"}
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _limit(process.pid, timeout, memory_limit)
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _limit(pid: int, timeout: float, memory_limit: int | None) -> None:
    """Limits that hold even when we are killed ourselves: an orphan ends by its processor time."""
    if not hasattr(resource, "prlimit"):
        return
    try:
        seconds = math.ceil(timeout) + 1
        resource.prlimit(pid, resource.RLIMIT_CPU, (seconds, seconds))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (_FILE_LIMIT, _FILE_LIMIT))
        if memory_limit is not None:
            resource.prlimit(pid, resource.RLIMIT_AS, (memory_limit, memory_limit))
    except ProcessLookupError:
        return  # it has ended already


def _answer(
    folder: Path, status: int | None, log: str, timeout: float, elapsed: float, *, expects_plots: bool
) -> BatchResult:
    """Check everything that can tell a failure: the exit status alone is never trusted."""
    kept = f"; deck and log are in {folder}"
    if status is None:
        raise NgspiceTimeout(f"ngspice was killed after {timeout:g} s{kept}", log=log, folder=folder)
    lines = log.splitlines()
    complaint = fatal_line(lines)
    if complaint is not None:
        raise NgspiceError(f"ngspice failed: {complaint}{kept}", log=log, folder=folder)
    # After a control section without `quit` ngspice looks for analyses besides, and exits with 1 for want of any.
    if status != 0 and (expects_plots or "no simulations run" not in log):
        words = next(
            (" ".join(line.split())[:200] for line in lines if re.search("error|fatal", line, re.IGNORECASE)),
            "no message",
        )
        how = f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
        raise NgspiceError(f"ngspice {how}: {words}{kept}", log=log, folder=folder)
    raw = folder / "out.raw"
    plots: tuple[Plot, ...] = ()
    if raw.exists():
        try:
            plots = tuple(plot for plot in read_raw(raw) if plot.name != "constants")
        except RawFileError as error:
            raise NgspiceError(f"ngspice left no readable answer: {error}{kept}", log=log, folder=folder) from None
    if expects_plots and not any(plot.data.size for plot in plots):
        raise NgspiceError(f"ngspice ran no analysis{kept}", log=log, folder=folder)
    for plot in plots:
        bad = ~np.isfinite(plot.data).all(axis=1)
        if bad.any():
            name = plot.variables[int(np.argmax(bad))][0]
            raise NgspiceError(
                f"ngspice gave values that are not finite in {name} of {plot.name}{kept}", log=log, folder=folder
            )
    return BatchResult(plots, log, _measures(lines), warning_lines(lines), elapsed)


def _measures(lines: list[str]) -> dict[str, float]:
    """Values that .meas lines, or `meas` in a control section, printed; `print` leaves one blank after its `=`."""
    return {match[1].lower(): float(match[2]) for line in lines if (match := _MEASURE.match(line))}


def _before_end(deck: str, addition: str) -> str:
    """The deck with lines added before its .end, or at its end."""
    end = re.search(r"^\s*\.end\s*$", deck, re.IGNORECASE | re.MULTILINE)
    return (deck[: end.start()].rstrip("\n") + "\n" if end else deck) + addition + ".end\n"
