"""SPICE raw files: what ngspice's `-r` and `write` leave and its `load` takes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from amcsim._types import C128, F64

__all__ = ["Plot", "RawFileError", "read_raw", "write_raw"]


class RawFileError(ValueError):
    """A raw file that cannot be read: one sentence."""


@dataclass(frozen=True, eq=False)
class Plot:
    """One analysis: vectors over a common scale, the first. `plot["v(out)"]` is that vector, case ignored."""

    title: str
    name: str
    """Kind of analysis in ngspice's words, such as "Operating Point" or "Transient Analysis"."""
    variables: tuple[tuple[str, str], ...]
    """(name, quantity) of each vector: ("v(out)", "voltage")."""
    data: F64 | C128
    """Shape (n_vars, n_points); V, A, s or Hz by quantity."""

    def __post_init__(self) -> None:
        if self.data.ndim != 2 or len(self.variables) != self.data.shape[0]:
            raise RawFileError(
                f"plot {self.name!r} has {len(self.variables)} variables but data of shape {self.data.shape}"
            )

    @property
    def is_complex(self) -> bool:
        """Whether the values are complex (AC analyses)."""
        return bool(np.iscomplexobj(self.data))

    def __getitem__(self, name: str) -> F64 | C128:
        """Vector of that name, shape (n_points,). Raises KeyError."""
        wanted = name.lower()
        for row, (own, _) in enumerate(self.variables):
            if own.lower() == wanted:
                vector: F64 | C128 = self.data[row]
                return vector
        raise KeyError(f"plot {self.name!r} has no vector {name!r}")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(own.lower() == name.lower() for own, _ in self.variables)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.variables)

    def __len__(self) -> int:
        return len(self.variables)


def read_raw(source: Path | str | bytes) -> list[Plot]:
    """All plots of a raw file, ASCII or binary, given as a path or as its bytes.

    Raises RawFileError for a file that is missing, truncated or garbled.
    """
    if isinstance(source, bytes):
        content, where = source, "raw data"
    else:
        where = f"raw file {source}"
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise RawFileError(f"{where} cannot be read: {error.strerror}") from None
    plots: list[Plot] = []
    at = 0
    while content[at:].strip():
        try:
            plot, at = _read_plot(content, at)
        except RawFileError as error:
            raise RawFileError(f"{where}, plot {len(plots) + 1}: {error}") from None
        plots.append(plot)
    if not plots:
        raise RawFileError(f"{where} is empty")
    return plots


def write_raw(path: Path | str, plots: Plot | Sequence[Plot]) -> None:
    """Write plots as one binary raw file, which ngspice's `load` reads. Written beside and renamed."""
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    with beside.open("wb") as file:
        for plot in [plots] if isinstance(plots, Plot) else plots:
            lines = [
                f"Title: {_one_line(plot.title)}",
                "Date: ",
                f"Plotname: {_one_line(plot.name)}",
                f"Flags: {'complex' if plot.is_complex else 'real'}",
                f"No. Variables: {len(plot)}",
                f"No. Points: {plot.data.shape[1]}",
                "Variables:",
                *(f"\t{k}\t{name}\t{quantity}" for k, (name, quantity) in enumerate(plot.variables)),
                "Binary:",
            ]
            file.write(("\n".join(lines) + "\n").encode())
            file.write(np.ascontiguousarray(plot.data.T, dtype="<c16" if plot.is_complex else "<f8").tobytes())
    os.replace(beside, target)


def _read_plot(content: bytes, at: int) -> tuple[Plot, int]:
    """The plot that starts at byte `at`, and where the next one starts."""
    header: dict[str, str] = {}
    variables: list[tuple[str, str]] = []
    missing = 0
    while True:
        end = content.find(b"\n", at)
        if end < 0:
            raise RawFileError("it ends inside the header")
        line = content[at:end].decode("utf-8", "replace").rstrip("\r")
        at = end + 1
        if missing:
            fields = line.split()
            if len(fields) < 3 or fields[0] != str(len(variables)):
                raise RawFileError(
                    f"variable {len(variables)} is described by {line[:60]!r}, not by number, name and quantity"
                )
            variables.append((fields[1], fields[2]))
            missing -= 1
            continue
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        if key in ("binary", "values") and colon:
            break
        if key == "variables" and colon:
            missing = _count(header, "no. variables")
        elif line.strip():
            if not colon or not key.isprintable():
                raise RawFileError(f"its header holds {line[:60]!r}")
            header[key] = value.strip()
    n_vars, n_points = _count(header, "no. variables"), _count(header, "no. points")
    if len(variables) != n_vars or n_vars == 0:
        raise RawFileError(f"it names {len(variables)} of {n_vars} variables")
    is_complex = "complex" in header.get("flags", "real")
    read = _binary if key == "binary" else _ascii
    data, at = read(content, at, n_vars, n_points, is_complex)
    plot = Plot(header.get("title", ""), header.get("plotname", ""), tuple(variables), np.ascontiguousarray(data.T))
    return plot, at


def _count(header: dict[str, str], key: str) -> int:
    text = header.get(key, "")
    if not re.fullmatch(r"\d{1,12}", text):
        raise RawFileError(f"{key!r} is {text!r}, not a count")
    return int(text)


def _binary(
    content: bytes, at: int, n_vars: int, n_points: int, is_complex: bool
) -> tuple[npt.NDArray[np.generic], int]:
    dtype = np.dtype("<c16" if is_complex else "<f8")
    size = n_vars * n_points * dtype.itemsize
    if len(content) - at < size:
        raise RawFileError(f"it holds {len(content) - at} of {size} bytes of data")
    data = np.frombuffer(content, dtype, n_vars * n_points, at).reshape(n_points, n_vars)
    return data.astype(np.complex128 if is_complex else np.float64), at + size


def _ascii(
    content: bytes, at: int, n_vars: int, n_points: int, is_complex: bool
) -> tuple[npt.NDArray[np.generic], int]:
    """Each point is its index and then one value a line, complex ones as `re,im`."""
    end = content.find(b"Title:", at)
    end = len(content) if end < 0 else end
    words = content[at:end].split()
    if len(words) != n_points * (n_vars + 1):
        raise RawFileError(f"it holds {len(words)} of {n_points * (n_vars + 1)} numbers")
    grid = np.array(words, dtype=bytes).reshape(n_points, n_vars + 1)[:, 1:]
    try:
        if not is_complex:
            return grid.astype(np.float64), end
        parts = [[complex(*map(float, word.split(b","))) for word in row] for row in grid]
    except (TypeError, ValueError):
        raise RawFileError("its values are not all numbers") from None
    return np.array(parts, dtype=np.complex128).reshape(n_points, n_vars), end


def _one_line(text: str) -> str:
    return " ".join(text.split())
