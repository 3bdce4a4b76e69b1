"""Monte-Carlo by surrogate and by ngspice: the same spread on the same draws, one distribution on others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from amcsim.analysis.montecarlo import BLOCK, realisations
from amcsim.campaign.paired import CASES, Case, Spread, compare, consistent, paired, pooled
from amcsim.cli import app
from amcsim.realisation import realise
from amcsim.specs import preset
from amcsim.streams import Key
from amcsim.surrogate.model import Surrogate
from amcsim.surrogate.shipped import shipped_surrogate

VARYING = preset("pku_350nm_varying")


def shipped(case: Case) -> Surrogate:
    return shipped_surrogate(VARYING, (case.rows, case.columns), case.circuit)


@pytest.fixture(scope="module")
def quick() -> tuple[Spread, ...]:
    return paired(CASES[:2], VARYING, shipped, samples=100, seed=3, workers=1)


def test_two_circuits_spread_alike_in_both(quick: tuple[Spread, ...]) -> None:
    """Measured: 1e-5 of ratios and quantiles, 2 % are promised."""
    for spread in quick:
        assert spread.used >= 95
        assert spread.worst_ratio < 1e-3
        assert spread.worst_quantile < 1e-3
        assert (spread.sigma > 1e-4).all()  # V: there is a spread to compare
        low, high = spread.ratio_interval
        assert ((low <= spread.ratio) & (spread.ratio <= high)).all()
    assert consistent(quick)[0]
    found = pooled(quick)
    assert found["within_tolerance"]
    assert found["independent_comparisons"] == 32


def test_other_seeds_are_other_draws(quick: tuple[Spread, ...]) -> None:
    """On independent seeds the same comparison is off by the sampling error: ln(sigma) by 1/sqrt(2n) a sample."""
    for spread in quick:
        assert np.abs(spread.z).max() > 0.1
        np.testing.assert_allclose(spread.resolution[0], np.sqrt(1.0 / 100), rtol=0.5)


@pytest.mark.slow
def test_ten_circuits_of_a_thousand_realisations() -> None:
    spreads = paired(CASES, VARYING, shipped, samples=1000, seed=0)
    found = pooled(spreads)
    assert found["worst_ratio"] < 0.02
    assert found["worst_quantile"] < 0.02
    assert found["independent_consistent"]
    assert found["independent_within_95"] > 0.9
    assert all(s.used > 900 for s in spreads)


def test_the_realisations_are_those_of_the_monte_carlo() -> None:
    a = np.array([[1.0, -0.4], [0.2, 0.8]])
    r = realisations(a, VARYING, BLOCK + 3, Key(1))
    assert r.g_pos.shape == (BLOCK + 3, 2, 2)
    last = realise(np.broadcast_to(a, (3, 2, 2)), VARYING, Key(1).child(1))
    np.testing.assert_array_equal(r[BLOCK:].g_neg, last.g_neg)


def spread(scale: float, shift: float, independent: float = 1.0) -> Spread:
    """Outputs of known spread about a mean near zero: the surrogate's scaled, shifted, and on other seeds scaled."""
    rng = Key(8).generator()
    x, other = (rng.standard_normal((1000, 4)) * 1e-3 + np.array([0.0, 1e-7, 0.1, -0.2]) for _ in range(2))
    mean = x.mean(axis=0)
    mine, away = mean + scale * (x - mean) + shift * 1e-3, mean + independent * (other - mean)
    return compare(CASES[0], x, mine, away, 1000, Key(9), (1.0, 1.0))


def test_a_spread_that_is_wrong_is_seen() -> None:
    wide, moved = spread(1.03, 0.0), spread(1.0, 0.025)
    assert wide.worst_ratio == pytest.approx(0.03, abs=1e-6)
    assert moved.worst_quantile == pytest.approx(0.025, rel=0.05)  # of the sample's sigma, not of the law's
    assert moved.worst_ratio < 1e-9
    assert not pooled((wide,))["within_tolerance"]
    assert not pooled((moved,))["within_tolerance"]


def test_the_test_on_independent_seeds_refuses_another_distribution_and_not_its_own() -> None:
    """A thousand values know sigma to 2 %: 20 % too much is seen, nothing is where nothing is wrong."""
    right = spread(1.0, 0.0)
    assert pooled((right,))["within_tolerance"]
    assert consistent((right,))[0]
    assert not consistent((spread(1.0, 0.0, independent=1.2),))[0]


@pytest.mark.slow
def test_the_test_refuses_one_distribution_in_fewer_than_a_tenth_of_its_uses() -> None:
    """60 uses on equal laws at the 1 % level: more than three refusals have a chance of 0.4 %."""
    rng, refused = Key(5).generator(), 0
    for k in range(60):
        x, other = rng.standard_normal((2, 200, 2))
        refused += not consistent((compare(CASES[0], x, x, other, 200, Key(k), (1.0, 1.0)),))[0]
    assert refused <= 3


def test_the_command_prints_one_object_and_fails_where_the_spread_does() -> None:
    done = CliRunner().invoke(app, ["validate", "variation", "--quick", "--workers", "1", "--json"])
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert [c["circuit"] for c in found["circuits"]] == ["INV 4x4 wishart", "MVM 4x4 normal"]
    assert len(found["circuits"][0]["ratio"]) == 4
