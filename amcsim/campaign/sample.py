"""One sample: a drawn circuit solved in ngspice and judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from amcsim._types import F64, I64
from amcsim.analysis.reads import read
from amcsim.campaign.design import Campaign
from amcsim.ngspice import NgspiceDied, NgspiceError, library_version
from amcsim.realisation import Realisation, linear_matrix, realise
from amcsim.runs import ReplaceWorker
from amcsim.solvers.arrays import circuit_array, nodal_array
from amcsim.solvers.circuit import CircuitProgrammed
from amcsim.solvers.mvm import MvmCircuit
from amcsim.specs import Spec
from amcsim.status import Reason, Status
from amcsim.streams import Key

__all__ = [
    "TIMED_SIZE",
    "Samples",
    "error_of_error",
    "failed_sample",
    "relative_distance",
    "require_ngspice",
    "run_sample",
    "solve_in_ngspice",
    "solve_in_nodal",
]
_Array = MvmCircuit | CircuitProgrammed
TIMED_SIZE = 8
"""Largest side of the held-out circuits whose reads a campaign times: a 16x16 transient takes seconds."""


def solve_in_ngspice(
    circuit: str, spec: Spec, a: F64, b: F64, key: Key, *, timed: bool = False
) -> dict[str, np.ndarray]:
    """One circuit, a (m, n), b (n,), in ngspice with the realisation of `key`.

    Voltages are scaled into range as every solver does. Keys: a, b, volts, g_pos, g_neg, offset, inverter_offset,
    inverter_ratio, x (V, NaN without an answer), status, reason, and settling (s), power (W), energy (J) of the read
    (amcsim.analysis.reads), NaN unless `timed` and ok.
    """
    drawn, array, volts = _drawn(circuit, spec, a, b, key)
    x, status, reason = array.answer(volts)
    timing = _timed(array, spec, volts, x[:, 0]) if timed and status[0] == Status.OK else (np.nan,) * 3
    return drawn | {"x": x[:, 0], "status": status, "reason": reason} | _timing(timing)


def solve_in_nodal(circuit: str, spec: Spec, a: F64, b: F64, key: Key) -> dict[str, np.ndarray]:
    """The same by the nodal equations, never timed."""
    drawn, array, volts = _drawn(circuit, spec, a, b, key)
    x, status, reason = nodal_array(circuit, spec, a, array.realisation).answer(volts)
    return drawn | {"x": x[:, 0], "status": status, "reason": reason} | _timing((np.nan,) * 3)


def _timed(array: _Array, spec: Spec, volts: F64, x: F64) -> tuple[float, float, float]:
    """(settling, power, energy) of the read that ended at x, (m,)."""
    model = array.models[()]
    u = model.operating_point(volts).u
    settling = float(model.settling_time(u, spec.converters.settling_tolerance)[0])
    slewing = 4 * float(np.abs(u[: model.n]).max()) / model.spec.opamp.slew_rate if model.limited else 0.0
    try:
        return read(array.topology, spec, array.realisation, volts[:, 0], x, 1.4 * settling + slewing + 1e-7)
    except NgspiceDied:
        raise
    except NgspiceError:  # a transient that ngspice does not get through is one less to compare with
        return np.nan, np.nan, np.nan


def _timing(values: tuple[float, float, float]) -> dict[str, np.ndarray]:
    return {name: np.array([value]) for name, value in zip(("settling", "power", "energy"), values, strict=True)}


def _drawn(circuit: str, spec: Spec, a: F64, b: F64, key: Key) -> tuple[dict[str, np.ndarray], _Array, F64]:
    """What is known of a circuit before it is solved: arrays by name, the array, its input voltages (n, 1)."""
    r = realise(a, spec, key)
    array = circuit_array(circuit, spec, a, r)
    volts = array.inputs(b[:, None])[0]
    drawn = {
        "a": a,
        "b": b,
        "volts": volts[:, 0],
        "g_pos": r.g_pos,
        "g_neg": r.g_neg,
        "offset": r.offset,
        "inverter_offset": r.inverter_offset,
        "inverter_ratio": r.inverter_ratio,
    }
    return drawn, array, volts


def require_ngspice(version: int) -> None:
    """Raises NgspiceError where this process's libngspice is of another version: samples must not be mixed."""
    found = library_version()
    if found != version:
        raise NgspiceError(f"libngspice is of version {found} here, but the samples are of version {version}")


