"""How much work BlockAMC, HP-INV and K-FAC make, from their own recursions.

The recursion is that of solvers.block_amc: A1 is visited twice, the Schur complement S once, and products with the
off-diagonal blocks are digital. A test holds these counts against those that the solvers themselves return.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from amcsim.solvers.block_amc import paper_split

__all__ = ["AUTOENCODER", "Partition", "System", "partition", "systems_of", "systems_of_layers"]

AUTOENCODER = (784, 1000, 500, 250, 30, 250, 500, 1000, 784)
"""Widths of the MNIST autoencoder of Goldfarb et al., NeurIPS 2020."""


@dataclass(frozen=True)
class Partition:
    """What one matrix of n rows is to BlockAMC with arrays of `leaf` rows."""

    arrays: Counter[int]
    """Arrays by size."""
    visits: Counter[int]
    """Leaf visits of one right-hand side by size."""
    products: int
    """Digital multiplications of one right-hand side by off-diagonal blocks."""
    schur: int
    """Digital multiplications that forming all Schur complements takes: A1 factorised, two triangular solves for
    A1^-1 A2, and A3 times that."""


@cache
def partition(n: int, leaf: int, split: Callable[[int, int], int] = paper_split) -> Partition:
    """Arrays, visits and digital products of a matrix of n rows. Raises ValueError for n or leaf below 1."""
    if n < 1 or leaf < 1:
        raise ValueError(f"n = {n} and leaf = {leaf} must be 1 or more")
    if n == 1:
        return Partition(Counter(), Counter(), 0, 0)
    if n <= leaf:
        return Partition(Counter({n: 1}), Counter({n: 1}), 0, 0)
    m = split(n, leaf)
    rest = n - m
    first, second = partition(m, leaf, split), partition(rest, leaf, split)
    return Partition(
        arrays=first.arrays + second.arrays,
        visits=first.visits + first.visits + second.visits,
        products=2 * m * rest + 2 * first.products + second.products,
        schur=m**3 // 3 + m * m * rest + m * rest * rest + first.schur + second.schur,
    )


@dataclass(frozen=True)
class System:
    """A damped Kronecker factor and the right-hand sides that a K-FAC step asks it for."""

    name: str
    n: int
    vectors: int


def systems_of(widths: Sequence[int]) -> tuple[System, ...]:
    """The systems of fully connected layers between those widths, biases through G alone.

    A layer from a to g units: A (a, a) with the g rows of dW, then G (g, g) with its a columns and the bias.
    """
    return systems_of_layers(list(pairwise(widths)))


def systems_of_layers(layers: Sequence[tuple[int, int]]) -> tuple[System, ...]:
    """The same for layers of a inputs and g outputs; a convolution's a is its kernel's area times its channels."""
    found = []
    for k, (a, g) in enumerate(layers):
        found += [System(f"A{k}", a, g), System(f"G{k}", g, a + 1)]
    return tuple(found)
