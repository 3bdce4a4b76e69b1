"""A bench of many 1T1R cells in one ngspice deck: pulses and reads, each cell with its own voltages and state.

The deck holds a fixed number of slots; cells pass through them, so that any number runs in one persistent session.
The state is carried from run to run: the gap after a pulse holds the state node, through 1 S, until the next begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

import numpy as np

from amcsim._types import F64
from amcsim.access import on_resistance
from amcsim.ngspice import Session, session_for
from amcsim.specs import CellSpec, SpecError

__all__ = ["LIBRARIES", "CellBench", "Pulsed", "library_hashes", "require_transistor"]

LIBRARIES = ("nmos_350n", "rram_gap", "rram_1t1r")
"""Libraries of circuits/ that a programmed cell consists of."""
_HOLD, _DELAY = 1e-9, 2e-9
"""The state is held until 1 ns, free from 2 ns on, when the pulse begins."""


@dataclass(frozen=True, eq=False)
class Pulsed:
    """What a pulse did to k cells."""

    gap: F64
    """State after it, (k,), nm."""
    energy: F64
    """Energy from bit-line and source-line drivers, (k,), J."""


def require_transistor(cell: CellSpec) -> CellSpec:
    """The cell, if it can be programmed. Raises SpecError for one without an access transistor."""
    if cell.access == "none":
        raise SpecError('cell.access = "none": a cell is programmed through its transistor (allowed: "nmos_350n")')
    on_resistance(cell)
    return cell


def library_hashes() -> dict[str, str]:
    """SHA-256 of each library's circuit, comments left out: what a calibration was made with."""
    folder = files("amcsim.circuits")
    texts = {name: (folder / f"{name}.lib").read_text(encoding="utf-8").splitlines() for name in LIBRARIES}
    circuits = {name: "\n".join(line for line in lines if not line.startswith("*")) for name, lines in texts.items()}
    return {f"{name}.lib": sha256(text.encode()).hexdigest() for name, text in circuits.items()}


def library_text() -> str:
    """The libraries, as text."""
    folder = files("amcsim.circuits")
    return "\n".join((folder / f"{name}.lib").read_text(encoding="utf-8").rstrip() for name in LIBRARIES)


def cell_lines(cell: CellSpec, k: int, temperature: float) -> str:
    """Cell k between nodes b{k}, s{k}, w{k} and its state node g{k}, held at vi{k} while h is 1 V."""
    return (
        f"Xc{k} b{k} s{k} w{k} bulk g{k} cell_1t1r_gap w={cell.w!r} l={cell.l!r} t0={temperature!r}\n"
        f"Vi{k} i{k} 0 0.5\nBh{k} g{k} 0 I=V(h)*(V(g{k})-V(i{k}))"
    )


def deck_head(cell: CellSpec, temperature: float) -> str:
    """Title, libraries, bulk, the holding signal, options."""
    return (
        f"programmed 1T1R cells\n{library_text()}\nVbulk bulk 0 {cell.bulk!r}\n"
        f"Vh h 0 pwl(0 1 {_HOLD!r} 1 {_DELAY!r} 0)\n.options reltol=1e-3 abstol=1p temp={temperature - 273.15!r}"
    )


