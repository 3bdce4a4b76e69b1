"""Monte-Carlo and corners: the samples are the circuits drawn, whoever computes them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amcsim.analysis import montecarlo as module
from amcsim.analysis.array import operating_points
from amcsim.analysis.corners import CORNERS, Corner, corners
from amcsim.analysis.montecarlo import BLOCK, montecarlo
from amcsim.analysis.noise import noise
from amcsim.analysis.suite import analyse, exact_volts
from amcsim.analysis.table import Limit
from amcsim.realisation import realise
from amcsim.specs import SpecError, preset
from amcsim.streams import Key
from amcsim.topology.inv import INV, closed_form
from amcsim.topology.mvm import MVM

PKU = preset("pku_350nm")
A = np.array([[1.0, -0.3, 0.2], [-0.25, 0.9, 0.1], [0.15, 0.0, 0.8]])
B = np.array([0.1, -0.05, 0.08])


def test_each_sample_is_the_circuit_of_its_block_and_place() -> None:
    """One paused sweep against operating points one by one: the same to ngspice's tolerance."""
    found = montecarlo(INV, PKU, A, B, BLOCK + 3, Key(7), workers=1)
    wanted = exact_volts(INV, A, B)
    for sample in (0, 1, BLOCK - 1, BLOCK, BLOCK + 2):
        block, place = divmod(sample, BLOCK)
        count = BLOCK if block == 0 else 3
        r = realise(np.broadcast_to(A, (count, 3, 3)), PKU, Key(7).child(block))[place]
        x = operating_points(INV, PKU, r, B[:, None])[:3, 0]
        np.testing.assert_allclose([found.traces[f"op.x{i}"].values[sample] for i in range(3)], x, rtol=0, atol=2e-6)
        error = np.linalg.norm(x - wanted) / np.linalg.norm(wanted)
        assert found.traces["op.error"].values[sample] == pytest.approx(error, rel=1e-4)


def test_the_spread_is_that_of_the_offsets_by_closed_form() -> None:
    """MVM, exact conductances: y = -(1 + G/g_u) Vos in the mean square; 5 standard errors of a standard deviation."""
    spec = preset("ideal").replace(opamp={"offset_sigma": 1e-3})
    a = np.array([[1.0, -0.5], [0.25, 0.75]])
    r = realise(a, spec, Key(0))
    noise_gain = 1 + (r.g_pos + r.g_neg).sum(axis=1) / spec.g_unit
    found = montecarlo(MVM, spec, a, np.array([0.1, 0.1]), 400, Key(1)).measures
    for i in range(2):
        assert found[f"op.y{i}.sigma"].value == pytest.approx(1e-3 * noise_gain[i], rel=5 / math.sqrt(800))
        mean = float((a @ [0.1, 0.1])[i])
        assert found[f"op.y{i}.mean"].value == pytest.approx(mean, abs=5e-3 * noise_gain[i] / 20)


def test_workers_and_this_process_find_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = montecarlo(INV, PKU, A, B, 2 * BLOCK + 10, Key(3), workers=1)
    monkeypatch.setattr(module, "_WORTH_WORKERS", 0.0)
    shared = montecarlo(INV, PKU, A, B, 2 * BLOCK + 10, Key(3), workers=2)
    for name, trace in alone.traces.items():
        np.testing.assert_array_equal(trace.values, shared.traces[name].values)


def test_other_analyses_are_those_of_the_sample_alone() -> None:
    found = montecarlo(INV, PKU, A, B, 3, Key(2), analyses=["noise", "stability"], options={"noise": {"stop": 1e6}})
    r = realise(np.broadcast_to(A, (3, 3, 3)), PKU, Key(2).child(0))[1]
    alone = noise(INV, PKU, r, B, stop=1e6).measures["integrated"].value
    assert found.traces["noise.integrated"].values[1] == alone
    assert (found.traces["stability.stable"].values == 1.0).all()
    assert "op.error" not in found.traces


