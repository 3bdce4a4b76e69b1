"""What the modes of a circuit to first order say of its start: against the course of its outputs, point by point."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim._types import C128, F64
from amcsim.nodal.certificate import LINEAR_RANGE
from amcsim.nodal.modes import stays_linear
from amcsim.specs import preset
from amcsim.streams import Key

SPEC = preset("pku_350nm")
TOP = 0.5 * LINEAR_RANGE * SPEC.opamp.swing


def modes(number: int) -> tuple[C128, C128]:
    """Rates of 1e5 to 1e6 1/s, too slow to slew, some of them turning, and vectors that are far from orthogonal."""
    rng = Key(11, (number,)).generator()
    pencil = np.diag(10.0 ** rng.uniform(5, 6, 4)) + 1e5 * rng.standard_normal((4, 4))
    mu, vectors = np.linalg.eig(pencil)
    return mu.astype(np.complex128), vectors.astype(np.complex128)


def highest(mu: C128, vectors: C128, x: F64) -> float:
    """max |x(t)|, V, over 3,000 times."""
    t = np.concatenate([[0.0], np.geomspace(1e-10, 50.0 / mu.real.min(), 3000)])
    amounts = np.linalg.solve(vectors, x)
    course = x - np.einsum("ij,jt,jk->itk", vectors, np.exp(-mu[:, None] * t), amounts).real.transpose(1, 0, 2)
    return float(np.abs(course).max())


def test_excursions_count_as_far_as_they_go() -> None:
    """Outputs scaled so that their excursions reach 0.8 and 1.02 of what is allowed; the amounts' sum is above both.

    Between times in the ratio 1.1 a mode changes by 0.1/e of its amount at most: by 0.2 where those add up to 5.
    """
    judged = 0
    for number in range(60):
        mu, vectors = modes(number)
        if mu.real.min() < 1e4:
            continue
        x = Key(12, (number,)).generator().standard_normal((4, 1))
        x *= TOP / highest(mu, vectors, x)
        sums = np.abs(x) + np.abs(vectors) @ np.abs(np.linalg.solve(vectors, x))
        assert not stays_linear(mu, vectors, 1.02 * x, SPEC)[0]
        if TOP < 0.8 * sums.max() < 5.0 * TOP:
            judged += 1
            assert stays_linear(mu, vectors, 0.8 * x, SPEC)[0]
    assert judged > 10


@pytest.mark.parametrize("rate", [1e3, 1e5])
def test_what_has_not_settled_is_no_answer(rate: float) -> None:
    """ln(1/tolerance) = 7 time constants of 1e3 1/s take 7 ms, of which the window has 1."""
    mu = np.array([rate, 1e6], dtype=np.complex128)
    x = np.full((2, 3), 0.1)
    assert (stays_linear(mu, np.eye(2, dtype=np.complex128), x, SPEC) == (rate > 1e4)).all()
