"""An output folder says what made it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import amcsim
from amcsim.runs import write_manifest


def test_versions_seed_command_revision_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amcsim, "__file__", str(tmp_path / "site-packages" / "amcsim" / "__init__.py"))
    path = write_manifest(tmp_path, ["amcsim", "demo"], 7, {"samples": 20}, ngspice="39.3")
    content = json.loads(path.read_text())
    assert path == tmp_path / "manifest.json"
    assert content["versions"]["amcsim"] == amcsim.__version__
    assert content["versions"]["numpy"] == np.__version__
    assert content["versions"]["ngspice"] == "39.3"
    assert set(content["versions"]) == {"amcsim", "python", "ngspice", "numpy", "scipy", "blas"}
    assert (content["seed"], content["command"], content["samples"]) == (7, ["amcsim", "demo"], 20)
    assert content["git_revision"] is None, "installed, not a checkout"
    made = datetime.fromisoformat(content["time"])
    assert abs((datetime.now(UTC) - made).total_seconds()) < 60


def test_git_and_ngspice_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkout" / ".git").mkdir(parents=True)
    for name, answer in {
        "git": "0123abcd-dirty",
        "ngspice": "** ngspice-46 : Circuit level simulation program",
    }.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho '{answer}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("AMCSIM_NGSPICE", raising=False)
    monkeypatch.setattr(amcsim, "__file__", str(tmp_path / "checkout" / "amcsim" / "__init__.py"))
    content = json.loads(write_manifest(tmp_path, "amcsim demo", None).read_text())
    assert content["git_revision"] == "0123abcd-dirty"
    assert content["versions"]["ngspice"] == "46"


def test_no_ngspice_is_null_and_nan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMCSIM_NGSPICE", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"\$\.loss is nan"):
        write_manifest(tmp_path, "amcsim demo", 1, {"loss": float("nan")})
    assert not (tmp_path / "manifest.json").exists()
    assert json.loads(write_manifest(tmp_path, "amcsim demo", 1).read_text())["versions"]["ngspice"] is None