def test_yield_counts_the_samples_that_meet_every_row() -> None:
    """Rows of two analyses; 40 samples; the median of the error passes about half."""
    errors = montecarlo(INV, PKU, A, B, 40, Key(5)).traces["op.error"].values
    middle = float(np.median(errors))
    rows = [Limit("op", "error", max=middle), Limit("stability", "margin", min=0.1)]
    found = montecarlo(INV, PKU, A, B, 40, Key(5), analyses=(), table=rows)
    assert found.details["passed"] == int((errors <= middle).sum()) == 20
    assert found.measures["yield"].value == 0.5
    assert found.measures["yield_low"].value < 0.5 < found.measures["yield_high"].value
    assert found.details["yield_by_row"] == {"op.error": 0.5, "stability.margin": 1.0}
    with pytest.raises(ValueError, match="op has no measure 'eror'"):
        montecarlo(INV, PKU, A, B, 2, Key(5), table=[Limit("op", "eror", max=1.0)])


def test_samples_without_an_answer_are_counted_and_pass_nothing() -> None:
    """Ideal amplifiers round a singular matrix have no operating point, and no small-signal response."""
    spec = preset("ideal").replace(programming={"model": "gaussian", "tolerance": 0.0})
    singular = np.array([[1.0, 1.0], [1.0, 1.0]])
    found = montecarlo(INV, spec, singular, np.array([0.1, 0.05]), 3, Key(0), table=[Limit("dc", "clips_at", min=0.1)])
    assert found.measures["failed"].value == 3.0
    assert found.measures["yield"].value == 0.0


def test_corners_move_what_they_should() -> None:
    r = realise(A, PKU, Key(1))
    rows = [Limit("stability", "margin", min=0.1), Limit("op", "error", max=1e-6)]
    found = corners(INV, PKU, A, r, B, analyses=["op", "noise", "ac"], table=rows)
    names = [corner["name"] for corner in found.details["corners"]]
    assert len(names) == len(CORNERS) == 9
    rms = dict(zip(names, found.traces["noise.integrated"].values, strict=True))
    assert rms["slow +10 % 85 C"] / rms["slow +10 % -40 C"] == pytest.approx(math.sqrt(358.15 / 233.15), rel=0.01)
    width = dict(zip(names, found.traces["ac.bandwidth"].values, strict=True))
    assert width["fast -10 % -40 C"] > width["typical"] > width["slow -10 % -40 C"]
    typical = analyse("op", module.Problem(INV, PKU, r, B), exact_volts(INV, A, B)).measures["error"].value
    assert found.traces["op.error"].values[0] == typical
    assert (found.measures["pass"].value, found.measures["passed"].value) == (0.0, 0.0)
    assert [row["ok"] for row in found.details["rows"]] == [True, False]


def test_corners_keep_the_headroom_and_refuse_what_no_spec_may_be() -> None:
    high = Corner("high", supply=1.1).spec(PKU)
    assert (high.opamp.supply, high.opamp.swing) == (pytest.approx(5.5), pytest.approx(4.0))
    assert (high.cell.wordline, high.cell.bulk) == (pytest.approx(5.5), pytest.approx(-5.5))
    with pytest.raises(SpecError):
        Corner("too high", supply=3.0).spec(PKU)


def test_what_cannot_be_run_is_refused() -> None:
    with pytest.raises(ValueError, match="analysis 'opp' is unknown; there are op, dc"):
        montecarlo(INV, PKU, A, B, 2, Key(0), analyses=["opp"])
    with pytest.raises(ValueError, match="samples = 0"):
        montecarlo(INV, PKU, A, B, 0, Key(0))


def test_exact_volts_is_the_closed_form_of_exact_amplifiers() -> None:
    spec = preset("ideal")
    x = closed_form(realise(A, spec, Key(0)), B[:, None], spec)[0][:, 0]
    np.testing.assert_allclose(exact_volts(INV, A, B), x, rtol=1e-12)
