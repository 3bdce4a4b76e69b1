"""libngspice through PySpice's NgSpiceShared, with the habits of PySpice 1.5 corrected. One library a process.

Corrected here: any text on stderr counted as failure; the name of the library (Debian ships libngspice.so.0 alone); a
log line for each message; a history of commands that grows without end; user start-up files that are read. Importing
this module imports PySpice.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from amcsim._types import C128, F64

from .external import External
from .messages import NgspiceDied, NgspiceError, fatal_line

with warnings.catch_warnings():  # PySpice 1.5 holds invalid escape sequences, which newer Pythons warn about
    warnings.simplefilter("ignore")
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared, ffi
    from PySpice.Spice.NgSpice.SimulationType import SIMULATION_TYPE

__all__ = ["Library", "library", "library_path", "library_version"]

_COMMANDS_PER_CLEANUP = 200
"""Commands after which libngspice is told to forget its history, which otherwise grows by about 12 kB a solve."""


def library_path() -> str:
    """Name or path of libngspice: AMCSIM_LIBNGSPICE, NGSPICE_LIBRARY_PATH, else the system's. Raises NgspiceError."""
    for variable in ("AMCSIM_LIBNGSPICE", "NGSPICE_LIBRARY_PATH"):
        if os.environ.get(variable):
            return os.environ[variable]
    for name in ("libngspice.so.0", "libngspice.so"):  # quick, where the loader knows it: find_library runs programs
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return name
    found = ctypes.util.find_library("ngspice")
    if found is not None:
        return found
    for folder in ("/usr/local/lib", "/opt/homebrew/lib", "/opt/local/lib"):
        for path in sorted(Path(folder).glob("libngspice*")):
            return str(path)
    raise NgspiceError(
        "libngspice was not found: install it (Debian: apt-get install libngspice0) or set AMCSIM_LIBNGSPICE to it"
    )


_CONSTANTS = frozenset(b"boltz c e echarge false i kelvin no pi planck true yes".split())
"""Vectors that ngspice finds in every plot; a node may bear such a name too."""


