"""The bound that goes with an answer: calibrated where it was learnt, wider where it was not."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.solvers import surrogate as solver_module
from amcsim.solvers.mvm import MvmSolver
from amcsim.solvers.surrogate import SurrogateSolver
from amcsim.specs import preset
from amcsim.streams import Key
from amcsim.surrogate.confidence import features, fit_confidence
from amcsim.surrogate.shipped import shipped_surrogate

PKU = preset("pku_350nm")
SHIPPED = shipped_surrogate(PKU, (4, 4))


def population(n: int, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """Features of a made-up campaign of sizes 4 to 16, and errors that follow some of them, wider for small sizes."""
    rng = key.generator()
    known = rng.standard_normal((n, 5)) * np.array([1.0, 0.5, 0.4, 0.2, 0.0]) + np.array([-4.0, -1.0, 0.7, -1.7, 0.0])
    known[:, 4] = np.log(rng.choice([4.0, 8.0, 16.0], n))
    noise = rng.standard_normal(n) * 0.5 * np.exp(-0.3 * (known[:, 4] - np.log(8.0)))
    return known, np.exp(-10.0 + known[:, 0] + 0.3 * known[:, 2] + noise)


def test_the_stated_share_of_fresh_circuits_lies_within_and_at_every_size() -> None:
    """Of 200 of a size the quantile is known to 1.5 %, and taken that much higher; of 20,000 the share to 0.2 %."""
    bound = fit_confidence(*population(600, Key(1)))
    known, errors = population(20_000, Key(2))
    inside = errors <= bound.bound(known)
    assert 0.94 <= inside.mean() <= 0.99
    for size in (4.0, 8.0, 16.0):
        assert 0.93 <= inside[np.isclose(known[:, 4], np.log(size))].mean() < 1.0
    assert not bound.conservative
    assert np.median(bound.bound(known) / errors) < 4.0  # not by being useless: the law's own 95 % is 2.3


@pytest.mark.parametrize("n", [1, 3, 10, 18])
def test_few_circuits_make_it_conservative_and_it_says_so(n: int) -> None:
    bound = fit_confidence(*population(n, Key(n)))
    known, errors = population(4000, Key(99))
    assert bound.conservative
    assert bound.samples == n
    assert (errors <= bound.bound(known)).mean() > 0.9
    assert not fit_confidence(*population(19, Key(0))).conservative  # ceil(20 * 0.95) = 19


def test_far_from_what_calibrated_it_the_margin_grows() -> None:
    known, errors = population(600, Key(1))
    bound = fit_confidence(known, errors)
    centre, away = np.array(bound.centre), np.array([0.0, 0.0, 0.0, 8.0, 0.0])
    prediction = bound.intercept + away @ np.array(bound.exponents)
    sizes, margins = np.array(bound.margins).T
    np.testing.assert_allclose(sizes, np.log([4.0, 8.0, 16.0]))
    assert margins[-1] < 0.8 * margins[0]  # the law scatters less at larger sizes
    margin = np.interp(centre[4], sizes, margins)
    assert np.log(bound.bound(centre)) == pytest.approx(bound.intercept + margin)
    assert np.log(bound.bound(centre + away)) - prediction > 5 * margin


def test_the_features_are_what_their_names_say() -> None:
    x, linear, volts = np.array([[0.3], [0.4]]), np.array([[0.3], [0.1]]), np.array([[0.1], [-0.6]])
    found = np.exp(features(x, linear, volts, np.array(1.5), on_cells=True)[0])
    np.testing.assert_allclose(found, [0.3, 0.5, 1.5, 0.6, 2.0])


def test_a_solve_spends_nothing_on_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> np.ndarray:
        raise AssertionError("a solve asked for a bound")

    array = SurrogateSolver(SHIPPED, PKU).program(np.eye(4), Key(0))
    b = np.stack([np.ones(4), np.zeros(4)], axis=1)
    bounds = array.error_bounds(b)
    assert 0 < bounds[0] < 1e-4
    assert bounds[1] == 0.0
    monkeypatch.setattr(solver_module, "features", never)
    array.solve(b)
    with pytest.raises(AssertionError):
        array.error_bounds(b)


def test_bounds_are_in_units_of_the_answer_and_only_where_it_is_ok() -> None:
    a, b = np.diag([1.0, 0.5, 0.8, 0.9]), np.ones((4, 1))
    one, large = (SurrogateSolver(SHIPPED, PKU).program(s * a, Key(0)) for s in (1.0, 1024.0))
    np.testing.assert_allclose(large.error_bounds(b), one.error_bounds(b) / 1024.0, rtol=1e-9)
    unstable = SurrogateSolver(SHIPPED, PKU).program(np.diag([1.0, -1.0, 1.0, 1.0]), Key(0))
    assert np.isnan(unstable.error_bounds(b)).all()


def test_a_file_without_confidence_says_so() -> None:
    old = SHIPPED.model_copy(update={"confidence": None})
    with pytest.raises(ValueError, match="records no confidence: calibrate it again"):
        SurrogateSolver(old, PKU).program(np.eye(4), Key(0)).error_bounds(np.ones((4, 1)))


def test_batches_and_products_have_bounds_too() -> None:
    rng = Key(4).generator()
    a, v = rng.standard_normal((3, 2, 4)), rng.standard_normal((3, 4, 5))
    product = MvmSolver(PKU, "surrogate", shipped_surrogate(PKU, (4, 4), "mvm"))
    bounds = product.program(a, Key(1)).error_bounds(v)  # type: ignore[attr-defined]
    assert bounds.shape == (3, 5)
    one = product.program(a, Key(1)).multiply(v).y
    assert (bounds < 1e-3 * np.linalg.norm(one, axis=1)).all()
