"""The INV circuit as tables: what is connected to what, and the closed form of its linear, wire-free case."""

from __future__ import annotations

import re

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.realisation import Realisation, linear_matrix, realise
from amcsim.specs import Spec, preset
from amcsim.streams import Key
from amcsim.topology.inv import closed_form, inv_network
from amcsim.topology.network import Network

PKU = preset("pku_350nm")
LINEAR = Spec().replace(
    opamp={"model": "linear", "gain": 2e3, "offset_sigma": 2e-3},
    inverter={"mismatch_sigma": 0.02},
    programming={"model": "uniform", "tolerance": 10e-6},
)


def path_segments(net: Network, start: str, end: str) -> int:
    """Number of wire segments between two nodes over the resistors of the wires alone; -1 without a way."""
    reach, steps = {net.nodes.index(start)}, 0
    target = net.nodes.index(end)
    table = net.resistors
    wires = [(a, b) for name, a, b in zip(table.names, table.a, table.b, strict=True) if name[0] in "bs"]
    while target not in reach:
        grown = reach | {b for a, b in wires if a in reach} | {a for a, b in wires if b in reach}
        if grown == reach:
            return -1
        reach, steps = grown, steps + 1
    return steps


def wired(layout: str) -> Network:
    return inv_network(3, PKU.replace(wire={"layout": layout}))


def cells(net: Network) -> list[tuple[str, str, int, int, int]]:
    """(bit-line node, source-line node, array, row, column) of every cell."""
    c = net.cells
    ends = ((net.nodes[bl], net.nodes[sl]) for bl, sl in zip(c.bl, c.sl, strict=True))
    return [(*e, int(a), int(i), int(j)) for e, a, i, j in zip(ends, c.array, c.row, c.column, strict=True)]


@pytest.mark.parametrize("layout", ["shared", "separate"])
def test_a_bit_line_is_driven_at_row_0_one_segment_a_cell(layout: str) -> None:
    net = wired(layout)
    for bl, _, array, row, column in cells(net):
        assert path_segments(net, f"xn{column}" if array else f"x{column}", bl) == row + 1


@pytest.mark.parametrize(("layout", "past"), [("shared", 3), ("separate", 0)])
def test_a_source_line_runs_from_the_amplifier_past_its_cells(layout: str, past: int) -> None:
    net = wired(layout)
    for _, sl, array, row, column in cells(net):
        assert path_segments(net, f"sl{row}", sl) == column + 1 + past * array


def test_without_wire_resistance_cells_lie_between_the_ports() -> None:
    net = inv_network(2, Spec())
    assert net.resistors.names == ("in0", "in1")
    np.testing.assert_allclose(net.resistors.value, 5e3)
    assert {cell[:2] for cell in cells(net)} == {
        (f"{x}{j}", f"sl{i}") for x in ("x", "xn") for j in range(2) for i in range(2)
    }
    assert net.capacitors.names == ()


def test_every_capacitance_of_the_spec_is_in_the_circuit() -> None:
    net, m = inv_network(3, PKU), 3
    by_node: dict[str, float] = {}
    for a, b, farad in zip(net.capacitors.a, net.capacitors.b, net.capacitors.value, strict=True):
        key = f"{net.nodes[a]},{net.nodes[b]}"
        by_node[key] = by_node.get(key, 0.0) + farad
    for i in range(m):
        assert by_node[f"sl{i},0"] == pytest.approx(PKU.wire.summing_capacitance)
        assert by_node[f"sl{i},x{i}"] == pytest.approx(PKU.opamp.feedback_capacitance)
    total = PKU.wire.bl_capacitance + PKU.wire.sl_capacitance
    wires = sum(farad for key, farad in by_node.items() if re.match(r"[bs]\d", key))
    assert wires == pytest.approx(2 * m * m * total)


def test_nodes_that_a_wire_of_0_ohm_would_join_keep_their_capacitance() -> None:
    spec = PKU.replace(wire={"bl_resistance": 0.0, "sl_resistance": 0.0})
    net = inv_network(3, spec)
    assert net.capacitors.value.sum() == pytest.approx(inv_network(3, PKU).capacitors.value.sum())


@pytest.mark.parametrize("m", [0, 257])
def test_sizes_are_bounded(m: int) -> None:
    with pytest.raises(ValueError, match=f"matrix size {m} is outside 1 to 256"):
        inv_network(m, PKU)


def relaxed(r: Realisation, b: F64, spec: Spec) -> tuple[F64, F64]:
    """(x, xn) by Kirchhoff's current law written node by node, 3m unknowns and no elimination.

    The unknowns are x, xn and the summing-node voltages v; the inverters' inputs q follow from their outputs.
    """
    m, a0 = r.offset.size, spec.opamp.gain
    rows, known = np.zeros((3 * m, 3 * m)), np.zeros(3 * m)
    for i in range(m):
        x, xn, v = i, m + i, 2 * m + i
        # amplifier: x_i = A0 (Vos_i - v_i)
        rows[x, x], rows[x, v], known[x] = 1.0, a0, a0 * r.offset[i]
        # inverter: current from x_i through R equals current into xn_i through ratio R; q = Vosn - xn/A0
        ratio = r.inverter_ratio[i]
        rows[xn, x] = 1.0
        rows[xn, xn] = 1.0 / ratio + (1.0 + 1.0 / ratio) / a0
        known[xn] = (1.0 + 1.0 / ratio) * r.inverter_offset[i]
        # summing node: every current leaving it adds up to nothing
        for j in range(m):
            rows[v, v] += r.g_pos[i, j] + r.g_neg[i, j]
            rows[v, j] -= r.g_pos[i, j]
            rows[v, m + j] -= r.g_neg[i, j]
        rows[v, v] += spec.g_unit
        known[v] = -spec.g_unit * b[i]
    u = np.asarray(np.linalg.solve(rows, known), dtype=np.float64)
    return u[:m], u[m : 2 * m]


def test_closed_form_is_kirchhoff_s_law_written_out() -> None:
    a = np.array([[1.0, -0.3, 0.2], [0.1, 0.8, -0.5], [-0.2, 0.4, 0.9]])
    b = np.array([0.1, -0.05, 0.2])
    r = realise(a, LINEAR, Key(3))
    x, xn = closed_form(r, b[:, None], LINEAR)
    wanted, wanted_n = relaxed(r, b, LINEAR)
    np.testing.assert_allclose(x[:, 0], wanted, rtol=1e-12)
    np.testing.assert_allclose(xn[:, 0], wanted_n, rtol=1e-12)


def test_closed_form_without_mismatch_is_the_one_of_the_design() -> None:
    """xn = A0 (2 Vosn - x)/(A0 + 2)."""
    spec = LINEAR.replace(inverter={"mismatch_sigma": 0.0})
    r = realise(np.eye(3) + 0.2, spec, Key(1))
    x, xn = closed_form(r, np.array([[0.1], [0.0], [-0.1]]), spec)
    a0 = spec.opamp.gain
    np.testing.assert_allclose(xn[:, 0], a0 * (2 * r.inverter_offset - x[:, 0]) / (a0 + 2), rtol=1e-13)


def test_ideal_amplifiers_solve_the_realised_matrix() -> None:
    spec = Spec().replace(programming={"model": "uniform", "tolerance": 10e-6})
    a = np.stack([np.eye(4) + 0.1, np.eye(4) - 0.2])
    b = Key(0).generator().normal(size=(2, 4, 3))
    r = realise(a, spec, Key(2))
    np.testing.assert_allclose(closed_form(r, b, spec)[0], np.linalg.solve(linear_matrix(r, spec), b), rtol=1e-12)
