"""The campaign file, its families, and who is held out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from amcsim.campaign.design import Campaign, CampaignError, load_campaign
from amcsim.campaign.families import FAMILIES, draw_matrix
from amcsim.specs import SpecError, preset
from amcsim.streams import Key

Write = Callable[..., Path]
FILE = {
    "schema_version": "1",
    "spec": '"pku_350nm"',
    "sizes": "[4]",
    "seed": "3",
    "samples": "{ random = 8, wishart = 4 }",
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a campaign file with some keys changed, or left out (None)."""

    def make(**changes: str | None) -> Path:
        path = tmp_path / "campaign.toml"
        lines = (f"{key} = {value}\n" for key, value in {**FILE, **changes}.items() if value is not None)
        path.write_text("".join(lines), encoding="utf-8")
        return path

    return make


def test_a_campaign_file_is_read(write: Write) -> None:
    campaign = load_campaign(write())
    assert campaign.spec == preset("pku_350nm")
    assert (campaign.total, campaign.sizes, campaign.circuit) == (12, (4,), "inv")
    assert [campaign.locate(i) for i in (0, 7, 8, 11)] == [
        ("random", 4, 0),
        ("random", 4, 7),
        ("wishart", 4, 0),
        ("wishart", 4, 3),
    ]
    with pytest.raises(IndexError, match="sample 12 is outside 0 to 11"):
        campaign.locate(12)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"colour": '"red"'}, "colour is not a known key"),
        ({"schema_version": None}, "schema_version: Field required"),
        ({"schema_version": "2"}, "schema_version = 2: input should be 1"),
        ({"circuit": '"eigenvector"'}, "circuit = 'eigenvector': input should be"),
        ({"samples": "{ hilbert = 8 }"}, "samples.hilbert is no family; there are random, wishart, ill_conditioned"),
        ({"samples": "{ random = -8 }"}, "samples.random = -8 is outside 0 to 10000000"),
        ({"samples": "{ random = 8.5 }"}, "samples.random = 8.5: input should be a valid integer"),
        ({"samples": "{ random = 3, wishart = 3 }"}, "a campaign needs at least 8 circuits"),
        ({"samples": "{}"}, "a campaign needs at least 8 circuits"),
        ({"samples": "{ random = 3, wishart = 3, ill_conditioned = 3 }"}, "one family needs 4 circuits"),
        ({"sizes": "[4, 8, 16]"}, "one family needs 12 circuits, so that the fit holds some of each size out"),
        (
            {"samples": "{ random = 8, recorded = 8 }"},
            r"recorded systems for size 4 are missing",
        ),
        ({"sizes": "[0]"}, "sizes holds 0, outside 1 to 64"),
        ({"sizes": "[4, 65]", "samples": "{ random = 8 }"}, "sizes holds 65, outside 1 to 64"),
        ({"sizes": "4"}, "sizes = 4: input should be a valid tuple"),
        ({"sizes": "[]"}, "sizes = .*: tuple should have at least 1 item"),
        ({"sizes": '["large"]'}, "sizes.0 = 'large': input should be a valid integer"),
        ({"seed": "-1"}, "seed = -1: input should be greater than or equal to 0"),
        ({"sweep_conductances": "2"}, "sweep_conductances = 2: input should be greater than or equal to 3"),
        ({"sweep_voltages": "3"}, "sweep_voltages = 3: input should be greater than or equal to 4"),
        ({"spec": "5"}, "spec = 5 must name a preset"),
        ({"spec": None}, "spec = None must name a preset"),
        ({"recorded_file": "7"}, "recorded_file = 7 must be a file name"),
        ({"recorded_file": '"absent.npz"'}, r"recorded systems .*absent\.npz cannot be read: .*No such file"),
        ({"sizes": "4", "recorded_file": '"absent.npz"'}, r"absent\.npz cannot be read"),
        ({"seed": "1 2"}, "cannot be read: "),
    ],
)
def test_a_bad_campaign_is_refused_in_one_sentence(write: Write, changes: dict[str, str | None], sentence: str) -> None:
    path = write(**changes)
    with pytest.raises(CampaignError, match=sentence) as error:
        load_campaign(path)
    assert "\n" not in str(error.value)
    assert str(path.parent) in str(error.value)


def test_files_that_a_campaign_names_are_looked_for_beside_it(write: Write, tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"absent\.toml does not exist"):
        load_campaign(tmp_path / "absent.toml")
    with pytest.raises(SpecError, match=r"my\.toml.* is neither a file nor a preset"):
        load_campaign(write(spec='"my.toml"'))
    (tmp_path / "my.toml").write_text('base = "pku_350nm"\n[wire]\nbl_resistance = 3.0\n')
    assert load_campaign(write(spec='"my.toml"')).spec.wire.bl_resistance == 3.0


