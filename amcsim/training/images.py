"""Images of 28x28 pixels: MNIST from the user's own idx files, and drawn curves for where there are none.

MNIST is not shipped; its four idx files (plain or .gz) lie in a folder of the user's. The curves stand in for it as the
set CURVES did in the K-FAC literature (Martens 2010; Martens & Grosse 2015): smooth strokes through random points.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from amcsim._types import F64
from amcsim.streams import Key
from amcsim.training.data import U8, DataError, Dataset, load_idx

__all__ = ["curves", "mnist"]

_PENCIL = 0.9
"""Half width of a stroke, pixels."""


def mnist(folder: Path) -> Dataset:
    """`{train,t10k}-images-idx3-ubyte[.gz]` and `-labels-idx1-ubyte[.gz]` of the folder: ten digits, all images.

    Raises DataError for missing or unfitting files.
    """
    (x_train, y_train), (x_test, y_test) = (_part(folder, part) for part in ("train", "t10k"))
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(f"{folder}: training images are {x_train.shape[1:]}, test images {x_test.shape[1:]}")
    classes = tuple(map(str, range(10)))
    return Dataset("mnist", x_train / 255.0, y_train.astype(int), x_test / 255.0, y_test.astype(int), classes)


def _part(folder: Path, part: str) -> tuple[U8, U8]:
    images = load_idx(_found(folder, f"{part}-images-idx3-ubyte"))
    labels = load_idx(_found(folder, f"{part}-labels-idx1-ubyte"))
    if images.ndim != 3 or not images.size or labels.shape != images.shape[:1] or labels.max() > 9:
        raise DataError(
            f"{folder}: {part} images {images.shape} and labels {labels.shape}, wanted (n, h, w) and 0 to 9"
        )
    return images[:, None], labels


def _found(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.gz"
    return packed if packed.exists() else folder / name


def curves(key: Key, train: int = 4000, test: int = 1000, side: int = 28) -> Dataset:
    """Cubic Bezier curves of random control points, ink 0..1, drawn by `key`; one class."""
    x = np.concatenate(
        [_drawn(key.child(k).generator(), min(500, train + test - k), side) for k in range(0, train + test, 500)]
    )
    y = np.zeros(len(x), np.int64)
    return Dataset("curves", x[:train], y[:train], x[train:], y[train:], ("curve",))


def _drawn(generator: np.random.Generator, count: int, side: int) -> F64:
    """(count, 1, side, side): a stroke's ink falls off over a pixel at its edge."""
    points = generator.uniform(2.0, side - 3.0, (count, 4, 2))
    t = np.linspace(0.0, 1.0, 2 * side)
    weights = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], 1)
    line = np.einsum("sp,npc->nsc", weights, points)
    pixels = np.arange(side, dtype=np.float64)
    across = ((line[:, :, 0, None] - pixels) ** 2)[:, :, None, :]  # (count, samples, 1, side)
    down = ((line[:, :, 1, None] - pixels) ** 2)[:, :, :, None]
    nearest = np.full((count, side, side), np.inf)
    for sample in range(len(t)):
        np.minimum(nearest, down[:, sample] + across[:, sample], out=nearest)
    ink: F64 = np.clip(_PENCIL + 0.5 - np.sqrt(nearest), 0.0, 1.0)
    return ink[:, None]
