"""Writing files whole or not at all: to a temporary name in the same folder, flushed to disk, then renamed."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["atomic_write", "json_text", "plain", "write_bytes", "write_json", "write_text"]


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to; when the block ends well it becomes `path`, otherwise it is removed.

    The temporary name keeps the suffix (np.savez and matplotlib look at it) and lies in the same folder; a link is
    followed. A device or pipe, such as /dev/null, is handed out as it is: renaming would replace it by a file.
    Raises OSError naming `path`: no such folder, no permission, disk full.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file to write")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {target.parent}")
    if target.exists() and not target.is_file():
        yield target
        return
    # A long name is cut so that the temporary one still fits into the 255 bytes of a file name.
    temporary = target.with_name(f".{target.stem[:40]}.{secrets.token_hex(6)}{target.suffix}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
        _flush(target.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from None
        raise


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` whole or not at all. Raises OSError."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` in UTF-8, whole or not at all; line ends as given. Raises OSError."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all. Raises OSError; ValueError and TypeError as `json_text`."""
    write_text(path, json_text(value, indent=2) + "\n")


def json_text(value: Any, indent: int | None = None) -> str:
    """`value` as JSON, NumPy arrays and scalars as lists and numbers, paths as text, on one line by default.

    Raises ValueError naming the place of a NaN or infinity, which JSON does not have (say None where there is no
    number), and TypeError for what is none of these.
    """
    try:
        return json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False, default=_plain)
    except ValueError:
        for place, number in _numbers(value, "$"):
            if not math.isfinite(number):
                raise ValueError(f"{place} is {number}, which JSON cannot hold") from None
        raise


def plain(value: Any) -> Any:
    """`value` in JSON's own types: arrays as lists, paths as text, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # NumPy, which this module need not import
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _numbers(value: Any, place: str) -> Iterator[tuple[str, float]]:
    """Every float of a nested value with its place, `$.key[index]`."""
    if isinstance(value, float):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _numbers(item, f"{place}[{index}]")
    elif hasattr(value, "tolist"):
        yield from _numbers(value.tolist(), place)


def _flush(path: Path) -> None:
    """Have the disk hold it: a rename that outlives a power cut must not name an empty file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
