from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

import pytest

from amcsim.ngspice import Session

Bench = Callable[[str], Session]
CELL = "wl bulk cell_1t1r g=220u w=20u l=0.5u"
SELECTED = "Vwl wl 0 5\nVbulk bulk 0 -5\n"


def card() -> dict[str, float]:
    """The model card as the nodal model reads it: one key = number a line."""
    text = (files("amcsim.circuits") / "nmos_350n.lib").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("+")]
    return {key.strip(): float(number) for key, number in (line[1:].split("=") for line in lines)}


def test_the_cell_without_access_device_is_its_conductance(bench: Bench) -> None:
    session = bench("Vb bl 0 0.2\nXc0_0 bl 0 cell_1r g=220u")
    assert session.op(["i(vb)"])[0] == pytest.approx(-0.2 * 220e-6, rel=1e-12)
    session.alter({"r.xc0_0.rr": 5e3})
    assert session.op(["i(vb)"])[0] == pytest.approx(-0.2 / 5e3, rel=1e-12)


def test_the_selected_transistor_has_the_level_3_on_resistance(bench: Bench) -> None:
    session = bench(SELECTED + f"Vb bl 0 0.2\nXc0_0 bl 0 {CELL}")
    current, inner = session.op(["i(vb)", "xc0_0.n"])
    measured = inner / -current
    # Level 3 at small V_DS: threshold with body effect at V_SB = 5 V, mobility reduced by theta (Vladimirescu and Liu).
    m = card()
    overdrive = 5 - m["vto"] - m["gamma"] * ((m["phi"] + 5) ** 0.5 - m["phi"] ** 0.5)
    theory = (1 + m["theta"] * overdrive) / (m["kp"] * 40 * overdrive)
    assert measured == pytest.approx(98.776, abs=0.01)
    # V_DS = 4 mV bends the triode characteristic by half a per mille.
    assert measured == pytest.approx(theory, rel=1e-3)


def test_the_cell_is_nearly_linear_in_the_read_range(bench: Bench) -> None:
    session = bench(SELECTED + f"Vb bl 0 0\nXc0_0 bl 0 {CELL}")
    conductance = []
    for v in (-0.3, -0.1, 0.1, 0.3):
        session.alter({"vb": v})
        conductance.append(-session.op(["i(vb)"])[0] / v)
    assert max(conductance) / min(conductance) - 1 < 1e-4


def test_an_unselected_cell_leaks_unless_its_word_line_is_at_the_lowest_voltage(bench: Bench) -> None:
    session = bench(f"Vwl wl 0 0\nVbulk bulk 0 -5\nVb bl 0 -1.5\nVs sl 0 0\nXc0_0 bl sl {CELL}")
    assert abs(session.op(["i(vs)"])[0]) > 5e-6
    session.alter({"vwl": -5.0})
    assert abs(session.op(["i(vs)"])[0]) < 1e-10


def test_diffusions_load_the_inner_node_by_their_area_and_perimeter(bench: Bench) -> None:
    # Word-line off: what the bit-line charges is overlap (cgdo w) and the drain junction at 5 V of reverse bias.
    session = bench(
        f"Vwl wl 0 -5\nVbulk bulk 0 -5\nVb bl 0 dc 0 pulse(0 10m 0 1n 1n 1 2)\nXc0_0 bl 0 {CELL.replace('220u', '1m')}"
    )
    found = session.tran(1e-11, 0.9e-9, ["i(vb)"])
    capacitance = -found["i(vb)"][-1] / (10e-3 / 1e-9)
    m = card()
    bias = 1 + 5 / 0.8  # pb = 0.8 V by default; mj = 0.5, mjsw = 0.33
    junction = m["cj"] * 20e-12 * bias**-0.5 + m["cjsw"] * 22e-6 * bias**-0.33
    assert capacitance == pytest.approx(junction + m["cgdo"] * 20e-6, rel=0.03)
