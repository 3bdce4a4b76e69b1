"""A circuit of an array in ngspice: operating points and transients on a session, values altered in place."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from amcsim._types import F64
from amcsim.analysis.waveforms import Waveforms
from amcsim.netlist.conditions import NOMINAL, Conditions
from amcsim.netlist.deck import RISE_TIME, Deck, alterations, deck_text
from amcsim.ngspice.session import Session, session_for
from amcsim.realisation import Realisation, realise
from amcsim.specs import Spec
from amcsim.streams import Key
from amcsim.topology.circuit import Topology

__all__ = ["array_deck", "loaded", "operating_points", "swept_points", "transient"]

_SWEPT = "Vsample sample 0 dc 0"
"""The source that Session.variations sweeps: nothing depends on it."""


def array_deck(
    topology: Topology,
    spec: Spec,
    r: Realisation,
    b: F64,
    expected: F64 | None = None,
    title: str | None = None,
    conditions: Conditions = NOMINAL,
) -> Deck:
    """The deck of one drawn circuit with input voltages b, (inputs,); outputs of all amplifiers expected (or 0)."""
    m, n = r.g_pos.shape
    network = topology.network(m, n, spec)
    if expected is None:
        expected = np.zeros(m * len(topology.outputs))
    title = title or topology.name.upper()
    return Deck(network, spec, r, topology.drive(m, n) @ b, expected, title, conditions=conditions)


@lru_cache(maxsize=16)
def _session_text(
    topology: Topology, m: int, n: int, spec: Spec, conditions: Conditions, more: tuple[str, ...] = ()
) -> str:
    """One deck for all realisations of a technology and size: every cell at the floor, every input at rest."""
    rest = spec.replace(programming={"model": "ideal"}, opamp={"offset_sigma": 0.0}, inverter={"mismatch_sigma": 0.0})
    r = realise(np.zeros((m, n)), rest, Key(0))
    zero = np.zeros(topology.drive(m, n).shape[1])
    title = f"{topology.name.upper()} {m}x{n}, altered in a session"
    return deck_text(array_deck(topology, spec, r, zero, title=title, conditions=conditions), [_SWEPT, *more])


def loaded(topology: Topology, deck: Deck, *more: str) -> Session:
    """The process's session with this deck's circuit in it, and `more` lines. Raises NgspiceError."""
    session = _session(topology, deck, more)
    session.alter(alterations(deck))
    return session


def _session(topology: Topology, deck: Deck, more: tuple[str, ...] = ()) -> Session:
    return session_for(_session_text(topology, *deck.realisation.g_pos.shape, deck.spec, deck.conditions, more))


def operating_points(topology: Topology, spec: Spec, r: Realisation, b: F64, conditions: Conditions = NOMINAL) -> F64:
    """Voltages of ngspice's operating points for input voltages b, (inputs, k): all outputs, then all senses, (2N, k).

    NaN for a column without convergence; whether a point is the answer is the verdict's business.
    Raises NgspiceError where ngspice cannot run the circuit at all, NgspiceDied where the library died of it.
    """
    from amcsim.ngspice.messages import NgspiceDied, NgspiceError

    deck = array_deck(topology, spec, r, np.zeros(b.shape[0]), conditions=conditions)
    net = deck.network
    names = [f"v({net.nodes[i]})" for group in (*topology.outputs, *topology.senses) for i in net.ports[group].tolist()]
    volts = topology.drive(*r.g_pos.shape) @ np.where(np.isfinite(b), b, 0.0)
    session = loaded(topology, deck)
    found = np.full((len(names), b.shape[1]), np.nan)
    for column in np.flatnonzero(np.isfinite(b).all(axis=0)):
        session.alter({f"v{n}": v for n, v in zip(net.sources.names, volts[:, column].tolist(), strict=True)})
        try:
            found[:, column] = _settled_op(session, names)
        except NgspiceDied:
            raise
        except NgspiceError:
            continue
    return found


def swept_points(topology: Topology, deck: Deck, volts: F64) -> F64:
    """Operating points as of `operating_points`, of a deck with source voltages volts, (k, sources): (2N, k), V.

    One dc sweep: the circuit is set up once, and each point starts from the one before, so that a 4x4 takes 0.25 ms
    instead of 1.5. From the first column on that has no solution all are NaN; `operating_points` may still find them,
    as it may find another solution where a column came after one at the rails. Raises NgspiceError, NgspiceDied.
    """
    net = deck.network
    names = [f"v({net.nodes[i]})" for group in (*topology.outputs, *topology.senses) for i in net.ports[group].tolist()]
    session = _session(topology, deck)
    session.alter(deck.drawn)
    return session.variations("vsample", [f"v{name}" for name in net.sources.names], volts, names).T


def _settled_op(session: Session, names: list[str]) -> F64:
    """An operating point for the inputs' DC values, (len(names),), V; NaN where ngspice keeps falling back.

    After all stepping failed ngspice takes the end of a transient, with the sources at their waveforms' values and not
    at the DC values asked for. That false point comes with no complaint; from there the next try converges.
    """
    for _ in range(2):
        values = session.op(names)
        if not any("Transient op finished" in line for line in session.messages):
            return values
    return np.full(len(names), np.nan)


def transient(
    topology: Topology,
    spec: Spec,
    r: Realisation,
    b: F64,
    stop: float,
    *,
    step: float | None = None,
    from_rest: bool = False,
    delay: float = 0.0,
    conditions: Conditions = NOMINAL,
) -> Waveforms:
    """Step response to input voltages b, (inputs,), to `stop` (s): all outputs and summing nodes.

    From the circuit's own DC point with zero input, or, `from_rest`, from all voltages at zero (clipped start-up).
    The time step is at most `step` (default stop/200: it gives settling times to 1 %). Raises NgspiceError.
    """
    deck = replace(array_deck(topology, spec, r, b, conditions=conditions), step_delay=delay)
    net = deck.network
    session = loaded(topology, deck)
    for name, v in zip(net.sources.names, deck.sources.tolist(), strict=True):
        session.alter_pulse(f"v{name}", (0.0, v, delay, RISE_TIME, RISE_TIME, 1.0, 2.0))
    limit = stop / 200 if step is None else step
    groups = (*topology.outputs, topology.senses[0])
    names = [f"v({net.nodes[i]})" for group in groups for i in net.ports[group].tolist()]
    found = session.tran(limit, stop, names, max_step=limit, uic=from_rest)
    time = found.pop("time")
    return Waveforms(time, found, delay)
