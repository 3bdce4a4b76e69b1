"""Wired arrays by running sums against the elimination of all nodes."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.nodal.currents import LinesNotConverged, cell_currents
from amcsim.nodal.lines import port_admittance
from amcsim.nodal.ports import reduce_lines, reduce_to_ports
from amcsim.realisation import Realisation, realise
from amcsim.specs import Spec, WireSpec, preset
from amcsim.streams import Key
from amcsim.topology.circuit import Topology
from amcsim.topology.inv import INV
from amcsim.topology.mvm import MVM


def drawn(m: int, n: int, k: int = 1) -> tuple[F64, F64, F64]:
    """Cells of 20 to 220 uS, bit-line drivers, sense nodes."""
    rng = Key(3, (m, n)).generator()
    return rng.uniform(20e-6, 220e-6, (2, m, n)), rng.standard_normal((2, n, k)), 0.1 * rng.standard_normal((m, k))


@pytest.mark.parametrize("layout", ["shared", "separate"])
@pytest.mark.parametrize(
    ("m", "n", "bl", "sl"), [(5, 7, 1.0, 2.0), (7, 4, 50.0, 5.0), (1, 1, 3.0, 0.0), (6, 6, 0.0, 9.0)]
)
def test_it_equals_the_elimination_of_all_nodes(
    layout: Literal["shared", "separate"], m: int, n: int, bl: float, sl: float
) -> None:
    """The multiport of the nodal room, at bit-lines and sense nodes, several right-hand sides at once."""
    g, drivers, senses = drawn(m, n, 3)
    spec = Spec().replace(wire={"layout": layout, "bl_resistance": bl, "sl_resistance": sl})
    found = cell_currents(spec.wire, g, drivers, senses)
    r = Realisation(g[0], g[1], np.zeros(m), np.zeros(n), np.ones(n))
    y = reduce_to_ports(MVM.network(m, n, spec), spec, r, 0.0, ("in", "sl")).conductance
    into = y[2 * n :] @ np.concatenate([*drivers, senses])
    np.testing.assert_allclose(found.sensed, -into, rtol=1e-9, atol=1e-9 * np.abs(into).max())
    assert found.error.max() <= 1e-12


@pytest.mark.parametrize("layout", ["shared", "separate"])
@pytest.mark.parametrize(
    ("m", "n", "bl", "sl"), [(5, 7, 1.0, 2.0), (7, 4, 50.0, 5.0), (6, 6, 0.0, 9.0), (4, 4, 9.0, 0.0)]
)
def test_the_multiport_is_that_of_the_nodal_room(
    layout: Literal["shared", "separate"], m: int, n: int, bl: float, sl: float
) -> None:
    """All ports, drivers' own currents included; symmetric, as wires and cells are."""
    g, _, _ = drawn(m, n)
    spec = Spec().replace(wire={"layout": layout, "bl_resistance": bl, "sl_resistance": sl})
    r = Realisation(g[0], g[1], np.zeros(m), np.zeros(n), np.ones(n))
    y = reduce_to_ports(MVM.network(m, n, spec), spec, r, 0.0, ("in", "sl")).conductance
    found = port_admittance(spec.wire, g)
    np.testing.assert_allclose(found, y, rtol=1e-9, atol=1e-9 * np.abs(y).max())
    np.testing.assert_allclose(found, found.T, rtol=0, atol=1e-13)


@pytest.mark.parametrize("topology", [INV, MVM], ids=["inv", "mvm"])
@pytest.mark.parametrize("layout", ["shared", "separate"])
@pytest.mark.parametrize(("bl", "sl"), [(1.0, 2.0), (0.0, 9.0), (9.0, 0.0)])
def test_whole_circuits_are_those_of_the_nodal_room(
    topology: Topology, layout: Literal["shared", "separate"], bl: float, sl: float
) -> None:
    """Amplifiers' resistors and capacitors beside the arrays, access devices and their channels within; Y and C."""
    m, n = 5, 5 if topology is INV else 3
    spec = preset("pku_350nm").replace(wire={"layout": layout, "bl_resistance": bl, "sl_resistance": sl})
    r = realise(Key(5).generator().standard_normal((m, n)), spec, Key(6))
    groups = (*topology.outputs, *topology.senses, "in")
    found = reduce_lines(topology, spec, r, 400.0)
    known = reduce_to_ports(topology.network(m, n, spec), spec, r, 400.0, groups)
    for mine, theirs in ((found.conductance, known.conductance), (found.capacitance, known.capacitance)):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-10 * np.abs(theirs).max())


def test_without_wires_each_cell_stands_alone() -> None:
    g, drivers, senses = drawn(4, 3)
    found = cell_currents(WireSpec(), g, drivers, senses)
    np.testing.assert_allclose(found.currents[..., 0], g * (drivers[:, None, :, 0] - senses[None, :, None, 0]))
    assert found.iterations == 0


def test_a_long_array_by_hand() -> None:
    """One bit-line of two equal cells, 1 kohm each, behind segments of 100 ohm: a ladder."""
    g = np.array([[[1e-3], [1e-3]], [[1e-9], [1e-9]]])
    found = cell_currents(WireSpec(bl_resistance=100.0), g, np.array([[[1.0]], [[0.0]]]), np.zeros((2, 1)))
    second = 1 / (1 / 1000 + 1 / 1100)  # the second cell behind its segment, beside the first
    total = 1.0 / (100 + second)
    np.testing.assert_allclose(found.currents[0, :, 0, 0], [total * second / 1000, total * second / 1100], rtol=1e-11)


@pytest.mark.parametrize("tolerance", [1e-6, 1e-9, 1e-12])
def test_the_error_is_bounded_by_what_it_says(tolerance: float) -> None:
    """At 256 cells a line and 2 ohm, against the same to 1e-13."""
    rng = Key(4).generator()
    g = rng.uniform(20e-6, 220e-6, (2, 256, 256))
    v = rng.standard_normal((256, 1))
    wire = WireSpec(bl_resistance=2.0, sl_resistance=2.0)
    drivers, senses = np.stack([v, -v]), np.zeros((256, 1))
    best = cell_currents(wire, g, drivers, senses, tolerance=1e-14).currents
    found = cell_currents(wire, g, drivers, senses, tolerance=tolerance)
    position = np.arange(1, 257)
    along = np.stack([position, 256 + position])[:, None, :]
    weight = np.sqrt(1.0 / g + 2.0 * position[:, None] + 2.0 * along)[..., None]
    off = np.linalg.norm(weight * (found.currents - best)) / np.linalg.norm(weight * best)
    assert off <= found.error[0] <= tolerance
    assert found.iterations < 80


def test_too_few_steps_and_bad_shapes_are_refused() -> None:
    g, drivers, senses = drawn(8, 8)
    wire = WireSpec(bl_resistance=100.0, sl_resistance=100.0)
    with pytest.raises(LinesNotConverged, match=r"wired array 8x8: error .* after 2 steps, above 1e-12"):
        cell_currents(wire, g, drivers, senses, steps=2)
    with pytest.raises(ValueError, match="do not fit cells"):
        cell_currents(wire, g, drivers[:, :-1], senses)
    with pytest.raises(ValueError, match="a cell does not conduct"):
        cell_currents(wire, np.zeros_like(g), drivers, senses)
