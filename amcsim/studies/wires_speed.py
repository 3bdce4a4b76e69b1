"""How fast a wired MVM array is solved, cold and for one vector, against badcrossbar, CrossSim and SciPy's sparse LU.

The same array for all: n x n cells of 20 to 220 uS in each of two arrays on shared source-lines (2 n^2 cells), virtual
grounds, one vector. Ours is `amcsim.nodal.currents.cell_currents`; splu factors the nodal matrix, assembled here with
arrays, in its symmetric mode with minimum-degree ordering, the fastest of its choices; badcrossbar (Joksas and Mehonic,
SoftwareX 2020) runs as released. CrossSim (Sandia; on no package index: `pip install` its checkout) under-relaxes and
finds the factor by trying: the first solve of an array is `cold`, the second, which begins with the factor found,
`warm`. It stops at voltage errors of 1e-6, its own measure.
"""

from __future__ import annotations

import importlib
import logging
import time
import tracemalloc
import warnings
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from amcsim._types import F64
from amcsim.nodal.currents import cell_currents
from amcsim.specs import WireSpec
from amcsim.streams import Key
from amcsim.studies.timing import timed

__all__ = ["LARGEST_PEERS", "LARGEST_SPLU", "WiresSpeed", "compare"]

LARGEST_SPLU, LARGEST_PEERS = 1024, 512
"""Sizes up to which splu is asked, which at 1024 factors 4 million unknowns in 90 s and 6.7 GB, and the others."""


@dataclass(frozen=True)
class WiresSpeed:
    """Seconds of one cold solve, and how far the answers, the currents of the source-lines, are from splu's."""

    size: int
    ohm: float
    ours: float
    splu: float | None
    """None above LARGEST_SPLU; the next two above LARGEST_PEERS."""
    badcrossbar: float | None
    """None where it is not installed or was not asked."""
    crosssim: float | None
    """Cold; None where it is not importable, was not asked, or did not converge (see `crosssim_said`)."""
    crosssim_warm: float | None
    crosssim_said: str
    """Why there is none, or empty."""
    difference: float | None
    """Largest distance of our currents from splu's over the largest of them; None above LARGEST_SPLU."""
    badcrossbar_difference: float | None
    """The same of badcrossbar's."""
    crosssim_difference: float | None
    error: float
    """Our own bound on the relative error."""
    iterations: int
    memory: float
    """Bytes that our solve allocates at most, the conductances themselves apart."""


def compare(size: int, ohm: float, *, tolerance: float = 1e-8, repeats: int = 3, peers: bool = True) -> WiresSpeed:
    """One array; ours and splu are the best of `repeats` runs (one of splu above 128), badcrossbar runs once.

    Raises LinesNotConverged.
    """
    rng = Key(size).generator()
    g, v = rng.uniform(20e-6, 220e-6, (2, size, size)), rng.uniform(-0.2, 0.2, size)
    wire = WireSpec(bl_resistance=ohm, sl_resistance=ohm)
    drivers, senses = np.stack([v, -v])[..., None], np.zeros((size, 1))
    cell_currents(wire, g[:, :2, :2], drivers[:, :2], senses[:2])  # loads its machine code
    tracemalloc.start()
    try:
        ours, found = timed(lambda: cell_currents(wire, g, drivers, senses, tolerance=tolerance), repeats)
        memory = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    error = float(found.error[0])
    bare = WiresSpeed(size, ohm, ours, None, None, None, None, "", None, None, None, error, found.iterations, memory)
    if size > LARGEST_SPLU:
        return bare
    both, volts = np.concatenate([g[0], g[1]], axis=1), np.concatenate([v, -v])
    by_splu, currents = timed(lambda: _splu(both, volts, ohm), repeats if size <= 128 else 1)

    def off(other: F64 | None) -> float | None:
        return None if other is None else float(np.abs(other - currents).max() / np.abs(currents).max())

    bare = replace(bare, splu=by_splu, difference=off(found.sensed[:, 0]))
    if not peers or size > LARGEST_PEERS:
        return bare
    seconds, theirs = _badcrossbar(both, volts, ohm)
    cold, warm, relaxed, said = _crosssim(both, volts, ohm)
    return replace(
        bare,
        badcrossbar=seconds,
        badcrossbar_difference=off(theirs),
        crosssim=cold,
        crosssim_warm=warm,
        crosssim_said=said,
        crosssim_difference=off(relaxed),
    )


