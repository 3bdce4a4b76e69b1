"""Write-verify in ngspice: pulse, read, decide, for many cells at once, each with its own variation.

The controller knows the transistor's nominal law and what it reads, nothing of a cell's own parameters. A SET is
limited by its gate: the filament grows until the device's voltage has fallen to about 1 V, so that G V0 sinh(1 V/V0)
equals the transistor's saturation current, which names the first gate voltage; each SET's error corrects the cell's
next one. A RESET is gradual: its drop grows by e for each 36 mV, which names the next source-line voltage. Pulses of
both polarities, each verified: Wan et al., Nature 608, 504 (2022), Extended Data Fig. 3; steps with verify in 1T1R
arrays: Perez et al., Electronics 10, 1084 (2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from amcsim._types import F64, I64, Bool
from amcsim.access import card_parameters, on_resistance
from amcsim.analysis.cells import CellBench, require_transistor
from amcsim.analysis.result import Axis, Measure, Result, Trace
from amcsim.device.gap import gap_model
from amcsim.specs import CellSpec, SpecError
from amcsim.streams import Key

__all__ = ["STATES", "Loop", "PulseChooser", "Variation", "WriteVerify", "write_verify"]

STATES = np.linspace(20e-6, 220e-6, 8)
"""The 8 conductance states of the paper's Fig. 7, S (evenly spaced: assumed)."""
_SET_STOP = 1.0
"""Voltage over the device where a gate-limited SET of 100 ns comes to rest, V (ngspice: 0.94 to 1.05)."""
_E_FOLD = 0.036
"""V of source-line voltage by which the drop of a RESET pulse grows by e: kT tox/(a0 gam0) near 350 K."""


@dataclass(frozen=True)
class Variation:
    """Spread of cells and pulses."""

    device_speed: float = 0.5
    """Standard deviation of ln(speed) between devices, 18 mV of switching voltage (assumed)."""
    cycle_speed: float = 0.25
    """Standard deviation of ln(speed) from pulse to pulse (assumed)."""
    cycle_gap: float = 0.01
    """Standard deviation of the gap's random drift by one pulse, over the gap: the conductance spreads by
    cycle_gap g/g0, 0.5 % at 220 uS and 3 % at 20 uS (assumed; high-resistance states vary most)."""
    threshold: float = 3.2e-3
    """Standard deviation of the transistor's threshold, V: 10 mV um over sqrt(20 um 0.5 um), by Pelgrom's law
    (IEEE J. Solid-State Circuits 24, 1433) and the rule of thumb of 0.8 mV um a nanometre of oxide."""


@dataclass(frozen=True)
class Loop:
    """The controller and its instruments."""

    set_voltage: float = 1.5
    """Bit-line voltage of SET pulses, V."""
    first_reset: float = 0.9
    """Source-line voltage of a cell's first RESET pulse, V."""
    last_reset: float = 1.6
    """Its largest, V."""
    v_read: float = 0.2
    """Read voltage, V; conductances are I/V there."""
    width: float = 100e-9
    """Pulse width, s (edges 10 ns)."""
    read_time: float = 1e-6
    """Duration of a read, s (assumed)."""
    dac_step: float = 1e-3
    """Resolution of gate and source-line voltages, V (12 bits on 4 V)."""
    max_pulses: int = 150
    """A cell that needs more is given up."""


