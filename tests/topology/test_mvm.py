"""The MVM circuit as tables, and its closed form against arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.mapping import product_scale
from amcsim.nodal.build import build
from amcsim.realisation import Realisation, realise
from amcsim.solvers.mvm import MvmSolver
from amcsim.specs import Spec, preset
from amcsim.status import Status
from amcsim.streams import Key
from amcsim.topology.mvm import MVM, mvm_closed_form, mvm_network

LINEAR = Spec().replace(
    opamp={"model": "linear", "gain": 2e3, "offset_sigma": 2e-3}, programming={"model": "uniform", "tolerance": 10e-6}
)


def test_a_rectangular_circuit_has_a_driver_pair_a_column_and_an_amplifier_a_row() -> None:
    net = mvm_network(3, 5, preset("pku_350nm"))
    assert (len(net.cells.names), len(net.amplifiers.names), len(net.sources.names)) == (30, 3, 10)
    assert net.inverters.names == ()
    assert [net.nodes[i] for i in net.sources.node] == [f"{d}{j}" for d in ("d", "dn") for j in range(5)]
    assert (net.cells.row.max(), net.cells.column.max(), net.cells.array.max()) == (2, 4, 1)


def test_one_row_by_hand() -> None:
    """KCL at the summing node: 220 uS at 0.1 V against 20 uS at -0.1 V, 1 mV of offset, feedback 200 uS, gain 1,000."""
    spec = Spec().replace(opamp={"model": "linear", "gain": 1e3})
    one = np.ones(1)
    r = Realisation(np.full((1, 1), 220e-6), np.full((1, 1), 20e-6), 1e-3 * one, 0.0 * one, one)
    current = 220e-6 * 0.1 - 20e-6 * 0.1 - (220e-6 + 20e-6 + 200e-6) * 1e-3
    by_hand = current / (200e-6 + (220e-6 + 20e-6 + 200e-6) / 1e3)
    v = np.full((1, 1), 0.1)
    assert mvm_closed_form(r, v, spec)[0, 0] == pytest.approx(by_hand, rel=1e-12)
    assert -build(MVM, spec, r).operating_point(v).u[0, 0] == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 2), (16, 16)])
def test_nodal_equals_the_closed_form(shape: tuple[int, int]) -> None:
    a, v = Key(1).generator().normal(size=shape), Key(2).generator().uniform(-0.1, 0.1, (shape[1], 3))
    r = realise(a, LINEAR, Key(3))
    y = -build(MVM, LINEAR, r).operating_point(v).u[: shape[0]]
    np.testing.assert_allclose(y, mvm_closed_form(r, v, LINEAR), rtol=1e-9, atol=1e-15)


def test_a_product_out_of_the_swing_is_scaled_down_and_an_input_keeps_within_the_read_range() -> None:
    spec = preset("pku_350nm").replace(
        wire={"bl_resistance": 0.0, "sl_resistance": 0.0}, programming={"model": "ideal"}, opamp={"offset_sigma": 0.0}
    )
    for n in (1, 64):  # one cell: bound by v_read_max = 0.3 V; 64 in a row: 19 V would be, the swing is 3.5 V
        scale = product_scale(np.ones((1, n)), np.ones((n, 1)), spec)
        assert scale[0] <= 0.3
        assert n * scale[0] <= 0.8 * 0.9 * 3.5
        assert 2 * scale[0] > 0.3 or 2 * n * scale[0] > 0.8 * 0.9 * 3.5
    answer = MvmSolver(spec, "nodal").program(np.ones((1, 64)), Key(0)).multiply(np.ones((64, 1)))
    assert answer.status[0] == Status.OK
    assert answer.y[0, 0] == pytest.approx(64.0 / (1 + 99 * 220e-6), rel=1e-2)  # 99 ohm in series with each cell


def test_an_ideal_circuit_multiplies_a_batch_and_zero_needs_no_circuit() -> None:
    a, v = Key(4).generator().normal(size=(2, 3, 5)), Key(5).generator().normal(size=(2, 5, 4))
    v[1, :, 2] = 0.0
    a[0] *= 1e9
    handle = MvmSolver(Spec(), "nodal").program(a, Key(0))
    answer = handle.multiply(v)
    np.testing.assert_allclose(answer.y, a @ v, rtol=1e-9)
    assert (answer.y[1, :, 2] == 0.0).all()
    assert (handle.counts.array_programmings, answer.counts.analog_solves) == (2, 7)
    with pytest.raises(ValueError, match=r"vectors have shape \(2, 3, 4\)"):
        handle.multiply(np.ones((2, 3, 4)))
