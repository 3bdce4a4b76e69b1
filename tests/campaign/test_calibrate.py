"""What a campaign leaves, the same to the bit however many workers it has; kills are in test_kills.py."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from amcsim.campaign import fit as fit_module
from amcsim.campaign.calibrate import Calibration, calibrate, sampled
from amcsim.campaign.design import Campaign
from amcsim.campaign.sample import run_sample
from amcsim.cli import app
from amcsim.runs import Store, StoreError
from amcsim.specs import preset
from amcsim.surrogate.model import SurrogateFileError, load_surrogate

SAMPLES = {"random": 12, "wishart": 8, "ill_conditioned": 8}


def design(seed: int) -> Campaign:
    return Campaign(schema_version=1, spec=preset("pku_350nm"), sizes=(2, 4), seed=seed, samples=SAMPLES)


DESIGN = design(5)


@pytest.fixture(scope="module", autouse=True)
def few_verdicts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "_VERDICT_CIRCUITS", 10)
        yield


def content(folder: Path) -> dict[int, dict[str, bytes]]:
    """Everything in the store, by sample."""
    with Store(folder / "samples.sqlite", _name(folder)) as store:
        return {i: {name: array.tobytes() for name, array in arrays.items()} for i, arrays in store}


def _name(folder: Path) -> str:
    """What the store says it belongs to."""
    with closing(sqlite3.connect(folder / "samples.sqlite")) as db:
        return str(db.execute("SELECT value FROM meta WHERE key = 'campaign'").fetchone()[0])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Calibration]:
    folder = tmp_path_factory.mktemp("one_worker")
    return folder, calibrate(DESIGN, folder, workers=1)


def test_a_campaign_leaves_store_dataset_surrogate_and_manifest(undisturbed: tuple[Path, Calibration]) -> None:
    folder, calibration = undisturbed
    assert {"samples.sqlite", "dataset.nc", "surrogate.json", "manifest.json"} <= {p.name for p in folder.iterdir()}
    assert not [p for p in folder.iterdir() if p.name.startswith(".") or ".tmp" in p.name]
    assert calibration.resumed == 0
    surrogate = load_surrogate(folder / "surrogate.json")
    assert surrogate == calibration.surrogate
    assert surrogate.campaign_sha256 == DESIGN.sha256
    assert surrogate.domain.sizes == (2, 4)
    assert surrogate.ngspice_version
    assert json.loads((folder / "manifest.json").read_text())["campaign_sha256"] == DESIGN.sha256


def test_the_dataset_holds_every_sample_with_units(undisturbed: tuple[Path, Calibration]) -> None:
    import xarray as xr

    folder, _ = undisturbed
    seen = []
    for m in (2, 4):
        with xr.open_dataset(folder / "dataset.nc", group=f"m{m}", engine="h5netcdf") as data:
            assert data["g_pos"].attrs["units"] == "S"
            assert data["x"].attrs["units"] == "V"
            assert data.attrs["campaign_sha256"] == DESIGN.sha256
            ids = data["sample"].values
            assert (np.diff(ids) > 0).all()
            seen += ids.tolist()
            for k, sample in enumerate(ids.tolist()):
                family, size, _ = DESIGN.locate(sample)
                assert (data["family"].values[k], m) == (family, size)
                assert bool(data["held_out"].values[k]) == DESIGN.held_out(sample)
            # a row is what the campaign's file says, computed alone and in another process
            again = run_sample(int(ids[1]), DESIGN)
            for name in ("a", "g_pos", "g_neg", "offset", "volts", "x"):
                np.testing.assert_array_equal(data[name].values[1], again[name])
    assert sorted(seen) == list(range(DESIGN.total))


def test_two_workers_leave_what_one_leaves_to_the_bit(tmp_path: Path, undisturbed: tuple[Path, Calibration]) -> None:
    folder, _ = undisturbed
    sampled(DESIGN, tmp_path, workers=2)
    assert content(tmp_path) == content(folder)
    assert (tmp_path / "dataset.nc").read_bytes() == (folder / "dataset.nc").read_bytes()


def test_the_folder_of_another_campaign_is_refused(undisturbed: tuple[Path, Calibration]) -> None:
    folder, _ = undisturbed
    before = (folder / "dataset.nc").read_bytes()
    with pytest.raises(StoreError, match="holds samples of campaign"):
        calibrate(design(6), folder, workers=1)
    assert (folder / "dataset.nc").read_bytes() == before


def test_a_finished_campaign_runs_nothing_again(undisturbed: tuple[Path, Calibration]) -> None:
    folder, one = undisturbed
    before = (folder / "dataset.nc").read_bytes()
    again = calibrate(DESIGN, folder, workers=2)
    assert again.resumed == DESIGN.total
    assert again.surrogate == one.surrogate
    assert (folder / "dataset.nc").read_bytes() == before


BENT = Campaign(
    schema_version=1,
    spec=preset("pku_350nm").replace(opamp={"swing": 0.36, "gain": 100.0}),
    sizes=(2,),
    seed=7,
    samples={"random": 16},
)
"""Outputs of up to 0.3 V at a clamp of 0.36 V and a gain of 100: the surrogate is of linear amplifiers."""


def test_a_fit_below_its_target_is_not_saved_unless_asked_for_and_then_marked(tmp_path: Path) -> None:
    (tmp_path / "bent.toml").write_text('base = "pku_350nm"\n[opamp]\nswing = 0.36\ngain = 100.0\n')
    (tmp_path / "c.toml").write_text(
        'schema_version = 1\nspec = "bent.toml"\nsizes = [2]\nseed = 7\nsamples = { random = 16 }\n'
    )
    out = tmp_path / "out"
    out.mkdir()
    (out / "surrogate.json").write_text("an earlier one")
    command = ["calibrate", str(tmp_path / "c.toml"), "--out", str(out), "--workers", "1"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("amcsim: the fit's error_of_error on 4 held-out circuits is ")
    assert "target_median = 0.001" in sentence
    assert (out / "surrogate.json").read_text() == "an earlier one"
    assert (out / "dataset.nc").exists()
    done = CliRunner().invoke(app, [*command, "--save-invalid", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["valid"] is False
    assert "it is saved, marked invalid" in done.stderr
    with pytest.raises(SurrogateFileError, match="marked invalid: its held-out figures miss"):
        load_surrogate(out / "surrogate.json")
    bad = load_surrogate(out / "surrogate.json", invalid=True)
    assert bad.figures is not None
    assert bad.figures.error_of_error_median > BENT.target_median
    lenient = BENT.model_copy(update={"target_median": 1.0, "target_p95": 1.0})
    assert lenient.sha256 == BENT.sha256  # targets decide no sample
    again = calibrate(lenient, out, workers=1)
    assert again.resumed == BENT.total
    assert load_surrogate(out / "surrogate.json").valid
