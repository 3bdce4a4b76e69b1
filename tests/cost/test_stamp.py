"""STAMP's figures: what they say together, and writes by hand."""

from __future__ import annotations

import pytest

from amcsim.cost.assumptions import load_assumptions
from amcsim.cost.stamp import VGG13, implied, stamp_figures, write_ratio


def test_published_speed_up_and_writes_ask_for_different_epochs() -> None:
    said = implied()
    assert said["epochs_ratio"] == pytest.approx(13.85, abs=0.01)
    assert said["epochs_ratio_of_writes_alone"] == pytest.approx(2.26, abs=0.01)
    assert (1 + said["soi_writes_per_weight_write"]) / said["epochs_ratio"] == pytest.approx(0.443)


def test_writes_of_one_layer_by_hand() -> None:
    # 2x3 weights; A 2x2 and G 3x3 every second step: (6 + 13/2) / 6 an epoch
    assert write_ratio([(2, 3)], 1.0, 2.0, 1.0, 1.0) == pytest.approx(12.5 / 6)
    assert write_ratio([(2, 3)], 5.0, 2.0, 1.0, 1.0) == pytest.approx(12.5 / 6 / 5)
    assert write_ratio([(2, 3)], 1.0, 2.0, 2.0, 1.0) == pytest.approx(19 / 6)


def test_speed_up_is_the_epochs_ratio_over_the_epochs_length() -> None:
    known = load_assumptions()
    found = stamp_figures(known)
    assert found["over_reram"] * found["epoch_ratio"] == pytest.approx(known["stamp.epochs_ratio"])
    assert found["over_gpu"] / found["over_reram"] == pytest.approx(found["first_order_over_gpu"])
    faster = stamp_figures(known.with_value("stamp.vmm_per_inv", 1.0))
    assert faster["inv_copies"] > found["inv_copies"]
    assert faster["epoch_ratio"] < found["epoch_ratio"]


def test_many_locations_an_image_hide_the_solves() -> None:
    known = load_assumptions()
    dense, plain = stamp_figures(known), stamp_figures(known, VGG13)
    copied = stamp_figures(known.with_value("stamp.copies", 64.0), VGG13)
    assert plain["epoch_ratio"] < copied["epoch_ratio"] < dense["epoch_ratio"]
    # 1024 locations of 128 images, 16 cycles each, and a few vectors to fill the pipeline
    assert plain["first_step"] == pytest.approx(1024 * 128 * 16 * 100e-9, rel=0.01)
    assert copied["first_order_over_gpu"] > 50 * plain["first_order_over_gpu"]
