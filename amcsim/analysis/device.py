"""One 1T1R cell on the bench: I-V loops under several gates, pulse trains, temperature, a long read; all in ngspice.

Every function gives a `Result`. Cells run side by side in one deck (amcsim.analysis.cells); the RRAM is that of
circuits/rram_gap.lib, the transistor the spec's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amcsim._types import F64
from amcsim.access import on_resistance
from amcsim.analysis.cells import CellBench, cell_lines, deck_head, require_transistor
from amcsim.analysis.result import Axis, Measure, Result, Trace
from amcsim.device.gap import gap_model, read_disturb
from amcsim.ngspice import session_for
from amcsim.specs import CellSpec

__all__ = ["GATES", "V_READ", "abruptness", "iv_family", "long_read", "pulse_train", "temperature_response"]

GATES = np.linspace(1.74, 1.98, 8)
"""Eight word-line voltages of SET, V, for the preset's transistor with its bulk at -5 V (the paper's Fig. 5 names
none)."""
V_READ = 0.2
"""Conductances are I/V at this voltage, V."""


def _read_conductance(gap: F64) -> F64:
    """Conductance of the device alone at V_READ, S."""
    current = gap_model().current(np.array(V_READ), gap)
    return np.asarray(current / V_READ, dtype=np.float64)


def iv_family(
    cell: CellSpec,
    gates: Sequence[float] | F64 = GATES,
    *,
    set_voltage: float = 1.6,
    reset_voltage: float = 1.6,
    ramp: float = 1e-3,
    start: float = 15e-6,
    temperature: float = 300.15,
) -> Result:
    """Quasi-static loop 0, set_voltage, 0, -reset_voltage, 0 of a cell for each gate voltage.

    The word-line is at the gate voltage during SET and fully on during RESET, when the source-line is driven. Each leg
    takes `ramp` (s); cells start at the conductance `start` (S). The axis is the voltage from bit-line to
    source-line; it runs through the loop, not upwards.
    Measures of each gate: largest SET current, conductance after SET and after RESET, voltages where SET and RESET have
    gone half way (in ln G).
    Raises SpecError, NgspiceError.
    """
    require_transistor(cell)
    gates = np.asarray(gates, dtype=np.float64)
    ends = [ramp * k for k in range(1, 5)]
    lines = [deck_head(cell, temperature)]
    for k, gate in enumerate(gates):
        lines += [
            f"Vb{k} b{k} 0 pwl(0 0 {ends[0]!r} {set_voltage!r} {ends[1]!r} 0)",
            f"Vs{k} s{k} 0 pwl(0 0 {ends[1]!r} 0 {ends[2]!r} {reset_voltage!r} {ends[3]!r} 0)",
            f"Vw{k} w{k} 0 pwl(0 {gate} {0.99 * ends[1]!r} {gate} {ends[1]!r} {cell.wordline!r})",
            cell_lines(cell, k, temperature),
        ]
    lines += [f".save v(g{k}) i(vb{k})" for k in range(gates.size)]
    session = session_for("\n".join([*lines, ".end"]))
    initial = float(gap_model().gap(np.array(start)))
    session.alter({f"vi{k}": initial for k in range(gates.size)})
    names = [name for k in range(gates.size) for name in (f"g{k}", f"i(vb{k})")]
    found = session.tran(ramp / 250, ends[-1], names)
    time = found["time"]
    legs = [0.0, set_voltage, 0.0, -reset_voltage, 0.0]
    volts = np.interp(time, [0.0, *ends], legs)
    middle = int(np.searchsorted(time, ends[1]))
    traces: dict[str, Trace] = {}
    measures: dict[str, Measure] = {}
    for k, gate in enumerate(gates):
        name = f"{gate:.4g} V"
        current, log_g = -found[f"i(vb{k})"], -found[f"g{k}"]
        traces[f"I at {name}"] = Trace(current, "A")
        traces[f"G at {name}"] = Trace(_read_conductance(found[f"g{k}"]), "S", log=True)
        half_set = _half_way(log_g[: middle + 1], volts[: middle + 1])
        half_reset = _half_way(log_g[middle:], volts[middle:])
        measures |= {
            f"SET current at {name}": Measure(float(current[: middle + 1].max()), "A"),
            f"G after SET at {name}": Measure(float(_read_conductance(found[f"g{k}"][middle])), "S"),
            f"G after RESET at {name}": Measure(float(_read_conductance(found[f"g{k}"][-1])), "S"),
            f"SET voltage at {name}": Measure(half_set, "V"),
            f"RESET voltage at {name}": Measure(half_reset, "V"),
        }
    title = f"1T1R I-V loops, {gates.size} gate voltages, {ramp:g} s a leg, {temperature:g} K"
    return Result("iv", title, Axis("voltage", "V", volts), traces, measures)


def _half_way(state: F64, volts: F64) -> float:
    """Voltage at which a monotone change of `state` is half done; NaN where it hardly changes."""
    change = state[-1] - state[0]
    if abs(change) < 0.05:
        return float("nan")
    return float(volts[int(np.argmax(np.abs(state - state[0]) >= 0.5 * abs(change)))])


def abruptness(cell: CellSpec, *, temperature: float = 300.15, ramp: float = 1e-3) -> Result:
    """Abrupt SET against gradual RESET: conductance against voltage of one rising leg each, transistor fully on.

    Measures: the voltage over which ln G goes from 10 % to 90 % of its way, for SET from 20 uS and RESET from 220 uS.
    Raises SpecError, NgspiceError.
    """
    require_transistor(cell)
    model, rise = gap_model(), 1.6
    lines = [deck_head(cell, temperature)]
    for k in range(2):
        line, other = ("b", "s") if k == 0 else ("s", "b")
        lines += [f"V{line}{k} {line}{k} 0 pwl(0 0 {ramp!r} {rise!r})", f"V{other}{k} {other}{k} 0 0"]
        lines += [f"Vw{k} w{k} 0 {cell.wordline!r}", cell_lines(cell, k, temperature)]
    session = session_for("\n".join([*lines, ".save v(g0) v(g1)", ".end"]))
    starts = model.gap(np.array([20e-6, 220e-6]))
    session.alter({f"vi{k}": float(g) for k, g in enumerate(starts)})
    found = session.tran(ramp / 500, ramp, ["g0", "g1"])
    volts = rise * found["time"] / ramp
    traces, measures = {}, {}
    for k, name in enumerate(("SET", "RESET")):
        gap = found[f"g{k}"]
        done = (gap - gap[0]) / (gap[-1] - gap[0])
        ten, ninety = (float(np.interp(part, done, volts)) for part in (0.1, 0.9))
        traces[name] = Trace(_read_conductance(gap), "S", log=True)
        measures[f"{name} voltage"] = Measure(float(np.interp(0.5, done, volts)), "V")
        measures[f"{name} width"] = Measure(ninety - ten, "V")
    return Result("abruptness", "Abrupt SET, gradual RESET", Axis("voltage", "V", volts), traces, measures)


def pulse_train(
    cell: CellSpec,
    *,
    polarity: str,
    voltages: Sequence[float],
    gate: float | None = None,
    pulses: int = 100,
    start: float | None = None,
    width: float = 100e-9,
    temperature: float = 300.15,
    variation: F64 | None = None,
) -> Result:
    """Conductance (S) of the device after each of equal pulses; one trace a voltage (V).

    polarity "set" pulses the bit-line with the word-line at `gate` (default 2.1 V), "reset" the source-line with it on.
    Cells start at `start` (S; default 20 or 220 uS). `variation` (2, pulses, len(voltages)) holds each pulse's speed
    and chi of circuits/rram_gap.lib. Measures of each voltage: first step, last conductance.
    Raises ValueError for another polarity, SpecError, NgspiceError.
    """
    if polarity not in ("set", "reset"):
        raise ValueError(f"polarity = {polarity!r}: allowed is set or reset")
    rising = polarity == "set"
    volts = np.asarray(voltages, dtype=np.float64)
    bench = CellBench(cell, volts.size, width=width, temperature=temperature)
    wl = np.full(volts.size, (2.1 if gate is None else gate) if rising else cell.wordline)
    zero = np.zeros(volts.size)
    bl, sl = (volts, zero) if rising else (zero, volts)
    gap = gap_model().gap(np.full(volts.size, (20e-6 if rising else 220e-6) if start is None else start))
    gaps = np.empty((pulses + 1, volts.size))
    gaps[0] = gap
    for n in range(pulses):
        speed, chi = (1.0, 0.0) if variation is None else variation[:, n]
        gaps[n + 1] = bench.pulse(gaps[n], bl=bl, sl=sl, wl=wl, speed=speed, chi=chi).gap
    conductance = _read_conductance(gaps)
    traces, measures = {}, {}
    for k, v in enumerate(volts):
        name = f"{v:.4g} V" if f"{v:.4g} V" not in traces else f"{v:.4g} V ({k})"
        traces[name] = Trace(conductance[:, k], "S")
        measures[f"first step at {name}"] = Measure(float(conductance[1, k] - conductance[0, k]), "S")
        measures[f"last at {name}"] = Measure(float(conductance[-1, k]), "S")
    title = f"{polarity.upper()} pulses of {1e9 * width:g} ns, word-line {wl[0]:.3g} V, {temperature:g} K"
    return Result("pulses", title, Axis("pulse", "", np.arange(pulses + 1.0)), traces, measures)


def temperature_response(
    cell: CellSpec,
    temperatures: Sequence[float] = (250.0, 300.0, 350.0, 400.0),
    *,
    set_voltage: float = 1.5,
    gate: float = 2.0,
    reset_voltage: float = 1.0,
) -> Result:
    """Conductance (S) against ambient temperature (K) after one SET from 20 uS and one RESET from 220 uS.

    The transistor changes with temperature too (its threshold falls, so does its mobility), so SET through a gate
    shows both. Raises SpecError, NgspiceError.
    """
    starts = gap_model().gap(np.array([20e-6, 220e-6]))
    after = []
    for kelvin in temperatures:
        done = CellBench(cell, 2, temperature=kelvin).pulse(
            starts,
            bl=np.array([set_voltage, 0.0]),
            sl=np.array([0.0, reset_voltage]),
            wl=np.array([gate, cell.wordline]),
        )
        after.append(_read_conductance(done.gap))
    conductance = np.array(after)
    traces = {name: Trace(conductance[:, k], "S") for k, name in enumerate(("after SET", "after RESET"))}
    axis = Axis("temperature", "K", np.asarray(temperatures, dtype=np.float64))
    span = {f"{n} span": Measure(float(np.ptp(t.values)), "S") for n, t in traces.items()}
    return Result("temperature", "One pulse at several temperatures", axis, traces, span)


def long_read(
    cell: CellSpec,
    voltages: Sequence[float] = (0.2, 0.3, 0.5, 0.7),
    *,
    conductance: float = 120e-6,
    stop: float = 1e-3,
    points: int = 31,
) -> Result:
    """A read at each voltage (V) for `stop` (s) in ngspice, beside what amcsim.device.gap predicts.

    Traces: relative change of the device's conductance over a logarithmic time, "ngspice ..." and "predicted ...".
    Measures: both at the end. Tolerances are far below the default's, since a read changes the gap by parts in 1e10.
    Raises SpecError, NgspiceError.
    """
    require_transistor(cell)
    model = gap_model()
    edge = 1e-8
    lines = [deck_head(cell, model.t0).replace("reltol=1e-3", "reltol=1e-6 vntol=1e-9 chgtol=1e-18 trtol=1")]
    for k, volts in enumerate(voltages):
        lines += [f"Vb{k} b{k} 0 pwl(0 0 3e-9 0 {3e-9 + edge!r} {float(volts)!r})", f"Vs{k} s{k} 0 0"]
        lines += [f"Vw{k} w{k} 0 {cell.wordline!r}", cell_lines(cell, k, model.t0)]
    names = [f"g{k}" for k in range(len(voltages))]
    session = session_for("\n".join([*lines, ".save " + " ".join(f"v({n})" for n in names), ".end"]))
    gap = model.gap(np.array([conductance]))
    session.alter({f"vi{k}": float(gap[0]) for k in range(len(voltages))})
    found = session.tran(stop / 200, stop, names)
    times = np.geomspace(1e-3 * stop, stop, points)
    traces: dict[str, Trace] = {}
    measures: dict[str, Measure] = {}
    for k, volts in enumerate(voltages):
        simulated = np.interp(times, found["time"], found[names[k]])
        change = np.expm1((found[names[k]][0] - simulated) / model.g0)
        held = times - (3e-9 + 0.5 * edge)
        predicted = read_disturb(model, gap, float(volts), held, on_resistance(cell))[0] / conductance - 1.0
        traces[f"ngspice {volts:g} V"] = Trace(change, "")
        traces[f"predicted {volts:g} V"] = Trace(predicted, "")
        measures[f"ngspice {volts:g} V"] = Measure(float(change[-1]))
        measures[f"predicted {volts:g} V"] = Measure(float(predicted[-1]))
    title = f"Long read of {1e6 * conductance:g} uS"
    return Result("read disturb", title, Axis("time", "s", times, log=True), traces, measures)
