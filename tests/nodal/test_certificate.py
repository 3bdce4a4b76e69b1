"""Large circuits that the certificate vouches for, against the poles of their whole state matrices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.nodal.certificate import certified
from amcsim.nodal.inv import build
from amcsim.nodal.loop import LoopModel
from amcsim.nodal.verdict import judge
from amcsim.realisation import realise
from amcsim.specs import preset
from amcsim.status import Status
from amcsim.streams import Key

Changes = dict[str, dict[str, Any]]
TECHNOLOGIES: dict[str, Changes] = {
    "preset": {},
    "wires 10 ohm": {"wire": {"bl_resistance": 10.0, "sl_resistance": 10.0}},
    "low gain": {"opamp": {"gain": 1000.0}},
    "output resistance": {"opamp": {"output_resistance": 500.0}},
    "slow second pole": {"opamp": {"second_pole": 8e6}},
    "no feedback capacitors": {"opamp": {"feedback_capacitance": 0.0}},
    "heavy summing nodes": {"wire": {"summing_capacitance": 200e-12}},
    "slow inverters": {"inverter": {"feedback_capacitance": 100e-12}},
    "slow amplifiers": {"opamp": {"gbw": 1e6}},
    "unequal inverters": {"inverter": {"mismatch_sigma": 0.02}},
    "poor capacitance": {
        "opamp": {"feedback_capacitance": 0.0},
        "inverter": {"resistance": 10e3, "feedback_capacitance": 0.0},
    },
}


def drawn(m: int, number: int) -> F64:
    """Random, turning, and symmetric matrices, some of them skewed."""
    rng = Key(5, (number, m)).generator()
    n = rng.normal(size=(m, m))
    if number % 3 == 0:
        return n + rng.uniform(0, 4) * np.sqrt(m) / 2 * np.eye(m)
    if number % 3 == 1:
        turning: F64 = rng.uniform(0.01, 3) * np.eye(m) + n - n.T
        return turning
    q = np.linalg.qr(n)[0]
    skew = np.triu(rng.normal(size=(m, m)), 1)
    a: F64 = (q * np.geomspace(1, 10 ** -rng.uniform(0.5, 3), m)) @ q.T + rng.uniform(0, 0.3) * (skew - skew.T)
    return a


def models(technology: str, m: int, numbers: Iterable[int]) -> list[LoopModel]:
    spec = preset("pku_350nm").replace(converters={"read_window": 50e-6}, **TECHNOLOGIES[technology])
    return [build(spec, realise(drawn(m, i), spec, Key(7, (i,)))) for i in numbers]


def matrices_are_certified(model: LoopModel) -> bool:
    y, m = model.ports.conductance, model.answers
    sums = slice(2 * m, 3 * m)
    pos, neg, within = (-y[None, sums, :m], -y[None, sums, m : 2 * m], y[None, sums, sums])
    return bool(certified(pos, neg, within, model.spec)[0])


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_whom_it_vouches_for_is_stable_and_settles(technology: str) -> None:
    """Seven time constants of the slowest pole are e^-7, the settling tolerance."""
    vouched = [model for model in models(technology, 4, range(60)) if model.vouched]
    assert vouched
    assert all(model.stable for model in vouched)
    assert all(-model.poles[0].real * model.spec.converters.read_window > 7 for model in vouched)


def test_without_the_check_of_the_lags_unstable_arrays_would_pass() -> None:
    """Inverters with a loop of their own, 10 kohm and 10 pF: the certificate of the matrices does not know it."""
    passed = [model for model in models("poor capacitance", 4, range(2, 600, 3)) if matrices_are_certified(model)]
    wrong = [model for model in passed if not model.stable]
    assert len(wrong) >= 3
    assert not any(model.vouched for model in wrong)


def test_in_good_technologies_the_check_refuses_few() -> None:
    passed = [model for model in models("preset", 4, range(60)) if matrices_are_certified(model)]
    assert sum(model.vouched for model in passed) > 0.9 * len(passed)


def test_large_circuits_get_the_words_of_their_poles() -> None:
    """Statuses with the certificate first and with poles alone, of 26 x 26 (208 states)."""
    first, spec = 0, preset("pku_350nm")
    easy = [build(spec, realise(np.eye(26) + 0.05 * drawn(26, 3 * i), spec, Key(9, (i,)))) for i in range(3)]
    for i, model in enumerate([*easy, *models("preset", 26, range(3))]):
        b = 0.1 * Key(8, (i,)).generator().standard_normal((26, 3))
        point = model.operating_point(b)
        x, status, reason = judge(model, b, point.u, point.current, point.converged)
        first += "poles" not in vars(model)
        by_poles = judge(model, b, point.u, point.current, point.converged, by_poles=True)
        assert status.tolist() == by_poles[1].tolist()
        assert reason.tolist() == by_poles[2].tolist()
        np.testing.assert_array_equal(x, by_poles[0])
        assert set(status.tolist()) <= {Status.OK, Status.SATURATED, Status.UNSTABLE}
    assert 1 <= first <= 5
