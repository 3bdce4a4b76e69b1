"""What one wired INV circuit costs against its size: the nodal backend, SciPy's sparse LU of the same network, ngspice.

Preset pku_350nm (1 ohm wires, access transistors as resistors in the first two, behavioural amplifiers, offsets), write
errors apart. Ours is what a user runs: `NodalSolver.program` and `solve`, verdict, scaling and residual included. splu
factors all nodes and the amplifiers' linear equations in one matrix, assembled here with arrays, its network's tables
being there already; it tells a voltage and no status. ngspice starts with the deck loaded into a running session.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import splu

from amcsim._types import F64, I64
from amcsim.access import on_resistance
from amcsim.analysis.array import operating_points
from amcsim.realisation import Realisation
from amcsim.solvers.nodal import NodalProgrammed, NodalSolver
from amcsim.specs import Spec, preset
from amcsim.status import Status
from amcsim.streams import Key
from amcsim.topology.inv import INV
from amcsim.topology.network import Network

__all__ = ["LARGEST", "LARGEST_NGSPICE", "InvCost", "compare"]

LARGEST = 256
"""Size of the largest INV circuit."""
LARGEST_NGSPICE = 32
"""Size up to which ngspice is asked: a wired 64x64 takes 39.3 half a minute a point."""
_SPEC = preset("pku_350nm").replace(programming={"model": "ideal"}, converters={"adc_full_scale": 0.1})
"""The converter's range leaves room for what wires add to the answers."""


@dataclass(frozen=True)
class InvCost:
    """Processor seconds."""

    size: int
    first_s: float
    """Program, solve one vector and judge it."""
    further_s: float
    """Each further vector on its own."""
    batched_s: float
    """Each of 64 further vectors, together."""
    splu_first_s: float
    """Assemble, factor, solve one vector."""
    splu_further_s: float
    ngspice_first_s: float | None
    """None above LARGEST_NGSPICE, or where it was not asked."""
    ngspice_further_s: float | None
    splu_difference_v: float
    """Largest distance of our first answer from splu's, V: the amplifiers' limits, which splu does not know."""
    ngspice_difference_v: float | None
    """From ngspice's, V: the curves of the access transistors."""
    ok: float
    """Part of our vectors that ended `ok`."""


def compare(size: int, *, peers: bool = True, vectors: int = 64) -> InvCost:
    """One array of condition near 2, `vectors` right-hand sides; `peers`: ngspice, too."""
    rng = Key(size).generator()
    a = np.eye(size) + 0.3 * rng.standard_normal((size, size)) / np.sqrt(size)
    b = rng.standard_normal((size, vectors))
    NodalSolver(_SPEC).program(np.eye(2), Key(0)).solve(np.ones((2, 1)))  # imports and caches that have no size
    begun = time.process_time()
    handle = NodalSolver(_SPEC).program(a, Key(size))
    solved = [handle.solve(b[:, :1])]
    first, begun = time.process_time() - begun, time.process_time()
    solved += [handle.solve(b[:, k : k + 1]) for k in range(1, vectors)]
    further, begun = (time.process_time() - begun) / (vectors - 1), time.process_time()
    handle.solve(b)
    batched = (time.process_time() - begun) / vectors
    volts = handle.inputs(b)[0]
    ours = handle.answer(volts[:, :1])[0][:, 0]
    found, splu_first, splu_further = _splu(handle, volts)
    ngspice = _ngspice(handle, volts) if peers and size <= LARGEST_NGSPICE else None
    return InvCost(
        size=size,
        first_s=first,
        further_s=further,
        batched_s=batched,
        splu_first_s=splu_first,
        splu_further_s=splu_further,
        ngspice_first_s=ngspice[1] if ngspice else None,
        ngspice_further_s=ngspice[2] if ngspice else None,
        splu_difference_v=float(np.abs(ours - found).max()),
        ngspice_difference_v=float(np.abs(ours - ngspice[0]).max()) if ngspice else None,
        ok=float(np.mean([one.status[0] == Status.OK for one in solved])),
    )


def _splu(handle: NodalProgrammed, volts: F64) -> tuple[F64, float, float]:
    """(x for the first of the input voltages, seconds of it, seconds of each of the others)."""
    spec, r, size = handle.spec, handle.realisation, handle.a.shape[0]
    network = INV.network(size, size, spec)
    begun = time.process_time()
    matrix, known = _equations(network, spec, r)
    free = np.setdiff1d(np.arange(len(network.nodes)), np.append(network.sources.node, 0))
    factors = splu(matrix[free][:, free].tocsc(), permc_spec="MMD_AT_PLUS_A")
    into = matrix[free][:, network.sources.node] @ INV.drive(size, size)
    x = factors.solve(known[free] - into @ volts[:, 0])
    first, begun = time.process_time() - begun, time.process_time()
    for k in range(1, volts.shape[1]):
        factors.solve(known[free] - into @ volts[:, k])
    further = (time.process_time() - begun) / (volts.shape[1] - 1)
    return x[np.searchsorted(free, network.ports["x"])], first, further


def _equations(network: Network, spec: Spec, r: Realisation) -> tuple[csr_array, F64]:
    """Kirchhoff's law at every node, in the place of the amplifiers' outputs their own equation; and what is known."""
    op, nodes = spec.opamp, len(network.nodes)
    cells, inverters = network.cells, network.inverters
    g = np.stack([r.g_pos, r.g_neg])[cells.array, cells.row, cells.column]
    elements: list[tuple[I64, I64, F64]] = [
        (network.resistors.a, network.resistors.b, 1.0 / network.resistors.value),
        (cells.bl, cells.sl, g / (1.0 + g * on_resistance(spec.cell))),
        (inverters.a, network.inverter_inputs, 1.0 / inverters.value),
        (inverters.b, network.inverter_inputs, 1.0 / (inverters.value * r.inverter_ratio)),
    ]
    a, b, value = (np.concatenate(part) for part in zip(*elements, strict=True))
    outputs = np.concatenate([network.amplifiers.output, inverters.b])
    inverting = np.concatenate([network.amplifiers.inverting, network.inverter_inputs])
    scale = np.ones(nodes)
    scale[outputs] = op.output_resistance / op.gain
    rows, columns = np.concatenate([a, b, a, b, outputs, outputs]), np.concatenate([a, b, b, a, outputs, inverting])
    stamps = np.concatenate([value, value, -value, -value])
    stamps *= scale[rows[: stamps.size]]
    values = np.concatenate([stamps, np.full(outputs.size, 1.0 / op.gain), np.ones(outputs.size)])
    known = np.zeros(nodes)
    known[outputs] = INV.offset(r)
    return csr_array((values, (rows, columns)), shape=(nodes, nodes)), known


def _ngspice(handle: NodalProgrammed, volts: F64) -> tuple[F64, float, float]:
    """(x for the first of the input voltages, seconds of it, seconds of a further one)."""
    spec, r, size = handle.spec, handle.realisation, handle.a.shape[0]
    begun = time.process_time()
    x = operating_points(INV, spec, r, volts[:, :1])[:size, 0]
    first, begun = time.process_time() - begun, time.process_time()
    operating_points(INV, spec, r, volts[:, 1:3])
    return x, first, (time.process_time() - begun) / 2
