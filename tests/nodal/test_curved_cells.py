"""Cells of I = G V0 sinh(V/V0): the nodal Newton iteration against ngspice, which solves them its own way."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from amcsim.access import cell_current, curvature_voltage, on_resistance
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
    """The access transistor's own curvature, which nodal leaves out, is the tolerance."""
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
    """1 ohm, outputs to 0.3 V: what is left, 2e-5, is the transistors' own curve. ngspice takes minutes at 64."""
    rng, spec = Key(m).generator(), BOARD.replace(programming={"model": "ideal"})
    a = np.eye(m) + 0.3 * rng.standard_normal((m, m)) / np.sqrt(m)
    r, b = realise(a, spec, Key(1)), rng.uniform(-0.2, 0.2, (m, 1))
    point = build(INV, spec, r).operating_point(b)
    simulated = operating_points(INV, spec, r, b)
    assert point.converged.all()
    assert np.linalg.norm(point.u[:m] - simulated[:m]) < 1e-4 * np.linalg.norm(simulated[:m])
