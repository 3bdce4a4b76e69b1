"""The figure of merit, and what a sample holds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amcsim.campaign.sample import Samples, error_of_error, solve_in_ngspice
from amcsim.realisation import realise
from amcsim.specs import preset
from amcsim.status import Status
from amcsim.streams import Key

PKU = preset("pku_350nm")
A = np.array([[1.0, 0.3, -0.2], [0.1, 0.8, 0.25], [-0.3, 0.2, 0.9]])


def figure_of_merit(x_sur: list[float], x_spice: list[float], x_lin: list[float]) -> float:
    """design.md, section 5, in plain Python: the definition again, by other hands."""

    def distance(one: list[float], other: list[float]) -> float:
        return math.sqrt(math.fsum((p - q) ** 2 for p, q in zip(one, other, strict=True)))

    size = distance(x_spice, [0.0] * len(x_spice))
    denominator = distance(x_spice, x_lin)
    if denominator < 1e-3 * size:
        return distance(x_sur, x_spice) / size
    return distance(x_sur, x_spice) / denominator


def test_error_of_error_is_that_of_the_definition() -> None:
    rng = Key(0).generator()
    x_spice = rng.standard_normal((400, 5))
    x = x_spice + 10.0 ** rng.uniform(-7, -1, (400, 1)) * rng.standard_normal((400, 5))
    # circuit errors on both sides of the 1e-3 where the denominator changes
    x_lin = x_spice + 10.0 ** rng.uniform(-5, -1, (400, 1)) * rng.standard_normal((400, 5))
    wanted = [figure_of_merit(*map(list, rows)) for rows in zip(x, x_spice, x_lin, strict=True)]
    np.testing.assert_allclose(error_of_error(x, x_spice, x_lin), wanted, rtol=1e-12)
    close = np.linalg.norm(x_spice - x_lin, axis=1) < 1e-3 * np.linalg.norm(x_spice, axis=1)
    assert 50 < close.sum() < 350


def test_a_perfect_model_scores_zero_and_the_linear_answer_one() -> None:
    x_spice, x_lin = np.array([[1.0, 2.0]]), np.array([[1.1, 2.0]])
    assert error_of_error(x_spice, x_spice, x_lin).tolist() == [0.0]
    assert error_of_error(x_lin, x_spice, x_lin).tolist() == [1.0]


def test_a_sample_is_the_circuit_that_its_key_draws() -> None:
    b = np.array([0.2, -0.1, 0.4])
    found = solve_in_ngspice("inv", PKU, A, b, Key(5))
    r = realise(A, PKU, Key(5))
    assert np.array_equal(found["g_pos"], r.g_pos)
    assert np.array_equal(found["offset"], r.offset)
    assert (found["x"].shape, found["status"].shape, found["volts"].shape) == ((3,), (1,), (3,))
    assert found["status"][0] == Status.OK
    again = solve_in_ngspice("inv", PKU, A, b, Key(5))
    assert all(np.array_equal(found[name], again[name], equal_nan=True) for name in found)
    assert np.isnan(found["settling"]).all()
    timed = solve_in_ngspice("inv", PKU, A, b, Key(5), timed=True)
    assert 1e-7 < timed["settling"][0] < 1e-5
    assert timed["energy"][0] == pytest.approx(timed["power"][0] * timed["settling"][0], rel=0.05)
    # volts are b times a power of two
    scale = found["volts"] / b
    assert np.ptp(scale) == 0.0
    assert math.frexp(float(scale[0]))[0] == 0.5


def test_the_linear_answer_has_the_realised_conductances_and_nothing_else() -> None:
    """Known write errors must not flatter the model: x_lin holds them, and neither wires nor access devices."""
    b = np.array([0.2, -0.1, 0.4])
    found = [solve_in_ngspice("inv", PKU, A, b * s, Key(5)) for s in (1.0, 2.0)]
    samples = Samples.stack("inv", [7, 9], found)
    linear = samples.linear_answer(PKU)
    for k in range(2):
        matrix = (samples.realisation.g_pos[k] - samples.realisation.g_neg[k]) / 200e-6
        np.testing.assert_allclose(matrix @ linear[k], samples.volts[k], rtol=1e-12)
    error = np.linalg.norm(samples.x - linear, axis=1) / np.linalg.norm(linear, axis=1)
    assert ((error > 3e-3) & (error < 0.1)).all()  # wires, access devices and offsets: about a per cent
    one = samples.take(np.array([False, True]))
    assert one.ids.tolist() == [9]
    assert np.array_equal(one.realisation.g_pos, samples.realisation.g_pos[1:])


def test_a_singular_circuit_has_no_linear_answer() -> None:
    found = solve_in_ngspice("inv", PKU, A, np.ones(3), Key(0))
    found["g_neg"] = found["g_pos"]
    assert np.isnan(Samples.stack("inv", [0], [found]).linear_answer(PKU)).all()


@pytest.mark.parametrize("shape", [(2, 2), (3, 3)])
def test_samples_are_grouped_by_shape_and_keep_their_order(shape: tuple[int, int]) -> None:
    results = [solve_in_ngspice("inv", PKU, A[:m, :m], np.ones(m), Key(m, (i,))) for i, m in enumerate([3, 2, 3, 2])]
    groups = Samples.by_shape("inv", [10, 11, 12, 13], results)
    assert list(groups) == [(2, 2), (3, 3)]
    wanted = {(2, 2): [11, 13], (3, 3): [10, 12]}[shape]
    assert groups[shape].ids.tolist() == wanted
    assert np.array_equal(groups[shape].x, np.stack([results[i - 10]["x"] for i in wanted]))
