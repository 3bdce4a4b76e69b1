"""How long a solve takes and what it draws: settling time, power and energy of a read, batched over arrays and vectors.

The circuit around its answer, three states an amplifier (inverters included): integrator p, second pole y, inverting
input v. With x = y/(1 + Ro D) its output, D the conductance it drives, K and W the currents into the summing nodes per
volt at outputs and at themselves, C_fb the capacitor across it and C_s all at its input,

    p' = wu (Vos - v) - wu p/A0,   y' = w2 (p - y),   C_s v' = C_fb x' + K x + F u - W v,

at rest with its offsets before the inputs u step. The modes added up give the answers' distance from their end and the
amplifiers' currents. An amplifier that slews has p' = sr tanh(wu (Vos - v)/sr) instead: what that takes is a source on
the same modes, followed by exponential steps (Cox and Matthews, J. Comput. Phys. 176, 430 (2002), ETD2RK) until the
rest of the response is linear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from amcsim._types import C128, F64
from amcsim.access import channel_capacitances
from amcsim.netlist.deck import RISE_TIME
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.surrogate.model import Surrogate
from amcsim.surrogate.wires import transfer

__all__ = ["Reads", "quiescent_power", "reads"]

_TIMES = 320
"""Instants at which a response is looked at, 3 % apart."""
_SPAN = (2e-3, 30.0)
"""First and last of them, in time constants of the slowest mode."""
_LINEAR = 0.15
"""Share of its input range up to which an amplifier counts as linear: its slope is off by 1 % there."""
_STEP_ERROR = 1e-4
"""Of a step while amplifiers slew, relative to the largest output."""
_MOST_STEPS = 20_000
_CROSSOVER = 1e-6
"""Output current below which both halves of a class-B stage draw (circuits/opamp_behavioral.lib), A."""
_BLOCK = 2**22
"""Numbers held at a time."""


@dataclass(frozen=True)
class Reads:
    """Solves of a batch of arrays, (*batch, k) each; NaN where an array has no stable answer."""

    settling: F64
    """Time from the input step until the answers' norm stays within settling_tolerance of its end, s."""
    power: F64
    """Drawn from supplies and inputs from then on, W."""
    energy: F64
    """Drawn from them from the step until then, J. A read that lasts longer draws `power` for the rest of it."""
    rest: float
    """What of the power the amplifiers' quiescent currents are, W."""

    @property
    def signal_energy(self) -> F64:
        """Energy beyond that of the quiescent currents, J."""
        return self.energy - self.rest * self.settling


