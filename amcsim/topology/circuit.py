"""What distinguishes one circuit of an array and amplifiers from another; every backend reads it from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amcsim._types import F64
from amcsim.realisation import Realisation
from amcsim.specs import Spec
from amcsim.topology.network import Network

__all__ = ["Topology"]


@dataclass(frozen=True)
class Topology:
    """A circuit that answers a vector. Shapes: a matrix is (m, n), `inputs` volts go in, `answers` come out."""

    name: str
    network: Callable[[int, int, Spec], Network]
    """(m, n, spec) -> elements."""
    outputs: tuple[str, ...]
    """Port groups of the amplifiers' outputs, the answer first."""
    senses: tuple[str, ...]
    """Port groups of the amplifiers' inverting inputs, in the same order."""
    drive: Callable[[int, int], F64]
    """(m, n) -> source voltages for one volt at each input, (sources, inputs)."""
    sign: float
    """The answer is the first outputs times this."""
    on_cells: int
    """How many groups of outputs lie on cells, where cell.v_read_max bounds them."""
    offset: Callable[[Realisation], F64]
    """Input offsets of the amplifiers in the order of `outputs`, of an unbatched realisation."""
    loop: Callable[[F64, int], F64]
    """(Y at outputs, senses, sources; m) -> what the answer's amplifiers see of their outputs at DC, (m, m), S."""
