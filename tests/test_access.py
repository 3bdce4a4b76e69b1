"""The access transistor's linear region against the same card in ngspice."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.access import card_parameters, channel_capacitances, on_resistance
from amcsim.netlist.deck import library_text
from amcsim.ngspice import run_batch
from amcsim.specs import CellSpec, SpecError, preset

PKU = preset("pku_350nm")
TRANSISTOR = "Mn d wl 0 bulk nmos_350n w={w} l={l} ad={{{w}*1u}} as={{{w}*1u}} pd={{{w}+2u}} ps={{{w}+2u}}"


def single_transistor(cell: CellSpec, stimulus: str, analyses: str, device: str = TRANSISTOR) -> str:
    device = device.format(w=cell.w, l=cell.l)
    supplies = f"Vwl wl 0 {cell.wordline}\nVbulk bulk 0 {cell.bulk}"
    return f"one cell\n{library_text(PKU)}\n{supplies}\n{stimulus}\n{device}\n{analyses}\n.end\n"


@pytest.mark.parametrize(
    "change", [{}, {"w": 5e-6}, {"l": 1e-6}, {"wordline": 4.0}, {"bulk": -3.0}, {"wordline": 3.0, "w": 50e-6}]
)
def test_on_resistance_is_that_of_the_card(change: dict[str, float]) -> None:
    cell = PKU.replace(cell=change).cell
    # +-1 mV: the channel's curvature, odd in V, cancels
    deck = single_transistor(cell, "Vd d 0 0", ".options reltol=1e-7 abstol=1e-15\n.dc Vd -1m 1m 1m")
    current = -np.real(run_batch(deck).plots[0]["i(vd)"])
    measured = 2e-3 / (current[2] - current[0])
    assert on_resistance(cell) == pytest.approx(measured, rel=1e-3)


def test_on_resistance_of_the_preset_is_what_its_card_says() -> None:
    assert on_resistance(PKU.cell) == pytest.approx(98.8, abs=0.1)
    assert on_resistance(preset("ideal").cell) == 0.0


def test_channel_capacitances_are_those_of_the_card() -> None:
    """Drain and source tied together see both: gate oxide, overlaps and junctions."""
    tied = TRANSISTOR.replace("Mn d wl 0", "Mn d wl d")
    deck = single_transistor(PKU.cell, "Vd d 0 dc 0 ac 1", ".ac lin 1 1e3 1e3", tied)
    admittance = -run_batch(deck).plots[0]["i(vd)"][0]
    # the two numbers leave out how the level-3 gate charge shares itself with the bulk
    assert admittance.imag / (2 * np.pi * 1e3) == pytest.approx(sum(channel_capacitances(PKU.cell)), rel=0.05)
    assert channel_capacitances(preset("ideal").cell) == (0.0, 0.0)


def test_a_word_line_that_does_not_turn_the_transistor_on_is_refused() -> None:
    with pytest.raises(SpecError, match=r"cell\.wordline = 1: the access transistor conducts from \d\.\d\d V on"):
        on_resistance(PKU.replace(cell={"wordline": 1.0}).cell)


def test_card_numbers_with_suffixes_and_exponents() -> None:
    card = card_parameters("nmos_350n")
    assert card["level"] == 3
    assert card["tox"] == pytest.approx(12.5e-9)
    assert card["kp"] == pytest.approx(100e-6)
    assert card["vto"] == 0.7