def reads(surrogate: Surrogate, spec: Spec, r: Realisation, volts: F64) -> Reads:
    """Settling, power and energy of drawn circuits, (*batch), answering input voltages (*batch, inputs, k).

    Curved cells count as linear, with their slopes at rest. Supplies are those of behavioural amplifiers; the others
    draw nothing from them. Raises DomainError outside the surrogate's domain.
    """
    batch, (m, n) = r.g_pos.shape[:-2], r.g_pos.shape[-2:]
    devices = np.stack([r.g_pos, r.g_neg], axis=-3).reshape(-1, 2, m, n)
    surrogate.require(spec, (m, n), devices, surrogate.circuit)
    flat = Realisation(*(part.reshape(-1, *part.shape[len(batch) :]) for part in vars(r).values()))
    u = volts.reshape(-1, *volts.shape[-2:])
    amplifiers = 2 * m if surrogate.circuit == "inv" else m
    size = max(1, _BLOCK // (3 * amplifiers * _TIMES * (1 + u.shape[2])))
    found = np.empty((3, len(u), u.shape[2]))
    for block in (np.arange(k, min(k + size, len(u))) for k in range(0, len(u), size)):
        found[:, block] = _read(_system(surrogate, spec, devices[block], flat[block]), spec, u[block])
    settling, power, energy = found.reshape(3, *batch, -1)
    return Reads(settling, power, energy, quiescent_power(spec, amplifiers))


def quiescent_power(spec: Spec, amplifiers: int) -> float:
    """What so many amplifiers draw at rest, W."""
    op = spec.opamp
    return 2 * op.supply * op.quiescent_current * amplifiers if op.model == "behavioral" else 0.0


@dataclass(frozen=True)
class _System:
    """States z = (p, y, v), or (p, v) without a second pole: dz/dt = a z + drive u + kick (wu vos + limit)."""

    a: F64
    """(n, s, s)"""
    drive: F64
    """(n, s, inputs)"""
    kick: F64
    """What one V/s at p' does, (n, s, A)."""
    vos: F64
    """(n, A), V."""
    seen: F64
    """Answers, senses and amplifiers' currents per distance of the states from their end, (n, m + 2A, s)."""
    steady: F64
    """Currents per volt of the states at their end, (n, A, s)."""
    kicked: F64
    """What one V/s at p' adds to the currents, (n, A, A)."""
    source: F64
    """Input power per squared volt, (n, inputs), W/V^2."""
    answers: int

    @cached_property
    def modes(self) -> tuple[C128, C128]:
        """Rates (n, s), 1/s, and vectors (n, s, s)."""
        rates, vectors = np.linalg.eig(self.a)
        return rates.astype(np.complex128), vectors.astype(np.complex128)

    def amounts(self, z: F64) -> C128:
        """Of the modes in states z, (n, s, k)."""
        try:
            found = np.linalg.solve(self.modes[1], z)
        except np.linalg.LinAlgError:  # a defective matrix has no full set of modes
            found = np.linalg.pinv(self.modes[1]) @ z
        return np.asarray(found, dtype=np.complex128)


def _system(surrogate: Surrogate, spec: Spec, devices: F64, r: Realisation) -> _System:
    count, _, m, n = devices.shape
    op, wire, inverter, rows = spec.opamp, spec.wire, spec.inverter, np.arange(m)
    currents = transfer(spec, surrogate.cell.conductance(devices))
    to_cells, within = currents[..., : 2 * n], currents[..., 2 * n :] + spec.g_unit * np.eye(m)
    inner, outer = channel_capacitances(spec.cell)
    line, at_sense = m * (wire.bl_capacitance + inner), 2 * n * (wire.sl_capacitance + outer)
    columns, every = to_cells.sum(axis=1), np.ones((count, 1, 1))
    if surrogate.circuit == "mvm":
        gain, load, vos, line = every * spec.g_unit * np.eye(m), np.full((count, m), spec.g_unit), r.offset, 0.0
        drive, source = to_cells[..., :n] - to_cells[..., n:], columns[:, :n] + columns[:, n:]
        across, shunt = np.full(m, op.feedback_capacitance), np.full(m, wire.summing_capacitance + at_sense)
    else:
        one, back = 1.0 / inverter.resistance, 1.0 / (inverter.resistance * r.inverter_ratio)
        gain, inside = np.zeros((2, count, 2 * m, 2 * m))
        gain[:, :m] = to_cells
        gain[:, m + rows, rows], gain[:, m + rows, m + rows] = one, back
        inside[:, :m, :m], inside[:, m + rows, m + rows] = within, one + back
        within, load = inside, columns + np.concatenate([np.full_like(back, one), back], axis=1)
        drive, source = -spec.g_unit * every * np.eye(2 * m, m), np.full((count, m), spec.g_unit)
        across = np.repeat([op.feedback_capacitance, inverter.feedback_capacitance], m)
        shunt = np.repeat([wire.summing_capacitance + at_sense, wire.inverter_capacitance], m)
        vos = np.concatenate([r.offset, r.inverter_offset], axis=1)
    ideal, amplifiers = op.model == "ideal", across.size
    unity, leak = 2 * math.pi * op.gbw, 0.0 if ideal else 1.0 / surrogate.gain
    second = 0.0 if op.second_pole is None or ideal else 2 * math.pi * op.second_pole
    each = np.eye(amplifiers)
    rho = 1.0 / (1.0 + surrogate.output_resistance * load)
    # where a node may have no capacitance to ground, 1e-11 s stands in for it (amcsim.nodal.startup)
    inverse = 1.0 / (across + np.maximum(shunt, 1e-11 * np.diagonal(within, axis1=1, axis2=2)))
    v = 2 if second else 1  # number of the block of senses; x follows the block before
    a = np.zeros((count, v + 1, amplifiers, v + 1, amplifiers))
    kick, into = np.zeros((count, v + 1, amplifiers, amplifiers)), np.zeros((count, v + 1, amplifiers, drive.shape[2]))
    a[:, 0, :, 0], a[:, 0, :, v], kick[:, 0] = -leak * unity * each, -unity * each, each
    if second:
        a[:, 1, :, 0], a[:, 1, :, 1] = second * each, -second * each
    follows = inverse * across * rho  # what of y' is in v'
    a[:, v] = follows[..., None, None] * a[:, v - 1]
    kick[:, v] = follows[..., None] * kick[:, v - 1]
    a[:, v, :, v - 1] += inverse[..., None] * gain * rho[:, None, :]
    a[:, v, :, v] -= inverse[..., None] * within
    into[:, v] = inverse[..., None] * drive
    seen = np.zeros((count, m + 2 * amplifiers, v + 1, amplifiers))
    seen[:, rows, v - 1, rows] = rho[:, :m]
    seen[:, m : m + amplifiers, v] = each
    rising, across = ((across + line) * rho)[..., None], across[:, None]
    seen[:, m + amplifiers :] = rising[..., None] * a[:, v - 1] - across[..., None] * a[:, v]
    steady = np.zeros_like(seen[:, m + amplifiers :])
    steady[:, :, v - 1] = (load * rho)[..., None] * each
    steady[:, :, v] = -np.swapaxes(gain, 1, 2)  # inverting inputs that have left ground: reciprocity
    seen[:, m + amplifiers :] += steady
    size = (v + 1) * amplifiers
    return _System(
        a=a.reshape(count, size, size),
        drive=into.reshape(count, size, -1),
        kick=kick.reshape(count, size, amplifiers),
        vos=vos,
        seen=seen.reshape(count, -1, size),
        steady=steady.reshape(count, -1, size),
        kicked=rising * kick[:, v - 1] - across * kick[:, v],
        source=source,
        answers=m,
    )


def _read(system: _System, spec: Spec, u: F64) -> tuple[F64, F64, F64]:
    """(settling, power, energy), (n, k) each, of inputs u, (n, inputs, k)."""
    op, m, amplifiers, k = spec.opamp, system.answers, system.vos.shape[1], u.shape[2]
    before = np.linalg.solve(system.a, -2 * math.pi * op.gbw * (system.kick @ system.vos[..., None]))
    step = np.asarray(np.linalg.solve(system.a, -(system.drive @ u)), dtype=np.float64)
    rates, vectors = system.modes
    stable = rates.real.max(axis=1) < 0
    end = before + step
    answer, drawn = system.seen[:, :m] @ end, system.steady @ end
    seen = system.seen @ vectors
    w = system.amounts(-step)
    slowest = 1.0 / np.where(stable, -rates.real.max(axis=1), 1.0)
    ahead = slowest[:, None] * np.append(0.0, np.geomspace(*_SPAN, _TIMES - 1))
    times, found = np.zeros((1, 0)), np.zeros((*seen.shape[:2], k, 0))
    if op.model == "behavioral":
        times, found, w = _slewing(system, spec, seen, w, ahead, stable)
    begin = times[:, -1] if times.size else np.zeros(1)
    times = np.concatenate([times.repeat(len(ahead), axis=0), begin[:, None] + ahead], axis=1)
    found = np.concatenate([found, _ahead(seen, rates, w, ahead)], axis=3)  # (n, rows, k, t)
    away = np.sqrt((found[:, :m] ** 2).sum(axis=1))
    size = np.linalg.norm(answer, axis=1)
    settled, last, share = _settled(times, away, spec.converters.settling_tolerance * size)
    current = np.hypot(found[:, m + amplifiers :] + drawn[..., None], _CROSSOVER).sum(axis=1)
    supply = op.supply if op.model == "behavioral" else 0.0
    steady = quiescent_power(spec, amplifiers) + (system.source[..., None] * u**2).sum(axis=1)
    power = supply * np.hypot(drawn, _CROSSOVER).sum(axis=1) + steady
    area = 0.5 * (current[..., 1:] + current[..., :-1]) * np.diff(times)[:, None]
    within = np.arange(area.shape[2]) < last[..., None]
    charge = (area * within).sum(axis=2) + share * np.take_along_axis(area, last[..., None], axis=2)[..., 0]
    delay = 0.5 * RISE_TIME
    settling, energy = settled + delay, supply * charge + steady * (settled + delay)
    none = ~(stable[:, None] & np.isfinite(size) & np.isfinite(away[..., -1]))
    for part in (settling, power, energy):
        part[none] = np.nan
    return settling, power, energy


def _ahead(seen: C128, rates: C128, w: C128, times: F64) -> F64:
    """What is seen of modes, amounts w (n, s, k), at times (n, t) from now: (n, rows, k, t)."""
    n, rows, s = seen.shape
    with np.errstate(all="ignore"):  # an unstable array's
        terms = w[..., None] * np.exp(rates[..., None] * times[:, None])[:, :, None]
        return np.asarray((seen @ terms.reshape(n, s, -1)).real).reshape(n, rows, w.shape[2], -1)


def _settled(times: F64, away: F64, bound: F64) -> tuple[F64, np.ndarray, F64]:
    """When `away`, (n, k, t), is within `bound`, (n, k), for good; the step of `times` (n, t) it lies in and how far.

    Decaying exponentials are straight in the logarithm.
    """
    outside = away > bound[..., None]
    t = away.shape[2]
    last = np.minimum(np.where(outside.any(axis=2), t - 1 - np.argmax(outside[..., ::-1], axis=2), 0), t - 2)
    with np.errstate(all="ignore"):
        level = np.log(np.take_along_axis(away, np.stack([last, last + 1], axis=2), axis=2) / bound[..., None])
        share = np.clip(level[..., 0] / (level[..., 0] - level[..., 1]), 0.0, 1.0)
    share = np.where(outside.any(axis=2) & np.isfinite(share), share, 0.0)
    first = np.take_along_axis(times, last, axis=1)
    return first + share * (np.take_along_axis(times, last + 1, axis=1) - first), last, share


def _slewing(system: _System, spec: Spec, seen: C128, w: C128, ahead: F64, stable: np.ndarray) -> tuple[F64, F64, C128]:
    """While amplifiers leave their range: times (1, t), what is seen (n, rows, k, t), amounts of the modes after.

    NaN after so many steps that it took too long.
    """
    op, m, amplifiers = spec.opamp, system.answers, system.vos.shape[1]
    unity, reach = 2 * math.pi * op.gbw, op.slew_rate / (2 * math.pi * op.gbw)
    rates, _ = system.modes
    senses, kick = seen[:, m : m + amplifiers], system.amounts(system.kick)
    sparse, limit = ahead[:, ::8], _LINEAR * reach

    def taken(z: C128) -> F64:
        """What the limits take of p', (n, A, k), V/s; the inputs of amplifiers end at their offsets."""
        v = (senses @ z).real
        return np.asarray(unity * (v - reach * np.tanh(v / reach)))

    def leaves(z: C128) -> np.ndarray:
        """(n,)"""
        late = np.abs(_ahead(senses, rates, z, sparse)).max(axis=(1, 2, 3))
        return np.asarray(stable & (late > limit))

    h = 0.02 / op.gbw
    now, times, found, steps = 0.0, [], [], 0
    scale = max(float(np.abs((seen[:, :m] @ w).real).max(initial=0.0)), 1e-12)
    w = np.where(stable[:, None, None], w, 0.0)
    while leaves(w).any() and steps < _MOST_STEPS:
        for _ in range(16):
            force = taken(w)
            while True:
                z = (rates * h)[..., None]
                decay, first, second = _phi(z)
                guess = decay * w + h * first * (kick @ force)
                change = h * second * (kick @ (taken(guess) - force))
                error = float(np.abs((seen[:, :m] @ change).real).max()) / (_STEP_ERROR * scale)
                if error <= 1.0:
                    break
                h *= 0.5
            times.append(now)
            here = (seen @ w).real
            here[:, m + amplifiers :] += system.kicked @ force
            found.append(here)
            w, now, steps = guess + change, now + h, steps + 1
            h *= 1.5 if error < 0.1 else 1.0
    w[leaves(w)] = np.nan
    if not times:
        return np.zeros((1, 0)), np.zeros((*seen.shape[:2], w.shape[2], 0)), w
    return np.array([[*times, now]]), np.stack([*found, (seen @ w).real], axis=3), w


def _phi(z: C128) -> tuple[C128, C128, C128]:
    """exp z, (exp z - 1)/z, (exp z - 1 - z)/z^2."""
    small = np.abs(z) < 1e-4
    safe = np.where(small, 1.0, z)
    more = np.expm1(z)
    first: C128 = np.where(small, 1.0 + z / 2, more / safe)
    second: C128 = np.where(small, 0.5 + z / 6, (first - 1.0) / safe)
    return np.asarray(more + 1.0), first, second
