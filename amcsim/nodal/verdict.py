"""How a solve ends, in one place for all backends: a DC point is no answer by itself.

Checks: finite; KCL at the summing nodes; poles of the state matrix; bounds; settling against the read window; then a
certificate that no latched state or limit cycle waits: amplifiers without limits (poles decide alone), or Cholesky of
the symmetric part of G+ - G-, or a linear step response that never leaves the amplifiers' linear range; else the
clipped start-up transient itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from amcsim._compile import compiled
from amcsim._types import F32, F64, I64, Bool
from amcsim.nodal.certificate import LINEAR_RANGE, SLEWING
from amcsim.nodal.loop import LoopModel
from amcsim.nodal.ports import Ports
from amcsim.nodal.startup import start_up
from amcsim.status import Reason, Status

__all__ = ["StartUp", "certified", "judge", "judge_start_up", "start_up_times"]

StartUp = Callable[[F64], F64]
"""b (m,) -> outputs x at `start_up_times`, (t, m)."""

_KCL_TOLERANCE, _KCL_LEAST = 0.02, 1e-12
"""Of the absolute sum of a node's currents, and in A."""
_LATCH_TOLERANCE = 0.02
"""Relative distance from the DC point beyond which a settled transient has settled elsewhere."""
_NEAR = 0.95
"""Of the swing, from which on an output counts as saturated."""
_LARGE = 200
"""States above which the certificate is asked before the poles, which take longer from there on."""
_LEAST = 1e-4
"""Norm of x, V, below which distances count as on this one: integration errors are no latched states."""


def start_up_times(model: LoopModel) -> F64:
    """Instants (s) at which a start-up transient is looked at, densely in the last quarter of it.

    It lasts for the read window, or for 40 of the slowest pole's time constants and the time to slew where that is
    shorter.
    """
    window, op = model.spec.converters.read_window, model.spec.opamp
    slowest = -model.poles[0].real if model.poles.size else 0.0
    slewing = SLEWING * op.swing / op.slew_rate if model.limited else 0.0
    stop = min(window, 40.0 / slowest + slewing) if slowest > 0 else window
    return np.concatenate([np.linspace(0.0, 0.75, 31)[1:], np.linspace(0.75, 1.0, 61)[1:]]) * stop


def certified(model: LoopModel) -> bool:
    """Whether the symmetric part of `model.loop` (INV: G+ - G- with access devices) is positive definite (Cholesky)."""
    try:
        np.linalg.cholesky(model.loop + model.loop.T)
    except np.linalg.LinAlgError:
        return False
    return True


def judge(
    model: LoopModel,
    b: F64,
    u: F64,
    current: F64,
    converged: Bool,
    run: StartUp | None = None,
    *,
    doubt: bool = False,
    by_poles: bool = False,
) -> tuple[F64, I64, I64]:
    """Verdicts on DC points u of input voltages b: (answer (m, k), NaN where there is none; status (k,); reason (k,)).

    u: (4N, k), of which outputs and summing nodes are read where they come from a simulator; current: (N, k) output
    currents; converged: (k,) whether the DC equations were solved. `run` makes a start-up transient of the answer, in
    its own sign (default: the nodal one). In `doubt`, where the model only stands for the circuit, every answer that
    passes has to be reached by a transient, too. `by_poles`: large circuits that the certificate vouches for
    (`LoopModel.vouched`) are looked at as closely as all others.
    """
    m = model.answers
    transient = run or (lambda column: model.sign * start_up(model, column, start_up_times(model))[:, :m])
    kcl = _kcl_holds(model, b, u)
    if model.ports.cells is None:
        vouched = not by_poles and 4 * model.n > _LARGE and model.vouched
        return _judge(model, b, u, current, converged, kcl, transient, doubt, vouched)
    # curved cells: poles, settling and certificates are those of the circuit linearised where it ends
    x, status, reason = np.empty((m, b.shape[1])), *np.zeros((2, b.shape[1]), dtype=np.int64)
    for k in range(b.shape[1]):
        column = slice(k, k + 1)
        here = model.at(u[:, k], b[:, k]) if np.isfinite(u[:, k]).all() else replace(model, ports=_linear(model.ports))
        vouched = not by_poles and 4 * model.n > _LARGE and here.vouched
        answer = _judge(
            here,
            b[:, column],
            u[:, column],
            current[:, column],
            converged[column],
            kcl[column],
            transient,
            doubt,
            vouched,
        )
        x[:, column], status[column], reason[column] = answer
    return x, status, reason


