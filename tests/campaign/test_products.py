"""Campaigns of MVM circuits: which are drawn, how they are stacked, and what their error is measured against."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.campaign.design import Campaign
from amcsim.campaign.families import PRODUCT_FAMILIES, draw_matrix, draw_system, families_of
from amcsim.campaign.sample import Samples, run_sample
from amcsim.specs import preset
from amcsim.streams import Key

SPEC = preset("ideal").replace(
    opamp={"model": "linear", "gain": 1e3}, programming={"model": "uniform", "tolerance": 10e-6}
)


def campaign(**changes: object) -> Campaign:
    plan = {"schema_version": 1, "circuit": "mvm", "spec": SPEC, "sizes": (4, 8), "seed": 3, "samples": {"normal": 48}}
    return Campaign.model_validate({**plan, **changes})


def test_a_third_is_rectangular_with_sides_of_quarters_of_the_size() -> None:
    plan = campaign()
    shapes = {i: plan.draw(i)[0].shape for i in range(48)}
    for i, (rows, columns) in shapes.items():
        m = (4, 8)[i % 2]
        if i // 2 % 3 < 2:
            assert (rows, columns) == (m, m)
        else:
            assert {rows % (m // 4), columns % (m // 4)} == {0}
            assert 0 < min(rows, columns) <= max(rows, columns) <= m
    assert {len({plan.held_out(i) for i in shapes if i // 2 % 3 == kind}) for kind in range(3)} == {2}
    assert sum(len(set(shape)) > 1 for shape in shapes.values()) > 8


def test_inv_systems_stay_square_and_the_key_names_them() -> None:
    for number in range(3):
        a, b, key = draw_system("inv", "wishart", 5, number, Key(1, (number,)), None)
        assert (a.shape, b.shape, key) == ((5, 5), (5,), Key(1, (number, 2)))
        np.testing.assert_array_equal(a, draw_matrix("wishart", 5, Key(1, (number, 0)), None))


@pytest.mark.parametrize("family", PRODUCT_FAMILIES)
def test_families_of_products_are_what_they_say(family: str) -> None:
    drawn = [draw_matrix(family, 6, Key(0, (i,)), None, 3) for i in range(40)]
    share = np.mean([(a == 0).mean() for a in drawn])
    assert all(a.shape == (6, 3) and a.any() for a in drawn)
    assert min(a.min() for a in drawn) >= 0 if family == "non_negative" else min(a.min() for a in drawn) < -1
    assert 0.6 < share < 0.85 if family == "sparse" else share == 0
    assert draw_matrix(family, 1, Key(0), None, 1).any()


def test_recorded_blocks_give_their_corner() -> None:
    blocks = np.arange(32.0).reshape(2, 4, 4)
    found = draw_matrix("recorded", 2, Key(0), blocks, 3)
    assert any(np.array_equal(found, block[:2, :3]) for block in blocks)
    assert "recorded" not in families_of("mvm")


def test_samples_of_one_shape_stack_and_their_reference_is_the_written_product() -> None:
    """Gain 1e3 and 1e-5 S of write error: x_lin has the write errors, so what is left is the finite gain's."""
    plan = campaign(sizes=(4,), samples={"normal": 12})
    stacked = Samples.by_shape("mvm", range(12), [run_sample(i, plan) for i in range(12)])
    assert sum(s.ids.size for s in stacked.values()) == 12
    assert [s.a.shape[1:] for s in stacked.values()] == list(stacked)
    for (rows, columns), s in stacked.items():
        r = s.realisation
        assert (s.x.shape[1], s.volts.shape[1], r.offset.shape[1]) == (rows, columns, rows)
        written = (r.g_pos - r.g_neg) / SPEC.g_unit
        by_hand = np.stack([g @ v for g, v in zip(written, s.volts, strict=True)])
        np.testing.assert_allclose(s.linear_answer(SPEC), by_hand, rtol=1e-12)
        load = (r.g_pos + r.g_neg).sum(-1) / SPEC.g_unit + 1.0
        np.testing.assert_allclose(s.x, by_hand / (1 + load / 1e3), rtol=1e-6)
