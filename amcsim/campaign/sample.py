"""One sample: a drawn circuit solved in ngspice and judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amcsim._types import F64, I64
from amcsim.campaign.design import Campaign
from amcsim.mapping import inverse_for_ranging, voltage_scale
from amcsim.realisation import Realisation, linear_matrix
from amcsim.solvers.circuit import CircuitSolver
from amcsim.specs import Spec
from amcsim.streams import Key

__all__ = ["Samples", "error_of_error", "run_sample", "solve_in_ngspice"]


def solve_in_ngspice(spec: Spec, a: F64, b: F64, key: Key) -> dict[str, np.ndarray]:
    """Solve one circuit, a (m, m), b (m,), in ngspice with the realisation of `key`.

    Voltages are scaled into range as every solver does. Keys: a, b, volts, g_pos, g_neg, offset, inverter_offset,
    inverter_ratio, x (V, NaN without an answer), status, reason.
    """
    handle = CircuitSolver(spec).program(a, key)
    volts = b[:, None] * voltage_scale(inverse_for_ranging(a), b[:, None], spec)
    x, status, reason = handle.answer(volts)
    r = handle.realisation
    return {
        "a": a,
        "b": b,
        "volts": volts[:, 0],
        "g_pos": r.g_pos,
        "g_neg": r.g_neg,
        "offset": r.offset,
        "inverter_offset": r.inverter_offset,
        "inverter_ratio": r.inverter_ratio,
        "x": x[:, 0],
        "status": status,
        "reason": reason,
    }


def run_sample(sample: int, campaign: Campaign) -> dict[str, np.ndarray]:
    """The result of a sample id of a campaign."""
    a, b, key = campaign.draw(sample)
    return solve_in_ngspice(campaign.spec, a, b, key)


@dataclass(frozen=True)
class Samples:
    """Stacked results of one matrix size."""

    ids: I64
    """(n,)"""
    a: F64
    """(n, m, m)"""
    realisation: Realisation
    volts: F64
    """Input voltages, (n, m), V."""
    x: F64
    """ngspice's outputs, (n, m), V; NaN where there is no answer."""
    status: I64
    """(n,)"""
    reason: I64
    """(n,)"""

    @classmethod
    def stack(cls, ids: list[int], results: list[dict[str, np.ndarray]]) -> Samples:
        """From single results of one size, in the order of `ids`."""
        column = {name: np.stack([result[name] for result in results]) for name in results[0]}
        drawn = ("g_pos", "g_neg", "offset", "inverter_offset", "inverter_ratio")
        return cls(
            ids=np.array(ids, dtype=np.int64),
            a=column["a"],
            realisation=Realisation(*(column[name] for name in drawn)),
            volts=column["volts"],
            x=column["x"],
            status=column["status"][:, 0],
            reason=column["reason"][:, 0],
        )

    def take(self, where: np.ndarray) -> Samples:
        """The samples where the mask holds."""
        return Samples(
            self.ids[where],
            self.a[where],
            self.realisation[where],
            *(p[where] for p in (self.volts, self.x, self.status, self.reason)),
        )

    def linear_answer(self, spec: Spec) -> F64:
        """x_lin, (n, m), V: ideal amplifiers, no wires, no access devices, the same realised conductances."""
        matrix = linear_matrix(self.realisation, spec)
        out = np.full_like(self.volts, np.nan)
        for k, (one, b) in enumerate(zip(matrix, self.volts, strict=True)):
            try:
                out[k] = np.linalg.solve(one, b)
            except np.linalg.LinAlgError:
                continue
        return out


def error_of_error(x: F64, x_spice: F64, x_linear: F64) -> F64:
    """||x - x_spice|| / ||x_spice - x_linear|| of each sample, (n,), all inputs (n, m).

    Where the denominator is below 1e-3 ||x_spice||, ||x - x_spice|| / ||x_spice|| instead.
    """
    norm = np.linalg.norm(x_spice, axis=1)
    below = np.linalg.norm(x_spice - x_linear, axis=1)
    ratio: F64 = np.linalg.norm(x - x_spice, axis=1) / np.where(below < 1e-3 * norm, norm, below)
    return ratio
