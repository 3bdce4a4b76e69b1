"""Settling time, power and energy of reads: against closed forms, the nodal model, and ngspice's transients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.analysis.reads import read
from amcsim.campaign.families import draw_system
from amcsim.netlist.deck import RISE_TIME
from amcsim.realisation import realise
from amcsim.solvers.arrays import surrogate_array
from amcsim.solvers.surrogate import SurrogateSolver
from amcsim.specs import Spec, preset
from amcsim.streams import Key
from amcsim.surrogate.model import CellLaw, Domain, Surrogate
from amcsim.surrogate.reads import Reads
from amcsim.surrogate.shipped import shipped_surrogate

PKU = preset("pku_350nm")


def predicted(circuit: str, spec: Spec, family: str, m: int, number: int) -> tuple[Reads, tuple[float, float, float]]:
    """The surrogate's read of one circuit, and (settling, power, energy) of ngspice's."""
    surrogate = shipped_surrogate(PKU, (m, m), circuit).model_copy(update={"spec": spec})
    a, b, key = draw_system(circuit, family, m, 0, Key(5, (number,)), None)
    array = surrogate_array(surrogate, spec, a, realise(a, spec, key))
    volts = array.inputs(b[:, None])[0]
    found = array.reads(b[:, None])
    end = array.answer(volts)[0][:, 0]
    stop = 1.4 * float(found.settling[0])
    return found, read(array.topology, spec, array.realisation, volts[:, 0], end, stop)


SLOW = PKU.replace(opamp={"slew_rate": 2e5})
"""Amplifiers that slew through most of a 0.3 V answer."""


@pytest.mark.parametrize(
    ("circuit", "spec", "family"),
    [
        ("inv", PKU, "random"),
        ("inv", PKU, "ill_conditioned"),
        ("inv", SLOW, "random"),
        ("mvm", PKU, "sparse"),
        ("mvm", SLOW, "normal"),
    ],
)
def test_settling_and_energy_are_ngspices(circuit: str, spec: Spec, family: str) -> None:
    """To 2 %: the surrogate leaves out the outputs' own poles and what wires and channels add to them."""
    mine, (settling, power, energy) = predicted(circuit, spec, family, 4, 3)
    assert float(mine.settling[0]) == pytest.approx(settling, rel=0.02)
    assert float(mine.power[0]) == pytest.approx(power, rel=1e-3)
    assert float(mine.energy[0]) == pytest.approx(energy, rel=0.02)
    assert float(mine.signal_energy[0]) == pytest.approx(energy - mine.rest * settling, rel=0.03)


def test_slewing_takes_its_time() -> None:
    """Else the test above would say nothing of slewing: the modes alone are a fifth quicker."""
    fast, slow = (predicted("inv", spec, "random", 4, 3)[0].settling[0] for spec in (PKU, SLOW))
    assert slow > 1.2 * fast


def one_amplifier(spec: Spec) -> Surrogate:
    return Surrogate(
        circuit="mvm",
        spec=spec,
        cell=CellLaw(r0=0.0),
        gain=1e12,
        output_resistance=0.0,
        fast_verdict=True,
        domain=Domain(sizes=(1,), g_min=1e-5, g_max=1e-3, v_max=0.3),
    )


def test_one_ideal_amplifier_settles_with_its_feedback() -> None:
    """tau = C_fb/g_unit + (G + g_unit)/(g_unit wu); the sources give v^2 (G+ + G-), nothing else draws anything."""
    spec = preset("ideal").replace(opamp={"feedback_capacitance": 1e-9, "gbw": 1e9})
    array = surrogate_array(one_amplifier(spec), spec, np.eye(1), realise(np.eye(1), spec, Key(0)))
    volts = array.inputs(np.ones((1, 1)))[0]
    found = array.reads(np.ones((1, 1)))
    cell, both = spec.g_unit, spec.cell.g_max + spec.cell.g_min
    tau = 1e-9 / cell + (both + cell) / (cell * 2 * math.pi * spec.opamp.gbw)
    wanted = tau * math.log(1 / spec.converters.settling_tolerance) + RISE_TIME / 2
    assert float(found.settling[0]) == pytest.approx(wanted, rel=1e-3)
    watts = float(volts[0, 0] ** 2) * both
    assert float(found.power[0]) == pytest.approx(watts, rel=1e-9)
    assert float(found.energy[0]) == pytest.approx(watts * wanted, rel=1e-3)
    assert found.rest == 0.0


def skewed(n: int) -> F64:
    """Matrices whose closed loop has a pole in the right half-plane: negative definite."""
    return -np.eye(4) - 0.1 * Key(1).generator().standard_normal((n, 4, 4))


def test_an_unstable_array_never_settles() -> None:
    found = SurrogateSolver(shipped_surrogate(PKU, (4, 4)), PKU).program(skewed(3), Key(0)).reads(np.ones((3, 4, 2)))
    assert np.isnan(found.settling).all()
    assert np.isnan(found.energy).all()
    assert found.settling.shape == (3, 2)


def test_a_batch_is_its_members() -> None:
    """Columns and arrays one by one; amplifiers that slew share their steps, which costs their error."""
    surrogate = shipped_surrogate(PKU, (4, 4))
    a = np.stack([draw_system("inv", "wishart", 4, 0, Key(2, (i,)), None)[0] for i in range(6)]).reshape(2, 3, 4, 4)
    b = Key(3).generator().standard_normal((2, 3, 4, 2))
    whole = SurrogateSolver(surrogate, PKU).program(a, Key(4))
    found = whole.reads(b)
    one = surrogate_array(surrogate, PKU, a[1, 2], whole.realisation[1, 2]).reads(b[1, 2][:, 1:])
    assert found.settling.shape == (2, 3, 2)
    for name in ("settling", "power", "energy"):
        assert float(getattr(found, name)[1, 2, 1]) == pytest.approx(float(getattr(one, name)[0]), rel=2e-3)
