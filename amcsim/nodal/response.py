"""Small-signal response of a LoopModel over frequency: transfer, noise, return ratios.

An amplifier is a(s) = 1/((1/A0 + s/w_gbw)(1 + s/w_2)) from (offset - sense) to the source y behind its output
resistance. With Y(s) = Y + s C at (out, sense, sources) the unknowns (out, sense) obey

    out   : out + Ro (Y(s) v)_out + a(s) sense = a(s) e + Ro i_out
    sense : (Y(s) v)_sense = i_sense,                              v = (out, sense, sources)

for input-referred voltages e and injected currents i.

*Noise.* Reciprocal passive networks at one temperature give short-circuit currents of spectral density 4 k T Re Y(jw)
at their ports (Twiss, J. Appl. Phys. 26, 599 (1955)), 4 k T Y here; amplifiers add e_n^2 (1 + f_c/f) each.

*Return ratios.* With the amplifiers' sources y as inputs the passive part gives sense = B(s) y; the loops are
L(s) = a(s) B(s), (N, N), and S = (I + L)^-1 is the sensitivity: S_ij is what remains at amplifier input i of a voltage
in series with input j. With all other loops closed, loop k alone has the return ratio 1/S_kk - 1 (Bode 1945, ch. 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from amcsim._types import C128, F64
from amcsim.nodal.loop import LoopModel

__all__ = ["BOLTZMANN", "SmallSignal"]

BOLTZMANN = 1.380649e-23
"""J/K."""


@dataclass(frozen=True, eq=False)
class SmallSignal:
    """A model, linearised where it is (`LoopModel.at`), over frequency."""

    model: LoopModel
    frequencies: F64
    """(f,), Hz, above 0."""

    @cached_property
    def gain(self) -> C128:
        """a(j w) of the amplifiers, (f,)."""
        op, s = self.model.spec.opamp, 2j * math.pi * self.frequencies
        leak = 0.0 if op.model == "ideal" else 1.0 / op.gain
        second = math.inf if op.second_pole is None or op.model == "ideal" else 2 * math.pi * op.second_pole
        gain: C128 = (1.0 + 0j) / ((leak + s / (2 * math.pi * op.gbw)) * (1.0 + s / second))
        return gain

    @cached_property
    def _rows(self) -> C128:
        """Y(s) with the rows of the outputs times Ro, (f, 2N, ports)."""
        n, ports = self.model.n, self.model.ports
        s = 2j * math.pi * self.frequencies[:, None, None]
        rows: C128 = ports.conductance[: 2 * n] + s * ports.capacitance[: 2 * n]
        rows[:, :n] *= self.model.output_resistance
        return rows

    @cached_property
    def _passive(self) -> C128:
        """(f, 2N, 2N): what (y, 0) drives, amplifiers apart."""
        n = self.model.n
        matrix = self._rows[:, :, : 2 * n].copy()
        matrix[:, np.arange(n), np.arange(n)] += 1.0
        return matrix

    @cached_property
    def _closed(self) -> C128:
        """(f, 2N, 2N): with the amplifiers."""
        n = self.model.n
        matrix = self._passive.copy()
        matrix[:, np.arange(n), np.arange(n, 2 * n)] += self.gain[:, None]
        return matrix

    def transfer(self, b: F64) -> C128:
        """Outputs and senses for input voltages b, (inputs, k): (f, 2N, k)."""
        rhs = -self._rows[:, :, 2 * self.model.n :] @ (self.model.drive @ b)
        answer: C128 = np.linalg.solve(self._closed, rhs).astype(np.complex128, copy=False)
        return answer

    def sensitivity(self) -> C128:
        """S = (I + L)^-1, (f, N, N)."""
        n = self.model.n
        drive = np.eye(2 * n, n)
        loops = self.gain[:, None, None] * np.linalg.solve(self._passive, drive[None])[:, n:]
        sensitivity: C128 = np.linalg.inv(np.eye(n) + loops).astype(np.complex128, copy=False)
        return sensitivity

    def noise(self, kelvin: float = 300.15) -> dict[str, F64]:
        """Noise power density at the answers by origin, (f, answers) each, V^2/Hz.

        The amplifiers' white noise is the spec's at 300.15 K and goes with the absolute temperature.
        """
        model = self.model
        n, m, op = model.n, model.answers, model.spec.opamp
        # row i of `gains`: what answer i hears of each current and of each amplifier
        gains = np.linalg.solve(np.swapaxes(self._closed, 1, 2), np.eye(2 * n, m)[None])
        heard = np.swapaxes(gains, 1, 2).copy()
        amplifiers = np.abs(heard[:, :, :n] * self.gain[:, None, None]) ** 2
        heard[:, :, :n] *= model.output_resistance
        origins = {**_discrete(model), "array": model.ports.conductance[: 2 * n, : 2 * n].copy()}
        for name, stamp in origins.items():
            if name != "array":
                origins["array"] -= stamp
        found: dict[str, F64] = {
            name: 4 * BOLTZMANN * kelvin * np.einsum("fij,jk,fik->fi", heard, stamp, heard.conj()).real
            for name, stamp in origins.items()
        }
        density = op.noise_density**2 * (kelvin / 300.15 + op.noise_corner / self.frequencies)[:, None]
        found["amplifiers"] = density * amplifiers[:, :, :m].sum(-1)
        if n > m:
            found["inverter amplifiers"] = density * amplifiers[:, :, m:].sum(-1)
        return found


def _discrete(model: LoopModel) -> dict[str, F64]:
    """Conductance stamps, (2N, 2N), of the resistors outside the array: inputs or feedback, inverters."""
    topology, r = model.topology, model.realisation
    m, columns = r.g_pos.shape
    network = topology.network(m, columns, model.spec)
    ports = np.concatenate([network.ports[group] for group in (*topology.outputs, *topology.senses)])
    number = np.full(len(network.nodes), -1)
    number[ports] = np.arange(ports.size)
    known = np.append(ports, network.sources.node)
    outside = np.isin(network.resistors.a, known) & np.isin(network.resistors.b, known)
    one, two, value = (v[outside] for v in (network.resistors.a, network.resistors.b, network.resistors.value))
    stamps = {"resistors": _stamp(number[one], number[two], 1.0 / value, ports.size)}
    if network.inverters.a.size:
        at, ohm = network.inverter_inputs, network.inverters.value
        into = _stamp(number[network.inverters.a], number[at], 1.0 / ohm, ports.size)
        back = _stamp(number[network.inverters.b], number[at], 1.0 / (ohm * r.inverter_ratio[: ohm.size]), ports.size)
        stamps["inverter resistors"] = into + back
    return stamps


def _stamp(a: np.ndarray, b: np.ndarray, g: F64, size: int) -> F64:
    matrix = np.zeros((size + 1, size + 1))  # the last row takes what is grounded
    for i, j, sign in ((a, a, 1.0), (b, b, 1.0), (a, b, -1.0), (b, a, -1.0)):
        np.add.at(matrix, (i, j), sign * g)
    return matrix[:size, :size]
