"""The RRAM whose state changes, in ngspice: its currents and its speed are the equations', and it converges."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.access import on_resistance
from amcsim.analysis.cells import CellBench, library_text
from amcsim.device.gap import gap_model
from amcsim.ngspice import Session
from amcsim.specs import preset
from amcsim.streams import Key

CELL = preset("pku_350nm").cell
MODEL = gap_model()


def test_a_read_is_the_law_of_the_gap_in_series_with_the_transistor() -> None:
    gap = MODEL.gap(np.array([20e-6, 100e-6, 220e-6]))
    current = CellBench(CELL, 4).read(gap, 0.2)
    across = 0.2 - current * on_resistance(CELL)
    # The transistor is linear to 1e-3 at 5 mV; it takes 2 % of the voltage at most.
    np.testing.assert_allclose(current, MODEL.current(across, gap), rtol=1e-3)


def test_a_pulse_moves_the_gap_as_the_rate_equation_does() -> None:
    # A weak SET pulse, by Heun's rule over the trapezoid; the bit-line's voltage falls over device and transistor.
    start, volts = MODEL.gap(np.array([120e-6])), 1.0
    bench = CellBench(CELL, 1)
    done = bench.pulse(start, bl=np.array([volts]), sl=np.zeros(1), wl=np.array([5.0])).gap

    def rate(gap: np.ndarray, v: float) -> np.ndarray:
        across = np.array([v])
        for _ in range(30):
            across = 0.5 * (across + v - MODEL.current(across, gap) * on_resistance(CELL))
        return MODEL.rate(across, gap)

    gap, steps = start, 1000
    time = np.linspace(0.0, bench.width + 2 * bench.edge, steps + 1)
    corners = [0.0, bench.edge, bench.edge + bench.width, 2 * bench.edge + bench.width]
    drive = volts * np.interp(time, corners, [0.0, 1.0, 1.0, 0.0])
    for k in range(steps):
        first = rate(gap, drive[k])
        second = rate(gap + first * time[1], drive[k + 1])
        gap = gap + 0.5 * (first + second) * time[1]
    moved = (gap - start)[0]
    assert moved < -5e-3
    # The rate changes by 3 % a millivolt: with 0.3 mA the transistor takes 30 mV, its curve and the integration 1 mV.
    assert (done - start)[0] == pytest.approx(moved, rel=0.03)


def test_hundreds_of_pulses_of_any_strength_converge_and_keep_the_gap_between_its_ends() -> None:
    bench, draw = CellBench(CELL, 1), Key(1).generator()
    gaps = [np.array([0.5])]
    for _ in range(200):
        rising, volts = draw.random() < 0.5, draw.uniform(0.3, 2.4, 1)
        bl, sl = (volts, 0.0 * volts) if rising else (0.0 * volts, volts)
        wl = draw.uniform(1.65, 5.0, 1) if rising else np.array([5.0])
        gaps.append(bench.pulse(gaps[-1], bl=bl, sl=sl, wl=wl).gap)
    assert MODEL.gmin - 2e-3 < np.min(gaps) < MODEL.gmin + 0.05
    assert MODEL.gmax + 2e-3 > np.max(gaps) > MODEL.gmax - 0.05


def test_energy_is_what_a_frozen_resistor_takes() -> None:
    # 0.3 V does not move the state: energy = V^2 G times the pulse's effective length (edges count a third each), less
    # 2 % for the curvature and the transistor that this leaves out
    gap = MODEL.gap(np.array([50e-6]))
    bench = CellBench(CELL, 1)
    done = bench.pulse(gap, bl=np.array([0.3]), sl=np.zeros(1), wl=np.array([5.0]))
    assert done.gap[0] == pytest.approx(gap[0], abs=1e-6)
    assert done.energy[0] == pytest.approx(0.3 * MODEL.current(np.array(0.3), gap)[0] * 106.7e-9, rel=0.02)


def test_variation_of_a_pulse_acts_while_the_filament_is_warm() -> None:
    gap = np.full(3, MODEL.gap(np.array(100e-6)))
    bench = CellBench(CELL, 4)
    hot = bench.pulse(gap, bl=np.zeros(3), sl=np.full(3, 1.0), wl=np.full(3, 5.0), chi=np.array([-0.1, 0.0, 0.1])).gap
    # chi g over 100 ns: 0.1/us * 0.38 nm * 0.1 us
    assert hot[2] - hot[1] == pytest.approx(0.1 * gap[0] * 0.1, rel=0.2)
    assert hot[0] < hot[1]
    cold = bench.pulse(gap, bl=np.full(3, 0.2), sl=np.zeros(3), wl=np.full(3, 5.0), chi=np.array([-0.1, 0.0, 0.1])).gap
    assert np.ptp(cold) < 1e-4


def test_a_deck_of_ones_own_starts_from_the_initial_gap_and_noise_stays_between_the_ends() -> None:
    lines = "Vb b 0 pulse(0 1.2 2n 10n 10n 1u)\nXr b 0 g rram_gap ini=0.8\nXn b 0 h rram_gap ini=1.0 chi=100"
    session = Session()
    session.load(f"one RRAM\n{library_text()}\n{lines}\nRl g 0 1t\n.end\n")
    found = session.tran(1e-9, 50e-9, ["g", "h"], uic=True)
    assert found["g"][0] == pytest.approx(0.8, abs=1e-4)
    assert MODEL.gmax - 0.02 < found["h"].max() < MODEL.gmax + 1e-3  # without its end it would be at 5 nm
