"""The results of a long run in one SQLite file that survives kills and full disks.

One process writes it: the parent of the workers. Each sample is a row of its own, committed before `put` returns (WAL,
synchronous=FULL), so whatever ends the run, the next one computes only what is `missing`.
A row is the JSON of names, types and shapes, the arrays' bytes, and a checksum; equal arrays give equal bytes.
"""

from __future__ import annotations

import json
import math
import operator
import os
import sqlite3
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, Self

import numpy as np
import numpy.typing as npt

__all__ = ["Arrays", "Store", "StoreError", "StoreFullError", "pack", "unpack"]

Arrays = dict[str, npt.NDArray[Any]]

_APPLICATION_ID = 0x616D6373
"""Marks the file as ours in SQLite's own header ("amcs")."""
_SCHEMA_VERSION = 1
_HEADER = struct.Struct("<II")
"""CRC-32 of what follows, length of the JSON; little endian."""
_KINDS = "biufcSU"
"""Array kinds that are plain bytes: booleans, numbers, fixed-length text."""


class StoreError(ValueError):
    """A store that cannot be used: one sentence naming the file and what is wrong with it."""


class StoreFullError(StoreError):
    """No room for another sample; those committed before are safe."""


class Store:
    """Samples by number, each a set of named arrays, in the SQLite file at `path`, made where there is none.

    `campaign` names what the samples belong to, for example the hash of the campaign file; a store of another one is
    refused, but for one of `earlier`, from which this campaign has grown: it is renamed.
    While a process has the store open, no other process can open it.
    Raises StoreError: another campaign, in use, not a store, damaged, no such folder, no permission.
    """

    def __init__(self, path: str | os.PathLike[str], campaign: str, earlier: Collection[str] = ()) -> None:
        self._path = os.fspath(path)
        with self._sentences():
            self._db = sqlite3.connect(self._path, isolation_level=None, timeout=0.5)
        try:
            self._open(campaign, earlier)
        except BaseException:
            self._db.close()
            raise

    def _open(self, campaign: str, earlier: Collection[str]) -> None:
        with self._sentences():
            # Exclusive from the first access: no second writer, and no shared memory, which network disks lack.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            # Nothing is written before the file is known to be ours or empty.
            mark, version = (
                self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
            empty = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
            if mark != _APPLICATION_ID and not (mark == 0 and empty):
                raise StoreError(f"{self._path} is an SQLite file, but no result store")
            if mark and version != _SCHEMA_VERSION:
                raise StoreError(f"{self._path} has schema version {version}; this release reads {_SCHEMA_VERSION}")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("BEGIN IMMEDIATE")
            if not mark:
                self._db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
                self._db.execute("CREATE TABLE samples (id INTEGER PRIMARY KEY, data BLOB NOT NULL)")
                self._db.execute("INSERT INTO meta VALUES ('campaign', ?)", (campaign,))
                self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            for name in earlier:
                self._db.execute("UPDATE meta SET value = ? WHERE key = 'campaign' AND value = ?", (campaign, name))
            self._db.execute("COMMIT")
            row = self._db.execute("SELECT value FROM meta WHERE key = 'campaign'").fetchone()
        if row is None or row[0] != campaign:
            found = "none" if row is None else row[0]
            raise StoreError(f"{self._path} holds samples of campaign {found:.80}, not of {campaign:.80}")

    def put(self, number: int, arrays: Mapping[str, npt.ArrayLike]) -> None:
        """Add a sample and have the disk hold it.

        Raises StoreFullError (disk full: nothing of this sample stays), StoreError (number stored already, closed),
        and TypeError for arrays of objects.
        """
        data = pack(arrays)
        with self._sentences():
            try:
                self._db.execute("INSERT INTO samples VALUES (?, ?)", (operator.index(number), data))
            except sqlite3.IntegrityError:
                raise StoreError(f"{self._path} holds sample {number} already") from None

    def get(self, number: int) -> Arrays:
        """The arrays of a sample. Raises KeyError where there is none, StoreError where it is damaged."""
        with self._sentences():
            row = self._db.execute("SELECT data FROM samples WHERE id = ?", (operator.index(number),)).fetchone()
        if row is None:
            raise KeyError(f"{self._path} holds no sample {number}")
        return self._unpacked(number, row[0])

    def ids(self) -> set[int]:
        """Numbers of all samples stored."""
        with self._sentences():
            return {row[0] for row in self._db.execute("SELECT id FROM samples")}

    def missing(self, wanted: Iterable[int]) -> list[int]:
        """Those of `wanted` that are not stored, in the order given."""
        stored = self.ids()
        return [number for number in wanted if number not in stored]

    def __iter__(self) -> Iterator[tuple[int, Arrays]]:
        """All samples by rising number, one in memory at a time."""
        for number in sorted(self.ids()):
            yield number, self.get(number)

    def __len__(self) -> int:
        with self._sentences():
            return int(self._db.execute("SELECT count(*) FROM samples").fetchone()[0])

    def close(self) -> None:
        """Fold the write-ahead log into the file and let it go. Closing twice does no harm."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unpacked(self, number: int, data: bytes) -> Arrays:
        try:
            return unpack(data)
        except ValueError as error:
            raise StoreError(f"{self._path} is damaged: sample {number}: {error}") from None

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """Turn SQLite's errors into sentences that name the file."""
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise StoreError(f"{self._path}: {error}") from None
        except sqlite3.Error as error:
            self._explain(error)

    def _explain(self, error: sqlite3.Error) -> NoReturn:
        # Extended codes (IOERR_WRITE = 778) keep the primary one in the low byte.
        extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        primary = extended & 0xFF
        if primary == sqlite3.SQLITE_FULL or extended in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC):
            raise StoreFullError(
                f"{self._path} cannot be written ({error}): make room on its disk and run the same command again"
            ) from None
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreError(f"{self._path} is in use by another run") from None
        if primary == sqlite3.SQLITE_NOTADB:
            raise StoreError(f"{self._path} is no result store (not an SQLite file)") from None
        if primary == sqlite3.SQLITE_CORRUPT or "no such" in str(error):  # page damage; a table or column gone
            raise StoreError(f"{self._path} is damaged ({error}): move it away and run again") from None
        raise StoreError(f"{self._path} cannot be used as a result store: {error}") from None


def pack(arrays: Mapping[str, npt.ArrayLike]) -> bytes:
    """Named arrays as bytes: little endian, C order, names sorted. Raises TypeError for arrays of objects."""
    plain: Arrays = {}
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        if array.dtype.kind not in _KINDS:
            raise TypeError(f"array {name!r} of type {array.dtype} cannot be stored")
        plain[name] = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    head = json.dumps([[name, array.dtype.str, array.shape] for name, array in plain.items()]).encode()
    body = b"".join([head, *(array.tobytes() for array in plain.values())])
    return _HEADER.pack(zlib.crc32(body), len(head)) + body


def unpack(data: bytes) -> Arrays:
    """The named arrays of `pack`, writable copies. Raises ValueError where the bytes are not as written."""
    if len(data) < _HEADER.size:
        raise ValueError("too short")
    checksum, length = _HEADER.unpack_from(data)
    if zlib.crc32(memoryview(data)[_HEADER.size :]) != checksum:
        raise ValueError("the checksum does not fit")
    place = _HEADER.size + length
    arrays: Arrays = {}
    for name, kind, shape in json.loads(data[_HEADER.size : place]):
        dtype, count = np.dtype(kind), math.prod(shape)
        arrays[name] = np.frombuffer(data, dtype, count, place).reshape(shape).copy()
        place += count * dtype.itemsize
    return arrays