def _linear(ports: Ports) -> Ports:
    return replace(ports, cells=None)


def _judge(
    model: LoopModel,
    b: F64,
    u: F64,
    current: F64,
    converged: Bool,
    kcl: Bool,
    transient: StartUp,
    doubt: bool,
    vouched: bool,
) -> tuple[F64, I64, I64]:
    m, spec = model.answers, model.spec
    status, reason = np.zeros((2, b.shape[1]), dtype=np.int64)
    x = model.sign * u[:m]
    finite, outputs, output_current, on_cells = _extremes(u, current, b, m, model.on_cells)
    most, most_current = (_NEAR * spec.opamp.swing, spec.opamp.output_current) if model.limited else (np.inf, np.inf)
    if vouched and not doubt:  # mostly there is nothing to say
        inside = finite & converged & kcl & (outputs <= most) & (output_current <= most_current)
        if (inside & (on_cells <= spec.cell.v_read_max)).all():
            return x, status, reason

    def mark(where: Bool, to: Status, why: Reason) -> None:
        if not where.any():
            return
        fresh = where & (status == Status.OK)
        status[fresh], reason[fresh] = to, why

    mark(~finite, Status.NOT_CONVERGED, Reason.NONFINITE)
    if not vouched and not model.stable:
        mark(finite, Status.UNSTABLE, Reason.POLE)
    mark(finite & converged & ~kcl, Status.NOT_CONVERGED, Reason.KCL)
    for column in np.flatnonzero((status == Status.OK) & ~converged):
        # beyond the amplifiers' limits the DC equations have several solutions: the transient finds the one reached
        end, ended = judge_start_up(transient(b[:, column]), None, spec.converters.settling_tolerance)
        x[:, column] = end
        if ended is Reason.NONE:
            status[column], reason[column] = Status.SATURATED, Reason.VOLTAGE
        else:
            status[column], reason[column] = _status_of(ended), ended
    if model.limited:
        mark(outputs > most, Status.SATURATED, Reason.VOLTAGE)
        mark(output_current > most_current, Status.SATURATED, Reason.CURRENT)
    mark(on_cells > spec.cell.v_read_max, Status.SATURATED, Reason.DISTURB)
    left = np.flatnonzero(status == Status.OK)
    if left.size and (doubt or not vouched) and model.poles.size:
        window, tolerance = spec.converters.read_window, spec.converters.settling_tolerance
        # 50 time constants settle whatever the modes' weights are; only slower circuits are looked at closely
        if -model.poles[0].real * window < 50:
            drive = np.concatenate([b[:, left], np.ones((1, left.size))])
            residue = model.sign * model.unit_residue @ drive
            late = np.linalg.norm(residue, axis=0) > tolerance * np.linalg.norm(x[:, left], axis=0)
            x[:, left[late]] += residue[:, late]  # what is sampled
            status[left[late]], reason[left[late]] = Status.UNSETTLED, Reason.WINDOW
            left = left[~late]
        if model.limited and left.size:
            for column in left[SLEWING * outputs[left] > window * spec.opamp.slew_rate]:
                end = transient(b[:, column])[-1]
                if not np.linalg.norm(end - x[:, column]) <= tolerance * np.linalg.norm(x[:, column]):
                    x[:, column] = end
                    status[column], reason[column] = Status.UNSETTLED, Reason.WINDOW
            left = np.flatnonzero(status == Status.OK)
        if left.size and model.limited and (doubt or not certified(model)):
            for column in left if doubt else left[~_stays_linear(model, b[:, left], u[:, left])]:
                _, ended = judge_start_up(transient(b[:, column]), x[:, column], tolerance)
                if ended is not Reason.NONE:
                    status[column], reason[column] = _status_of(ended), ended
    if status.any():
        x[:, (status == Status.UNSTABLE) | (status == Status.NOT_CONVERGED)] = np.nan
    return x, status, reason