class Library(NgSpiceShared):
    """The process's libngspice: commands, circuits and vectors; `lines` is what it said since someone cleared it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.dead = ""
        """Why the library cannot be used any more; empty while it can."""
        self.pid = os.getpid()
        self.owner: object = None
        """The session whose circuit is loaded."""
        self.commands = 0
        self._external: External | None = None
        self._places: dict[str, int] = {}
        """Where vectors stand in what ngspice hands over, by name; found anew for each transient."""
        self._failure: BaseException | None = None
        type(self).LIBRARY_PATH = library_path().replace("{", "{{").replace("}", "}}")
        try:
            with _no_user_files():
                super().__init__(send_data=True)
        except OSError as error:
            raise NgspiceError(f"libngspice cannot be loaded from {library_path()}: {error}") from None
        # Otherwise each analysis sets OpenMP's threads to 2 for the whole process, PyTorch's among them.
        self.command(b"set num_threads=1")

    def command(self, text: bytes) -> None:
        """Run one line (commands joined by `;`, below 1024 characters), appending messages to `lines`.

        Raises NgspiceDied when the library dies.
        """
        self.check()
        self.commands += 1
        if self.commands >= _COMMANDS_PER_CLEANUP:
            self._ngspice_shared.ngSpice_Command(ffi.NULL)
            self.commands = 0
        self._ngspice_shared.ngSpice_Command(text)
        if self.dead:
            self.check()

    def circuit(self, deck: str) -> None:
        """Parse a deck. Messages are appended to `lines`. Raises NgspiceDied when the library dies of it."""
        self.check()
        lines = [ffi.new("char[]", line.encode()) for line in [*deck.splitlines(), ""]]
        self._ngspice_shared.ngSpice_Circ(ffi.new("char *[]", [*lines, ffi.NULL]))
        self.check()

    def plot(self) -> bytes:
        """Name of the current plot: "op7", "tran2", or "const" where no analysis left one."""
        return bytes(ffi.string(self._ngspice_shared.ngSpice_CurPlot()))

    def vector(self, plot: bytes, name: bytes) -> Any:
        """Pointer to a vector of a plot (v_realdata or v_compdata, v_length), or None where there is no such vector."""
        if name in _CONSTANTS and name not in self.vectors(plot):
            return None
        info = self._ngspice_shared.ngGet_Vec_Info(b"%b.%b" % (plot, name))
        return None if info == ffi.NULL or (info.v_realdata == ffi.NULL and info.v_compdata == ffi.NULL) else info

    def vectors(self, plot: bytes) -> list[bytes]:
        """Names of the vectors of a plot."""
        names = self._ngspice_shared.ngSpice_AllVecs(plot)
        found: list[bytes] = []
        while names[len(found)] != ffi.NULL:
            found.append(ffi.string(names[len(found)]))
        return found

    @staticmethod
    def array(info: Any) -> F64:
        """Copy of a vector that `vector` pointed to, shape (v_length,)."""
        return np.frombuffer(ffi.buffer(info.v_realdata, info.v_length * 8), dtype=np.float64).copy()

    @staticmethod
    def complex_array(info: Any) -> C128:
        """Copy of a vector of an ac analysis, shape (v_length,)."""
        return np.frombuffer(ffi.buffer(info.v_compdata, info.v_length * 16), dtype=np.complex128).copy()

    @contextmanager
    def driven(self, external: External | None) -> Iterator[None]:
        """While it lasts, `external` gives the voltages of external sources; they are 0 where it is None."""
        self._external, self._failure = external, None
        self._places.clear()
        try:
            yield
        finally:
            self._external, failure = None, self._failure
            self._failure = None
            if failure is not None:  # it came through C, which cannot pass it on
                raise failure

    def check(self) -> None:
        """Raises NgspiceDied if the library died, NgspiceError if a fork inherited it (spawn workers instead)."""
        if self.dead:
            raise NgspiceDied(self.dead, log="\n".join(self.lines))
        if os.getpid() != self.pid:
            raise NgspiceError("libngspice was loaded before this process was forked; start workers by spawn")

    def exec_command(self, command: str, join_lines: bool = True) -> Any:
        """PySpice's own way in, which it uses while starting: output as text, stderr not taken for failure."""
        self.lines.clear()
        self._ngspice_shared.ngSpice_Command(command.encode())
        return "\n".join(self.lines) if join_lines else list(self.lines)

    def _get_version(self) -> None:
        super()._get_version()
        SIMULATION_TYPE.setdefault(self._ngspice_version, SIMULATION_TYPE["last"])  # PySpice knows none after 34

    @staticmethod
    def _send_char(message: Any, ngspice_id: int, user_data: Any) -> int:
        self = ffi.from_handle(user_data)
        self.lines.append(ffi.string(message).decode("utf-8", "replace").partition(" ")[2])
        return 0

    @staticmethod
    def _get_vsrc_data(voltage: Any, time: float, source: Any, ngspice_id: int, user_data: Any) -> int:
        self = ffi.from_handle(user_data)
        voltage[0] = 0.0
        if self._external is not None:
            try:
                voltage[0] = self._external.value(ffi.string(source).decode(), time)
            except BaseException as error:  # noqa: BLE001 (raised again when C has returned)
                self._failure = self._failure or error
        return 0

    @staticmethod
    def _send_data(data: Any, count: int, ngspice_id: int, user_data: Any) -> int:
        self = ffi.from_handle(user_data)
        if self._external is not None and self._failure is None:
            if not self._places:
                self._places.update((ffi.string(data.vecsa[i].name).decode().lower(), i) for i in range(count))

            def read(name: str) -> float:
                if name not in self._places:
                    raise NgspiceError(f"the transient has no vector {name!r} among those saved")
                return float(data.vecsa[self._places[name]].creal)

            try:
                now = read("time")
                for instant in self._external.accepted(now, read):
                    if not (instant > now and self._ngspice_shared.ngSpice_SetBkpt(instant)):
                        raise NgspiceError(f"no step can end at {instant!r} s, asked for at {now!r} s")
            except BaseException as error:  # noqa: BLE001 (raised again when C has returned)
                self._failure = error
        return 0

    @staticmethod
    def _send_stat(message: Any, ngspice_id: int, user_data: Any) -> int:
        return 0

    @staticmethod
    def _send_init_data(data: Any, ngspice_id: int, user_data: Any) -> int:
        return 0

    @staticmethod
    def _exit(status: int, immediate: bool, by_quit: bool, ngspice_id: int, user_data: Any) -> int:
        self = ffi.from_handle(user_data)
        why = fatal_line(self.lines) or "nothing"
        self.dead = f"libngspice gave up with status {status} and cannot be used again in this process; it said: {why}"
        return status


@contextmanager
def _no_user_files() -> Iterator[None]:
    """An empty home and working folder, so that no .spiceinit of the user is read."""
    home, folder = os.environ.get("HOME"), os.getcwd()
    with tempfile.TemporaryDirectory(prefix="amcsim-") as empty:
        os.environ["HOME"] = empty
        os.chdir(empty)
        try:
            yield
        finally:
            os.chdir(folder)
            if home is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = home


_library: Library | None = None


def library() -> Library:
    """The process's library, loaded at the first call. Raises NgspiceError."""
    global _library
    if _library is None:
        _library = Library()
    _library.check()
    return _library


def library_version() -> int:
    """Major version of the process's libngspice, such as 39. Raises NgspiceError."""
    version = library().ngspice_version
    if version is None:
        raise NgspiceError(f"libngspice at {library_path()} does not say its version")
    return int(version)
