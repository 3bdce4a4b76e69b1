"""Is this machine fit to run decks? Each check says what was found and the command that mends it."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from dataclasses import dataclass

from .batch import ngspice_path, ngspice_version, run_batch
from .dialect import KLU_VERSION
from .messages import NgspiceError

__all__ = ["Check", "check"]

_OLDEST = 39
_INSTALL = "apt-get install ngspice libngspice0"

# 1 V over 1 kohm and 3 kohm, squared by a B-source: 0.75 V and 0.5625 V.
_DECK = """divider and square, known answers
V1 a 0 1
R1 a b 1k
R2 b 0 3k
B1 c 0 V=V(b)*V(b)
R3 c 0 1k
.op
.end
"""
_ANSWERS = {"v(b)": 0.75, "v(c)": 0.5625}
_PROBE = """
import json
from amcsim.ngspice.library import library, library_path
from amcsim.ngspice.session import Session
session = Session()
session.load({deck!r})
found = session.op({names!r}).tolist()
print(json.dumps({{"path": library_path(), "version": library().ngspice_version, "found": found}}))
"""


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    ok: bool
    detail: str
    """What was found, in a few words."""
    fix: str = ""
    """Command that mends it; empty where nothing is wrong."""
    required: bool = True
    """Whether decks cannot be run without it."""


def check() -> list[Check]:
    """All checks, in the order in which their failures explain each other. Takes about a second."""
    return [_python(), *_program(), _pyspice(), _library(), _torch()]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= (3, 11)
    return Check(
        "Python", ok, f"{version} at {sys.executable}", "" if ok else "apt-get install python3.11 python3.11-venv"
    )


def _program() -> list[Check]:
    try:
        version = ngspice_version()
    except NgspiceError as error:
        missing = Check("ngspice", False, str(error), _INSTALL)
        return [missing, Check("ngspice .op", False, "not tried", _INSTALL), _klu(None)]
    found = Check(
        "ngspice",
        version >= _OLDEST,
        f"version {version} at {ngspice_path()}",
        "" if version >= _OLDEST else f"{_INSTALL}  (version {_OLDEST} or newer)",
    )
    try:
        plot = run_batch(_DECK, timeout=20.0).plot("operating")
        worst = max(abs(float(plot[name][0].real) - value) for name, value in _ANSWERS.items())
        works = Check(
            "ngspice .op", worst < 1e-9, f"known answers met to {worst:.0e} V", "" if worst < 1e-9 else _INSTALL
        )
    except (NgspiceError, KeyError) as error:
        works = Check("ngspice .op", False, str(error), _INSTALL)
    return [found, works, _klu(version)]


def _klu(version: int | None) -> Check:
    """Large wired arrays (64 x 64) take 32 s with ngspice's own sparse solver, 1.5 s with KLU."""
    ok = version is not None and version >= KLU_VERSION
    detail = f"version {version} has it" if ok else f"from version {KLU_VERSION} on; only large wired arrays need it"
    fix = (
        "" if ok else 'apt-get install -t "$(. /etc/os-release; echo $VERSION_CODENAME)-backports" ngspice libngspice0'
    )
    return Check("KLU solver", ok, detail, fix, required=False)


def _pyspice() -> Check:
    version = _version("PySpice")
    ok = version == "1.5"
    return Check("PySpice", ok, version or "not installed", "" if ok else "pip install PySpice==1.5")


def _library() -> Check:
    """In a process of its own: a library that crashes must not take the doctor along."""
    probe = _PROBE.format(deck=_DECK, names=list(_ANSWERS))
    try:
        run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return Check("libngspice", False, "no answer within 60 s", _INSTALL)
    if run.returncode != 0:
        words = (run.stderr.strip().splitlines() or [f"ended with status {run.returncode}"])[-1]
        return Check("libngspice", False, words.partition("NgspiceError: ")[2] or words, _INSTALL)
    said = json.loads(run.stdout.splitlines()[-1])
    worst = max(abs(a - b) for a, b in zip(said["found"], _ANSWERS.values(), strict=True))
    ok = worst < 1e-9 and (said["version"] or 0) >= _OLDEST
    detail = f"version {said['version']} as {said['path']}, known answers met to {worst:.0e} V"
    return Check("libngspice", ok, detail, "" if ok else _INSTALL)


def _torch() -> Check:
    version = _version("torch")
    fix = "" if version else "pip install 'amcsim[training]'"
    return Check(
        "PyTorch", version is not None, version or "not installed: only training needs it", fix, required=False
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
