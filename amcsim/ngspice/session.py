"""A persistent ngspice: one deck, many solves, values altered in place (about 1 ms a 4x4 solve).

libngspice is global, so a process has one library and the session that loaded last owns it; workers are spawned, not
forked. A solve cannot be timed out from inside its process: whoever needs that kills the worker (runs/ does).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from amcsim._types import C128, F64

from .dialect import KLU_LINES, KLU_VERSION, adapted
from .frequencies import sweep_words
from .messages import NgspiceError, fatal_line
from .trust import command_line

if TYPE_CHECKING:
    from .external import External
    from .library import Library

__all__ = ["Session", "session_for"]

_COMMAND_LENGTH = 900
"""Characters of a command line; ngspice's buffer ends near 1024."""

_ROUTINE = "Doing analysis at TEMP", "No. of Data Rows", "Note: v"
"""How lines begin that ngspice says of every dc analysis."""

_PAUSED = re.compile(r"doAnalyses:|simulation interrupted|condition met: stop")
"""What ngspice says when a breakpoint that we set stops an analysis; without one these lines tell a failure.

After doAnalyses comes "pause requested", or an older error's text that ngspice kept."""


class Session:
    """A deck loaded into libngspice.

    Opens the process's library (NgspiceError where it cannot). A session whose circuit another session replaced raises
    NgspiceError; after a failed solve a session stays usable; after the library itself died every call raises.
    """

    def __init__(self) -> None:
        from .library import library, library_version

        self._library: Library = library()
        self._deck: str | None = None
        self._values: dict[str, float] = {}
        self._held: Mapping[str, float] | None = None
        """The values set last, if nothing of them has been altered since."""
        self._waveforms: dict[str, tuple[str, tuple[float, ...]]] = {}
        self._version = library_version()
        self._klu = False
        """Whether the circuit is solved by KLU: a large one that it has not failed on yet."""
        self._stale = False
        """Whether the circuit must be parsed again before the next run: once gmin stepping failed, ngspice 39 keeps a
        conductance of 1e-12 S on the diagonal for good, and later answers would depend on that history."""

    def load(self, deck: str) -> None:
        """Parse a deck (title in the first line, no .control section), replacing the circuit before.

        Raises NgspiceError with ngspice's complaint. An undefined parameter, in ngspice 46 a missing include too, kills
        the library for good.
        """
        if command_line(deck) is not None:
            raise NgspiceError("a session's deck must not hold a .control section: the session gives the commands")
        self._klu = self._version >= KLU_VERSION and deck.count("\n") >= KLU_LINES
        self._parse(deck)
        self._values.clear()
        self._held = None
        self._waveforms.clear()

    def _parse(self, deck: str) -> None:
        library = self._library
        library.lines.clear()
        self._deck = None
        if library.owner is not None:
            library.owner = None
            library.command(b"remcirc")
            library.lines.clear()
        library.circuit(adapted(deck, self._version, klu=self._klu))
        complaint = fatal_line(library.lines)
        if complaint is not None:
            log = "\n".join(library.lines)
            library.command(b"remcirc")  # a circuit that is half there, or none at all
            raise NgspiceError(f"ngspice refused the deck: {complaint}", log=log)
        library.owner = self
        self._deck = deck
        self._stale = False

    def alter(self, values: Mapping[str, float]) -> None:
        """Set device values by ngspice's names: `{"r.xc0_0.rr": 5000.0, "v.xa0.vos": 1e-3, "vin0": -0.1}` (ohm, V, F).

        Only values that differ from those set before are sent; a MappingProxyType, which is taken not to change, is
        not even looked at again before other values are set.
        Raises NgspiceError for a device that the deck does not hold, ValueError for a value that is not finite or a
        name that is no device's; none of the values is set then.
        """
        if values is self._held:
            return
        for name, value in values.items():
            if not math.isfinite(value):
                raise ValueError(f"{name} = {value!r} cannot be set: the value must be finite")
        known, self._held = self._values, None
        named = ((_device(name), float(value)) for name, value in values.items())
        changed = {name: value for name, value in named if known.get(name) != value}
        self._command_all([f"alter {name} = {value!r}" for name, value in changed.items()])
        known.update(changed)
        if isinstance(values, MappingProxyType):
            self._held = values

    def alter_pulse(self, source: str, pulse: Sequence[float]) -> None:
        """Replace the PULSE of a source: low, high (V), delay, rise, fall, width, period (s). Raises NgspiceError."""
        self.alter_waveform(source, "pulse", pulse)

    def alter_waveform(self, source: str, kind: Literal["pulse", "pwl", "exp"], numbers: Sequence[float]) -> None:
        """Give a source another waveform: what stands in the brackets of PULSE, PWL or EXP. Raises NgspiceError."""
        self._command_all([_waveform(source, kind, numbers)])
        self._waveforms[source] = kind, tuple(numbers)

    @property
    def dead(self) -> bool:
        """Whether the library died: every further call raises, and a new process is needed."""
        return bool(self._library.dead)

    def op(self, vectors: Sequence[str]) -> F64:
        """Operating point: values of the vectors (`v(x0)`, `x0`, `i(vdd)`), shape (len(vectors),), V or A.

        Raises NgspiceError without convergence, for an unknown vector, for NaN.
        """
        library, plot = self._run("op")
        values = np.empty(len(vectors))
        for k, name in enumerate(vectors):
            values[k] = self._vector(plot, name).v_realdata[0]
        library.command(b"destroy all")
        if not np.isfinite(values).all():
            raise NgspiceError(f"op gave a value that is not finite in {vectors[int(np.argmin(np.isfinite(values)))]}")
        return values

    def node_voltages(self) -> dict[str, float]:
        """Voltages (V) of all nodes at the operating point: as .nodeset they spare the next deck the search for it.

        Raises NgspiceError as `op`.
        """
        library, plot = self._run("op")
        names = [name.decode() for name in library.vectors(plot) if b"#" not in name]
        found = {name: float(self._vector(plot, name).v_realdata[0]) for name in names}
        library.command(b"destroy all")
        if not np.isfinite(list(found.values())).all():
            raise NgspiceError("op gave voltages that are not finite")
        return found

    def tran(
        self,
        step: float,
        stop: float,
        vectors: Sequence[str],
        *,
        max_step: float | None = None,
        uic: bool = False,
        external: External | None = None,
    ) -> dict[str, F64]:
        """Transient from 0 to `stop` (s): arrays of the vectors by name, and their common "time".

        `step` (s) also caps the time step where `max_step` is absent. `external` gives the voltages of the deck's
        external sources, which are 0 otherwise. Raises NgspiceError as `op`, and what `external` raised.
        """
        cap = "" if max_step is None else f" 0 {float(max_step)!r}"
        with self._library.driven(external):
            library, plot = self._run(f"tran {float(step)!r} {float(stop)!r}{cap}{' uic' if uic else ''}")
        result = {name: library.array(self._vector(plot, name)) for name in ("time", *vectors)}
        library.command(b"destroy all")
        for name, data in result.items():
            if not np.isfinite(data).all():
                raise NgspiceError(f"tran gave values that are not finite in {name}")
        return result

    def ac(self, frequencies: F64, vectors: Sequence[str], sources: Mapping[str, float]) -> C128:
        """Small-signal response at logarithmic `frequencies` (Hz, see `frequencies.decades`): (len(vectors), f), V or
        A.

        `sources`: the ac amplitude of each source that has one; all others are quiet. Raises NgspiceError as `op`.
        """
        with self._swinging(sources):
            library, plot = self._run(f"ac {sweep_words(frequencies)}")
            found = np.stack([library.complex_array(self._vector(plot, name)) for name in vectors])
            library.command(b"destroy all")
        return _checked(found, "ac", vectors)

    def noise(self, frequencies: F64, outputs: Sequence[str], source: str) -> F64:
        """Noise density at each output (`v(x0)`) at logarithmic `frequencies` (Hz), (len(outputs), f), V/sqrt(Hz).

        `source` is any voltage source of the deck: ngspice asks for one. Raises NgspiceError as `op`.
        """
        found = np.empty((len(outputs), frequencies.size))
        if self._klu:  # noise is refused under it
            self._klu, self._stale = False, True
        with self._swinging({source: 1.0}):
            for k, name in enumerate(outputs):
                if not re.fullmatch(r"v\([\w.#-]+\)", name):
                    raise ValueError(f"{name!r} is not the voltage of a node")
                library, plot = self._run(f"noise {name} {_device(source)} {sweep_words(frequencies)}")
                spectra = b"noise%d" % (int(plot[len("noise") :]) - 1)  # the last plot holds the integrals
                found[k] = library.array(self._vector(spectra, "onoise_spectrum"))
                library.command(b"destroy all")
        return _checked(found, "noise", outputs)

    def variations(self, source: str, devices: Sequence[str], values: F64, vectors: Sequence[str]) -> F64:
        """Operating points with `devices` altered to each row of values, (k, devices): (k, len(vectors)), V or A.

        A dc sweep of `source`, a source of its own that nothing depends on, paused at each point to alter the circuit:
        ngspice sets the circuit up and orders its matrix once, and each point starts from the one before. That is 3
        (4x4) to 5 times (16x16, wired) faster than `op`. Answers agree to ngspice's tolerance; their last digits
        depend on the rows before. NaN from the first row on that has no solution. Raises NgspiceError as `op` and
        `alter`.
        """
        found = np.full((len(values), len(vectors)), np.nan)
        if not np.isfinite(values).all():
            raise ValueError("values to alter must be finite")
        if found.size == 0:
            return found
        given = dict(self._values)
        self._refresh()
        held = self._held if self._held and self._held.keys().isdisjoint(devices) else None
        self.alter(dict(zip(devices, values[0].tolist(), strict=True)))
        self._held = held
        changing = np.flatnonzero((values != values[0]).any(axis=0)).tolist()
        names = [_device(devices[i]) for i in changing]
        texts = [
            [f"alter {n} = {v!r}" for n, v in zip(names, row, strict=True)] for row in values[:, changing].tolist()
        ]
        library = self._library
        library.command(b"save " + b" ".join(_ngspice_name(name) for name in vectors))
        for k in range(1, len(values)):
            library.command(b"stop after %d" % k)
        try:
            self._sweep(f"dc {_device(source)} 0 {max(len(values) - 1, 1)} 1", texts, vectors, found)
        finally:
            for name in names:  # what is set now depends on where the sweep ended
                self._values.pop(name, None)
            if not self.dead:
                library.command(b"delete all")
                library.command(b"destroy all")
        if self._klu and self._stale:
            self._klu, self._values, self._held = False, given, None
            return self.variations(source, devices, values, vectors)
        return found

    def _sweep(self, command: str, alterations: Sequence[Sequence[str]], vectors: Sequence[str], found: F64) -> None:
        """Run the sweep that breakpoints pause after each row, altering in between, and fill `found` at its end."""
        done = self._points(command, alterations)
        if done:
            plot = self._library.plot()
            for column, name in enumerate(vectors):
                found[:done, column] = self._library.array(self._vector(plot, name))[:done]

    def _points(self, command: str, alterations: Sequence[Sequence[str]]) -> int:
        """The sweep itself: how many rows have a solution before the first that has none."""
        library = self._library
        for k, texts in enumerate(alterations):
            if k:
                self._command_all(texts)
            library.lines.clear()
            library.command(b"resume" if k else command.encode())
            said = [line for line in library.lines if not line.startswith(_ROUTINE)]
            if any("condition met: stop" in line for line in said):
                said = [line for line in said if not _PAUSED.search(line)]
            complaint = fatal_line(said)
            self._stale = self._stale or complaint is not None or any("failed" in line for line in said)
            if complaint is not None:
                if k == 0:
                    raise NgspiceError(f"dc failed: {complaint}", log="\n".join(said))
                return k
            if any("Transient op finished" in line for line in said):
                return k  # sources had their waveforms' values there, not those asked for
        return len(alterations)

    @contextmanager
    def _swinging(self, sources: Mapping[str, float]) -> Iterator[None]:
        """With that ac amplitude of sources, which have none otherwise."""
        self._refresh()
        self._command_all([f"alter {_device(name)} ac = {float(size)!r}" for name, size in sources.items()])
        try:
            yield
        finally:
            if self.loaded:
                self._command_all([f"alter {_device(name)} ac = 0" for name in sources])

    @property
    def loaded(self) -> bool:
        """Whether this session's circuit is the one in the library."""
        return self._library.owner is self and not self._library.dead

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
        self._deck = None

    def _own(self) -> None:
        self._library.check()
        if self._library.owner is not self:
            why = "another session loaded its own circuit since" if self._deck is not None else "no circuit is loaded"
            raise NgspiceError(f"this ngspice session cannot run: {why}")

    def _command_all(self, commands: Sequence[str]) -> None:
        """Give `alter` commands, as many a line as ngspice takes."""
        self._own()
        library = self._library
        library.lines.clear()
        start = length = 0
        for k, command in enumerate(commands):
            if length + len(command) > _COMMAND_LENGTH:
                library.command(";".join(commands[start:k]).encode())
                start, length = k, 0
            length += len(command) + 1
        if commands:
            library.command(";".join(commands[start:]).encode())
        if library.lines:
            self._raise_if_fatal("alter")

    def _refresh(self) -> None:
        """Parse the circuit again where it is stale, and set what was altered."""
        self._own()
        if self._stale and self._deck is not None:
            self._parse(self._deck)
            values, self._values, self._held = self._values, {}, None
            self.alter(values)
            self._command_all([_waveform(source, *waveform) for source, waveform in self._waveforms.items()])

    def _run(self, command: str) -> tuple[Library, bytes]:
        """Run an analysis; the library and the plot that it left."""
        self._refresh()
        library = self._library
        library.lines.clear()
        library.command(command.encode())
        self._stale = any("failed" in line for line in library.lines)
        if self._stale and self._klu:
            self._klu = False
            return self._run(command)
        what = command.partition(" ")[0]
        self._raise_if_fatal(what)
        plot = library.plot()
        if not plot.startswith(what.encode()):
            raise NgspiceError(f"{what} left no result", log="\n".join(library.lines))
        return library, plot

    def _raise_if_fatal(self, what: str) -> None:
        complaint = fatal_line(self._library.lines)
        if complaint is not None:
            log = "\n".join(self._library.lines)
            self._library.command(b"destroy all")
            self._stale = True
            raise NgspiceError(f"{what} failed: {complaint}", log=log)

    def _vector(self, plot: bytes, name: str) -> Any:
        info = self._library.vector(plot, _ngspice_name(name))
        if info is None:
            self._library.command(b"destroy all")
            raise NgspiceError(f"the circuit has no vector {name!r}")
        return info


