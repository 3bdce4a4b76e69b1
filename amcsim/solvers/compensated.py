"""Wires, access devices and curved cells taken out beforehand: a matrix whose array, as built, realises the wanted one.

Currents of the summing nodes under bit-line voltages x and xn are T+ x + T- xn - Y v, with v the summing nodes' own
voltages and Y what hangs on them, feedback or input resistor included. The circuit solves, or multiplies with,

    seen(G) = T+ - rho T- + Y k / A0                         INV: v = -k x / A0, xn = -rho x, rho = A0 / (A0 + 2 k)
    seen(G) = (1 + Y k / (g_unit A0))^-1 (T+ - T-)           MVM: v = -k y / A0

with k = 1 + (output resistance) x (conductance that the output drives). G is right where seen(G) = c g_unit A / a_max.
Of a pair of cells one answers for the entry p, -1 to 1, and the other rests at g_min, so that no cell leaves the range
below; c is the largest common factor for which none leaves it above.
Each cell dominates its own entry, with d seen / d G = (share of the driver's voltage at the cell) x (share of the
amplifier's voltage at the cell when that drives, by Tellegen's theorem), and the shares are those of single lines to a
few per cent: Newton steps with that diagonal gain a digit or more each.

Programmed with p a_max / c in place of A, any solver scales its answer back by itself, and write errors, offsets and
converters act as on any matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from amcsim._types import F64
from amcsim.access import cell_current, curvature_voltage, on_resistance, transistor_cell_current
from amcsim.mapping import check_matrix, matrix_scale
from amcsim.solvers.base import Counts, Programmed, Solution, Solver, relative_residual
from amcsim.specs import Spec
from amcsim.streams import Key
from amcsim.surrogate.wires import transfer

__all__ = ["Compensated", "CompensatedProgrammed", "Compensation", "CompensationError", "compensate"]

_STEPS = 60


class CompensationError(ValueError):
    """No conductances in the range make the array realise the matrix: one sentence."""


@dataclass(frozen=True)
class Compensation:
    """What to write for a wanted matrix."""

    matrix: F64
    """To be programmed in place of the wanted one, (*batch, m, n), in its unit."""
    factor: F64
    """c, (*batch,): the part of the range left for the matrix as seen from outside; write errors weigh 1/c."""
    clipped: F64
    """(*batch,): fraction of the pairs of cells that should lie beyond g_max and are at it."""
    beyond: F64
    """(*batch,): fraction of the pairs that would lie beyond g_max at c = 1, to first order."""
    error: F64
    """(*batch,): ||seen - wanted|| / ||wanted||, Frobenius: above `tolerance` by what is clipped."""
    iterations: int


def compensate(
    a: F64,
    spec: Spec,
    circuit: Literal["inv", "mvm"] = "inv",
    *,
    read_voltage: float | None = None,
    least_factor: float = 0.0,
    tolerance: float = 1e-8,
) -> Compensation:
    """Compensate a, (*batch, m, n), for wires, on-resistance, curved cells and the amplifiers' finite gain.

    `read_voltage`, V: where curved cells are right (default: half of cell.v_read_max). `least_factor`: pairs that it
    takes beyond g_max are clipped (1: all of the range is kept). What is random, and the amplifiers' output clamp,
    stays in. Raises ValueError for a bad matrix, CompensationError where the array is too resistive for the matrix.
    """
    a = check_matrix(a, square=circuit == "inv")
    if not 0.0 <= least_factor <= 1.0:
        raise ValueError(f"least_factor = {least_factor:g} is outside 0 to 1")
    volts = 0.5 * spec.cell.v_read_max if read_voltage is None else read_voltage
    if not 1e-3 <= volts <= 2.0:
        raise ValueError(f"read_voltage = {volts:g} V is outside 0.001 to 2 V")
    if spec.programming.verify == "cell" and spec.cell.g_max * on_resistance(spec.cell) > 0.9:
        raise CompensationError(
            f'programming.verify = "cell": g_max = {spec.cell.g_max:.3g} S cannot be reached through an access '
            f"resistance of {on_resistance(spec.cell):.3g} ohm (allowed up to {0.9 / on_resistance(spec.cell):.3g} S)"
        )
    batch, scale = a.shape[:-2], matrix_scale(a)
    wanted = (a / scale[..., None, None]).reshape(-1, *a.shape[-2:])
    size = np.linalg.norm(wanted, axis=(-2, -1))
    p, gain = wanted, np.ones(())
    beyond, clipped = np.zeros(wanted.shape, np.bool_), np.zeros(wanted.shape, np.bool_)
    for taken in range(_STEPS):
        g, slope = _cells(p, spec, volts)
        seen = _seen(g, spec, circuit)
        if taken == 0:
            gain = _gains(p, g, slope, spec)
        rest, step = p - seen / gain, wanted / gain  # the next p is rest + c step
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(wanted != 0, (1.0 - np.sign(wanted) * rest) / np.abs(step), np.inf)
        c = np.where(size > 0, np.maximum(room.min(axis=(-2, -1)), least_factor), 1.0)
        if not (c > 0).all() or not np.isfinite(seen).all():
            break
        off = (seen - c[:, None, None] * wanted) / np.where(size > 0, c * size, 1.0)[:, None, None]
        beyond = room < 1.0 - 1e-9
        if np.linalg.norm(np.where(clipped, 0.0, off), axis=(-2, -1)).max(initial=0.0) <= tolerance:
            error = np.linalg.norm(off, axis=(-2, -1))
            matrix = p.reshape(a.shape) * (scale / c.reshape(batch))[..., None, None]
            return Compensation(
                np.where(np.abs(a).max(axis=(-2, -1), keepdims=True) > 0, matrix, a),
                c.reshape(batch),
                clipped.mean(axis=(-2, -1)).reshape(batch),
                beyond.mean(axis=(-2, -1)).reshape(batch),
                error.reshape(batch),
                taken,
            )
        p = rest + c[:, None, None] * step
        clipped = np.abs(p) > 1.0 + 1e-9
        p = np.clip(p, -1.0, 1.0)
    raise CompensationError(
        f"no conductances of {spec.cell.g_min:.3g} to {spec.cell.g_max:.3g} S make a {a.shape[-2]}x{a.shape[-1]} array "
        f"with wires of {spec.wire.bl_resistance:g} and {spec.wire.sl_resistance:g} ohm a cell realise this matrix"
    )


def _cells(p: F64, spec: Spec, volts: float) -> tuple[F64, F64]:
    """Conductances of whole cells at `volts`, (N, 2, m, n), S, for entries p, and their slopes by the target."""
    cell, series = spec.cell, on_resistance(spec.cell)
    target = cell.g_min + spec.g_unit * np.maximum(np.stack([p, -p], axis=1), 0.0)
    inside = spec.programming.verify == "cell"
    device: F64 = target / (1.0 - target * series) if inside else target
    slope: F64 = np.ones_like(target) if inside else (1.0 + target * series) ** -2
    v0 = curvature_voltage(cell, device)
    if cell.v0 is None:
        return device / (1.0 + device * series), slope
    seen = volts * np.array([1.0, -1.0])[:, None, None] * np.ones_like(device)  # the arrays' lines are of both signs
    if cell.access == "none":
        return cell_current(seen, device, v0, 0.0)[0] / seen, slope
    return transistor_cell_current(seen, device, v0, np.zeros(()), cell)[0] / seen, slope


def _seen(g: F64, spec: Spec, circuit: str) -> F64:
    """The matrix, (N, m, n), in units of g_unit, that the circuit of cells g, (N, 2, m, n), S, realises."""
    m, n = g.shape[-2:]
    currents = transfer(spec, g, exact=True) / spec.g_unit
    positive, negative = currents[..., :n], currents[..., n : 2 * n]
    if spec.opamp.model == "ideal":
        return positive - negative
    gain, inner, one = spec.opamp.gain, spec.opamp.output_resistance, np.eye(m)
    load = (currents[..., 2 * n :] + one) / gain
    if circuit == "inv":  # bit-lines are loaded by their cells, wires between left out: these are corrections of 1/A0
        loaded = 1.0 + inner * (g.sum(axis=-2)[:, :, None, :] + 1.0 / spec.inverter.resistance)
        seen: F64 = positive - gain / (gain + 2.0 * loaded[:, 1]) * negative + loaded[:, 0] * load
        return seen
    load *= 1.0 + inner * spec.g_unit
    return np.asarray(np.linalg.solve(one + load, positive - negative), np.float64)


def _gains(p: F64, g: F64, slope: F64, spec: Spec) -> F64:
    """d seen / d p, (N, m, n), to a few per cent, of the cell of each pair that answers for its entry."""
    n, wire = p.shape[-1], spec.wire
    driven = np.swapaxes(_shares(wire.bl_resistance, np.swapaxes(g, -1, -2)), -1, -2)
    if wire.layout == "shared":
        lines = _shares(wire.sl_resistance, np.concatenate([g[:, 0], g[:, 1]], axis=-1))
        sensed = np.stack([lines[..., :n], lines[..., n:]], axis=1)
    else:
        sensed = _shares(wire.sl_resistance, g)
    gains = driven * sensed * slope
    return np.where(p >= 0, gains[:, 0], gains[:, 1])


def _shares(segment: float, g: F64) -> F64:
    """Share of a driver's voltage at each cell along the last axis, the cells' far ends grounded."""
    if segment == 0:
        return np.ones_like(g)
    place = np.arange(1.0, g.shape[-1] + 1)
    drops = segment * np.minimum(place[:, None], place) * g[..., None, :]
    shares: F64 = np.asarray(np.linalg.solve(np.eye(place.size) + drops, np.ones((*g.shape, 1))), np.float64)[..., 0]
    return shares


@dataclass(frozen=True)
class CompensatedProgrammed:
    """A handle of the inner solver, on the compensated matrix."""

    a: F64
    """The wanted matrix, (*batch, n, n)."""
    inner: Programmed
    compensation: Compensation

    @property
    def counts(self) -> Counts:
        """Of the inner programming."""
        return self.inner.counts

    def solve(self, b: F64) -> Solution:
        """The inner solver's answer, with the residual that the wanted matrix leaves."""
        answer = self.inner.solve(b)
        with np.errstate(all="ignore"):
            return answer._replace(residual=relative_residual(self.a, answer.x, b))


@dataclass(frozen=True)
class Compensated:
    """Any solver of single INV arrays of `spec`, its matrices compensated; goes inside HpInv and BlockAmc."""

    inner: Solver
    spec: Spec
    read_voltage: float | None = None
    """See `compensate`, V."""
    least_factor: float = 0.0
    """See `compensate`."""

    def program(self, a: F64, key: Key) -> CompensatedProgrammed:
        """Write the compensated a, (*batch, n, n). Raises what the inner solver raises, and CompensationError."""
        a = check_matrix(a)
        found = compensate(a, self.spec, read_voltage=self.read_voltage, least_factor=self.least_factor)
        return CompensatedProgrammed(a, self.inner.program(found.matrix, key), found)
