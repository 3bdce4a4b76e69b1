"""The decks of netlists/: written by our writer byte for byte, and each runs alone with `ngspice -b`.

After a change that is meant to change them, write them anew and read the difference before committing it:
`AMCSIM_REFRESH_DECKS=1 .venv/bin/pytest tests/netlist/test_golden_decks.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.analysis.array import array_deck
from amcsim.netlist.deck import Deck, standalone_text
from amcsim.nodal.build import build
from amcsim.nodal.loop import LoopModel
from amcsim.realisation import realise
from amcsim.specs import Spec, preset
from amcsim.streams import Key
from amcsim.topology.circuit import Topology
from amcsim.topology.inv import INV
from amcsim.topology.mvm import MVM

FOLDER = Path(__file__).parents[2] / "netlists"
PKU = preset("pku_350nm")
NEIGHBOURS = np.abs(np.subtract.outer(np.arange(8), np.arange(8)))


@dataclass(frozen=True)
class Golden:
    """One golden deck; max |A| is 1, so that x and b are the circuit's own volts."""

    title: str
    spec: Spec
    a: F64
    b: F64
    seed: int = 0
    circuit: Topology = INV

    def model(self) -> LoopModel:
        return build(self.circuit, self.spec, realise(self.a, self.spec, Key(self.seed)))

    def outputs(self) -> F64:
        """Outputs of all amplifiers by the nodal model, those that answer first."""
        model = self.model()
        return model.operating_point(self.b[:, None]).u[: model.n, 0]

    def printed(self, values: dict[str, float]) -> F64:
        """What the deck prints of the answering outputs."""
        return np.array([values[f"v({self.circuit.outputs[0]}{i})"] for i in range(len(self.a))])

    def exact(self) -> F64:
        return np.linalg.solve(self.a, self.b) if self.circuit is INV else self.a @ self.b

    def deck(self) -> Deck:
        r = self.model().realisation
        deck = array_deck(self.circuit, self.spec, r, self.b, self.outputs(), self.title)
        return replace(deck, step_delay=0.2e-6)


GOLDEN = {
    "inv_2x2": Golden(
        "2x2 INV: ideal amplifiers, no access devices, no wires, exact conductances",
        preset("ideal"),
        np.array([[1.0, -0.5], [0.25, 0.75]]),
        np.array([0.1, 0.05]),
    ),
    "inv_4x4": Golden(
        "4x4 INV: 1T1R cells, board amplifiers, no wire resistance, no write errors, no offsets",
        PKU.replace(
            wire={"bl_resistance": 0.0, "sl_resistance": 0.0},
            programming={"model": "ideal"},
            opamp={"offset_sigma": 0.0},
        ),
        np.array([[1.0, -0.3, 0.2, 0.0], [-0.25, 0.9, 0.1, -0.2], [0.15, 0.0, 0.8, 0.3], [0.1, -0.2, 0.25, 0.7]]),
        np.array([0.1, -0.05, 0.08, 0.02]),
    ),
    "inv_8x8_wired": Golden(
        "8x8 INV of preset pku_350nm: 1T1R cells, wired, shared source-lines, write errors and offsets of seed 8",
        PKU,
        np.select([NEIGHBOURS == 0, NEIGHBOURS == 1, NEIGHBOURS == 2], [1.0, -0.4, 0.1], 0.0),
        np.array([0.05, -0.05, 0.1, 0.0, -0.1, 0.05, 0.02, -0.02]),
        seed=8,
    ),
    "mvm_4x6_wired": Golden(
        "4x6 MVM of preset pku_350nm: 1T1R cells, wired, shared source-lines, write errors and offsets of seed 4",
        PKU,
        np.array(
            [
                [1.0, -0.5, 0.25, 0.0, 0.75, -0.25],
                [0.0, 0.5, -1.0, 0.25, -0.5, 0.5],
                [-0.25, 0.0, 0.5, 1.0, 0.0, -0.75],
                [0.5, 0.25, 0.0, -0.5, 0.25, 1.0],
            ]
        ),
        np.array([0.2, -0.1, 0.15, 0.1, -0.2, 0.1]),
        seed=4,
        circuit=MVM,
    ),
}
Printed = tuple[Golden, dict[str, float]]
names = pytest.mark.parametrize("name", GOLDEN)


@names
def test_the_writer_gives_the_stored_deck(name: str) -> None:
    text, path = standalone_text(GOLDEN[name].deck()), FOLDER / f"{name}.cir"
    if os.environ.get("AMCSIM_REFRESH_DECKS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=GOLDEN)
def printed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Printed:
    """A golden circuit, and name -> value of what its deck prints when run alone."""
    program = shutil.which("ngspice")
    assert program is not None
    path = FOLDER / f"{request.param}.cir"
    run = subprocess.run(
        [program, "-b", str(path)], cwd=tmp_path_factory.mktemp("run"), capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "error" not in run.stderr.lower(), run.stderr
    found = re.findall(r"^([\w()]+)\s+= +([-+.\deE]+)", run.stdout, flags=re.MULTILINE)
    return GOLDEN[request.param], {key: float(value) for key, value in found}


def test_it_prints_the_outputs_of_the_nodal_model(printed: Printed) -> None:
    golden, values = printed
    x = golden.printed(values)
    nodal = golden.outputs()[: x.size]
    # what is left is the curvature of the access transistors (2e-5); none where there are none
    assert np.linalg.norm(x - nodal) < 1e-4 * np.linalg.norm(nodal)


def test_it_prints_the_settling_time_of_the_nodal_model(printed: Printed) -> None:
    """The step response from rest, offsets subtracted: the linear circuit answers in proportion."""
    golden, values = printed
    model = golden.model()
    both = model.operating_point(np.stack([golden.b, np.zeros_like(golden.b)], axis=1)).u
    change = both[:, :1] - both[:, 1:]
    ratio = np.linalg.norm(both[: len(golden.a), 0]) / np.linalg.norm(change[: len(golden.a), 0])
    wanted = model.settling_time(change, 0.01 * float(ratio))[0] + 5e-9  # the ramp's middle
    # 50 ns steps put the crossing of 1 % off by up to a fiftieth of microseconds
    assert values["settling_to_1pct"] == pytest.approx(wanted, rel=0.03)


def test_the_readme_tells_what_the_decks_print(printed: Printed) -> None:
    golden, values = printed
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    section = text.split(f"## {next(n for n, g in GOLDEN.items() if g is golden)}.cir")[1].split("\n## ")[0]
    rows = re.findall(r"^    (b|x|exact_x) +=(.*)$", section, flags=re.MULTILINE)
    stated = {key: [float(value) for value in row.split()] for key, row in rows}
    np.testing.assert_allclose(stated["exact_x"], golden.exact(), atol=6e-6)
    np.testing.assert_allclose(stated["x"], golden.circuit.sign * golden.printed(values), atol=1e-5)
    np.testing.assert_allclose(stated["b"], golden.b)