def _waveform(source: str, kind: str, numbers: Sequence[float]) -> str:
    """The command that gives a source that waveform."""
    return f"alter @{_device(source)}[{kind}] = [ {' '.join(repr(float(v)) for v in numbers)} ]"


_Values = TypeVar("_Values", F64, C128)


def _checked(found: _Values, what: str, names: Sequence[str]) -> _Values:
    """`found`, a row for each name. Raises NgspiceError where it is not finite."""
    bad = ~np.isfinite(found).all(axis=1)
    if bad.any():
        raise NgspiceError(f"{what} gave values that are not finite in {names[int(np.argmax(bad))]}")
    return found


_current: tuple[str, Session] | None = None


def session_for(deck: str) -> Session:
    """The process's session with this deck loaded; parses only when the deck differs from the one loaded last.

    Values altered before stay altered: set all that your solve depends on. Raises NgspiceError.
    """
    global _current
    if _current is None or _current[0] != deck or not _current[1].loaded:
        session = Session()
        session.load(deck)
        _current = deck, session
    return _current[1]


@lru_cache(maxsize=16384)
def _device(name: str) -> str:
    """The name as ngspice keeps it, seen to be one word that cannot be taken for a command. Raises ValueError."""
    if not re.fullmatch(r"[\w.#-]+", name):
        raise ValueError(f"{name!r} is not the name of a device")
    return name.lower()


@lru_cache(maxsize=4096)
def _ngspice_name(name: str) -> bytes:
    """The name ngspice itself gives a vector: v(x) is x, i(vdd) is vdd#branch."""
    text = name.strip().lower()
    if text.startswith(("v(@", "i(@", "v(")) and text.endswith(")"):
        text = text[2:-1]
    elif text.startswith("i(") and text.endswith(")"):
        text = f"{text[2:-1]}#branch"
    return text.encode()
