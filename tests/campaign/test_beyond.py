"""Sizes and wires beyond the fitted ones: held to ngspice and to the nodal equations; a claim that fails is refused."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.campaign import beyond
from amcsim.campaign.beyond import check_beyond, straight
from amcsim.campaign.design import Campaign
from amcsim.campaign.validate import Validation, validate
from amcsim.realisation import realise
from amcsim.solvers.arrays import nodal_array, surrogate_array
from amcsim.specs import Spec, preset
from amcsim.streams import Key
from amcsim.surrogate.model import CellLaw, Surrogate
from amcsim.surrogate.shipped import shipped_surrogate

PKU = preset("pku_350nm")


def wired(ohm: float) -> Spec:
    return PKU.replace(wire={"bl_resistance": ohm, "sl_resistance": ohm})


def held(circuit: str, m: int, ohm: float, count: int, against: str = "ngspice") -> Validation:
    spec = wired(ohm)
    surrogate = shipped_surrogate(spec, (m, m), circuit)
    return validate(surrogate, spec, m=m, seed=40 + m, count=count, against=against, timed=0)


@pytest.mark.parametrize("circuit", ["inv", "mvm"])
def test_sizes_beyond_the_fit_are_the_nodal_equations(circuit: str) -> None:
    """32x32 at 4 ohm, twice the fitted size and four times its wires: 1e-3 of the circuits' own error, 5e-3 at most."""
    found = held(circuit, 32, 4.0, 6, "nodal").as_dict()
    assert found["error_of_error_median"] < 1e-3
    assert found["error_of_error_p95"] < 5e-3
    assert found["status_disagreements"] == 0
    assert found["against"] == "nodal"
    assert found["ngspice_solves_per_s"] is None
    assert found["nodal_solves_per_s"] > 0


def claim(**more: float) -> Campaign:
    return Campaign(
        schema_version=1,
        spec=PKU,
        sizes=(4,),
        seed=3,
        samples={"wishart": 8},
        largest_size=8,
        wire_resistance=2.0,
        **more,
    )


def test_a_claim_is_tried_and_refused_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A surrogate that takes access devices for 1 ohm more than they are is 1 % of the circuits' error off."""
    good = shipped_surrogate(PKU, (4, 4))
    check_beyond(good, claim())

    def blind(surrogate: Surrogate, spec: Spec) -> Surrogate:
        known = straight(surrogate, spec)
        return known.model_copy(update={"cell": CellLaw(r0=known.cell.r0 + 1.0)})

    monkeypatch.setattr(beyond, "straight", blind)
    with pytest.raises(ValueError, match=r"does not hold for 4x4 circuits with wires of 0 ohm \(random: .*; lower the"):
        check_beyond(good, claim())


def test_the_claim_decides_no_sample() -> None:
    bare = Campaign(schema_version=1, spec=PKU, sizes=(4,), seed=3, samples={"wishart": 8})
    assert bare.sha256 == claim().sha256


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("circuit", "ohm"), [("inv", 1.0), ("inv", 4.0), ("mvm", 1.0), ("mvm", 4.0)])
def test_at_32_it_is_ngspice(circuit: str, ohm: float) -> None:
    found = held(circuit, 32, ohm, 6).as_dict()
    assert found["error_of_error_median"] < 1e-3
    assert found["error_of_error_p95"] < 5e-3
    assert found["status_disagreements"] == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("circuit", ["inv", "mvm"])
def test_at_64_it_is_ngspice(circuit: str) -> None:
    """One circuit: minutes in ngspice 39."""
    found = held(circuit, 64, 1.0, 1).as_dict()
    assert found["error_of_error_median"] < 1e-3
    assert found["status_disagreements"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("circuit", ["inv", "mvm"])
@pytest.mark.parametrize("ohm", [0.0, 1.0, 4.0])
def test_at_64_it_is_the_nodal_equations(circuit: str, ohm: float) -> None:
    found = held(circuit, 64, ohm, 12, "nodal").as_dict()
    assert found["error_of_error_median"] < 1e-3
    assert found["error_of_error_p95"] < 5e-3
    assert found["status_disagreements"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("circuit", ["inv", "mvm"])
def test_small_circuits_without_wires_to_a_ten_thousandth(circuit: str) -> None:
    found = held(circuit, 4, 0.0, 120).as_dict()
    assert found["error_of_error_median"] < 1e-4
    assert found["error_of_error_p95"] < 5e-4
    assert found["status_disagreements"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("circuit", ["inv", "mvm"])
def test_it_predicts_128(circuit: str) -> None:
    """Against the nodal equations' answer, access devices straight in both."""
    key, spec = Key(8), wired(2.0)
    a = np.eye(128) + 0.2 * key.generator().standard_normal((128, 128)) / np.sqrt(128)
    r = realise(a, spec, key.child(1))
    mine = surrogate_array(straight(shipped_surrogate(spec, (128, 128), circuit), spec), spec, a, r)
    volts = mine.inputs(np.ones((128, 1)))[0]
    x, _, _ = mine.answer(volts)
    known, _, _ = nodal_array(circuit, spec, a, r).answer(volts)
    assert np.linalg.norm(x - known) < 1e-4 * np.linalg.norm(known)