@dataclass(frozen=True, eq=False)
class WriteVerify:
    """Outcome for cells (states, cells)."""

    targets: F64
    """(states,), S."""
    tolerance: float
    """S."""
    verify: str
    """cell or device: which conductance was compared with the target."""
    cell: F64
    """Conductance of the whole cell at the read voltage, transistor included, S."""
    device: F64
    """Conductance of the RRAM alone at the read voltage, from its gap, S."""
    verified: F64
    """The conductance as the controller saw it last, S."""
    set_pulses: I64
    reset_pulses: I64
    reads: I64
    time: F64
    """Pulses and reads, s."""
    energy: F64
    """Of the drivers in pulses and reads, J."""
    history: tuple[F64, ...]
    """Conductance read after each step by the first cell of each state, S."""

    @property
    def reached(self) -> Bool:
        """Whether the controller saw the cell within tolerance, (states, cells)."""
        return np.abs(self.verified - self.targets[:, None]) <= self.tolerance

    @property
    def pulses(self) -> I64:
        """SET and RESET pulses, (states, cells)."""
        return self.set_pulses + self.reset_pulses

    def result(self) -> Result:
        """Cumulative distributions as traces over the probability, measures by state."""
        p = np.linspace(0.0, 1.0, 201)
        names = [f"{1e6 * t:.4g} uS" for t in self.targets]
        measures = {"reached": Measure(float(self.reached.mean()))}
        for k, name in enumerate(names):
            error = self.verified[k] - self.targets[k]
            measures |= {
                f"error std {name}": Measure(float(error.std()), "S"),
                f"pulses mean {name}": Measure(float(self.pulses[k].mean())),
                f"pulses max {name}": Measure(float(self.pulses[k].max())),
                f"time mean {name}": Measure(float(self.time[k].mean()), "s"),
                f"energy mean {name}": Measure(float(self.energy[k].mean()), "J"),
            }
        traces = {name: Trace(np.quantile(row, p), "S") for name, row in zip(names, self.verified, strict=True)}
        title = f"Write-verify, {self.cell.shape[1]} cells a state, +-{1e6 * self.tolerance:g} uS on the {self.verify}"
        return Result("write-verify", title, Axis("cumulative probability", "", p), traces, measures)


