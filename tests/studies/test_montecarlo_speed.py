"""Monte-Carlo speed, by the clock: slow tests, since another's work on the machine upsets them."""

from __future__ import annotations

import pytest

from amcsim.studies.montecarlo_speed import compare


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "samples", "others", "pyspice", "batch"), [(4, 1000, 100, 15.0, 6.0), (16, 1000, 40, 10.0, 1.5)]
)
def test_montecarlo_is_that_much_faster_and_finds_the_same(
    size: int, samples: int, others: int, pyspice: float, batch: float
) -> None:
    found = compare(size, samples, others)
    assert found.difference < 1e-6
    assert found.pyspice / found.ours > pyspice
    assert found.batch / found.ours > batch


def test_all_three_find_the_same_operating_points() -> None:
    assert compare(2, samples=4, workers=1).difference < 1e-6
