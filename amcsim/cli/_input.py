"""Matrices and right-hand sides from files and standard input; what is wrong is one sentence (ValueError)."""

from __future__ import annotations

import io
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

from amcsim._types import F64
from amcsim.mapping import check_matrix

__all__ = ["check_folder", "check_output", "load_matrix", "load_problem", "load_rhs", "load_systems"]

_MAGIC = b"\x93NUMPY"
_ENDINGS = (".npy", ".csv", ".txt")


def load_problem(matrix: str, rhs: str, circuit: str = "inv") -> tuple[F64, F64]:
    """A (m, n), square for "inv", and its vectors, (n,) or (n, k), from two sources of which one may be `-`.

    Raises ValueError.
    """
    if matrix == rhs == "-":
        raise ValueError("--matrix and --rhs cannot both be '-': standard input can be read only once")
    a = load_matrix(matrix, square=circuit == "inv")
    return a, load_rhs(rhs, a.shape[1])


def load_matrix(source: str, *, square: bool = True) -> F64:
    """A matrix (m, n). Raises ValueError."""
    what = f"matrix {_name(source)}"
    array, _ = _load(source, what)
    if array.ndim != 2:
        raise ValueError(f"{what} has shape {array.shape}; it must be two-dimensional")
    return check_matrix(array, square=square, what=what)


def load_rhs(source: str, n: int) -> F64:
    """Right-hand sides for a matrix of n columns: (n,) or (n, k).

    In text, n numbers in a row or in a column are one right-hand side (n,). Raises ValueError.
    """
    what = f"right-hand side {_name(source)}"
    array, is_text = _load(source, what)
    if is_text and 1 in array.shape and array.size == n:
        array = array.ravel()
    if array.ndim not in (1, 2) or array.shape[0] != n:
        raise ValueError(f"{what} has shape {array.shape}; this matrix needs ({n},) or ({n}, k)")
    checked = check_matrix(array.reshape(n, -1), square=False, what=what)
    return checked.reshape(array.shape)


def load_systems(path: Path, circuit: str = "inv") -> tuple[F64, F64 | None]:
    """Many systems of one shape: a (k, m, n), square for "inv", and b (k, n), None where the file has none.

    From an .npz with a and, maybe, b; or a (m, n) or (k, m, n) from .npy, (m, n) from .csv or .txt. Raises ValueError.
    """
    what, square = f"matrices {path}", circuit == "inv"
    if path.suffix.lower() not in (".npz", *_ENDINGS):
        raise ValueError(f"{what}: the ending must be one of .npz, {', '.join(_ENDINGS)}")
    if path.suffix.lower() != ".npz":
        found, _ = _load(str(path), what)
        if found.ndim not in (2, 3):
            raise ValueError(f"{what} have shape {found.shape}; wanted one (m, n) or many (k, m, n)")
        found = found.reshape(-1, *found.shape[-2:])
        return check_matrix(found, square=square, what=what), None
    wanted = "(k, m, m) and (k, m)" if square else "(k, m, n) and (k, n)"
    try:
        with open(path, "rb") as raw, np.lib.npyio.NpzFile(raw, allow_pickle=False) as file:
            a, b = file["a"], file["b"] if "b" in file.files else None
    except FileNotFoundError:
        raise ValueError(f"{what} do not exist") from None
    except KeyError:
        raise ValueError(f"{what} must hold the arrays a and, unless vectors are to be drawn, b: {wanted}") from None
    except Exception as error:  # noqa: BLE001 (whatever a damaged archive fails with)
        raise ValueError(f"{what} are no readable .npz file: {_first_line(error)}") from None
    if b is None and a.ndim == 3:
        return check_matrix(a, square=square, what=f"a of {what}"), None
    if a.ndim != 3 or b is None or b.shape != (len(a), a.shape[2]):
        shape = None if b is None else b.shape
        raise ValueError(f"{what} hold a of shape {a.shape} and b of shape {shape}, wanted {wanted}")
    return check_matrix(a, square=square, what=f"a of {what}"), check_matrix(b, square=False, what=f"b of {what}")


def check_output(path: Path, endings: tuple[str, ...] = ()) -> None:
    """Raise ValueError unless `path` can be written, one of `endings` given, before the work starts."""
    if endings and path.suffix.lower() not in endings:
        raise ValueError(f"output {path}: the ending must be one of {', '.join(endings)}")
    try:
        if path.is_dir():
            raise ValueError(f"output {path} is a folder; give a file")
        if not path.absolute().parent.is_dir():
            raise ValueError(f"output {path}: the folder {path.absolute().parent} does not exist")
        if path.is_file() or not path.exists():  # not so a device or a pipe
            with tempfile.TemporaryFile(dir=path.absolute().parent):
                return
    except OSError as error:
        raise ValueError(f"output {str(path)[:80]!r} cannot be written: {error.strerror}") from None


def check_folder(path: Path) -> None:
    """Raise ValueError unless a command can fill the folder `path`, or make it, before the work starts."""
    try:
        if path.exists() and not path.is_dir():
            raise ValueError(f"--out {path} is a file; give a folder")
        there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
        with tempfile.TemporaryFile(dir=there):
            return
    except OSError as error:
        raise ValueError(f"--out {str(path)[:80]!r} cannot be filled: {error.strerror}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _name(source: str) -> str:
    return "on standard input" if source == "-" else source


def _load(source: str, what: str) -> tuple[np.ndarray, bool]:
    """The array, and whether it came as text."""
    path = Path(source)
    if source == "-":
        content = sys.stdin.buffer.read()
        is_text = not content.startswith(_MAGIC)
    else:
        ending = path.suffix.lower()
        if ending not in _ENDINGS:
            raise ValueError(f"{what}: the ending must be one of {', '.join(_ENDINGS)}")
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise ValueError(f"{what} does not exist") from None
        except OSError as error:
            raise ValueError(f"{what} cannot be read: {error.strerror}") from None
        is_text = ending != ".npy"
    return (_text(content, what) if is_text else _npy(content, what)), is_text


def _npy(content: bytes, what: str) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers as Python 2 wrote them
            array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # noqa: BLE001 (a damaged header fails in Python's tokenizer, parser, or allocation)
        if "allow_pickle" in str(error):
            raise ValueError(f"{what} holds Python objects, not real numbers") from None
        raise ValueError(f"{what} is no readable .npy file: {_first_line(error)}") from None
    return np.asarray(array)


def _text(content: bytes, what: str) -> F64:
    """Rows of numbers between commas or blanks; `#` starts a comment."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{what} is no text of rows of numbers") from None
    rows: list[list[float]] = []
    for number, line in enumerate(lines, 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        words = [word.strip() for word in line.split(",")] if "," in line else line.split()
        rows.append([_number(word, f"{what}, line {number}, column {k}") for k, word in enumerate(words, 1)])
        if len(words) != len(rows[0]):
            raise ValueError(f"{what}, line {number} has {len(words)} numbers, but the first row has {len(rows[0])}")
    if not rows:
        raise ValueError(f"{what} is empty")
    return np.array(rows)


def _number(word: str, where: str) -> float:
    try:
        if "_" in word:  # Python reads 1_0 as 10
            raise ValueError(word)
        return float(word)
    except ValueError:
        raise ValueError(f"{where} holds {word[:40]!r}, not a real number" if word else f"{where} is blank") from None