class CellBench:
    """1T1R cells pulsed and read in ngspice, `slots` at a time.

    `width` and `edge` of a pulse in s; `temperature` in K, ambient of device and transistor. Word-lines rise before a
    pulse and fall after it. Cells of one transient share its time steps: what a cell does depends on its neighbours by
    the tolerance of the integration (1e-3), and many slots cost many steps. A write-verify pulse takes 5.2, 5.0, 6.0,
    8.8 and 14.8 ms with 4, 8, 16, 32 and 64 slots.
    Raises SpecError for a cell without transistor; all methods raise NgspiceError.
    """

    def __init__(
        self,
        cell: CellSpec,
        slots: int = 8,
        *,
        width: float = 100e-9,
        edge: float = 10e-9,
        temperature: float = 300.15,
    ) -> None:
        self.cell = require_transistor(cell)
        self.slots = slots
        self.width, self.edge = width, edge
        lines = [deck_head(cell, temperature), "Vread r 0 0"]
        for k in range(slots):
            lines += [
                f"Vb{k} b{k} r pulse({' '.join(map(repr, self._pulse(0.0)))})",
                f"Vs{k} s{k} 0 pulse({' '.join(map(repr, self._pulse(0.0)))})",
                f"Vw{k} w{k} 0 0",
                cell_lines(cell, k, temperature),
            ]
        saved = [f"v(g{k}) i(vb{k}) i(vs{k})" for k in range(slots)]
        self.deck = "\n".join([*lines, *(f".save {text}" for text in saved), ".end"])

    def pulse(self, gap: F64, *, bl: F64, sl: F64, wl: F64, speed: F64 | float = 1.0, chi: F64 | float = 0.0) -> Pulsed:
        """One pulse on k cells of states gap (k,), nm: bit-lines to bl, source-lines to sl, word-lines at wl, V.

        `speed` and `chi` (1/us) are the variation of each, as in circuits/rram_gap.lib.
        """
        columns = [np.broadcast_to(values, gap.shape) for values in (gap, bl, sl, wl, speed, chi)]
        parts = [self._pulse_slots(*part) for part in self._parts(columns)]
        return Pulsed(np.concatenate([p.gap for p in parts]), np.concatenate([p.energy for p in parts]))

    def read(self, gap: F64, v: float) -> F64:
        """Currents (k,), A, of cells of states gap (k,), nm, bit-lines at v (V), word-lines on: operating points."""
        return np.concatenate([self._read_slots(part, v) for (part,) in self._parts([gap])])

    def _parts(self, columns: Sequence[F64]) -> Iterator[list[F64]]:
        """The columns, a bench's worth of rows at a time."""
        for k in range(0, columns[0].size, self.slots):
            yield [column[k : k + self.slots] for column in columns]

    def _pulse_slots(self, gap: F64, bl: F64, sl: F64, wl: F64, speed: F64, chi: F64) -> Pulsed:
        k = gap.size
        session = self._set(gap, wl, 0.0, speed, chi, bl, sl)
        names = [name for i in range(k) for name in (f"g{i}", f"i(vb{i})", f"i(vs{i})")]
        stop = _DELAY + self.width + 3 * self.edge
        found = session.tran(min(5e-9, self.width / 20), stop, names, max_step=0.4 * self.width)
        time = found["time"]
        corners = _DELAY + np.array([0.0, self.edge, self.edge + self.width, 2 * self.edge + self.width])
        shape = np.interp(time, corners, [0.0, 1.0, 1.0, 0.0])
        power = [-shape * (bl[i] * found[f"i(vb{i})"] + sl[i] * found[f"i(vs{i})"]) for i in range(k)]
        return Pulsed(np.array([found[f"g{i}"][-1] for i in range(k)]), np.trapezoid(power, time, axis=1))

    def _read_slots(self, gap: F64, v: float) -> F64:
        wl = np.full(gap.size, self.cell.wordline)
        session = self._set(gap, wl, v, np.ones(gap.size), np.zeros(gap.size), np.zeros(gap.size), np.zeros(gap.size))
        return -session.op([f"i(vb{i})" for i in range(gap.size)])

    def _set(self, gap: F64, wl: F64, v_read: float, speed: F64, chi: F64, bl: F64, sl: F64) -> Session:
        """The session with the first slots set so, and the others idle."""
        session = session_for(self.deck)
        values = {"vread": v_read}
        for name, column, idle in (
            ("vi{}", gap, 0.5),
            ("vw{}", wl, 0.0),
            ("v.xc{}.xr.vspeed", speed, 1.0),
            ("v.xc{}.xr.vchi", chi, 0.0),
        ):
            values |= {name.format(i): float(column[i]) if i < gap.size else idle for i in range(self.slots)}
        session.alter(values)
        for name, column in (("vb", bl), ("vs", sl)):
            for i in range(self.slots):
                session.alter_pulse(f"{name}{i}", self._pulse(float(column[i]) if i < gap.size else 0.0))
        return session

    def _pulse(self, volts: float) -> tuple[float, ...]:
        return 0.0, volts, _DELAY, self.edge, self.edge, self.width, 1.0
