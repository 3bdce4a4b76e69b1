"""The clipped start-up transient: the circuit with its limits, from rest, the inputs stepped at t = 0.

Good poles alone do not tell where a circuit ends: an array may latch against its rails or fall into a limit cycle.
"""

from __future__ import annotations

import numpy as np

from amcsim._types import F64
from amcsim.nodal.dc import integrator_clamp
from amcsim.nodal.loop import LoopModel

__all__ = ["start_up"]


def start_up(model: LoopModel, b: F64, times: F64) -> F64:
    """U at `times` (s, increasing) after input voltages b, (inputs,), are stepped on the circuit at rest; (t, 4N), V.

    Where a node may have no capacitance to ground, 1e-11 s stands in for it: none of these decides stability.
    """
    from scipy.integrate import solve_ivp  # a third of a second, which most circuits never need

    n, op, reach = model.n, model.spec.opamp, model.reach
    conductance, capacitance = model.conductance.copy(), model.capacitance.copy()
    ro = model.output_resistance
    if ro > 0:  # back to currents: the limiter acts on conduction and capacitive current together
        conductance[:n] /= ro
        capacitance[:n] /= ro
    scale = np.abs(np.diag(conductance))
    floor = 1e-11 * np.where(scale > 0, scale, 1.0)
    # outputs, summing nodes and inverter inputs always: a capacitor between two of them alone has a singular matrix
    short = (np.diag(capacitance) < floor) | (np.arange(4 * n) < 2 * n)
    capacitance[short, short] += floor[short]
    inverse = np.linalg.inv(capacitance)
    w = model.excitation(b[:, None])[:, 0]
    if ro > 0:
        w[:n] /= ro
    offsets = model.offset
    linear = conductance.copy()
    if model.limited:  # the limited terms leave the linear part and return as functions below
        rows = np.arange(n)
        linear[rows, rows] -= 1.0 / ro if ro > 0 else 1.0
        linear[rows, rows + 3 * n] = 0.0
        linear[rows + 2 * n, rows + n] = 0.0
        w = w.copy()
        w[2 * n : 3 * n] = 0.0

    def residual(_: float, u: F64) -> F64:
        f = w - linear @ u
        if model.ports.cells is not None:
            into = model.bent(u[:, None], b[:, None])[0][:, 0]
            f[:n] -= into[:n] if ro > 0 else 0.0  # an output without resistance gives any current
            f[n : 2 * n] -= into[n:]
        if model.limited:
            out = op.swing * np.tanh(u[3 * n :] / op.swing) - u[:n]
            if ro > 0:
                out = out / ro * (1 + (out / (ro * op.output_current)) ** 4) ** -0.25
            f[:n] += out
            f[2 * n : 3 * n] += reach * np.tanh((offsets - u[n : 2 * n]) / reach) - integrator_clamp(
                u[2 * n : 3 * n], op.swing, reach
            )
        derivative: F64 = inverse @ f
        return derivative

    def jacobian(_: float, u: F64) -> F64:
        jac = -linear
        if model.limited:
            rows = np.arange(n)
            bend = 1 - np.tanh(u[3 * n :] / op.swing) ** 2
            slope = np.ones(n)
            if ro > 0:
                over = (op.swing * np.tanh(u[3 * n :] / op.swing) - u[:n]) / (ro * op.output_current)
                slope = (1 + over**4) ** -1.25 / ro
            jac[rows, rows] -= slope
            jac[rows, rows + 3 * n] += slope * bend
            stage = rows + 2 * n
            jac[stage, rows + n] -= 1 - np.tanh((offsets - u[n : 2 * n]) / reach) ** 2
            over = np.maximum(np.abs(u[2 * n : 3 * n]) - 0.9 * op.swing, 0.0) / (0.15 * op.swing)
            jac[stage, stage] -= 3.6 * reach * over**2 / (0.15 * op.swing)
        if model.ports.cells is not None:  # at the rails their slopes are a hundredfold
            seen = model.ports.cells.seen[:, : 2 * n]
            more = seen.T @ (model.bent(u[:, None], b[:, None])[1] * seen)
            jac[:n, : 2 * n] -= more[:n] if ro > 0 else 0.0
            jac[n : 2 * n, : 2 * n] -= more[n:]
        matrix: F64 = inverse @ jac
        return matrix

    answer = solve_ivp(
        residual,
        (0.0, float(times[-1])),
        np.zeros(4 * n),
        method="LSODA" if model.ports.cells is None else "BDF",  # curved cells at the rails: LSODA comes to a halt
        t_eval=times,
        jac=jacobian,
        rtol=1e-6,
        atol=1e-8,
    )
    found = np.full((times.size, 4 * n), np.nan)
    found[: answer.y.shape[1]] = answer.y.T
    return found
