"""HP-INV as a controller inside one transient of its INV array: every pass settles on the waveform.

At each sampling instant the host reads the ADCs, adds the correction to x, forms r = b - A x in float64, scales it to
the converters' range and drives the DACs with it; the next sample is one read window later. Ranging, converters and
stop rule are those of the solvers (amcsim.solvers.analog, hp_inv), so that the passes equal HpInv's as far as the
circuit has settled. What a window too short does is seen and said: such passes are listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from amcsim._types import F64
from amcsim.analysis.array import array_deck
from amcsim.analysis.cosim import Converter, Cosimulation, Drive, cosimulate
from amcsim.analysis.result import Measure, Result, Trace
from amcsim.netlist.deck import RISE_TIME, deck_text
from amcsim.solvers.analog import AnalogProgrammed
from amcsim.solvers.base import Counts, Solution, worst_status
from amcsim.solvers.circuit import CircuitProgrammed, CircuitSolver
from amcsim.solvers.hp_inv import HpInv, HpInvProgrammed, Stop
from amcsim.status import Reason, Status
from amcsim.streams import Key

__all__ = ["HpInvController", "HpInvPass", "HpInvRun", "hp_inv_waveform"]

_DEFAULT = Stop()


@dataclass(frozen=True, eq=False)
class HpInvPass:
    """One pass, as it was sampled."""

    time: float
    """Of the sample, s."""
    inputs: F64
    """(n,), V: the scaled residual that the DACs drove."""
    read: F64
    """(n,), V: the ADCs' codes."""
    unit: float
    """Volts of the outputs for one unit of x: the range of this pass."""
    x: F64
    """(n,): the answer after it."""
    residual: float
    """||b - A x|| / ||b|| after it."""


@dataclass
class HpInvController:
    """Refines the answer to one right-hand side; a Controller of INV's inputs and outputs."""

    handle: AnalogProgrammed
    """A single matrix."""
    b: F64
    """(n,)."""
    max_passes: int
    stop: Stop = _DEFAULT
    """Its relative part: the host computes in float64."""
    passes: list[HpInvPass] = field(default_factory=list)
    _driven: tuple[F64, float] | None = None

    def decide(self, time: float, sampled: F64) -> Drive | None:
        """See amcsim.analysis.cosim.Controller."""
        a, b = self.handle.a, self.b[:, None]
        x = self.passes[-1].x[:, None] if self.passes else np.zeros_like(b)
        size = float(np.linalg.norm(b))
        if self._driven is not None:
            driven, scale = self._driven
            x = x + sampled[:, None] / scale
            residual = float(np.linalg.norm(b - a @ x)) / size
            self.passes.append(HpInvPass(time, driven, sampled, scale, x[:, 0], residual))
            if len(self.passes) == self.max_passes or residual <= self.stop.relative or not np.isfinite(residual):
                return None
        volts, unit = self.handle.inputs(b - a @ x)
        self._driven = volts[:, 0], float(unit[0, 0])
        topology, spec = self.handle.topology, self.handle.spec
        return Drive(topology.drive(*a.shape) @ volts[:, 0], spec.converters.read_window)


