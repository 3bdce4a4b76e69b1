"""What small-signal analyses share: the circuit linearised at its operating point, by nodal equations or in ngspice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal, TypeVar

import numpy as np

from amcsim._types import C128, F64
from amcsim.analysis.array import array_deck, loaded
from amcsim.netlist.conditions import NOMINAL, Conditions
from amcsim.netlist.deck import OPTIONS, Deck, deck_text
from amcsim.ngspice.messages import NgspiceError
from amcsim.ngspice.session import Session, session_for
from amcsim.nodal.build import build
from amcsim.nodal.loop import LoopModel
from amcsim.nodal.response import SmallSignal
from amcsim.realisation import Realisation
from amcsim.specs import CellSpec, Spec
from amcsim.topology.circuit import Topology

__all__ = ["AnalysisError", "Backend", "Problem", "decibel", "series_resistance"]

Backend = Literal["nodal", "ngspice"]
_Found = TypeVar("_Found")


class AnalysisError(RuntimeError):
    """An analysis has no answer: one sentence."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One drawn circuit, its inputs, and under which conditions it is analysed."""

    topology: Topology
    spec: Spec
    realisation: Realisation
    """Unbatched."""
    b: F64
    """Input voltages, (inputs,), V."""
    conditions: Conditions = NOMINAL

    @property
    def title(self) -> str:
        """Circuit and shape, and the conditions where they are not nominal."""
        m, n = self.realisation.g_pos.shape
        where = self.conditions
        text = "" if where.temperature == 27.0 else f", {where.temperature:g} C"
        return f"{self.topology.name.upper()} {m}x{n}{text}{'' if where.process == 'typical' else f', {where.process}'}"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Nodes of the answers: x0, x1, ..."""
        return tuple(f"{self.topology.outputs[0]}{i}" for i in range(self.realisation.g_pos.shape[0]))

    @property
    def loops(self) -> tuple[str, ...]:
        """Names of the amplifiers: a0, a1, ..., and of the inverters': i0, i1, ..."""
        m, n = self.realisation.g_pos.shape
        net = self.topology.network(m, n, self.spec)
        return (*net.amplifiers.names, *net.inverters.names)

    @property
    def kelvin(self) -> float:
        """Temperature, K."""
        return self.conditions.temperature + 273.15

    def backend(self, wanted: Backend | None) -> Backend:
        """The one wanted, or nodal equations where there are any. Raises SpecError where there are none."""
        if wanted is None:
            return "ngspice" if self.spec.opamp.transistors else "nodal"
        if wanted == "nodal":
            self.spec.require_equations("nodal")
        return wanted

    @property
    def series(self) -> float | None:
        """Resistance of the access transistors for `nodal.build`: None leaves it to the analytic card."""
        return None if self.conditions == NOMINAL else series_resistance(self.spec.cell, self.conditions)

    def model(self) -> LoopModel:
        """The nodal model, cells linearised where the inputs put them.

        Amplifiers count as linear: within their swing. Raises AnalysisError where the circuit has no such point.
        """
        model = build(self.topology, self.spec, self.realisation, self.series)
        point = model.operating_point(self.b[:, None])
        if not point.converged[0]:
            raise AnalysisError(
                f"{self.title}: these inputs drive the amplifiers beyond their limits, where nothing is small-signal"
            )
        return model.at(point.u[:, 0], self.b)

    def small_signal(self, frequencies: F64) -> SmallSignal:
        """The model over frequency. Raises AnalysisError."""
        return SmallSignal(self.model(), frequencies)

    def _deck(self, noise: bool) -> Deck:
        where = Conditions(self.conditions.temperature, self.conditions.process, noise)
        return array_deck(self.topology, self.spec, self.realisation, self.b, conditions=where)

    def session(self, *, noise: bool = False) -> Session:
        """The process's ngspice session with this circuit loaded and altered. Raises NgspiceError."""
        return loaded(self.topology, self._deck(noise))

    def _settled_session(self, noise: bool) -> Session:
        """A session whose deck holds the operating point of all nodes: each analysis finds it in a few iterations.

        A 16x16 with amplifiers of transistors takes 6 of them instead of 600.
        """
        volts = self.settled(Session.node_voltages, noise=noise)
        hints = [f".nodeset v({node})={v:.9g}" for node, v in volts.items()]
        return session_for(deck_text(self._deck(noise), hints))

    def sources(self, volts: F64) -> dict[str, float]:
        """Amplitudes of the deck's sources for input voltages, (inputs,)."""
        m, n = self.realisation.g_pos.shape
        names = self.topology.network(m, n, self.spec).sources.names
        values = self.topology.drive(m, n) @ volts
        return {f"v{name}": v for name, v in zip(names, values.tolist(), strict=True) if v}

    def ac(self, frequencies: F64, vectors: Sequence[str], sources: Mapping[str, float]) -> C128:
        """What ngspice answers to sources of that ac amplitude, (len(vectors), f). Raises NgspiceError."""
        return self.settled(lambda session: session.ac(frequencies, vectors, sources))

    def settled(self, analysis: Callable[[Session], _Found], *, noise: bool = False, repeated: bool = False) -> _Found:
        """An ngspice analysis around an operating point. Raises NgspiceError, also where there is no such point.

        `repeated`: it has several runs around the same point, which is then looked for once.
        After all stepping failed ngspice takes a transient's end, maybe a false point; the second try starts there.
        """
        session = self._settled_session(noise) if repeated else self.session(noise=noise)
        for _ in range(2):
            found = analysis(session)
            if not any("Transient op finished" in line for line in session.messages):
                return found
        raise NgspiceError(f"{self.title}: ngspice found no operating point to work around")


@lru_cache(maxsize=64)
def series_resistance(cell: CellSpec, conditions: Conditions) -> float:
    """Resistance of the conducting access transistor under those conditions, ohm, as ngspice has it (0 without one)."""
    if cell.access == "none":
        return 0.0
    card = conditions.applied((files("amcsim.circuits") / f"{cell.access}.lib").read_text(encoding="utf-8"), Spec())
    lines = [
        "access transistor",
        card,
        f"Vg g 0 {cell.wordline:.12g}",
        f"Vb b 0 {cell.bulk:.12g}",
        "Vd d 0 1m",
        f"Mn d g 0 b {cell.access} w={cell.w:.12g} l={cell.l:.12g}",
        OPTIONS,
        *conditions.options,
        ".end",
        "",
    ]
    return -1e-3 / float(session_for("\n".join(lines)).op(["i(vd)"])[0])


def decibel(values: C128 | F64) -> F64:
    """20 log10 |values|; -inf where there is none."""
    with np.errstate(divide="ignore"):
        level: F64 = 20 * np.log10(np.abs(values).astype(np.float64))
    return level
