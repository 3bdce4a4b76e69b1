"""Files of images that are damaged or made to harm: one sentence, bounded memory, nothing run, nothing left behind."""

from __future__ import annotations

import gzip
import io
import pickle
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amcsim.streams import Key
from amcsim.training import data
from amcsim.training.data import DataError, load, load_idx

IMAGES, LABELS = (f"emnist-letters-train-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))


def idx(values: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    sizes = values.shape if shape is None else shape
    return bytes([0, 0, 8, len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes) + values.tobytes()


MANC = np.repeat(np.array([13, 1, 14, 3], np.uint8), 150)
PIXELS = np.zeros((600, 8, 8), np.uint8)
WHOLE = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


def refusal(folder: Path) -> str:
    """The sentence of letters that cannot be taken from a folder, which stays as it is."""
    before = sorted(folder.iterdir())
    with pytest.raises(DataError) as refused:
        load("letters", Key(0), folder)
    assert sorted(folder.iterdir()) == before
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (idx(PIXELS[:599]), idx(MANC), "images (599, 8, 8) and labels (600,)"),
        (idx(PIXELS), idx(MANC[:, None]), "labels (600, 1)"),
        (idx(PIXELS[:, :, :7]), idx(MANC), "(600, 8, 7)"),
        (idx(PIXELS[:, :0, :0]), idx(MANC), "8 to 64 pixels"),
        (idx(PIXELS), idx(MANC + 26), "labels 27 to 40, but letters are 1 to 26"),
        (idx(PIXELS), idx(MANC * 0), "labels 0 to 0"),
        (idx(PIXELS[:0]), idx(MANC[:0]), "0 images of class 'm'"),
        (idx(PIXELS), idx(np.where(MANC == 3, 4, MANC).astype(np.uint8)), "0 images of class 'c'"),
        (idx(PIXELS, (601, 8, 8)), idx(MANC), "holds 38400 values, but its header says (601, 8, 8)"),
        (idx(PIXELS, (599, 8, 8)), idx(MANC), "holds more values"),
        (idx(PIXELS, (2**32 - 1,) * 4), idx(MANC), "its header says"),
        (idx(PIXELS)[:9], idx(MANC), "wanted 3 sizes"),
        (b"\x00\x00\x0d\x03" + idx(PIXELS)[4:], idx(MANC), "header is 00000d03"),
        (b"", idx(MANC), "no idx file"),
        (b"PK\x03\x04 no idx", idx(MANC), "header is 504b0304"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_that_do_not_hold_what_they_say_are_refused(
    tmp_path: Path, images: bytes, labels: bytes, words: str, packed: bool
) -> None:
    for name, content in ((IMAGES, images), (LABELS, labels)):
        (tmp_path / name).write_bytes(gzip.compress(content, 1) if packed else content)
    assert words in refusal(tmp_path)


def test_missing_files_and_folders_in_their_place_are_named(tmp_path: Path) -> None:
    assert IMAGES in refusal(tmp_path)
    (tmp_path / IMAGES).mkdir()
    assert "Is a directory" in refusal(tmp_path)


def test_a_gzip_bomb_is_read_no_further_than_its_header_says(tmp_path: Path) -> None:
    """64 MB of zeros in 63 kB, behind the header of 6 values: a few buffers are read."""
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(idx(np.zeros(1 << 26, np.uint8), (6,)), 6))
    tracemalloc.start()
    with pytest.raises(DataError, match="holds more values"):
        load_idx(tmp_path / "bomb.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda tail: gzip.compress(WHOLE)[:25] + tail))
def test_any_bytes_are_values_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.idx"
    path.write_bytes(content)
    try:
        assert load_idx(path).dtype == np.uint8
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017 (either end is right)


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.integers(0, len(WHOLE)))
def test_a_changed_and_cut_idx_file_never_gives_other_counts_than_its_header(place: int, byte: int, cut: int) -> None:
    content = bytearray(WHOLE)
    content[place] = byte
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", lambda *_: io.BytesIO(bytes(content[:cut])))
        try:
            found = load_idx("x")
        except DataError:
            return
    sizes = [int.from_bytes(content[i : i + 4], "big") for i in range(4, 4 + 4 * content[3], 4)]
    assert list(found.shape) == sizes


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


def test_pickles_that_call_anything_are_refused_before_they_do(tmp_path: Path) -> None:
    mark = tmp_path / "called"
    for call in (
        Call(subprocess.call, ["touch", str(mark)]),
        Call(exec, f"open({str(mark)!r}, 'w')"),
        Call(Path.touch, mark),
        Call(getattr, "", "join"),
        Call(np.memmap, str(mark), "u1", "w+", 0, (8,)),
    ):
        for protocol in (2, 4):
            with pytest.raises(DataError, match="refused"):
                data._read_arrays(pickle.dumps({"data": [call]}, protocol=protocol))
    assert list(tmp_path.iterdir()) == []


@given(
    st.binary(max_size=60) | st.binary(max_size=20).map(lambda tail: pickle.dumps({"data": np.arange(3)})[:-9] + tail)
)
def test_damaged_pickles_are_a_dict_or_a_sentence(content: bytes) -> None:
    try:
        assert isinstance(data._read_arrays(content), dict)
    except DataError as error:
        assert "letters" in str(error) or "refused" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((600, 8, 8))},
        {"images": np.zeros((600, 8, 7)), "labels": np.zeros(600, int)},
        {"images": np.zeros((600, 8, 8)), "labels": np.zeros(599, int)},
        {"images": np.full((600, 8, 8), np.nan), "labels": np.zeros(600, int)},
        {"images": np.full((600, 8, 8), 255.0), "labels": np.zeros(600, int)},
        {"images": np.array([[["x"]]]), "labels": np.zeros(600, int)},
        {"images": np.array([None]), "labels": np.zeros(600, int)},
    ],
)
def test_a_cache_of_anything_but_letters_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: dict[str, np.ndarray]
) -> None:
    monkeypatch.setenv("AMCSIM_CACHE", str(tmp_path))
    np.savez(tmp_path / data.CACHE_FILE, **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="delete it, it will be made again"):
        load("letters", Key(0))


def test_a_cut_cache_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMCSIM_CACHE", str(tmp_path))
    data.save_npz(tmp_path / data.CACHE_FILE, images=np.random.default_rng(0).random((600, 8, 8)), labels=MANC)
    whole = (tmp_path / data.CACHE_FILE).read_bytes()
    for content in (whole[: len(whole) // 2], whole[:99] + bytes(99) + whole[198:]):
        (tmp_path / data.CACHE_FILE).write_bytes(content)
        with pytest.raises(DataError, match="delete it"):
            load("letters", Key(0))
