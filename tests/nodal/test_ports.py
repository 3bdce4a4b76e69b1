"""Port description of a passive network: ladders that can be added up by hand, and what any passive network obeys."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.access import channel_capacitances, on_resistance
from amcsim.nodal import ports as ports_module
from amcsim.nodal.ports import Ports, reduce_to_ports
from amcsim.realisation import realise
from amcsim.specs import Spec, preset
from amcsim.streams import Key
from amcsim.topology.inv import inv_network

PKU = preset("pku_350nm")


def reduced(m: int, spec: Spec, ron: float | None = None, seed: int = 0) -> Ports:
    a = Key(seed).generator().normal(size=(m, m))
    r = realise(a, spec, Key(seed))
    return reduce_to_ports(inv_network(m, spec), spec, r, on_resistance(spec.cell) if ron is None else ron)


def test_one_cell_a_side_is_a_series_of_four() -> None:
    """m = 1, shared: bit-line segment, cell, access device, source-line segments (one, or two past the first cell)."""
    spec = PKU.replace(wire={"bl_resistance": 3.0, "sl_resistance": 7.0}, programming={"model": "ideal"})
    r = realise(np.array([[1.0]]), spec, Key(0))
    gp, gn = r.g_pos.item(), r.g_neg.item()
    ron, g_in = on_resistance(spec.cell), spec.g_unit
    y = reduced(1, spec).conductance  # ports x, xn, sl, q, in
    # star of the two branches at source-line node 0, 7 ohm from the summing node
    up, un, us = 1 / (3 + 1 / gp + ron), 1 / (3 + 1 / gn + ron + 7), 1 / 7
    total = up + un + us
    assert y[0, 2] == pytest.approx(-up * us / total, rel=1e-9)
    assert y[1, 2] == pytest.approx(-un * us / total, rel=1e-9)
    assert y[0, 1] == pytest.approx(-up * un / total, rel=1e-9)
    assert y[0, 3] == y[1, 3] == pytest.approx(-1 / spec.inverter.resistance, rel=1e-12)
    assert y[2, 4] == pytest.approx(-g_in, rel=1e-12)
    assert y[4, 4] == pytest.approx(g_in, rel=1e-12)


@pytest.mark.parametrize("layout", ["shared", "separate"])
@pytest.mark.parametrize("m", [3, 12])
def test_admittance_is_passive_and_symmetric_and_sees_no_ground(m: int, layout: str) -> None:
    both = reduced(m, PKU.replace(wire={"layout": layout}))
    for matrix in (both.conductance, both.capacitance):
        np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-12 * np.abs(matrix).max())
        assert np.linalg.eigvalsh(matrix).min() > -1e-12 * np.abs(matrix).max()
    # no resistor leads to ground: all ports at one voltage draw no current
    assert np.abs(both.conductance.sum(axis=1)).max() < 1e-10 * both.conductance.max()


def test_all_ports_together_see_every_capacitance_to_ground() -> None:
    m = 3
    both = reduced(m, PKU)
    wire, cells = PKU.wire, 2 * m * m
    total = m * wire.summing_capacitance + cells * (wire.bl_capacitance + wire.sl_capacitance)
    total += cells * sum(channel_capacitances(PKU.cell)) + m * wire.inverter_capacitance
    assert both.capacitance.sum() == pytest.approx(total, rel=1e-9)


def test_sparse_and_dense_stamps_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = reduced(6, PKU)
    monkeypatch.setattr(ports_module, "_DENSE", 0)
    sparse = reduced(6, PKU)
    np.testing.assert_allclose(sparse.conductance, dense.conductance, rtol=1e-10, atol=1e-16)
    np.testing.assert_allclose(sparse.capacitance, dense.capacitance, rtol=1e-10, atol=1e-24)


def test_without_wires_ports_see_the_cells_themselves() -> None:
    spec = Spec()
    a = np.array([[1.0, -0.5], [0.25, 0.75]])
    r = realise(a, spec, Key(0))
    y = reduce_to_ports(inv_network(2, spec), spec, r, 0.0).conductance
    np.testing.assert_allclose(-y[4:6, :2], r.g_pos, rtol=1e-14)
    np.testing.assert_allclose(-y[4:6, 2:4], r.g_neg, rtol=1e-14)
    np.testing.assert_allclose(-y[4:6, 8:], spec.g_unit * np.eye(2), rtol=1e-14)
