"""Sinh cells in the surrogate: against ngspice as a part of the error, against the nodal model where both are exact."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.access import curvature_voltage, on_resistance
from amcsim.campaign.fit import measure_amplifier, measure_cell
from amcsim.realisation import linear_matrix
from amcsim.solvers.circuit import CircuitSolver
from amcsim.solvers.mvm import MvmSolver
from amcsim.solvers.surrogate import SurrogateSolver
from amcsim.specs import preset
from amcsim.streams import Key
from amcsim.surrogate.model import CellLaw, Domain, Surrogate, fit_cell_law

SINH = {"iv": "sinh", "v0": 0.41, "v0_exponent": 0.2}
BOARD = preset("pku_350nm").replace(cell=SINH)
BARE = preset("ideal").replace(cell=SINH, wire={"bl_resistance": 1.0, "sl_resistance": 1.0})


@pytest.fixture(scope="module")
def fitted() -> Surrogate:
    g, v, current = measure_cell(BOARD, 8, 12)
    law, rms = fit_cell_law(g, v, current, curvature_voltage(BOARD.cell, g))
    assert rms < 1e-7
    assert law.r0 == pytest.approx(on_resistance(BOARD.cell), rel=1e-4)
    gain, ro = measure_amplifier(BOARD)
    domain = Domain(sizes=(4, 16), g_min=5e-6, g_max=240e-6, v_max=0.3)
    return Surrogate(spec=BOARD, cell=law, gain=gain, output_resistance=ro, fast_verdict=False, domain=domain)


@pytest.mark.parametrize(("m", "count"), [(4, 3), (16, 1)])
def test_inv_is_within_a_thousandth_of_the_error(fitted: Surrogate, m: int, count: int) -> None:
    rng = np.random.default_rng(m)
    a = np.eye(m) + 0.3 * rng.standard_normal((count, m, m)) / np.sqrt(m)
    b = rng.standard_normal((count, m, 1))
    handle = SurrogateSolver(fitted, BOARD).program(a, Key(3))
    fast, circuit = handle.solve(b), CircuitSolver(BOARD).program(a, Key(3)).solve(b)
    assert fast.status.tolist() == circuit.status.tolist()
    scale = np.abs(a).max(axis=(1, 2))[:, None, None]
    linear = np.linalg.solve(linear_matrix(handle.realisation, BOARD), b) / scale
    error = np.linalg.norm(circuit.x - linear, axis=1)
    assert (np.linalg.norm(fast.x - circuit.x, axis=1) < 1e-3 * error).all()
    assert (error > 0.01 * np.linalg.norm(linear, axis=1)).all()


def test_mvm_equals_the_nodal_model() -> None:
    """Ideal amplifiers and no access device leave both with the same circuit; what is left is the wires, 5e-8."""
    domain = Domain(sizes=(8,), g_min=5e-6, g_max=240e-6, v_max=0.3)
    bare = Surrogate(
        circuit="mvm",
        spec=BARE,
        cell=CellLaw(r0=0.0),
        gain=1e12,
        output_resistance=0.0,
        fast_verdict=False,
        domain=domain,
    )
    rng = np.random.default_rng(0)
    a, v = rng.standard_normal((2, 5, 8)), rng.standard_normal((2, 8, 3))
    fast = MvmSolver(BARE, "surrogate", bare).program(a, Key(1)).multiply(v)
    nodal = MvmSolver(BARE, "nodal").program(a, Key(1)).multiply(v)
    np.testing.assert_allclose(fast.y, nodal.y, rtol=0, atol=5e-8 * np.abs(nodal.y).max())
