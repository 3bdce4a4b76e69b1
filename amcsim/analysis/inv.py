"""The INV circuit in ngspice: operating points and transients on a persistent session, values altered in place."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from amcsim._types import F64
from amcsim.analysis.waveforms import Waveforms
from amcsim.netlist.deck import RISE_TIME, Deck, alterations, deck_text
from amcsim.ngspice.session import Session, session_for
from amcsim.realisation import Realisation, realise
from amcsim.specs import Spec
from amcsim.streams import Key
from amcsim.topology.inv import inv_network

__all__ = ["inv_deck", "operating_points", "transient"]


def inv_deck(spec: Spec, r: Realisation, b: F64, expected: tuple[F64, F64], title: str = "INV") -> Deck:
    """The deck of one drawn INV circuit with input voltages b, (m,), expecting outputs (x, xn), (m,) each."""
    return Deck(inv_network(r.offset.shape[-1], spec), spec, r, b, expected, title)


@lru_cache(maxsize=16)
def _session_text(m: int, spec: Spec) -> str:
    """One deck for all realisations of a technology and size: every cell at the floor, every input at rest."""
    rest = spec.replace(programming={"model": "ideal"}, opamp={"offset_sigma": 0.0}, inverter={"mismatch_sigma": 0.0})
    r = realise(np.eye(m), rest, Key(0))
    zero = np.zeros(m)
    return deck_text(inv_deck(spec, r, zero, (zero, zero), f"INV {m}x{m}, altered in a session"))


def _loaded(deck: Deck) -> Session:
    session = session_for(_session_text(deck.inputs.size, deck.spec))
    session.alter(alterations(deck))
    return session


def operating_points(spec: Spec, r: Realisation, b: F64) -> F64:
    """Voltages (x, xn, v, q) of ngspice's operating points for input voltages b, (m, k): (4m, k), V.

    NaN for a column without convergence; whether a point is the answer is the verdict's business.
    Raises NgspiceError where ngspice cannot run the circuit at all.
    """
    from amcsim.ngspice.messages import NgspiceError

    m, k = b.shape
    names = [f"v({n}{i}{s})" for n, s in (("x", ""), ("xn", ""), ("sl", ""), ("xi", ".q")) for i in range(m)]
    zero = np.zeros(m)
    session = _loaded(inv_deck(spec, r, zero, (zero, zero)))
    found = np.full((4 * m, k), np.nan)
    for column in np.flatnonzero(np.isfinite(b).all(axis=0)):
        session.alter({f"vin{i}": -v for i, v in enumerate(b[:, column].tolist())})
        try:
            found[:, column] = _settled_op(session, names)
        except NgspiceError as error:
            if session.dead:
                raise NgspiceError(f"ngspice died in an operating point: {error}") from error
    return found


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
    spec: Spec,
    r: Realisation,
    b: F64,
    stop: float,
    *,
    step: float | None = None,
    from_rest: bool = False,
    delay: float = 0.0,
) -> Waveforms:
    """Step response to input voltages b, (m,), to `stop` (s): x, xn and summing nodes.

    From the circuit's own DC point with zero input, or, `from_rest`, from all voltages at zero (clipped start-up).
    The time step is at most `step` (default stop/200: it gives settling times to 1 %). Raises NgspiceError.
    """
    m = b.size
    zero = np.zeros(m)
    deck = replace(inv_deck(spec, r, b, (zero, zero)), step_delay=delay)
    session = _loaded(deck)
    for i, v in enumerate(b.tolist()):
        session.alter_pulse(f"vin{i}", (0.0, -v, delay, RISE_TIME, RISE_TIME, 1.0, 2.0))
    limit = stop / 200 if step is None else step
    names = [f"v({n}{i})" for n in ("x", "xn", "sl") for i in range(m)]
    found = session.tran(limit, stop, names, max_step=limit, uic=from_rest)
    time = found.pop("time")
    return Waveforms(time, found, delay)
