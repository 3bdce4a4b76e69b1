"""Write-verify inside one ngspice transient: pulse, read, decide, for a few 1T1R cells side by side.

The same cells (circuits/rram_1t1r.lib) and the same choice of pulses as amcsim.analysis.write_verify, where each pulse
is a run of its own and many cells are programmed; here everything stands on one waveform: word-line first, then the
pulse, then a rest, then a read through an ideal current meter and an ADC. Cells and pulses do not vary.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from amcsim._types import F64, Bool
from amcsim.access import on_resistance
from amcsim.analysis.cells import cell_lines, deck_head, require_transistor
from amcsim.analysis.cosim import Converter, Cosimulation, Drive, Scripted, cosimulate
from amcsim.analysis.result import Measure, Result, Trace
from amcsim.analysis.write_verify import Loop, PulseChooser
from amcsim.device.gap import gap_model
from amcsim.netlist.deck import RISE_TIME
from amcsim.specs import CellSpec, SpecError

__all__ = ["WriteVerifyRun", "write_verify_waveform"]

_AMBIENT = 300.15
"""K."""
_REST = 30e-9
"""Between a word-line's change and a pulse, and after a pulse, s (assumed)."""
_METER = 10e3
"""Volts at the ADC for one ampere through the bit-line: 0.44 V for 220 uS at 0.2 V."""
_CELLS = 16


@dataclass(frozen=True, eq=False)
class WriteVerifyRun:
    """Cells programmed in one transient."""

    cosimulation: Cosimulation
    targets: F64
    """(cells,), S."""
    tolerance: float
    """S."""
    reads: F64
    """(reads, cells): conductances as the controller read them, S."""
    read_times: F64
    """(reads,), s."""
    pulses: F64
    """(pulses, cells): bit-line minus source-line voltage of each, V: SET > 0, RESET < 0, 0 where a cell has none."""
    device: F64
    """(cells,): conductance of the RRAM alone at the end, from its gap, at the read voltage, S."""
    energy: F64
    """(cells,): from the bit-line's and source-line's drivers, pulses and reads, J."""

    @property
    def reached(self) -> Bool:
        """(cells,): whether the last read lies within tolerance."""
        return np.asarray(np.abs(self.reads[-1] - self.targets) <= self.tolerance)

    def result(self, title: str) -> Result:
        """Waveforms of the lines and what was read; each cell's last read is marked."""
        run = self.cosimulation
        lines = [f"v({line}{k})" for k in range(self.targets.size) for line in "bsw"]
        whole = run.result(title, lines)
        row = np.searchsorted(self.read_times, run.time, side="right")
        held = np.concatenate([np.full((1, self.targets.size), np.nan), self.reads])[row]
        traces = {f"read {k}": Trace(held[:, k], "S") for k in range(self.targets.size)}
        measures: dict[str, Measure] = {}
        for k, target in enumerate(self.targets):
            ending = "" if self.reached[k] else ", not reached"
            name = f"cell {k}, target {1e6 * target:.4g} uS{ending}"
            measures[name] = Measure(float(self.reads[-1, k]), "S", (f"read {k}", float(run.time[-1])))
            measures[f"pulses {k}"] = Measure(float(np.count_nonzero(self.pulses[:, k])))
            measures[f"energy {k}"] = Measure(float(self.energy[k]), "J")
        measures["duration"] = Measure(float(run.time[-1]), "s")
        return replace(whole, traces={**traces, **whole.traces}, measures=measures)


@dataclass
class _Log:
    """What the host wrote down."""

    reads: list[F64] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    pulses: list[F64] = field(default_factory=list)


