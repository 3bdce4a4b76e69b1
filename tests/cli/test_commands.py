from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import amcsim as package
from amcsim.ngspice import doctor as rooms_doctor
from amcsim.ngspice import read_raw, run_batch
from amcsim.ngspice.batch import ngspice_path
from amcsim.specs import preset
from amcsim.surrogate.model import CellLaw, Domain, Surrogate, save_surrogate

Amcsim = Callable[..., Any]


def test_help_imports_nothing_heavy() -> None:
    code = "import sys\nfrom amcsim.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    heavy = {"numpy", "scipy", "torch", "PySpice", "matplotlib", "xarray", "sklearn", "pydantic", "h5py", "distributed"}
    assert loaded & heavy == set()
    assert "typer" in loaded
    for name in ("doctor", "netlist", "solve", "waves", "train", "data"):
        assert f" {name} " in done.stdout


def test_the_version_is_the_packages(amcsim: Amcsim) -> None:
    assert amcsim("--version").out == f"amcsim {package.__version__}\n"


def test_a_written_deck_runs_alone_and_prints_what_solve_gives(
    amcsim: Amcsim, problem: list[str], tmp_path: Path
) -> None:
    deck = tmp_path / "deck.cir"
    said = amcsim("netlist", "inv", *problem, "--seed", 5, "-o", deck, "--json").json
    ngspice = [ngspice_path(), "-n", "-b", deck]
    run = subprocess.run(ngspice, capture_output=True, text=True, check=True, cwd=tmp_path)
    volts = [float(re.findall(rf"^v\(x{i}\) = (\S+)$", run.stdout, flags=re.MULTILINE)[0]) for i in range(4)]
    x = amcsim("solve", "inv", *problem, "--seed", 5, "--backend", "ngspice", "--json").json["x"]
    assert said["outputs"] == ["v(x0)", "v(x1)", "v(x2)", "v(x3)"]
    assert np.array(volts) / said["volts_per_unit"] == pytest.approx(x, rel=1e-6)
    assert volts == pytest.approx(said["expected_v"], abs=1e-4)
    printed = amcsim("netlist", "inv", *problem, "--seed", 5, "-o", "-")
    assert (printed.code, printed.out) == (0, deck.read_text())


def test_netlist_refuses_what_it_cannot_write(amcsim: Amcsim, problem: list[str], tmp_path: Path) -> None:
    assert "both want standard output" in amcsim("netlist", "inv", *problem, "-o", "-", "--json").complaint
    assert "does not exist" in amcsim("netlist", "inv", *problem, "-o", tmp_path / "no" / "deck.cir").complaint
    np.save(tmp_path / "two.npy", np.ones((4, 2)))
    two = [*problem[:2], "--rhs", tmp_path / "two.npy"]
    assert "2 columns; this command takes one" in amcsim("netlist", "inv", *two, "-o", tmp_path / "d.cir").complaint


def test_waves_writes_a_picture_a_raw_file_for_ngspice_and_a_table(
    amcsim: Amcsim, problem: list[str], tmp_path: Path
) -> None:
    files = [tmp_path / f"w{ending}" for ending in (".png", ".raw", ".csv")]
    said = amcsim("waves", "inv", *problem, *[word for file in files for word in ("-o", file)], "--json").json
    assert said["files"] == [str(file) for file in files]
    solved = amcsim("solve", "inv", *problem, "--backend", "ngspice", "--json").json
    assert said["x"] == pytest.approx(solved["x"], rel=2e-3)  # what is left to settle after three settling times
    assert 0.1e-6 < said["settling_time_s"] < said["stop_s"] / 2

    assert files[0].read_bytes().startswith(b"\x89PNG")
    header, *rows = files[2].read_text().splitlines()
    names = header.split(",")
    table = np.array([[float(word) for word in row.split(",")] for row in rows])
    assert names[:5] == ["time_s", "v(x0)", "v(x1)", "v(x2)", "v(x3)"]
    assert table[-1, 1:5].tolist() == said["outputs"]
    (plot,) = read_raw(files[1])
    assert np.array_equal(plot.data.T, table)

    # settling read from the table by its definition, to the grid of time points
    error = np.linalg.norm(table[:, 1:5] - table[-1, 1:5], axis=1) / np.linalg.norm(table[-1, 1:5])
    last = table[np.flatnonzero(error > 0.01)[-1], 0] - 0.05 * said["stop_s"]
    assert last <= said["settling_time_s"] <= last + said["stop_s"] / 400

    deck = f"load\nV1 a 0 1\n.control\nload {files[1]}\nprint length(time) v(x2)[length(time)-1]\nquit\n.endc\n.end\n"
    log = run_batch(deck).log
    assert f"length(time) = {len(rows):.6e}" in log
    assert f"= {said['outputs'][2]:.6e}" in log