def write_verify(
    targets: F64,
    cells: int,
    tolerance: float,
    key: Key,
    *,
    cell: CellSpec,
    verify: Literal["cell", "device"] = "device",
    loop: Loop | None = None,
    variation: Variation | None = None,
    progress: Callable[[int], None] | None = None,
) -> WriteVerify:
    """Program `cells` cells to each of `targets` (S) within +-tolerance (S), pulse by pulse in ngspice.

    Cells start anywhere between 20 and 220 uS, as arrays that are written anew do. Cell c of state s draws from
    key.child(s, c). verify = "device" subtracts the nominal access resistance from each read. `progress(n)` is called
    as n more cells are done.
    Raises SpecError for targets out of reach, NgspiceError.
    """
    loop, variation = loop or Loop(), variation or Variation()
    require_transistor(cell)
    series = on_resistance(cell)
    targets = np.asarray(targets, dtype=np.float64)
    model = gap_model()
    top = float(model.conductance(np.array(model.gmin + 0.02)))
    low = float(model.conductance(np.array(model.gmax - 0.02)))
    highest = 1 / (1 / top + series) if verify == "cell" else top
    if targets.min() < low or targets.max() > highest:
        raise SpecError(
            f"targets of {1e6 * targets.min():.4g} to {1e6 * targets.max():.4g} uS: "
            f"allowed is {1e6 * low:.4g} to {1e6 * highest:.4g} uS"
        )
    if not 0.1e-6 <= tolerance <= 100e-6:
        raise SpecError(f"tolerance = {1e6 * tolerance:g} uS: allowed is 0.1 to 100 uS")
    shape = targets.size, cells
    streams = [key.child(s, c).generator() for s in range(targets.size) for c in range(cells)]
    gap = model.gap(np.array([g.uniform(20e-6, 220e-6) for g in streams]))
    own = np.array([g.normal(size=2) for g in streams])
    speed, threshold = np.exp(variation.device_speed * own[:, 0]), variation.threshold * own[:, 1]
    target = np.repeat(targets, cells)
    controller = PulseChooser(target, tolerance, loop, cell, series if verify == "cell" else 0.0)
    bench = CellBench(cell, width=loop.width)
    counts = np.zeros((3, target.size), dtype=np.int64)  # SET, RESET, reads
    energy = np.zeros(target.size)
    seen = np.zeros(target.size)
    history: list[list[float]] = [[] for _ in range(targets.size)]

    def read(some: I64) -> None:
        current = bench.read(gap[some], loop.v_read)
        whole = current / loop.v_read
        seen[some] = whole if verify == "cell" else 1.0 / (1.0 / whole - series)
        counts[2, some] += 1
        energy[some] += loop.v_read * current * loop.read_time
        for c in some[some % cells == 0]:
            history[c // cells].append(float(seen[c]))

    active = np.arange(target.size)
    read(active)
    while active.size:
        active = active[
            (np.abs(seen - target) > tolerance)[active] & (counts[:2].sum(axis=0) < loop.max_pulses)[active]
        ]
        if not active.size:
            break
        bl, sl, wl = controller.next_pulses(active, seen)
        noise = np.array([streams[c].normal(size=2) for c in active])
        fast = speed[active] * np.exp(variation.cycle_speed * noise[:, 0])
        drift = variation.cycle_gap * noise[:, 1] / (1e6 * loop.width)
        done = bench.pulse(gap[active], bl=bl, sl=sl, wl=wl - threshold[active], speed=fast, chi=drift)
        gap[active] = done.gap
        energy[active] += done.energy
        counts[0, active] += bl > 0
        counts[1, active] += sl > 0
        before = seen.copy()
        read(active)
        controller.learn(active, before, seen)
    current = bench.read(gap, loop.v_read)
    time = counts[:2].sum(axis=0) * (loop.width + 2 * bench.edge) + counts[2] * loop.read_time
    return WriteVerify(
        targets=targets,
        tolerance=tolerance,
        verify=verify,
        cell=(current / loop.v_read).reshape(shape),
        device=(model.current(np.array(loop.v_read), gap) / loop.v_read).reshape(shape),
        verified=seen.reshape(shape),
        set_pulses=counts[0].reshape(shape),
        reset_pulses=counts[1].reshape(shape),
        reads=counts[2].reshape(shape),
        time=time.reshape(shape),
        energy=energy.reshape(shape),
        history=tuple(np.array(h) for h in history),
    )


class PulseChooser:
    """Chooses pulses from what was read; one memory for each cell."""

    def __init__(self, target: F64, tolerance: float, loop: Loop, cell: CellSpec, series: float) -> None:
        self.target, self.tolerance, self.loop = target, tolerance, loop
        self.wordline = cell.wordline
        card = card_parameters("nmos_350n")
        body = card["gamma"] * (np.sqrt(card["phi"] - cell.bulk) - np.sqrt(card["phi"]))
        scale, theta = 0.5 * card["kp"] * cell.w / cell.l, card["theta"]
        device = target / (1.0 - target * series)
        v0 = gap_model().v0
        current = device * v0 * np.sinh(_SET_STOP / v0)
        # I = scale V_ov^2/(1 + theta V_ov), solved for the overdrive
        drive = theta * current / scale
        overdrive = 0.5 * (drive + np.sqrt(drive**2 + 4 * current / scale))
        self.gate = card["vto"] + body + overdrive
        self.slope = target * (2 + theta * overdrive) / (overdrive * (1 + theta * overdrive))
        self.reset = np.full(target.size, loop.first_reset)

    def next_pulses(self, some: I64, seen: F64) -> tuple[F64, F64, F64]:
        """Bit-line, source-line and word-line voltages of the next pulse of some cells, V."""
        low = seen[some] < self.target[some]
        step = self.loop.dac_step
        bl = np.where(low, self.loop.set_voltage, 0.0)
        sl = np.where(low, 0.0, np.round(self.reset[some] / step) * step)
        wl = np.where(low, np.round(self.gate[some] / step) * step, self.wordline)
        return bl, sl, wl

    def learn(self, some: I64, before: F64, after: F64) -> None:
        """Correct the next gate voltage after a SET, the next source-line voltage after a RESET."""
        target, error = self.target[some], after[some] - self.target[some]
        was_set = before[some] < target
        gate = np.clip(-0.8 * error / self.slope[some], -0.04, 0.04)
        self.gate[some] += np.where(was_set, gate, 0.0)
        drop = np.maximum(before[some] - after[some], 0.05 * self.tolerance)
        wanted = np.where(error > self.tolerance, error, np.abs(before[some] - target))
        change = np.clip(_E_FOLD * np.log(wanted / drop), -0.06, 0.06)
        self.reset[some] = np.minimum(self.reset[some] + np.where(was_set, 0.0, change), self.loop.last_reset)
