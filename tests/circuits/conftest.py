"""A bench for the circuit library: the texts of circuits/ and a session that a few more lines make a circuit of."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

import pytest

from amcsim.ngspice import Session

NAMES = ("nmos_350n", "cell_1t1r", "cell_1r", "opamp_ideal", "opamp_linear", "opamp_behavioral", "inverter")


@pytest.fixture
def library() -> str:
    return "".join((files("amcsim.circuits") / f"{name}.lib").read_text(encoding="utf-8") for name in NAMES)


@pytest.fixture
def bench(library: str) -> Callable[[str], Session]:
    """Supplies of +-5 V on vdd and vss, and the lines given."""

    def build(lines: str) -> Session:
        session = Session()
        session.load(f"bench\n{library}Vdd vdd 0 5\nVss vss 0 -5\n{lines}\n.options reltol=1e-6\n.end\n")
        return session

    return build