def test_a_circuit_that_does_not_settle_at_its_operating_point_has_no_settling_time(
    amcsim: Amcsim, tmp_path: Path
) -> None:
    """A saddle: the step drives the unstable mode into the amplifiers' limits."""
    np.save(tmp_path / "a.npy", np.diag([1.0, -1.0]))
    np.save(tmp_path / "b.npy", np.ones(2))
    problem = ["--matrix", tmp_path / "a.npy", "--rhs", tmp_path / "b.npy"]
    ended = amcsim("waves", "inv", *problem, "-o", tmp_path / "w.csv", "--stop", 2e-5)
    assert ended.code == 0
    assert "does not settle at its operating point" in ended.out


def test_waves_refuses_endings_and_lengths_before_it_runs(amcsim: Amcsim, problem: list[str], tmp_path: Path) -> None:
    assert "ending must be one of .png" in amcsim("waves", "inv", *problem, "-o", tmp_path / "w.gif").complaint
    for stop in ("0", "-1e-6", "nan", "100"):
        refused = amcsim("waves", "inv", *problem, "-o", tmp_path / "w.csv", "--stop", stop)
        assert "allowed is 1e-9 to 10 s" in refused.complaint
    assert list(tmp_path.glob("w.*")) == []


def test_data_says_where_and_how_many(amcsim: Amcsim, tmp_path: Path) -> None:
    said = amcsim("data", "--json").json
    assert (said["data"], said["train_images"], said["test_images"]) == ("digits", 200, 400)
    assert said["classes"] == ["3", "5", "8", "9"]
    refused = amcsim("data", "letters", "--emnist", tmp_path)
    assert refused.code == 2
    assert "emnist-letters-train-images-idx3-ubyte.gz" in refused.err


def test_training_prints_one_entry_an_epoch_and_the_counts(amcsim: Amcsim) -> None:
    said = amcsim("train", "--epochs", 2, "--json").json
    assert [len(said[name]) for name in ("accuracy", "loss")] == [2, 2]
    assert (said["counts"]["steps"], said["counts"]["update_vectors"]) == (4, 16)
    assert said["epochs_to_full_accuracy"] is None
    assert said["errors"]["update_same_step_mean"] < 1e-12


def test_a_step_on_arrays_takes_139_inversions_and_28_or_12_programmings(amcsim: Amcsim) -> None:
    """Seed paper, Fig. 13: 15 (A_conv) + 9 (A_fc) + 4 (each G twice), or 6 + 4 + 2 kept arrays."""
    for schedule, programmings in (("paper", 28), ("reuse", 12)):
        options = ["--solver", "nodal", "--spec", "ideal", "--schedule", schedule, "--max-steps", 1, "--passes", 1]
        said = amcsim("train", *options, "--json").json
        assert said["counts"]["analog_solves"] == 139
        assert said["counts"]["array_programmings"] == programmings
        assert said["errors"]["lp_vectors"] == said["errors"]["hp_vectors"] == 139
        assert said["errors"]["lp_arrays"] == programmings


def test_a_larger_model_trains_from_the_command(amcsim: Amcsim) -> None:
    options = ("--model", "resnet20", "--optimizer", "adam", "--images", 20, "--batch", 10, "--epochs", 1)
    said = amcsim("train", *options, "--json").json
    assert len(said["accuracy"]) == len(said["loss"]) == 1
    assert said["counts"]["steps"] == len(said["step_s"]) == 2
    assert {"test_accuracy", "epochs_to_full_accuracy", "iterations_mean", "elapsed_s"} <= said.keys()
    assert "squared error" not in amcsim("train", *options, "--max-steps", 1).out


def test_training_refuses_options_that_do_not_go_together(amcsim: Amcsim, tmp_path: Path) -> None:
    for options, words in (
        (["--passes", 1], "go with analog solvers"),
        (["--optimizer", "sgd", "--solver", "nodal"], "'kfac' only"),
        (["--snapshots", tmp_path / "s.csv"], "ending must be one of .npz"),
        (["--spec", "none"], "neither a file nor a preset"),
        (["--emnist", tmp_path], "'mnist' only"),
        (["--batch", 10], "--batch goes with the larger models only"),
        (["--damping", 0.1], "--damping goes with the larger models only"),
        (["--model", "resnet20", "--optimizer", "adam", "--damping", 0.1], "options of adam"),
        (["--model", "autoencoder", "--schedule", "paper"], "go with --model letters only"),
        (["--model", "resnet20", "--data", "curves"], "needs data of several classes"),
    ):
        refused = amcsim("train", *options, "--epochs", 1, "--json")
        assert (refused.code, refused.out) == (2, "")
        assert words in refused.err
    for options in (["--epochs", 0], ["--optimizer", "lbfgs"], ["--passes", 0]):
        assert amcsim("train", *options).code == 2


