"""Campaigns grow without redoing what is there, on any design, and go on where they were interrupted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.stats.qmc import discrepancy
from typer.testing import CliRunner

from amcsim.campaign import fit as fit_module
from amcsim.campaign import grow as grow_module
from amcsim.campaign.calibrate import sampled
from amcsim.campaign.design import Campaign, CampaignError, Round
from amcsim.campaign.grow import grow_to, grown, next_round, predicted_errors
from amcsim.campaign.sequence import point
from amcsim.cli import app
from amcsim.runs import Store, StoreError
from amcsim.specs import preset
from amcsim.streams import Key

BASE = Campaign(
    schema_version=1,
    spec=preset("pku_350nm").replace(opamp={"model": "linear"}),
    sizes=(2, 3),
    seed=5,
    sweep_conductances=3,
    sweep_voltages=4,
    samples={"random": 8, "ill_conditioned": 8},
)


@pytest.fixture(scope="module", autouse=True)
def few_verdicts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "_VERDICT_CIRCUITS", 4)
        yield


def stored(folder: Path, campaign: Campaign) -> dict[int, bytes]:
    """The answers in the store by sample."""
    samples, resumed = sampled(campaign, folder, workers=1)
    assert resumed == campaign.total
    return {int(i): x.tobytes() for s in samples.values() for i, x in zip(s.ids, s.x, strict=True)}


def test_a_round_takes_new_ids_and_leaves_the_first_ones_alone() -> None:
    rounds = Round(design="random", candidates=9), Round(design="adaptive", candidates=8, picked=(1, 6))
    more = BASE.with_rounds(rounds)
    assert (BASE.total, BASE.end, more.total, more.end) == (16, 16, 27, 33)
    assert more.ids == [*range(25), 26, 31]
    for sample in (0, 9, 15):
        assert more.locate(sample) == BASE.locate(sample)
        np.testing.assert_array_equal(more.draw(sample)[0], BASE.draw(sample)[0])
    assert [more.locate(16 + k)[:2] for k in range(4)] == [
        ("random", 2),
        ("ill_conditioned", 2),
        ("random", 3),
        ("ill_conditioned", 3),
    ]
    assert not more.held_out(31)
    assert more.sha256 != BASE.sha256 == BASE.with_rounds([]).sha256
    with pytest.raises(IndexError, match="outside 0 to 32"):
        more.locate(33)


@pytest.mark.slow
def test_what_is_there_is_not_run_again_and_a_step_more_makes_no_difference(tmp_path: Path) -> None:
    sampled(BASE, tmp_path / "steps", workers=1)
    first = stored(tmp_path / "steps", BASE)
    for total in (20, 22):
        campaign = grow_to(BASE, tmp_path / "steps", total, "adaptive", workers=1)
        assert campaign.total == total
        _, resumed = sampled(campaign, tmp_path / "steps", workers=1)
        assert resumed >= 16
    after = stored(tmp_path / "steps", campaign)
    assert {i: after[i] for i in first} == first
    # the same command again: nothing to add, nothing to run
    assert grow_to(BASE, tmp_path / "steps", 22, "adaptive", workers=1) == campaign
    assert grown(BASE, tmp_path / "steps") == campaign
    # elsewhere, rounds told by the file alone and interrupted before they ran
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "rounds.json").write_bytes((tmp_path / "steps" / "rounds.json").read_bytes())
    _, resumed = sampled(grown(BASE, tmp_path / "copy"), tmp_path / "copy", workers=1)
    assert resumed == 0
    assert stored(tmp_path / "copy", campaign) == after
    # the store has moved on: what it has grown into is another campaign
    with pytest.raises(StoreError, match="holds samples of campaign"):
        sampled(BASE, tmp_path / "steps", workers=1)


def test_adaptive_rounds_run_where_the_error_is_expected_to_be_largest(tmp_path: Path) -> None:
    samples, _ = sampled(BASE, tmp_path, workers=1)
    added = next_round(BASE, 6, "adaptive", samples)
    assert added.candidates == 48
    assert added.picked is not None
    assert len(set(added.picked)) == 6
    pool = BASE.with_rounds([added])
    errors = predicted_errors(BASE, samples, pool, range(BASE.end, pool.end))
    assert np.median(errors[list(added.picked)]) > 2 * np.median(errors)
    assert next_round(BASE, 6, "adaptive", samples) == added  # the same on every machine and at every try


def test_low_discrepancy_rounds_fill_the_cube_more_evenly() -> None:
    """64 points in 6 dimensions: the L2 discrepancy of random ones is 3 times as large in the mean."""
    sobol = np.stack([point(6, Key(1), k).random((6,)) for k in range(64)])
    random = [discrepancy(Key(2).child(k).generator().random((64, 6))) for k in range(10)]
    assert discrepancy(sobol) < 0.6 * min(random)
    np.testing.assert_array_equal(point(6, Key(1), 3).random((6,)), sobol[3])  # back, and in any order
    with pytest.raises(ValueError, match="at most 21201 dimensions"):
        point(30000, Key(0), 0)


def test_sobol_rounds_go_on_where_the_last_one_ended_and_hold_out_random_circuits() -> None:
    one = next_round(BASE, 32, "sobol")
    campaign = BASE.with_rounds([one])
    two = next_round(campaign, 32, "sobol")
    assert (one.first, two.first) == (0, 6)  # 8 of each kind, of which 2 are held out
    campaign = campaign.with_rounds([one, two])
    mine = [i for i in range(16, 80) if campaign.locate(i)[:2] == ("random", 2)]
    assert sum(map(campaign.held_out, mine)) == 4
    drawn = np.stack([campaign.draw(i)[0].ravel() for i in mine if not campaign.held_out(i)])
    normal = (drawn - np.eye(2).ravel()) * np.sqrt(2) / 0.35
    key = Key(BASE.seed, (2**31 + 3, 0, 2, 2))
    np.testing.assert_allclose(normal, [point(6, key, k).standard_normal((4,)) for k in range(12)], atol=1e-9)


def test_rounds_of_another_campaign_and_unknown_designs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rounds.json").write_text(json.dumps({"campaign_sha256": "0" * 64, "rounds": []}))
    with pytest.raises(CampaignError, match="holds rounds of another campaign"):
        grown(BASE, tmp_path)
    (tmp_path / "rounds.json").write_text("{")
    with pytest.raises(CampaignError, match=r"rounds\.json cannot be read"):
        grown(BASE, tmp_path)
    with pytest.raises(CampaignError, match="there are random, sobol, adaptive"):
        next_round(BASE, 3, "latin")


def test_a_store_is_renamed_to_what_it_has_grown_into(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite", "one") as store:
        store.put(0, {"x": np.ones(2)})
    with pytest.raises(StoreError, match="of campaign one, not of two"):
        Store(tmp_path / "s.sqlite", "two", ["zero"])
    with Store(tmp_path / "s.sqlite", "two", ["zero", "one"]) as store:
        assert store.ids() == {0}
    with pytest.raises(StoreError, match="of campaign two, not of one"):
        Store(tmp_path / "s.sqlite", "one")


def test_the_command_grows_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grow_module, "_POOL", 2)
    (tmp_path / "c.toml").write_text(
        'schema_version = 1\nspec = "pku_350nm"\nsizes = [2]\nseed = 1\nsamples = { random = 8, wishart = 8 }\n'
    )
    command = ["calibrate", str(tmp_path / "c.toml"), "--out", str(tmp_path / "out"), "--workers", "1", "--json"]
    done = CliRunner().invoke(app, [*command, "--grow-to", "20", "--design", "sobol"])
    assert (done.exit_code, json.loads(done.stdout)["circuits"]) == (0, 20)
    done = CliRunner().invoke(app, command)  # without the option the rounds are still its own
    said = json.loads(done.stdout)
    assert (said["circuits"], said["resumed"]) == (20, 20)
    bad = CliRunner().invoke(app, [*command, "--grow-to", "30", "--design", "latin"])
    assert bad.exit_code == 2
    assert "there are random, sobol, adaptive" in bad.stderr
