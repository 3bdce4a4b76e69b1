"""One read in ngspice: how long the answers take to settle, and the energy that supplies and inputs give until then."""

from __future__ import annotations

import math

import numpy as np

from amcsim._types import F64
from amcsim.analysis.array import array_deck, loaded
from amcsim.netlist.deck import RISE_TIME
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.circuit import Topology

__all__ = ["read"]

_POINTS = 150
"""Time steps, at least: they are a twentieth of the slowest time constant and less."""
_TRIES = 4


def read(topology: Topology, spec: Spec, r: Realisation, b: F64, end: F64, stop: float) -> tuple[float, float, float]:
    """(settling s, power W, energy J) of the step response to input voltages b, (inputs,), from no input.

    It settles when the answers' distance from `end`, (m,), V, the operating point's, stays within settling_tolerance of
    it (norms), counted from the step. Energy is what supplies and inputs gave until then, power what they give at the
    end of the transient, to `stop` (s) or up to eight times that, where it has not settled before; infinite and NaN
    where it has not then. Raises NgspiceError.
    """
    deck = array_deck(topology, spec, r, b)
    net = deck.network
    session = loaded(topology, deck)
    for name, v in zip(net.sources.names, deck.sources.tolist(), strict=True):
        session.alter_pulse(f"v{name}", (0.0, v, 0.0, RISE_TIME, RISE_TIME, 1.0, 2.0))
    outputs = [f"v({net.nodes[i]})" for i in net.ports[topology.outputs[0]].tolist()]
    currents = [f"i(v{name})" for name in ("dd", "ss", *net.sources.names)]
    for _ in range(_TRIES):
        found = session.tran(stop / _POINTS, stop, [*outputs, *currents], max_step=stop / _POINTS)
        time = found["time"]
        away = np.linalg.norm(topology.sign * np.stack([found[name] for name in outputs]) - end[:, None], axis=0)
        bound = spec.converters.settling_tolerance * max(float(np.linalg.norm(end)), 1e-9)
        outside = np.flatnonzero(away > bound)
        if outside.size == 0 or outside[-1] < time.size - 2:
            break
        stop *= 2
    else:
        return math.inf, math.nan, math.nan
    rails = np.array([spec.opamp.supply, -spec.opamp.supply])[:, None] + np.zeros(time.size)
    volts = np.concatenate([rails, deck.sources[:, None] * np.minimum(time / RISE_TIME, 1.0)])
    power = -(volts * np.stack([found[name] for name in currents])).sum(axis=0)
    settled = 0.0
    if outside.size:
        k = int(outside[-1])
        settled = float(np.interp(math.log(bound), np.log(away[[k + 1, k]]), time[[k + 1, k]]))
    before = time < settled
    at = float(np.interp(settled, time, power))
    energy = np.trapezoid(np.append(power[before], at), np.append(time[before], settled))
    return settled, float(power[-1]), float(energy)