def test_doctor_exits_1_where_something_required_is_missing(amcsim: Amcsim, monkeypatch: pytest.MonkeyPatch) -> None:
    good = rooms_doctor.Check("Python", True, "3.11")
    optional = rooms_doctor.Check("KLU solver", False, "from version 42 on", "apt-get it", required=False)
    missing = rooms_doctor.Check("ngspice", False, "not found", "apt-get install ngspice")
    monkeypatch.setattr(rooms_doctor, "check", lambda: [good, optional])
    ended = amcsim("doctor", "--json")
    assert (ended.code, ended.json["ok"], len(ended.json["checks"])) == (0, True, 2)
    assert ended.json["checks"][1]["fix"] == "apt-get it"
    monkeypatch.setattr(rooms_doctor, "check", lambda: [good, missing])
    ended = amcsim("doctor")
    assert ended.code == 1
    assert "ngspice: apt-get install ngspice" in ended.out


def test_validate_gives_the_figures_by_name(amcsim: Amcsim, tmp_path: Path) -> None:
    """Of a surrogate that knows its technology: without access devices and wires its errors are ngspice's tolerance."""
    spec = preset("ideal").replace(opamp={"model": "linear", "gain": 1e4})
    domain = Domain(sizes=(3,), g_min=1e-6, g_max=1e-3, v_max=0.3)
    model = Surrogate(
        spec=spec, cell=CellLaw(r0=0.0), gain=1e4, output_resistance=0.0, fast_verdict=True, domain=domain
    )
    save_surrogate(model, tmp_path / "s.json")
    said = amcsim("validate", "inv", "--surrogate", tmp_path / "s.json", "--samples", 6, "--json").json
    assert (said["samples"], said["samples_compared"], said["status_disagreements"]) == (6, 6, 0)
    assert said["relative_error_median"] < 1e-6
    assert said["error_of_error_median"] <= said["error_of_error_p95"] < 1e-2
    for rate in ("surrogate_solves_per_s", "surrogate_solves_with_programming_per_s", "ngspice_solves_per_s"):
        assert said[rate] > 0

    a, b = np.stack([np.eye(3), np.diag([1.0, 2.0, 3.0])]), np.ones((2, 3))
    np.savez(tmp_path / "mine.npz", a=a, b=b)
    mine = ["--surrogate", tmp_path / "s.json", "--matrices", tmp_path / "mine.npz"]
    ended = amcsim("validate", "inv", *mine)
    assert ended.code == 0
    assert re.search(r"^ngspice: ok +2$", ended.out, flags=re.MULTILINE)

    np.savez(tmp_path / "bad.npz", a=a, b=b[:1])
    for options, words in (
        ([*mine, "--size", 3], "do not go with it"),
        ([*mine[:3], tmp_path / "bad.npz"], "wanted (k, m, m) and (k, m)"),
        ([*mine[:3], tmp_path / "no.npz"], "do not exist"),
        ([*mine[:3], tmp_path / "s.json"], "the ending must be one of .npz, .npy, .csv, .txt"),
        (["--spec", "ideal"], "no shipped surrogate fits: pku_350nm_inv: "),
        ([*mine[:2], "--recorded", tmp_path / "mine.npz", "--size", 4], "hold no leaf of size 4"),
        ([*mine[:2], "--size", 4], "fitted for sizes 3, not 4"),
    ):
        refused = amcsim("validate", "inv", *options, "--json")
        assert (refused.code, refused.out) == (2, "")
        assert words in refused.err


def test_calibrate_fills_a_folder_and_goes_on_where_it_was(amcsim: Amcsim, tmp_path: Path) -> None:
    campaign = tmp_path / "campaign.toml"
    campaign.write_text('schema_version = 1\nspec = "ideal"\nsizes = [2]\nseed = 1\n[samples]\nwishart = 8\n')
    first, second = (
        amcsim("calibrate", campaign, "--out", tmp_path / "out", "--workers", 1, "--json").json for _ in range(2)
    )
    assert (first["circuits"], first["resumed"], second["resumed"]) == (8, 0, 8)
    assert first["held_out"] == second["held_out"]
    assert first["held_out"]["samples"] == 2
    assert all(Path(file).is_file() for file in first["files"])
    solve = ["solve", "inv", "--matrix", tmp_path / "m.csv", "--rhs", tmp_path / "r.csv", "--spec", "ideal"]
    (tmp_path / "m.csv").write_text("1, 0.25\n0.25, 0.5\n")
    (tmp_path / "r.csv").write_text("1, 2\n")
    said = amcsim(*solve, "--backend", "surrogate", "--surrogate", tmp_path / "out" / "surrogate.json", "--json").json
    assert said["relative_error"] < 1e-6

    other = tmp_path / "other.toml"
    other.write_text(campaign.read_text().replace("seed = 1", "seed = 2"))
    for options, words in (
        ([other, "--out", tmp_path / "out"], "samples.sqlite"),
        ([campaign, "--out", campaign], "is a file; give a folder"),
        ([tmp_path / "none.toml", "--out", tmp_path / "out"], "does not exist"),
    ):
        refused = amcsim("calibrate", *options)
        assert refused.code == 2
        assert words in refused.err