def write_verify_waveform(
    targets: F64,
    start: F64,
    tolerance: float,
    *,
    cell: CellSpec,
    verify: Literal["cell", "device"] = "device",
    loop: Loop | None = None,
    adc_bits: int | None = 12,
    max_pulses: int = 30,
) -> WriteVerifyRun:
    """Program cells from conductances `start` to `targets`, (cells,), S, of the RRAM alone, within +-tolerance (S).

    verify: which conductance is compared, as in `write_verify`. The host stops when all reads lie within tolerance, or
    after `max_pulses`. Raises SpecError for a cell without transistor and for values out of reach; NgspiceError.
    """
    loop, model = loop or Loop(), gap_model()
    targets, start = np.asarray(targets, np.float64), np.asarray(start, np.float64)
    series = on_resistance(require_transistor(cell))
    ends = np.array([model.gmax - 0.02, model.gmin + 0.02])
    low, high = (float(model.conductance(np.array(end))) for end in ends)
    if not 1 <= targets.size <= _CELLS or targets.ndim != 1 or start.shape != targets.shape:
        raise SpecError(f"targets of shape {targets.shape}, start {start.shape}: wanted are 1 to {_CELLS} of each")
    for name, values in (("targets", targets), ("start", start)):
        if not ((values >= low) & (values <= high)).all():
            raise SpecError(f"{name} = {1e6 * values} uS: allowed is {1e6 * low:.4g} to {1e6 * high:.4g} uS")
    if not 0.1e-6 <= tolerance <= 100e-6:
        raise SpecError(f"tolerance = {1e6 * tolerance:g} uS: allowed is 0.1 to 100 uS")
    if not 1 <= max_pulses <= 1000:
        raise SpecError(f"max_pulses = {max_pulses}: allowed is 1 to 1000")
    log, cells = _Log(), targets.size
    chooser = PulseChooser(targets, tolerance, loop, cell, series if verify == "cell" else 0.0)
    steps = _steps(
        targets, tolerance, chooser, loop, cell.wordline, 0.0 if verify == "cell" else series, max_pulses, log
    )
    one = loop.width + RISE_TIME + 2 * _REST + loop.read_time
    run = cosimulate(
        _deck(cell, model.gap(start)),
        Scripted(steps),
        sources=[f"v{line}{k}" for line in "bsw" for k in range(cells)],
        senses=[f"v(m{k})" for k in range(cells)],
        record=[name for k in range(cells) for name in (*(f"v({line}{k})" for line in "bsw"), f"v(g{k})")]
        + [f"i(v{line}{k})" for k in range(cells) for line in "bs"],
        stop=(max_pulses + 1.01) * one,
        adc=Converter(adc_bits, 1.5 * _METER * loop.v_read * cell.g_max),
        max_step=loop.width / 4,
    )
    gap = np.array([run.signals[f"v(g{k})"][-1] for k in range(cells)])
    power = [
        -(run.signals[f"v(b{k})"] * run.signals[f"i(vb{k})"] + run.signals[f"v(s{k})"] * run.signals[f"i(vs{k})"])
        for k in range(cells)
    ]
    return WriteVerifyRun(
        run,
        targets,
        tolerance,
        np.array(log.reads),
        np.array(log.times),
        np.array(log.pulses).reshape(-1, cells),
        model.current(np.array(loop.v_read), gap) / loop.v_read,
        np.asarray(np.trapezoid(power, run.time, axis=1)),
    )


def _steps(
    targets: F64,
    tolerance: float,
    chooser: PulseChooser,
    loop: Loop,
    wordline: float,
    series: float,
    max_pulses: int,
    log: _Log,
) -> Generator[Drive, F64, None]:
    """What the lines do: all bit-lines, all source-lines, all word-lines; cells within tolerance rest at 0 V."""
    none, on = np.zeros(targets.size), np.full(targets.size, wordline)
    now, before, active = 0.0, none, np.zeros(0, np.int64)
    for count in range(max_pulses + 1):
        now += loop.read_time
        volts = yield Drive(np.concatenate([none + loop.v_read, none, on]), loop.read_time)
        whole = volts / (_METER * loop.v_read)
        seen = whole / (1.0 - series * whole)
        log.reads.append(seen)
        log.times.append(now)
        chooser.learn(active, before, seen)
        active = np.flatnonzero(np.abs(seen - targets) > tolerance)
        if not active.size or count == max_pulses:
            return
        bl, sl, wl = none.copy(), none.copy(), none.copy()
        bl[active], sl[active], wl[active] = chooser.next_pulses(active, seen)
        log.pulses.append(bl - sl)
        for lines, wait in (
            ((none, none, wl), _REST),
            ((bl, sl, wl), loop.width + RISE_TIME),
            ((none, none, wl), _REST),
        ):
            now += wait
            yield Drive(np.concatenate(lines), wait)
        before = seen


def _deck(cell: CellSpec, gap: F64) -> str:
    """Cells of those gaps (nm), each with its own lines and a meter of the bit-line's current."""
    lines = [deck_head(cell, _AMBIENT)]
    for k, start in enumerate(gap.tolist()):
        drivers = "\n".join(f"V{line}{k} {line}{k} 0 0" for line in "bsw")
        held = cell_lines(cell, k, _AMBIENT).replace(f"Vi{k} i{k} 0 0.5", f"Vi{k} i{k} 0 {start!r}")
        lines += [drivers, f"Hm{k} m{k} 0 Vb{k} {-_METER!r}", held]
    # reltol=1e-3 leaves 20 uV at the inner node, which through the transistor's 70 ohm are 1 % of a read current.
    return "\n".join([*lines, ".end\n"]).replace("reltol=1e-3", "reltol=1e-5 vntol=1e-8")