@compiled
def _extremes(u: F64, current: F64, b: F64, answers: int, on_cells: int) -> tuple[Bool, F64, F64, F64]:
    """By column: whether outputs and answers' senses are finite; largest output (V), its current (A), cell's (V)."""
    n, columns = current.shape
    finite, peaks = np.ones(columns, np.bool_), np.zeros((3, columns))
    for k in range(columns):
        for i in range(n + answers):
            finite[k] &= np.isfinite(u[i, k])
        for i in range(n):
            peaks[0, k] = max(peaks[0, k], abs(u[i, k]))
            peaks[1, k] = max(peaks[1, k], abs(current[i, k]))
        for i in range(on_cells):
            peaks[2, k] = max(peaks[2, k], abs(u[i, k]))
        for i in range(b.shape[0]):
            peaks[2, k] = max(peaks[2, k], abs(b[i, k]))
    return finite, peaks[0], peaks[1], peaks[2]


def judge_start_up(x: F64, expected: F64 | None, tolerance: float) -> tuple[F64, Reason]:
    """Where a start-up transient x, (t, m) at `start_up_times`, ended, and why that is no answer (or Reason.NONE)."""
    end = x[-1]
    if not np.isfinite(x).all():
        return end, Reason.SIMULATOR
    last = x[x.shape[0] // 3 :]
    size = max(float(np.linalg.norm(end)), _LEAST)
    if float(np.ptp(last, axis=0).max()) > max(_LATCH_TOLERANCE, 3 * tolerance) * size:
        return end, Reason.OSCILLATION
    if expected is not None:
        size = max(float(np.linalg.norm(expected)), _LEAST)
        if float(np.linalg.norm(end - expected)) > _LATCH_TOLERANCE * size:
            return end, Reason.LATCHED
    return end, Reason.NONE


def _status_of(ended: Reason) -> Status:
    return Status.NOT_CONVERGED if ended is Reason.SIMULATOR else Status.UNSTABLE


def _kcl_holds(model: LoopModel, b: F64, u: F64) -> Bool:
    """(k,): currents into every summing node cancel to a small part of their absolute sum."""
    n, m = model.n, model.answers
    with np.errstate(invalid="ignore"):  # a singular circuit's NaN
        voltages = np.concatenate([u[: 2 * n], model.drive @ b])
        bent = np.zeros((m, b.shape[1])) if model.ports.cells is None else model.bent(u, b)[0][n : n + m]
    return _cancel(model.into_sums, voltages, bent)


@compiled
def _cancel(conductances: F32, voltages: F64, more: F64) -> Bool:
    """(k,): whether the currents into each of m nodes, those in `more` (m, k) included, cancel.

    Conductances (ports, m), voltages (ports, k).
    """
    ports, m = conductances.shape
    holds = np.empty(voltages.shape[1], np.bool_)
    total, size = np.empty(m, np.float32), np.empty(m, np.float32)
    for k in range(voltages.shape[1]):
        for i in range(m):
            total[i], size[i] = more[i, k], _KCL_LEAST / _KCL_TOLERANCE
        for port in range(ports):
            v = np.float32(voltages[port, k])
            for i in range(m):
                current = v * conductances[port, i]
                total[i] += current
                size[i] += abs(current)
        holds[k] = True
        for i in range(m):
            holds[k] &= abs(total[i]) <= np.float32(_KCL_TOLERANCE) * size[i]
    return holds


def _stays_linear(model: LoopModel, b: F64, u: F64) -> Bool:
    """(k,): whether the linear response to stepping b, (inputs, k), to u, (4N, k), keeps within LINEAR_RANGE of limits.

    First by a bound, the peaks of the single inputs' responses added up; where that is too coarse, by the response.
    """
    inside = _within_limits(model, model.unit_peaks @ np.concatenate([np.abs(b), np.ones((1, b.shape[1]))]))
    coarse = np.flatnonzero(~inside)
    if coarse.size:
        response = u[:, coarse] + model.step_residue(u[:, coarse], model.response_times)
        inside[coarse] = _within_limits(model, np.abs(response).max(axis=0))
    return inside


def _within_limits(model: LoopModel, peaks: F64) -> Bool:
    n = model.n
    inside: Bool = (peaks[n : 2 * n].max(axis=0) < LINEAR_RANGE * model.reach) & (
        peaks[2 * n :].max(axis=0) < LINEAR_RANGE * model.spec.opamp.swing
    )
    return inside