@dataclass(frozen=True, eq=False)
class HpInvRun:
    """HP-INV in one transient, beside what the circuit settles to and what the solver-level HpInv gives."""

    cosimulation: Cosimulation
    passes: tuple[HpInvPass, ...]
    settling_errors: F64
    """(passes,): ||sampled - settled|| / ||settled|| of the outputs; settled is ngspice's operating point."""
    code_errors: F64 | None
    """(passes,): largest distance of a reading from the settled output's, in ADC steps; None for an ideal ADC."""
    solver_x: F64
    """(passes, n): HpInv over ngspice's operating points, same array and converters; NaN where it took fewer passes."""
    status: Status
    reason: Reason
    """The worst verdict on the circuit where it has no answer; else unsettled, by window: some pass was read before it
    settled; unsettled, by refinement: the stop rule was not met; saturated; ok."""
    tolerance: float
    """converters.settling_tolerance."""
    adc: Converter

    @property
    def unsettled(self) -> tuple[int, ...]:
        """Passes, from 1, that were read too early."""
        return tuple(int(k) + 1 for k in np.flatnonzero(~(self.settling_errors <= self.tolerance)))

    @property
    def volts_from_solver(self) -> F64:
        """(passes,): largest |x - x of HpInv| in volts of the outputs in that pass's range."""
        off = np.abs(np.array([p.x for p in self.passes]) - self.solver_x).max(axis=1)
        return np.asarray(off * np.abs([p.unit for p in self.passes]))

    @property
    def steps_from_solver(self) -> F64 | None:
        """The same in ADC steps; None for an ideal ADC."""
        return None if self.adc.bits is None else self.volts_from_solver / self.adc.step

    def result(self, title: str) -> Result:
        """Waveforms with the residual after each pass; each pass is marked where it was read."""
        run, largest = self.cosimulation, int(np.argmax(np.abs(self.passes[-1].x)))
        outputs = [f"v(x{i})" for i in range(self.passes[-1].x.size)]
        late = self.unsettled
        measures = {
            f"pass {k}{', read too early' if k in late else ''}": Measure(p.residual, "", (outputs[largest], p.time))
            for k, p in enumerate(self.passes, 1)
        }
        ends = np.array([p.time for p in self.passes])
        residuals = np.array([1.0, *(p.residual for p in self.passes)])
        held = residuals[np.searchsorted(ends, run.time, side="right")]
        whole = run.result(title, outputs, measures)
        traces = {**whole.traces, "residual": Trace(held, "", log=True)}
        return replace(whole, traces=traces, details=self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """What JSON holds of it."""
        extras: Mapping[str, Any] = {
            "settling_error": self.settling_errors,
            "code_error": self.code_errors,
            "volts_from_solver": self.volts_from_solver,
            "steps_from_solver": self.steps_from_solver,
        }
        rows = [
            {
                "time_s": p.time,
                "volts_per_unit": p.unit,
                "residual": p.residual,
                "x": p.x,
                **{name: None if values is None else float(values[k]) for name, values in extras.items()},
            }
            for k, p in enumerate(self.passes)
        ]
        return {
            "x": self.passes[-1].x,
            "residual": self.passes[-1].residual,
            "status": str(self.status),
            "reason": str(self.reason),
            "unsettled_passes": self.unsettled,
            "passes": rows,
        }


def hp_inv_waveform(
    handle: CircuitProgrammed, b: F64, max_passes: int = 8, stop: Stop = _DEFAULT, *, rise: float = RISE_TIME
) -> HpInvRun:
    """Solve A x = b, b of shape (n,), by HP-INV in one transient of the array of `handle`, a single matrix.

    The read window, the converters and the settling tolerance are those of the spec. Raises ValueError for a right-hand
    side of another shape, of zeros, or that no voltage stands for, and for a window shorter than the DACs' rise;
    NgspiceError.
    """
    a, spec, topology = handle.a, handle.spec, handle.topology
    n = a.shape[-1]
    if b.shape != (n,) or a.ndim != 2:
        raise ValueError(f"a right-hand side of shape {b.shape} for matrices of shape {a.shape}; wanted is one of each")
    if max_passes < 1:
        raise ValueError(f"max_passes = {max_passes} must be 1 or more")
    window, full_scale = spec.converters.read_window, spec.converters.adc_full_scale or spec.cell.v_read_max
    with np.errstate(all="ignore"):
        ranged = np.isfinite(np.concatenate([v.ravel() for v in handle.inputs(b[:, None])])).all()
    if not (ranged and b.any()):
        raise ValueError("no voltage stands for this right-hand side: it is zero, or its numbers are out of range")
    if window <= rise:
        raise ValueError(f"converters.read_window = {window:g} s must be longer than the DACs' rise of {rise:g} s")
    adc = Converter(spec.converters.adc_bits, full_scale)
    deck = array_deck(topology, spec, handle.realisation, np.zeros(n))
    nodes = {group: [f"v({deck.network.nodes[i]})" for i in deck.network.ports[group]] for group in ("x", "xn", "sl")}
    controller = HpInvController(handle, b, max_passes, stop)
    run = cosimulate(
        deck_text(deck),
        controller,
        sources=[f"v{name}" for name in deck.network.sources.names],
        senses=nodes["x"],
        record=[*nodes["xn"], *nodes["sl"], *(f"v({deck.network.nodes[i]})" for i in deck.network.sources.node)],
        stop=(max_passes + 1e-3) * window,
        adc=adc,
        rise=rise,
        max_step=window / 100,
    )
    passes = tuple(controller.passes)
    answers, statuses, reasons = handle.answer(np.stack([p.inputs for p in passes], axis=1))
    settled = answers.T
    sampled = np.array([s.volts for s in run.samples[1:]])
    errors = np.linalg.norm(sampled - settled, axis=1) / np.linalg.norm(settled, axis=1)
    codes = None
    if adc.bits is not None:
        codes = np.abs(np.array([p.read for p in passes]) - adc(settled)).max(axis=1) / adc.step
    status, reason = worst_status(statuses, reasons)
    if status.has_answer:
        if not (errors <= spec.converters.settling_tolerance).all():
            status, reason = Status.UNSETTLED, Reason.WINDOW
        elif not passes[-1].residual <= stop.relative:
            status, reason = Status.UNSETTLED, Reason.REFINEMENT
        elif status == Status.UNSETTLED:  # a bound by the nodal model; the transient has settled
            status, reason = Status.OK, Reason.NONE
    return HpInvRun(
        run,
        passes,
        errors,
        codes,
        _solver_passes(handle, b, len(passes), stop),
        status,
        reason,
        spec.converters.settling_tolerance,
        adc,
    )


@dataclass(frozen=True)
class _Heard:
    """An inner handle whose answers are kept."""

    inner: CircuitProgrammed
    answers: list[F64]

    @property
    def a(self) -> F64:
        return self.inner.a

    @property
    def counts(self) -> Counts:
        return self.inner.counts

    def solve(self, b: F64) -> Solution:
        answer = self.inner.solve(b)
        self.answers.append(answer.x[:, 0])
        return answer


def _solver_passes(handle: CircuitProgrammed, b: F64, count: int, stop: Stop) -> F64:
    """x after each pass of the solver-level HpInv on the same array, (count, n)."""
    answers: list[F64] = []
    hp = HpInv(CircuitSolver(handle.spec), stop=stop, max_iterations=max(count, 2), max_reprograms=0, fallback=False)
    HpInvProgrammed(handle.a, handle.counts, hp, Key(0), _Heard(handle, answers), 0.0).solve(b[:, None])
    x = np.full((count, b.size), np.nan)
    taken = min(count, len(answers))
    x[:taken] = np.cumsum(answers[:taken], axis=0)
    return x
