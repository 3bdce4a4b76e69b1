"""Deck text, the PySpice circuit of the same elements, and what a session alters."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.analysis.inv import inv_deck
from amcsim.netlist.deck import (
    Deck,
    alterations,
    array_text,
    deck_text,
    library_text,
    opamp_parameters,
    standalone_text,
    to_circuit,
)
from amcsim.ngspice import Session, run_batch
from amcsim.nodal.inv import build
from amcsim.realisation import realise
from amcsim.specs import preset
from amcsim.streams import Key

PKU = preset("pku_350nm")
A = np.array([[1.0, -0.3, 0.2], [-0.25, 0.9, 0.1], [0.15, 0.0, 0.8]])
B = np.array([0.1, -0.05, 0.08])
CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "ideal": {"opamp": {"model": "ideal"}, "cell": {"access": "none"}},
    "linear": {"opamp": {"model": "linear"}, "wire": {"layout": "separate"}},
    "behavioral": {"inverter": {"mismatch_sigma": 0.02}},
}


def deck_of(model: str, seed: int = 0, b: F64 = B) -> Deck:
    spec = PKU.replace(**CHANGES[model])
    r = realise(A, spec, Key(seed))
    u = build(spec, r).operating_point(b[:, None]).u[:, 0]
    return inv_deck(spec, r, b, (u[:3], u[3:6]))


def outputs(text: str) -> F64:
    plot = run_batch(text).plot("operating")
    return np.array([plot[f"v({name}{i})"][0] for name in ("x", "xn", "sl") for i in range(3)]).real


def elements(text: str) -> list[str]:
    """Names of the elements of a deck, those inside sub-circuits apart; the first line is the title."""
    top = re.sub(r"^\.subckt.*?^\.ends.*?$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^[A-Za-z]\S*", top.split("\n", 1)[1], flags=re.MULTILINE)


models = pytest.mark.parametrize("model", CHANGES)


@models
def test_the_pyspice_circuit_answers_as_the_text_does(model: str) -> None:
    deck = deck_of(model)
    circuit = to_circuit(deck)
    text = deck_text(deck, [".op"])
    np.testing.assert_allclose(outputs(f"{circuit}.op\n.end\n"), outputs(text), rtol=0, atol=1e-12)
    assert sorted(elements(str(circuit))) == sorted(elements(text))
    assert len(list(circuit.elements)) == len(elements(text)) - len(array_text(deck).splitlines())


@models
def test_altering_a_session_gives_the_deck_of_the_other_circuit(model: str) -> None:
    first, other = deck_of(model, seed=1), deck_of(model, seed=2, b=np.array([-0.02, 0.1, 0.03]))
    session = Session()
    session.load(deck_text(first))
    session.alter(alterations(other))
    altered = session.op([f"v({name}{i})" for name in ("x", "xn", "sl") for i in range(3)])
    session.close()
    # two Newton runs from different starts agree to ngspice's own tolerance, reltol times 0.1 V
    np.testing.assert_allclose(altered, outputs(deck_text(other, [".op"])), rtol=0, atol=1e-6)


def test_conductances_lose_nothing_in_the_text() -> None:
    deck = deck_of("behavioral")
    written = [float(g) for g in re.findall(r" g=(\S+)", array_text(deck))]
    cells = deck.network.cells
    g = np.stack([deck.realisation.g_pos, deck.realisation.g_neg])[cells.array, cells.row, cells.column]
    np.testing.assert_array_equal(written, g)


def test_a_deck_is_self_contained_and_its_title_is_one_line() -> None:
    deck = deck_of("behavioral")
    named = Deck(**{**vars(deck), "title": "two\n.control\rshell x\x0b.endc\u2028"})
    text = standalone_text(named)
    assert text.startswith("two .control shell x .endc\n")
    assert str(to_circuit(named)).startswith(".title two .control shell x .endc\n")
    assert not re.search(r"^\.(include|inc|lib)\b", text, flags=re.MULTILINE | re.IGNORECASE)
    assert text.endswith(".control\n" + text.split(".control\n")[1])
    assert text.rstrip().endswith("quit\n.endc\n.end")


def test_only_the_sub_circuits_that_are_used_are_written() -> None:
    text = library_text(PKU.replace(**CHANGES["ideal"]))
    assert re.findall(r"^\.subckt (\w+)", text, flags=re.MULTILINE) == ["cell_1r", "opamp_ideal", "inverter_ideal"]
    full = library_text(PKU)
    assert re.findall(r"^\.subckt (\w+)", full, flags=re.MULTILINE) == [
        "cell_1t1r",
        "opamp_behavioral",
        "inverter_behavioral",
    ]


@models
def test_every_parameter_given_is_one_that_the_sub_circuit_takes(model: str) -> None:
    """A parameter that a sub-circuit does not know would be dropped by ngspice without a word."""
    spec = PKU.replace(**CHANGES[model])
    text = re.sub(r"\n\+", " ", library_text(spec))
    known = {}
    for name, parameters in re.findall(r"^\.subckt (\w+).*?params:(.*)$", text, flags=re.MULTILINE):
        known[name] = {part.split("=")[0] for part in parameters.split()}
    assert set(opamp_parameters(spec)) | {"vos"} == known[f"opamp_{model}"]
    used = re.sub(r"\n\+", " ", deck_text(deck_of(model)))
    used = re.sub(r"^\.subckt.*?^\.ends.*?$", "", used, flags=re.MULTILINE | re.DOTALL)
    for line in used.splitlines()[1:]:
        if line.startswith("X"):
            words = line.split()
            name = next(word for word in words if word in known)
            assert {word.split("=")[0] for word in words if "=" in word} <= known[name]
