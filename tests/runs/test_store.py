"""What was committed stays readable, whatever happened to the run; a file that is no store of ours is left alone."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amcsim.runs import Store, StoreError, StoreFullError
from amcsim.runs.store import pack, unpack

SAMPLE = {"x": np.array([[1.0, np.nan], [np.inf, -0.0]]), "status": np.int64(2), "name": np.array(["node", "µ"])}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond so many bytes: a write fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill(store: Store, arrays: dict[str, Any]) -> None:
    for number in range(100):
        store.put(number, arrays)


def test_samples_come_back_sorted_and_to_the_bit(path: Path) -> None:
    with Store(path, "a") as store:
        for number in (5, -1, 3):
            store.put(number, {**SAMPLE, "number": number})
        assert store.ids() == {-1, 3, 5}
        assert store.missing([9, 5, 4, 3]) == [9, 4]
    with Store(path, "a") as store:
        assert [(number, int(arrays["number"])) for number, arrays in store] == [(-1, -1), (3, 3), (5, 5)]
        assert len(store) == 3
        x = store.get(3)["x"]
        assert x.tobytes() == SAMPLE["x"].tobytes()
        assert x.flags.writeable
        assert store.get(3)["name"].tolist() == ["node", "µ"]
        with pytest.raises(KeyError, match="no sample 4"):
            store.get(4)
        with pytest.raises(StoreError, match="holds sample 3 already"):
            store.put(3, SAMPLE)
    assert [file.name for file in path.parent.iterdir()] == ["store.sqlite"], "one file is left, and no log beside it"


@given(
    st.dictionaries(
        st.text(max_size=5),
        hnp.arrays(
            st.one_of(hnp.boolean_dtypes(), hnp.integer_dtypes(), hnp.floating_dtypes(), hnp.complex_number_dtypes()),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        ),
        max_size=3,
    )
)
def test_arrays_survive_packing_and_equal_arrays_pack_equally(arrays: dict[str, Any]) -> None:
    data = pack(arrays)
    back = unpack(data)
    assert sorted(back) == sorted(arrays)
    for name, array in arrays.items():
        assert back[name].shape == array.shape
        assert back[name].dtype == array.dtype.newbyteorder("<")
        np.testing.assert_array_equal(back[name], array)
    turned = {name: np.array(arrays[name], order="F") for name in reversed(arrays)}
    assert pack(turned) == data


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(1, 255))
def test_other_bytes_are_refused(noise: bytes, place: int, flip: int) -> None:
    with pytest.raises(ValueError, match=r"too short|checksum"):
        unpack(b"\x01" + noise)
    data = bytearray(pack(SAMPLE))
    data[place % len(data)] ^= flip
    with pytest.raises(ValueError):
        unpack(bytes(data))


def test_objects_are_refused(path: Path) -> None:
    with Store(path, "a") as store, pytest.raises(TypeError, match="'x' of type object cannot be stored"):
        store.put(1, {"x": np.array([None])})


def test_a_full_disk_is_one_sentence_and_keeps_what_was_committed(path: Path) -> None:
    block = {"x": np.arange(512.0)}
    with Store(path, "a") as store:
        with (
            file_size_limit(200_000),
            pytest.raises(StoreFullError, match=r"store.sqlite cannot be written .* make room"),
        ):
            fill(store, block)
        committed = store.ids()
        assert 10 < len(committed) < 100
        assert committed == set(range(len(committed)))
        store.put(len(committed), block)  # there is room again: the same store goes on
    with Store(path, "a") as store:
        assert len(store) == len(committed) + 1
        assert all(np.array_equal(arrays["x"], block["x"]) for _, arrays in store)


def test_sqlite_saying_that_it_is_full_is_the_same(path: Path) -> None:
    with Store(path, "a") as store:
        store._db.execute("PRAGMA max_page_count = 12")
        with pytest.raises(StoreFullError):
            fill(store, {"x": np.zeros(100)})
        assert len(store) > 3


def test_no_room_for_a_new_store_leaves_one_that_can_be_opened_later(path: Path) -> None:
    with file_size_limit(5000), pytest.raises(StoreFullError):
        Store(path, "a")
    with Store(path, "b") as store:
        assert len(store) == 0


def test_another_campaign_is_refused(path: Path) -> None:
    Store(path, "3fa9").close()
    with pytest.raises(StoreError, match=r"store.sqlite holds samples of campaign 3fa9, not of 77c0$"):
        Store(path, "77c0")


def test_a_store_in_use_is_refused(path: Path) -> None:
    with Store(path, "a") as store:
        with pytest.raises(StoreError, match="is in use by another run"):
            Store(path, "a")
        store.put(1, SAMPLE)


def test_a_closed_store_says_so(path: Path) -> None:
    store = Store(path, "a")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.put(1, SAMPLE)


def test_foreign_files_are_refused_and_left_alone(path: Path, tmp_path: Path) -> None:
    database = tmp_path / "foreign.sqlite"
    with sqlite3.connect(database) as other:
        other.execute("CREATE TABLE samples (id INTEGER PRIMARY KEY, data BLOB)")
    other.close()
    path.write_text("time,value\n" * 100)
    for file, reason in ((database, "is an SQLite file, but no result store"), (path, "no result store")):
        before = file.read_bytes()
        with pytest.raises(StoreError, match=reason):
            Store(file, "a")
        assert file.read_bytes() == before
    with pytest.raises(StoreError, match="cannot be used as a result store: unable to open"):
        Store(tmp_path / "missing" / "store.sqlite", "a")
    with pytest.raises(StoreError, match="unable to open"):
        Store(tmp_path, "a")


def test_a_newer_schema_is_refused(path: Path) -> None:
    Store(path, "a").close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 2")
    other.close()
    with pytest.raises(StoreError, match="schema version 2; this release reads 1"):
        Store(path, "a")


def test_damage_is_named(path: Path) -> None:
    with Store(path, "a") as store:
        for number in range(50):
            store.put(number, {"x": np.full(500, 7.25)})
    whole = path.read_bytes()
    body = np.full(4, 7.25).tobytes()
    path.write_bytes(whole.replace(body, b"\x00" * len(body), 1))  # one bit of one sample is enough
    with (
        Store(path, "a") as store,
        pytest.raises(StoreError, match=r"is damaged: sample \d+: the checksum does not fit"),
    ):
        list(store)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=r"is damaged \(database disk image is malformed\)"), Store(path, "a") as store:
        list(store)