def run_sample(sample: int, campaign: Campaign) -> dict[str, np.ndarray]:
    """The result of a sample id of a campaign. Raises ReplaceWorker where this process's ngspice died of it."""
    a, b, key = campaign.draw(sample)
    timed = campaign.held_out(sample) and max(a.shape) <= TIMED_SIZE
    try:
        return solve_in_ngspice(campaign.circuit, campaign.spec, a, b, key, timed=timed)
    except NgspiceDied as error:
        raise ReplaceWorker(str(error)) from None


def failed_sample(sample: int, campaign: Campaign) -> dict[str, np.ndarray]:
    """The result of a sample id whose simulation ended its worker at every try: no answer."""
    drawn, _, volts = _drawn(campaign.circuit, campaign.spec, *campaign.draw(sample))
    outputs = np.full(drawn["a"].shape[0], np.nan)
    status, reason = (np.full(volts.shape[1], v, dtype=np.int64) for v in (Status.NOT_CONVERGED, Reason.SIMULATOR))
    return drawn | {"x": outputs, "status": status, "reason": reason} | _timing((np.nan,) * 3)


@dataclass(frozen=True)
class Samples:
    """Stacked results of one circuit and matrix shape."""

    circuit: str
    ids: I64
    """(n,)"""
    a: F64
    """(n, rows, columns)"""
    realisation: Realisation
    volts: F64
    """Input voltages, (n, columns), V."""
    x: F64
    """ngspice's answers, (n, rows), V; NaN where there is none."""
    status: I64
    """(n,)"""
    reason: I64
    """(n,)"""
    settling: F64
    """Of reads that were timed, (n,), s; NaN of the others."""
    power: F64
    """Drawn after settling, (n,), W; likewise."""
    energy: F64
    """Drawn until then, (n,), J; likewise."""

    @classmethod
    def by_shape(
        cls, circuit: str, ids: Iterable[int], results: Iterable[dict[str, np.ndarray]]
    ) -> dict[tuple[int, int], Samples]:
        """Single results by their matrices' shape, sorted by it, each in the order of `ids`."""
        found: dict[tuple[int, int], list[tuple[int, dict[str, np.ndarray]]]] = {}
        for sample, result in zip(ids, results, strict=True):
            rows, columns = result["a"].shape
            found.setdefault((rows, columns), []).append((sample, result))
        return {shape: cls.stack(circuit, *map(list, zip(*found[shape], strict=True))) for shape in sorted(found)}

    @classmethod
    def stack(cls, circuit: str, ids: list[int], results: list[dict[str, np.ndarray]]) -> Samples:
        """From single results of one shape, in the order of `ids`."""
        none = np.full(1, np.nan)  # stores of earlier releases hold no times
        results = [{"settling": none, "power": none, "energy": none} | result for result in results]
        column = {name: np.stack([result[name] for result in results]) for name in results[0]}
        drawn = ("g_pos", "g_neg", "offset", "inverter_offset", "inverter_ratio")
        return cls(
            circuit=circuit,
            ids=np.array(ids, dtype=np.int64),
            a=column["a"],
            realisation=Realisation(*(column[name] for name in drawn)),
            volts=column["volts"],
            x=column["x"],
            status=column["status"][:, 0],
            reason=column["reason"][:, 0],
            **{name: column[name][:, 0] for name in ("settling", "power", "energy")},
        )

    def take(self, where: np.ndarray) -> Samples:
        """The samples where the mask holds."""
        return Samples(
            self.circuit,
            self.ids[where],
            self.a[where],
            self.realisation[where],
            *(p[where] for p in (self.volts, self.x, self.status, self.reason)),
            *(p[where] for p in (self.settling, self.power, self.energy)),
        )

    def linear_answer(self, spec: Spec) -> F64:
        """x_lin, (n, rows), V: ideal amplifiers, no wires, no access devices, the same realised conductances."""
        matrix = linear_matrix(self.realisation, spec)
        if self.circuit == "mvm":
            product: F64 = np.einsum("nij,nj->ni", matrix, self.volts)
            return product
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
    return relative_distance(x, x_spice, np.where(below < 1e-3 * norm, norm, below))


def relative_distance(x: F64, x_spice: F64, size: F64 | None = None) -> F64:
    """||x - x_spice|| over `size`, default ||x_spice||, of each sample, (n,); in volts where the size is 0."""
    size = np.linalg.norm(x_spice, axis=1) if size is None else size
    distance: F64 = np.linalg.norm(x - x_spice, axis=1) / np.where(size > 0, size, 1.0)
    return distance
