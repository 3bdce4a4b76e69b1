"""The fit finds the circuit's own parameters, and never looks at what is held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from amcsim.access import on_resistance
from amcsim.campaign import fit as fit_module
from amcsim.campaign.design import Campaign
from amcsim.campaign.fit import fit, measure_amplifier, measure_cell
from amcsim.campaign.sample import Samples, run_sample
from amcsim.solvers.nodal import NodalSolver
from amcsim.solvers.surrogate import SurrogateSolver
from amcsim.specs import Spec, preset
from amcsim.status import Status
from amcsim.streams import Key
from amcsim.surrogate.model import Surrogate

PKU = preset("pku_350nm")
OSCILLATING = PKU.replace(
    cell={"access": "none"},
    programming={"model": "ideal"},
    opamp={"offset_sigma": 0.0, "feedback_capacitance": 0.0},
    inverter={"resistance": 10e3, "feedback_capacitance": 0.0},
)

Group = dict[tuple[int, int], Samples]


def campaign(spec: Spec = PKU, **samples: int) -> Campaign:
    return Campaign(schema_version=1, spec=spec, sizes=(4,), seed=11, samples=samples or {"random": 12, "wishart": 12})


def solved(design: Campaign) -> Group:
    return Samples.by_shape("inv", range(design.total), [run_sample(i, design) for i in range(design.total)])


@pytest.fixture(scope="module", autouse=True)
def few_verdicts() -> Iterator[None]:
    """The fast verdict is held against the full one on 400 circuits a family, on 40 here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "_VERDICT_CIRCUITS", 40)
        yield


@pytest.fixture(scope="module")
def samples() -> Group:
    return solved(campaign())


@pytest.fixture(scope="module")
def fitted(samples: Group) -> Surrogate:
    return fit(campaign(), samples, "0")


def test_the_fit_finds_the_circuits_own_parameters(fitted: Surrogate) -> None:
    assert fitted.cell.r0 == pytest.approx(on_resistance(PKU.cell), rel=1e-3)
    assert fitted.gain == pytest.approx(PKU.opamp.gain, rel=0.01)
    assert fitted.output_resistance == pytest.approx(PKU.opamp.output_resistance, rel=1e-3)
    assert fitted.fast_verdict


def test_the_figures_are_those_of_the_held_out_circuits(fitted: Surrogate, samples: Group) -> None:
    assert fitted.figures is not None
    held = samples[4, 4].take(np.array([campaign().held_out(int(i)) for i in samples[4, 4].ids]))
    assert fitted.figures.samples == held.ids.size == 6
    assert 0 < fitted.figures.error_of_error_median <= fitted.figures.error_of_error_p95 < 1e-3
    assert fitted.figures.cell_law_rms < 1e-6
    assert fitted.figures.certificates_checked == 3 * 40


def test_held_out_circuits_do_not_move_the_fit(fitted: Surrogate, samples: Group) -> None:
    """Their answers are replaced by others: the parameters stay to the bit, the figures do not."""
    group = samples[4, 4]
    held = np.array([campaign().held_out(int(i)) for i in group.ids])
    spoiled = {(4, 4): replace(group, x=np.where(held[:, None], 1.5 * group.x, group.x))}
    other = fit(campaign(), spoiled, "0")
    parameters = {"cell", "gain", "output_resistance", "fast_verdict"}
    assert other.model_dump(include=parameters) == fitted.model_dump(include=parameters)
    assert other.figures is not None
    assert fitted.figures is not None
    assert other.figures.error_of_error_median > 1e3 * fitted.figures.error_of_error_median


def test_circuits_in_the_fit_do_move_it(fitted: Surrogate, samples: Group) -> None:
    """Else the test above would say nothing. 1 % of a circuit's error: an on-resistance a little larger."""
    group = samples[4, 4]
    seen = ~np.array([campaign().held_out(int(i)) for i in group.ids])
    further = group.x + 0.01 * (group.x - group.linear_answer(PKU))
    moved = fit(campaign(), {(4, 4): replace(group, x=np.where(seen[:, None], further, group.x))}, "0")
    assert moved.cell.r0 > 1.002 * fitted.cell.r0


def test_without_a_held_out_answer_nothing_is_vouched_for(samples: Group) -> None:
    group = samples[4, 4]
    held = np.array([campaign().held_out(int(i)) for i in group.ids])
    lost = {(4, 4): replace(group, x=np.where(held[:, None], np.nan, group.x))}
    with pytest.raises(ValueError, match="no held-out circuit of the campaign has an answer"):
        fit(campaign(), lost, "0")


@pytest.mark.parametrize("model", ["linear", "behavioral"])
def test_the_amplifier_is_measured(model: str) -> None:
    """At a third of v_read_max the tanh clamp (swing 3.5 V) takes 3e-4 of the gain."""
    spec = PKU.replace(opamp={"model": model})
    gain, resistance = measure_amplifier(spec)
    assert gain == pytest.approx(45e3, rel=1e-3)
    assert resistance == pytest.approx(50.0, rel=1e-3)
    assert measure_amplifier(spec.replace(opamp={"model": "ideal"})) == (1e12, 0.0)


def test_a_cell_sweep_covers_what_may_be_programmed() -> None:
    """Without access device the current is that of the resistor."""
    g, v, current = measure_cell(PKU.replace(cell={"access": "none"}), 5, 8)
    assert g.size == v.size == current.size == 40
    np.testing.assert_allclose(current, g * v, rtol=1e-9)
    assert (g.min(), g.max()) == (pytest.approx(10e-6), pytest.approx(230e-6))
    assert (v.min(), v.max()) == (-0.3, 0.3)
    bent = measure_cell(PKU, 5, 8)[2]
    assert (np.abs(bent) < np.abs(current)).all()


def test_a_technology_that_oscillates_gets_no_fast_verdict() -> None:
    """10 kohm inverters, 10 pF at their inputs, no feedback capacitors: the certificate's lags leave that loop out.

    The campaign finds circuits that it certifies and the full verdict calls unstable, so no array is certified.
    """
    design = campaign(OSCILLATING, random=4, ill_conditioned=8)
    surrogate = fit(design, solved(design), "0")
    assert not surrogate.fast_verdict
    q = np.linalg.qr(Key(0).generator().normal(size=(12, 4, 4)))[0]
    a = (q * np.geomspace(1.0, 1.0 / 30.0, 4)) @ np.swapaxes(q, 1, 2)
    answers = [s.program(a, Key(0)).solve(np.ones((12, 4, 1))) for s in _both(surrogate)]
    assert np.count_nonzero(answers[1].status == Status.UNSTABLE) > 2
    np.testing.assert_array_equal(answers[0].status, answers[1].status)


def _both(surrogate: Surrogate) -> tuple[SurrogateSolver, NodalSolver]:
    return SurrogateSolver(surrogate, surrogate.spec), NodalSolver(surrogate.spec)