def test_damaged_archives_of_recorded_systems_are_refused_in_one_sentence(write: Write, tmp_path: Path) -> None:
    path = write(recorded_file='"systems.npz"', samples="{ random = 8, recorded = 4 }")
    systems = tmp_path / "systems.npz"
    a = np.eye(16) + 0.1 * Key(0).generator().standard_normal((5, 16, 16))
    np.savez(systems, fc_A_matrix=a, fc_A_rhs=np.ones((5, 16, 3)))
    whole = systems.read_bytes()
    assert load_campaign(path).recorded[4].shape == (20, 4, 4)  # 16 = 4 blocks of 4, in each of 5 steps
    np.save(tmp_path / "array.npy", a)
    bad = {
        "truncated": (whole[: len(whole) // 2], "cannot be read: "),
        "flipped": (whole[:3000] + bytes(64) + whole[3064:], "cannot be read: "),
        "empty": (b"", "cannot be read: "),
        "no archive": ((tmp_path / "array.npy").read_bytes(), "cannot be read: File is not a zip file"),
    }
    for content, sentence in bad.values():
        systems.write_bytes(content)
        with pytest.raises(CampaignError, match=sentence) as error:
            load_campaign(path)
        assert "\n" not in str(error.value)
    np.savez(systems, fc_G_matrix=np.eye(3))
    with pytest.raises(CampaignError, match="the recorded systems hold no leaf of size 4"):
        load_campaign(path)
    np.savez(systems, fc_A_matrix=np.full((8, 8), np.nan))
    with pytest.raises(CampaignError, match=r"holds .*NaN"):
        load_campaign(path)


def test_of_each_family_and_size_a_quarter_is_held_out(write: Write) -> None:
    """Sizes alternate within a family: none of them may end up all in the fit, or all out of it."""
    for sizes in ("[4]", "[2, 4]", "[2, 3, 4]", "[1, 2, 3, 4]"):
        n = len(sizes.split(","))
        campaign = load_campaign(write(sizes=sizes, samples=f"{{ random = {8 * n}, wishart = {4 * n} }}"))
        for family, m in itertools.product(campaign.samples, campaign.sizes):
            mine = [i for i in range(campaign.total) if campaign.locate(i)[:2] == (family, m)]
            assert 4 * sum(map(campaign.held_out, mine)) == len(mine) > 0


def test_a_sample_is_drawn_by_its_number_alone(write: Write) -> None:
    campaign, again = load_campaign(write()), load_campaign(write())
    forwards = [campaign.draw(i) for i in range(campaign.total)]
    backwards = [again.draw(i) for i in reversed(range(campaign.total))][::-1]
    for (a, b, key), (other_a, other_b, other_key) in zip(forwards, backwards, strict=True):
        assert np.array_equal(a, other_a)
        assert np.array_equal(b, other_b)
        assert key == other_key
    drawn = np.stack([b for _, b, _ in forwards])
    assert len(np.unique(drawn)) == drawn.size


def test_the_hash_tells_campaigns_apart(write: Write) -> None:
    changes: list[dict[str, str]] = [
        {},
        {"seed": "4"},
        {"sizes": "[2]"},
        {"samples": "{ random = 8, wishart = 5 }"},
        {"samples": "{ random = 12 }"},
        {"spec": '"ideal"'},
        {"sweep_voltages": "30"},
    ]
    hashes = [load_campaign(write(**change)).sha256 for change in changes]
    assert len(set(hashes)) == len(hashes)
    assert load_campaign(write()).sha256 == hashes[0]
    blocks = np.stack([np.eye(4)] * 2)
    base = load_campaign(write()).model_dump()
    recorded = [Campaign.model_validate({**base, "recorded": {4: blocks * s}}).sha256 for s in (1.0, 0.5)]
    assert len({hashes[0], *recorded}) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_what_their_names_say(family: str) -> None:
    a = np.stack([draw_matrix(family, 4, Key(0, (i,)), None) for i in range(200)])
    assert 0.3 < np.median(np.abs(a).max(axis=(1, 2))) < 3
    symmetric = np.allclose(a, np.swapaxes(a, 1, 2), rtol=0, atol=1e-12)
    assert symmetric == (family != "random")
    if family == "wishart":
        assert np.linalg.eigvalsh(a).min() >= 0.1 - 1e-12
    if family == "ill_conditioned":
        condition = np.linalg.cond(a)
        assert condition.min() >= 3.0 - 1e-9
        assert condition.max() <= 30.0 + 1e-9
        assert np.ptp(np.log(condition)) > 0.9 * np.log(10)
    if family == "random":
        assert np.linalg.cond(a).max() < 1e3
