"""Cells of I = G V0 sinh(V/V0): the nodal Newton iteration against ngspice, which solves them its own way."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from amcsim.access import cell_current, curvature_voltage, on_resistance, transistor_cell_current
from amcsim.analysis.array import operating_points
from amcsim.nodal.build import build
from amcsim.realisation import realise
from amcsim.solvers.circuit import CircuitSolver
from amcsim.solvers.nodal import NodalSolver
from amcsim.specs import preset
from amcsim.status import Status
from amcsim.streams import Key
from amcsim.topology.circuit import Topology
from amcsim.topology.inv import INV
from amcsim.topology.mvm import MVM

SINH = {"iv": "sinh", "v0": 0.41, "v0_exponent": 0.2}
"""4 % off linear at 0.2 V at g_max: (0.2/0.41)^2/6 = 0.04."""
BARE = preset("ideal").replace(
    cell=SINH,
    opamp={"model": "linear", "gain": 1e4, "offset_sigma": 1e-3},
    wire={"bl_resistance": 1.0, "sl_resistance": 1.0},
)
BOARD = preset("pku_350nm").replace(cell=SINH)
RESISTOR = (None, on_resistance(BOARD.cell))
"""Access devices of their own curve, and as resistors."""


def test_a_cell_is_four_per_cent_off_linear_at_a_fifth_of_a_volt() -> None:
    g = np.array([220e-6])
    current, slope = cell_current(np.array([0.2]), g, curvature_voltage(BARE.cell, g), 0.0)
    assert current[0] / (0.2 * g[0]) == pytest.approx(np.sinh(0.2 / 0.41) / (0.2 / 0.41), rel=1e-13)
    assert 1.039 < current[0] / (0.2 * g[0]) < 1.041
    assert slope[0] == pytest.approx(g[0] * np.cosh(0.2 / 0.41), rel=1e-12)


def test_a_cell_behind_its_access_device_solves_the_series_circuit() -> None:
    v = np.linspace(-1.0, 1.0, 41)
    g, v0, series = np.full(41, 150e-6), np.full(41, 0.4), 98.7
    current, slope = cell_current(v, g, v0, series)
    np.testing.assert_allclose(g * v0 * np.sinh((v - current * series) / v0), current, rtol=1e-10, atol=1e-18)
    step = 1e-6
    numeric = (cell_current(v + step, g, v0, series)[0] - cell_current(v - step, g, v0, series)[0]) / (2 * step)
    np.testing.assert_allclose(slope, numeric, rtol=1e-6)


@pytest.mark.parametrize("topology", [INV, MVM], ids=["inv", "mvm"])
@pytest.mark.parametrize("m", [3, 16])
def test_wired_arrays_equal_ngspice(topology: Topology, m: int) -> None:
    rng = np.random.default_rng(m)
    a = np.eye(m) + 0.3 * rng.standard_normal((m, m)) / np.sqrt(m)
    r, b = realise(a, BARE, Key(1)), rng.uniform(-0.2, 0.2, (m, 1))
    point = build(topology, BARE, r).operating_point(b)
    flat = build(topology, BARE.replace(cell={"iv": "linear", "v0": None}), r).operating_point(b)
    simulated = operating_points(topology, BARE, r, b)
    assert point.converged.all()
    norm = np.linalg.norm(simulated[:m])
    assert np.linalg.norm(point.u[:m] - simulated[:m]) < 1e-7 * norm
    assert np.linalg.norm(flat.u[:m] - simulated[:m]) > 5e-3 * norm  # the curvature is worth something


def test_statuses_and_answers_of_board_circuits_equal_ngspice() -> None:
    rng = np.random.default_rng(2)
    a = np.stack([np.eye(4) + 0.3 * rng.standard_normal((4, 4)) / 2, np.diag([1.0, 0.7, -0.5, 0.4])])
    b = rng.standard_normal((2, 4, 2))
    nodal = NodalSolver(BOARD).program(a, Key(3)).solve(b)
    circuit = CircuitSolver(BOARD).program(a, Key(3)).solve(b)
    assert nodal.status[0].tolist() == circuit.status[0].tolist() == [Status.OK] * 2
    assert nodal.status[1].tolist() == circuit.status[1].tolist() == [Status.UNSTABLE] * 2
    assert np.linalg.norm(nodal.x[0] - circuit.x[0]) < 1e-4 * np.linalg.norm(circuit.x[0])


def test_a_programmed_array_can_be_pickled_after_a_solve() -> None:
    handle = NodalSolver(BOARD).program(np.eye(3), Key(0))
    b = np.array([[1.0], [0.5], [-0.25]])
    before = handle.solve(b)
    assert on_resistance(BOARD.cell) > 0
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(handle)).solve(b).x, before.x)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("m", [16, 32, 64])
def test_large_wired_arrays_with_access_transistors_equal_ngspice(m: int) -> None:
    """1 ohm, outputs to 0.3 V. ngspice takes minutes at 64."""
    rng, spec = Key(m).generator(), BOARD.replace(programming={"model": "ideal"})
    a = np.eye(m) + 0.3 * rng.standard_normal((m, m)) / np.sqrt(m)
    r, b = realise(a, spec, Key(1)), rng.uniform(-0.2, 0.2, (m, 1))
    point = build(INV, spec, r).operating_point(b)
    simulated = operating_points(INV, spec, r, b)
    assert point.converged.all()
    assert np.linalg.norm(point.u[:m] - simulated[:m]) < 1e-4 * np.linalg.norm(simulated[:m])


@pytest.mark.parametrize(("iv", "tolerance"), [("linear", 2e-7), ("sinh", 2e-5)])
def test_access_transistors_follow_their_own_curve(iv: str, tolerance: float) -> None:
    """Outputs to 0.9 V, currents of both signs, source-lines off ground; ngspice finds sinh cells to its reltol."""
    cell = {"iv": iv, "v0": None if iv == "linear" else 0.8, "v_read_max": 1.0}
    spec = BOARD.replace(cell=cell, programming={"model": "ideal"}, opamp={"model": "linear"})
    rng = np.random.default_rng(4)
    a = np.eye(4) + 0.15 * rng.standard_normal((4, 4))
    r, b = realise(a, spec, Key(1)), rng.uniform(-0.5, 0.5, (4, 2))
    simulated = operating_points(INV, spec, r, b)
    norm = np.linalg.norm(simulated[:4])
    off = [np.linalg.norm(build(INV, spec, r, ron).operating_point(b).u[:4] - simulated[:4]) / norm for ron in RESISTOR]
    assert np.abs(simulated[:4]).max() > 0.5
    assert off[0] < tolerance
    assert off[1] > 2e-5  # as resistors


@pytest.mark.parametrize("line", [-0.1, 0.0, 0.2])
def test_a_transistor_cell_obeys_level_3(line: float) -> None:
    """The current is the channel's at the node between RRAM and transistor, either way round."""
    cell = BOARD.cell
    v, g = np.array([-0.8, -0.3, 1e-6, 0.3, 0.8]), np.full(5, 220e-6)
    current, slope = transistor_cell_current(v, g, curvature_voltage(cell, g), np.full(5, line), cell)
    inner = line + v - curvature_voltage(cell, g) * np.arcsinh(current / (g * curvature_voltage(cell, g)))
    low, high = np.minimum(inner, line), np.maximum(inner, line)
    root = np.sqrt(0.8 + low + 5.0)
    over = 5.0 - low - (0.7 + 0.6 * (root - np.sqrt(0.8)))
    channel = 100e-6 * 40 / (1 + 0.1 * over) * (over - (1 + 0.6 / (4 * root)) * (high - low) / 2) * (high - low)
    np.testing.assert_allclose(np.abs(current), channel, rtol=1e-9, atol=1e-15)
    step = 1e-6
    more = transistor_cell_current(v + step, g, curvature_voltage(cell, g), np.full(5, line), cell)[0]
    np.testing.assert_allclose(slope, (more - current) / step, rtol=2e-3)
