"""What made an output folder: versions, seed, command, git revision and time, in `manifest.json`."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import amcsim

from .files import write_json

__all__ = ["manifest", "write_manifest"]

_SECONDS = 10.0
"""Time for git or ngspice to say which one it is."""


def manifest(command: str | Sequence[str], seed: int | None, *, ngspice: str | None = None) -> dict[str, Any]:
    """What a manifest.json holds.

    `ngspice` is the version where the caller knows it (of the library, say); otherwise the program is asked, null where
    there is none. `git_revision` is null outside a checkout of amcsim, and ends in -dirty where files were changed.
    """
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "versions": {
            "amcsim": amcsim.__version__,
            "python": platform.python_version(),
            "ngspice": ngspice or _ngspice_version(),
            "numpy": np.__version__,
            "scipy": version("scipy"),
            "blas": f"{blas['name']} {blas['version']}",
        },
        "platform": platform.platform(),
        "seed": seed,
        "command": command if isinstance(command, str) else list(command),
        "git_revision": _git_revision(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_manifest(
    folder: str | os.PathLike[str],
    command: str | Sequence[str],
    seed: int | None,
    extra: Mapping[str, Any] | None = None,
    *,
    ngspice: str | None = None,
) -> Path:
    """Write `folder`/manifest.json and return its path; `extra` adds keys to those of `manifest` or replaces them.

    Raises OSError where the folder cannot be written, ValueError for NaN in `extra`.
    """
    path = Path(folder) / "manifest.json"
    write_json(path, manifest(command, seed, ngspice=ngspice) | dict(extra or {}))
    return path


def _ngspice_version() -> str | None:
    found = re.search(r"ngspice-(\S+)", _said(os.environ.get("AMCSIM_NGSPICE") or "ngspice", "--version"))
    return found[1] if found else None


def _git_revision() -> str | None:
    """Of the checkout that this package lies in itself; a repository around an installed package is another matter."""
    root = Path(amcsim.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    return (
        _said("git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").strip() or None
    )


def _said(program: str, *arguments: str) -> str:
    """What a program prints, nothing where it is missing or fails."""
    found = shutil.which(program)
    if found is None:
        return ""
    try:
        done = subprocess.run(
            [found, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout if done.returncode == 0 else ""