def _splu(g: F64, volts: F64, ohm: float) -> F64:
    """Currents into virtual grounds at column 0, (m,), by the nodal matrix of all wires."""
    m, n = g.shape
    bl = np.arange(m * n).reshape(m, n)
    sl, y = bl + m * n, 1.0 / ohm
    down, along = np.full((m - 1, n), y), np.full((m, n - 1), y)
    rows, columns, values = [], [], []
    for a, b, value in ((bl, sl, g), (bl[1:], bl[:-1], down), (sl[:, 1:], sl[:, :-1], along)):
        i, j, each = a.ravel(), b.ravel(), value.ravel()
        rows += [i, j, i, j]
        columns += [i, j, j, i]
        values += [each, each, -each, -each]
    grounded = np.concatenate([bl[0], sl[:, 0]])
    rows.append(grounded)
    columns.append(grounded)
    values.append(np.full(grounded.size, y))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    matrix = coo_array(entries, shape=(2 * m * n, 2 * m * n)).tocsc()
    into = np.zeros(2 * m * n)
    into[bl[0]] = y * volts
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    currents: F64 = factors.solve(into)[sl[:, 0]] * y
    return currents


def _badcrossbar(g: F64, volts: F64, ohm: float) -> tuple[float | None, F64 | None]:
    """Seconds of its solve and its currents, (m,): its word-lines are our columns, counted from the far end."""
    try:
        with warnings.catch_warnings(record=True):  # it warns that it cannot draw
            badcrossbar = importlib.import_module("badcrossbar")  # of no extra: its drawing library does not build
    except ImportError:
        return None, None
    logging.getLogger("badcrossbar").setLevel(logging.ERROR)
    begun = time.perf_counter()
    found = badcrossbar.compute(
        volts[::-1, None], 1.0 / g.T[::-1], r_i_word_line=ohm, r_i_bit_line=ohm, all_currents=False
    )
    return time.perf_counter() - begun, np.asarray(found.currents.output, dtype=np.float64).ravel()


def _crosssim(g: F64, volts: F64, ohm: float) -> tuple[float | None, float | None, F64 | None, str]:
    """Seconds of its first and second solve, currents (m,), and why there are none; it senses at the last column."""
    try:
        simulator = importlib.import_module("simulator")
        arrays = importlib.import_module("simulator.circuits.array.NonInterleaved_InputSource")
        importlib.import_module("simulator.backend").ComputeBackend(use_gpu=False)
    except (ImportError, AttributeError):  # not installed, or another package of that name
        return None, None, None, "not installed: pip install a checkout of github.com/sandialabs/cross-sim"
    parameters, top = simulator.CrossSimParameters(), float(g.max())
    device, wires, solver = parameters.xbar.device, parameters.xbar.array.parasitics, parameters.simulation
    device.Rmin = 1.0 / top
    wires.enable, wires.Rp_row, wires.Rp_col = True, ohm, ohm
    solver.Verr_th_mvm, solver.hide_convergence_msg, solver.disable_fast_matmul = 1e-6, True, True
    array = arrays.NoninterleavedInputSourceArray(parameters)
    matrix, vector = np.ascontiguousarray(g[:, ::-1]) / top, volts[::-1].copy()
    try:
        with np.errstate(all="ignore"):  # it runs into overflow before it tries a smaller factor
            cold, _ = timed(lambda: array.iterative_solve(matrix, vector), 1)
            warm, found = timed(lambda: array.iterative_solve(matrix, vector), 1)
    except ValueError as error:
        return None, None, None, str(error)
    return cold, warm, np.asarray(found, dtype=np.float64) * top, ""
