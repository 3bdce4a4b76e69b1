"""The MVM circuit on the command line."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amcsim.campaign import validate as validate_module
from amcsim.ngspice.batch import ngspice_path

Amcsim = Callable[..., Any]
A = np.array([[1.0, 0.2, -0.1, 0.05, 0.3, 0.0], [0.1, 0.9, 0.3, -0.2, 0.0, -0.6], [-0.2, 0.1, 1.1, 0.15, 0.5, 0.4]])
V = np.array([0.5, -0.2, 0.3, 1.0, -0.7, 0.1])


@pytest.fixture
def product(tmp_path: Path) -> list[str]:
    """Options naming a 3x6 matrix and a vector."""
    np.save(tmp_path / "a.npy", A)
    np.savetxt(tmp_path / "v.txt", V)
    return ["--matrix", str(tmp_path / "a.npy"), "--rhs", str(tmp_path / "v.txt")]


def test_every_backend_multiplies_the_same_drawn_circuit(amcsim: Amcsim, product: list[str]) -> None:
    said = {
        backend: amcsim("solve", "mvm", *product, "--seed", 3, "--backend", backend, "--json").json
        for backend in ("exact", "nodal", "ngspice", "surrogate")
    }
    for backend, result in said.items():
        keys = ["x", "x_exact", "relative_error", "status", "reason", "disturbed", "backend", "elapsed_s"]
        assert list(result) == keys + ["error_bound", "confidence"] * (backend == "surrogate")
        assert (result["status"], result["reason"], result["backend"]) == ("ok", "", backend)
        np.testing.assert_allclose(result["x_exact"], A @ V, rtol=1e-12)
    assert said["exact"]["relative_error"] == 0.0
    spice = np.array(said["ngspice"]["x"])
    off = np.linalg.norm(spice - A @ V) / np.linalg.norm(A @ V)
    assert 0.01 < off == pytest.approx(said["ngspice"]["relative_error"], rel=1e-9)
    # the nodal model leaves the transistors' curvature out, the surrogate has it
    for backend, bound in (("nodal", 1e-4), ("surrogate", 1e-5)):
        assert np.linalg.norm(said[backend]["x"] - spice) < bound * np.linalg.norm(spice)


def test_several_vectors_are_columns_and_a_transposed_matrix_takes_others(amcsim: Amcsim, tmp_path: Path) -> None:
    vectors = np.stack([V[:3], np.zeros(3)], axis=1)
    np.save(tmp_path / "t.npy", A.T)
    np.save(tmp_path / "v.npy", vectors)
    given = ["--matrix", tmp_path / "t.npy", "--rhs", tmp_path / "v.npy"]
    said = amcsim("solve", "mvm", *given, "--spec", "ideal", "--json").json
    np.testing.assert_allclose(said["x"], A.T @ vectors, atol=1e-9)
    assert (np.shape(said["x"]), said["statuses"]) == ((6, 2), ["ok", "ok"])
    assert "entry" in amcsim("solve", "mvm", *given, "--spec", "ideal").out


def test_a_written_deck_runs_alone_and_prints_what_solve_gives(
    amcsim: Amcsim, product: list[str], tmp_path: Path
) -> None:
    deck = tmp_path / "deck.cir"
    said = amcsim("netlist", "mvm", *product, "--seed", 5, "-o", deck, "--json").json
    run = subprocess.run([ngspice_path(), "-n", "-b", deck], capture_output=True, text=True, check=True, cwd=tmp_path)
    volts = [float(re.findall(rf"^v\(y{i}\) = (\S+)$", run.stdout, flags=re.MULTILINE)[0]) for i in range(3)]
    x = amcsim("solve", "mvm", *product, "--seed", 5, "--backend", "ngspice", "--json").json["x"]
    assert (said["outputs"], len(said["inputs_v"])) == (["v(y0)", "v(y1)", "v(y2)"], 6)
    assert np.array(volts) / said["volts_per_unit"] == pytest.approx(x, rel=1e-6)
    assert said["volts_per_unit"] < 0  # the amplifiers invert
    assert volts == pytest.approx(said["expected_v"], abs=1e-4)


def test_waves_settle_at_the_product(amcsim: Amcsim, product: list[str], tmp_path: Path) -> None:
    said = amcsim("waves", "mvm", *product, "-o", tmp_path / "w.png", "-o", tmp_path / "w.csv", "--json").json
    solved = amcsim("solve", "mvm", *product, "--backend", "ngspice", "--json").json
    assert said["x"] == pytest.approx(solved["x"], rel=2e-3)
    # one pole of feedback: ln 100 time constants of 22 pF over 200 uS, slower by the load over the gain-bandwidth
    assert 0.5e-6 < said["settling_time_s"] < 0.9e-6
    assert (tmp_path / "w.csv").read_text().startswith("time_s,v(y0),v(y1),v(y2),v(sl0)")


def test_validate_and_calibrate_take_products(amcsim: Amcsim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate_module, "_REPEATED_SOLVES", 100)  # rates are not looked at
    monkeypatch.setattr(validate_module, "_PROGRAMMED", 100)
    campaign = tmp_path / "campaign.toml"
    campaign.write_text(
        'schema_version = 1\ncircuit = "mvm"\nspec = "ideal"\nsizes = [2]\nseed = 1\n[samples]\nsparse = 12\n'
    )
    done = amcsim("calibrate", campaign, "--out", tmp_path / "out", "--workers", 1, "--json").json
    assert done["held_out"]["samples"] == 3
    fitted = ["--surrogate", tmp_path / "out" / "surrogate.json"]
    np.savez(tmp_path / "mine.npz", a=np.stack([A[:2, :1], A[1:, 5:]]), b=np.stack([V[:1], V[5:]]))
    said = amcsim("validate", "mvm", *fitted, "--matrices", tmp_path / "mine.npz", "--json").json
    assert (said["samples"], said["status_disagreements"]) == (2, 0)
    assert said["relative_error_median"] < 1e-6

    campaign.write_text(campaign.read_text().replace("sparse", "wishart"))
    square = ["solve", "inv", "--matrix", tmp_path / "a.csv", "--rhs", tmp_path / "v.csv", "--json"]
    (tmp_path / "a.csv").write_text("1, 2, 3\n4, 5, 6\n")
    (tmp_path / "v.csv").write_text("1, 2\n")
    for command, words in (
        (["calibrate", campaign, "--out", tmp_path / "no"], "there are normal, sparse, non_negative, recorded"),
        (["validate", "inv", *fitted], "was fitted to MVM circuits"),
        (["validate", "inv", "--matrices", tmp_path / "mine.npz"], "INV needs a square one"),
        (square, "INV needs a square one"),
        (["solve", "mvm", *square[2:]], "this matrix needs (3,) or (3, k)"),
    ):
        refused = amcsim(*command)
        assert (refused.code, refused.out) == (2, "")
        assert words in refused.err


@pytest.mark.slow
@pytest.mark.parametrize("size", [4, 8, 16])
def test_the_shipped_surrogate_of_mvm_keeps_its_promise(size: int, amcsim: Amcsim) -> None:
    """200 held-out circuits, a third of them rectangular, at each size shipped."""
    said = amcsim("validate", "mvm", "--size", size, "--seed", 7, "--json").json
    assert (said["samples"], said["status_disagreements"]) == (200, 0)
    assert said["error_of_error_median"] < 1e-3
    assert said["error_of_error_p95"] < 5e-3
