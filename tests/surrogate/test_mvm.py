"""The MVM surrogate against the nodal model: answers, bounds, read windows shorter than settling, domain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.realisation import realise
from amcsim.solvers.arrays import nodal_array, surrogate_array
from amcsim.specs import Spec, preset
from amcsim.status import Reason, Status
from amcsim.streams import Key
from amcsim.surrogate.model import DomainError, Surrogate
from amcsim.surrogate.shipped import shipped_surrogate

MakeSurrogate = Callable[..., Surrogate]
PKU = preset("pku_350nm")
LINEAR = PKU.replace(cell={"access": "none"}, opamp={"model": "linear"})
"""Wires, offsets, write errors, output resistance; nothing that bends."""


def weights(*shape: int) -> F64:
    return Key(1, shape).generator().normal(size=shape)


def volts(*shape: int) -> F64:
    return Key(2, shape).generator().uniform(-0.1, 0.1, shape)


@pytest.mark.parametrize("layout", ["shared", "separate"])
@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (3, 8), (8, 3), (16, 16)])
def test_a_linear_circuit_is_answered_as_by_the_nodal_model(
    by_hand: MakeSurrogate, layout: str, shape: tuple[int, int]
) -> None:
    """1e-6: the wire series stops at 1e-7 of a cell's current."""
    spec = LINEAR.replace(wire={"layout": layout})
    model = by_hand(spec).model_copy(update={"circuit": "mvm"})
    a, v = weights(2, *shape), volts(2, shape[1], 3)
    r = realise(a, spec, Key(3))
    y, status, _ = surrogate_array(model, spec, a, r).answer(v)
    reference = nodal_array("mvm", spec, a, r).answer(v)[0]
    assert (status == Status.OK).all()
    assert np.linalg.norm(y - reference) < 1e-6 * np.linalg.norm(reference)


def test_bounds_are_those_of_the_nodal_verdict() -> None:
    """Beyond the read range at an input; beyond the swing at an output: 16 cells of 220 uS at 0.29 V ask for 4.6 V."""
    surrogate = shipped_surrogate(PKU, (2, 16), "mvm")
    a = np.stack([np.ones(16), np.where(np.arange(16) % 2, 1.0, -1.0)])
    v = np.stack([np.full(16, 0.01), np.full(16, 0.31) * a[1], np.full(16, 0.29)], axis=1)
    r = realise(a, PKU, Key(4))
    found = surrogate_array(surrogate, PKU, a, r).answer(v)
    judged = nodal_array("mvm", PKU, a, r).answer(v)
    for status, reason in (found[1:], judged[1:]):
        assert status.tolist() == [Status.OK, Status.SATURATED, Status.SATURATED]
        assert reason[2] == Reason.VOLTAGE
    assert found[2].tolist() == judged[2].tolist()


def test_a_window_shorter_than_settling_is_unsettled_on_both() -> None:
    """22 pF over 200 uS: 0.11 us a time constant, seven to a tolerance of 1e-3; a window of 0.3 us samples early."""
    surrogate, a, v = shipped_surrogate(PKU, (4, 4), "mvm"), weights(4, 4), volts(4, 2)
    for window, wanted in ((0.3e-6, Status.UNSETTLED), (10e-6, Status.OK)):
        spec = PKU.replace(converters={"read_window": window})
        r = realise(a, spec, Key(5))
        y, status, _ = surrogate_array(surrogate, spec, a, r).answer(v)
        nodal, judged, _ = nodal_array("mvm", spec, a, r).answer(v)
        assert (status == wanted).all()
        assert (judged == wanted).all()
        assert np.linalg.norm(y - nodal) < 1e-4 * np.linalg.norm(nodal)


def test_without_a_trusted_fast_verdict_every_circuit_takes_the_full_one() -> None:
    surrogate, a, v = shipped_surrogate(PKU, (4, 4), "mvm"), weights(3, 2, 4), volts(3, 4, 2)
    doubted = surrogate.model_copy(update={"fast_verdict": False})
    r = realise(a, PKU, Key(6))
    trusting, doubting = (surrogate_array(model, PKU, a, r).answer(v) for model in (surrogate, doubted))
    for mine, other in zip(trusting, doubting, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_it_answers_for_its_own_circuit_technology_and_sides_only() -> None:
    surrogate = shipped_surrogate(PKU, (16, 1), "mvm")
    for a, spec, words in (
        (weights(129, 2), PKU, "fitted for sizes 4, 8, 16 and holds to 128, not 129x2"),
        (weights(2, 2), Spec(), "was fitted with cell.access"),
    ):
        with pytest.raises(DomainError, match=words):
            surrogate_array(surrogate, spec, a, realise(a, spec, Key(0)))
    inv = shipped_surrogate(PKU, (4, 4), "inv")
    with pytest.raises(DomainError, match="fitted to INV circuits, not to MVM"):
        inv.require(PKU, (4, 4), np.array([1e-4]), "mvm")
