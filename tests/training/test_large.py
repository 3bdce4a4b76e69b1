"""Larger networks: their shapes, MNIST's files and the curves that stand in for them, training through arrays."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.hp_inv import HpInv
from amcsim.specs import Spec
from amcsim.streams import Key
from amcsim.training.data import DataError, load
from amcsim.training.images import curves
from amcsim.training.large import LargeConfig, train_large
from amcsim.training.networks import AUTOENCODER, Autoencoder, ResNet20

NOISY = Emulated(Spec.model_validate({"programming": {"model": "uniform", "tolerance": 1e-5}}))
CURVES = curves(Key(0), train=120, test=40, side=10)


def test_the_networks_have_the_papers_sizes() -> None:
    """He et al., table 6: 0.27 M weights; the autoencoder's layers are Table I's, mirrored."""
    resnet, autoencoder = ResNet20(Key(0), classes=10, channels=3), Autoencoder(Key(0), AUTOENCODER)
    assert sum(p.numel() for p in resnet.parameters()) == 269_722
    convolutions = [m for m in resnet.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 19  # and one Linear layer: 20
    assert resnet(torch.zeros(2, 3, 32, 32, dtype=torch.float64)).shape == (2, 10)
    shapes = [tuple(p.shape) for p in autoencoder.parameters() if p.ndim == 2]
    assert shapes == [(1000, 784), (500, 1000), (250, 500), (30, 250), (250, 30), (500, 250), (1000, 500), (784, 1000)]
    assert autoencoder(torch.zeros(3, 1, 28, 28, dtype=torch.float64)).shape == (3, 784)


def test_curves_are_drawn_by_their_key() -> None:
    assert load("curves", Key(0)).x_train.shape == (4000, 1, 28, 28)
    drawn = curves(Key(0), train=50, test=5).x_train
    assert np.array_equal(drawn, curves(Key(0), train=50, test=5).x_train)
    assert not np.array_equal(drawn[0], curves(Key(1), train=50, test=5).x_train[0])
    assert (drawn.min(), drawn.max()) == (0.0, 1.0)
    ink = drawn.mean(axis=(1, 2, 3))  # a stroke 2.8 pixels wide and 5 to 40 long covers 2 to 15 % of 784
    assert 0.01 < ink.min() < ink.max() < 0.2


def _idx(path: Path, values: Any) -> None:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    content = header + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_mnist_comes_from_the_users_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'mnist' needs a folder of its idx files"):
        load("mnist", Key(0))
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        load("mnist", Key(0), tmp_path)
    rng = np.random.default_rng(0)
    for part, count, ending in (("train", 30, ""), ("t10k", 20, ".gz")):
        _idx(tmp_path / f"{part}-images-idx3-ubyte{ending}", rng.integers(0, 256, (count, 28, 28)))
        _idx(tmp_path / f"{part}-labels-idx1-ubyte{ending}", np.arange(count) % 10)
    found = load("mnist", Key(0), tmp_path)
    assert (found.x_train.shape, found.x_test.shape) == ((30, 1, 28, 28), (20, 1, 28, 28))
    assert found.x_train.max() <= 1.0
    assert found.y_test.tolist() == [k % 10 for k in range(20)]
    _idx(tmp_path / "train-labels-idx1-ubyte", np.arange(29) % 10)
    with pytest.raises(DataError, match=r"train images \(30, 28, 28\) and labels \(29,\)"):
        load("mnist", Key(0), tmp_path)


def _autoencoder(**more: Any) -> Any:
    return train_large(LargeConfig(data=CURVES, batch_size=40, epochs=8, hidden=(20, 6), **more))


def test_the_autoencoder_learns_through_arrays_as_it_does_digitally() -> None:
    digital = _autoencoder()
    assert digital.loss[-1] < 0.6 * digital.step_losses[0]
    assert digital.accuracy == [None] * 8
    assert digital.squared_error is not None
    solver = BlockAmc(HpInv(NOISY, method="gcr"), leaf=16)
    analog = _autoencoder(solver=solver)
    np.testing.assert_allclose(analog.step_losses, digital.step_losses, rtol=1e-4)  # refined to 24 bits
    # 24 steps with inverses every 20: two refreshes, between them nothing is written. Factors with a row for the bias,
    # of 101, 21, 7, 21 rows, and of 20, 6, 20, 100, in leaves of up to 16.
    leaves = [7, 2, 1, 2, 2, 1, 2, 7]
    assert analog.counts["array_programmings"] == 2 * sum(leaves)
    assert analog.iterations_mean is not None
    assert json.loads(json.dumps(analog.as_dict(), allow_nan=False))["counts"]["steps"] == 24


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_first_order_baselines_learn_the_curves(optimizer: Any) -> None:
    result = _autoencoder(optimizer=optimizer)
    assert result.loss[-1] < 0.95 * result.step_losses[0]
    assert result.iterations_mean is None


@pytest.mark.slow
def test_resnet20_takes_its_steps_through_arrays_and_leaves_norms_to_the_inner_optimiser() -> None:
    config = LargeConfig("resnet20", "digits", solver=BlockAmc(NOISY, leaf=128), images=8, batch_size=8, epochs=1)
    result = train_large(config)
    assert len(result.accuracy) == 1
    assert result.test_accuracy is not None
    # A of 9, 6 x 144, 144, 5 x 288, 288, 5 x 576 and 65 rows; G of 16, 32 and 64 rows and of 4 classes.
    assert result.counts["array_programmings"] == 1 + 7 * 2 + 6 * 3 + 5 * 5 + 1 + 20
    assert result.counts["digital_fallbacks"] == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"model": "resnet20"}, "resnet20 needs data of several classes, not 'curves'"),
        ({"batch_size": 200}, "a batch of 200 images cannot be had from 120"),
        ({"model": "vgg"}, "there is no 'vgg'"),
        ({"optimizer": "adam", "solver": NOISY}, "'kfac' only, not with 'adam'"),
        ({"options": {"rate": 1.0}, "batch_size": 40}, "options of kfac: .*rate"),
        ({"options": {"lr": 1e300}, "hidden": (20, 6)}, "choose a smaller lr"),
    ],
)
def test_bad_configurations_are_refused(options: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        train_large(LargeConfig(**{"data": CURVES, "batch_size": 60, **options}))
