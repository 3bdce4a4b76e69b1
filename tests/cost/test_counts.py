"""Closed counts against what the solvers themselves count."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.cost.counts import partition, systems_of
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.exact import Exact
from amcsim.solvers.hp_inv import HpInv
from amcsim.streams import Key


@pytest.mark.parametrize(("n", "leaf"), [(4, 4), (16, 4), (25, 4), (30, 8), (100, 16), (250, 128)])
def test_arrays_and_visits_are_those_of_the_solver(n: int, leaf: int) -> None:
    a = np.eye(n) + 0.1 / n
    handle = BlockAmc(HpInv(Exact()), leaf=leaf).program(a, Key(0))
    counts = handle.solve(np.ones((n, 1))).counts
    part = partition(n, leaf)
    assert handle.root.arrays == sum(part.arrays.values())
    assert counts.high_precision_vectors == sum(part.visits.values())


def test_the_papers_139_inversions_a_step() -> None:
    # A_conv 25 and A_fc 16 by their 4 rows; G_conv and G_fc 4 by 25 and 16 columns and a bias each
    visits = {n: sum(partition(n, 4).visits.values()) for n in (25, 16, 4)}
    assert 4 * visits[25] + 26 * visits[4] + 4 * visits[16] + 17 * visits[4] == 139


def test_products_of_one_split_by_hand() -> None:
    part = partition(8, 4)  # A3 y1 and A2 x2, 16 multiplications each
    assert part.products == 32
    assert part.schur == 4**3 // 3 + 4**3 + 4**3


def test_systems_of_a_layer() -> None:
    a, g = systems_of((784, 1000))
    assert (a.n, a.vectors) == (784, 1000)
    assert (g.n, g.vectors) == (1000, 785)
