"""A persistent ngspice: one deck, many solves, values altered in place (0.1 to 1 ms a 4x4 solve).

libngspice is global, so a process has one library and the session that loaded last owns it; workers are spawned, not
forked. A solve cannot be timed out from inside its process: whoever needs that kills the worker (runs/ does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from amcsim._types import F64

from .messages import NgspiceError, fatal_line

if TYPE_CHECKING:
    from .library import Library

__all__ = ["Session", "session_for"]

_COMMAND_LENGTH = 900
"""Characters of a command line; ngspice's buffer ends near 1024."""


class Session:
    """A deck loaded into libngspice.

    Opens the process's library (NgspiceError where it cannot). A session whose circuit was replaced by another session's
    raises NgspiceError; after a failed solve it stays usable; after the library itself died every call raises.
    """

    def __init__(self) -> None:
        from .library import library

        self._library: Library = library()
        self._loaded = False

    def load(self, deck: str) -> None:
        """Parse a deck (title in the first line, no .control section), replacing the circuit before.

        Raises NgspiceError with ngspice's complaint; a deck with an undefined parameter kills the library for good.
        """
        library = self._library
        library.lines.clear()
        if library.owner is not None:
            library.owner = None
            library.command(b"remcirc")
            library.lines.clear()
        self._loaded = False
        library.circuit(deck)
        complaint = fatal_line(library.lines)
        if complaint is not None:
            log = "\n".join(library.lines)
            library.command(b"remcirc")
            raise NgspiceError(f"ngspice refused the deck: {complaint}", log=log)
        library.owner = self
        self._loaded = True

    def alter(self, values: Mapping[str, float]) -> None:
        """Set device values by ngspice's names: `{"r.xc0_0.rr": 5000.0, "v.xa0.vos": 1e-3, "vin0": -0.1}` (ohm, V, F).

        Raises NgspiceError for a device that the deck does not hold (the other values are set then).
        """
        self._own()
        library = self._library
        library.lines.clear()
        line: list[str] = []
        length = 0
        for name, value in values.items():
            command = f"alter {name} = {float(value)!r}"
            if length + len(command) > _COMMAND_LENGTH:
                library.command(";".join(line).encode())
                line, length = [], 0
            line.append(command)
            length += len(command) + 1
        if line:
            library.command(";".join(line).encode())
        if library.lines:
            self._raise_if_fatal("alter")

    def op(self, vectors: Sequence[str]) -> F64:
        """Operating point: values of the vectors (`v(x0)`, `x0`, `i(vdd)`), shape (len(vectors),), V or A.

        Raises NgspiceError without convergence, for an unknown vector, for NaN.
        """
        library = self._run(b"op")
        values = np.empty(len(vectors))
        for k, name in enumerate(vectors):
            values[k] = self._vector(name, "op").v_realdata[0]
        library.command(b"destroy all")
        if not np.isfinite(values).all():
            raise NgspiceError(f"op gave a value that is not finite in {vectors[int(np.argmin(np.isfinite(values)))]}")
        return values

    def tran(
        self, step: float, stop: float, vectors: Sequence[str], *, max_step: float | None = None, uic: bool = False
    ) -> dict[str, F64]:
        """Transient from 0 to `stop` (s): arrays of the vectors by name, and their common "time".

        `step` (s) also caps the time step where `max_step` is absent. Raises NgspiceError as `op`.
        """
        command = (
            f"tran {step!r} {stop!r}" + (f" 0 {max_step!r}" if max_step is not None else "") + (" uic" if uic else "")
        )
        library = self._run(command.encode())
        result: dict[str, F64] = {}
        for name in ("time", *vectors):
            info = self._vector(name, "tran")
            result[name] = library.array(info)
        library.command(b"destroy all")
        for name, data in result.items():
            if not np.isfinite(data).all():
                raise NgspiceError(f"tran gave values that are not finite in {name}")
        return result

    @property
    def messages(self) -> tuple[str, ...]:
        """What ngspice said during the last call."""
        return tuple(self._library.lines)

    def close(self) -> None:
        """Drop the circuit; the library stays for the next session."""
        if self._library.owner is self:
            self._library.owner = None
            if not self._library.dead:
                self._library.command(b"remcirc")
        self._loaded = False

    def _own(self) -> None:
        self._library.check()
        if self._library.owner is not self:
            why = "another session loaded its own circuit since" if self._loaded else "no circuit is loaded"
            raise NgspiceError(f"this ngspice session cannot run: {why}")

    def _run(self, command: bytes) -> Library:
        self._own()
        library = self._library
        library.lines.clear()
        library.command(command)
        self._raise_if_fatal(command.decode().split()[0])
        return library

    def _raise_if_fatal(self, what: str) -> None:
        complaint = fatal_line(self._library.lines)
        if complaint is not None:
            log = "\n".join(self._library.lines)
            self._library.command(b"destroy all")
            raise NgspiceError(f"{what} failed: {complaint}", log=log)

    def _vector(self, name: str, what: str) -> Any:
        info = self._library.vector(_ngspice_name(name))
        if info is None:
            self._library.command(b"destroy all")
            raise NgspiceError(f"{what} has no vector {name!r}")
        return info


_sessions: dict[str, Session] = {}


def session_for(deck: str) -> Session:
    """The process's session with this deck loaded; parses only when the deck differs from the one loaded last."""
    session = _sessions.get(deck)
    if session is None or session._library.owner is not session:
        _sessions.clear()
        session = Session()
        session.load(deck)
        _sessions[deck] = session
    return session


@lru_cache(maxsize=4096)
def _ngspice_name(name: str) -> bytes:
    """The name ngspice itself gives a vector: v(x) is x, i(vdd) is vdd#branch."""
    text = name.strip().lower()
    if text.startswith("v(") and text.endswith(")"):
        text = text[2:-1]
    elif text.startswith("i(") and text.endswith(")"):
        text = f"{text[2:-1]}#branch"
    return text.encode()
