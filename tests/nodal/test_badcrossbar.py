"""Wired MVM circuits against badcrossbar 1.1.0 (Joksas and Mehonic, SoftwareX 2020), an independent nodal analysis.

Its word-lines are driven at column 0 and its bit-lines sensed at the last row, both with a segment at the driven or
sensed end. Ours: bit-lines driven at row 0, source-lines sensed at column 0 by a virtual ground. So its word-line w is
our column, counted from the far end, and its bit-line is our row: its matrix is ours, transposed and turned over.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.realisation import Realisation
from amcsim.solvers.mvm import MvmSolver
from amcsim.specs import Spec
from amcsim.status import Status
from amcsim.streams import Key

Compute = Callable[..., Any]


@pytest.fixture(scope="module")
def compute() -> Compute:
    """badcrossbar.compute; the package warns that it cannot draw, and sets up logging."""
    with warnings.catch_warnings(record=True):
        import badcrossbar
    logging.getLogger("badcrossbar").setLevel(logging.ERROR)
    found: Compute = badcrossbar.compute
    return found


def wired(layout: str, bl: float, sl: float) -> Spec:
    """Ideal amplifiers, whose inputs stay at 0 V, and cells written with errors."""
    return Spec().replace(
        wire={"layout": layout, "bl_resistance": bl, "sl_resistance": sl},
        programming={"model": "uniform", "tolerance": 10e-6},
    )


def crossbar(compute: Compute, g: F64, v: F64, spec: Spec) -> F64:
    """Currents (m, k) out of the source-lines of one array, g (m, columns), its bit-lines at v (columns, k)."""
    wire = spec.wire
    found = compute(
        v[::-1], 1.0 / g.T[::-1], r_i_word_line=wire.bl_resistance, r_i_bit_line=wire.sl_resistance, all_currents=False
    )
    currents: F64 = np.asarray(found.currents.output).T
    return currents


def by_badcrossbar(compute: Compute, r: Realisation, v: F64, spec: Spec) -> F64:
    """Currents (m, k) into the amplifiers: one array of 2n columns, or two that end in the same node."""
    if spec.wire.layout == "shared":
        return crossbar(compute, np.concatenate([r.g_pos, r.g_neg], axis=1), np.concatenate([v, -v]), spec)
    return crossbar(compute, r.g_pos, v, spec) + crossbar(compute, r.g_neg, -v, spec)


@pytest.mark.parametrize("layout", ["shared", "separate"])
@pytest.mark.parametrize(("bl", "sl"), [(1.0, 1.0), (0.5, 10.0), (20.0, 3.0)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (4, 4), (3, 8), (8, 3), (32, 24)])
def test_it_equals_badcrossbar(compute: Compute, layout: str, bl: float, sl: float, shape: tuple[int, int]) -> None:
    """1e-9: both solve the same linear equations, of condition 1e5 or so."""
    spec, g = wired(layout, bl, sl), Key(1, shape).generator()
    a, v = g.normal(size=shape), g.normal(size=(shape[1], 3))
    for matrix, vectors in ((a, v), (a.T, g.normal(size=(shape[0], 3)))):
        handle = MvmSolver(spec, "nodal").program(matrix, Key(2))
        answer = handle.multiply(vectors)
        assert (answer.status == Status.OK).all()
        peer = by_badcrossbar(compute, handle.realisation, vectors, spec) / spec.g_unit * np.abs(matrix).max()
        assert np.linalg.norm(answer.y - peer) < 1e-9 * np.linalg.norm(peer)
        ideal = matrix @ vectors
        assert np.linalg.norm(peer - ideal) > 1e-3 * np.linalg.norm(ideal)  # wires and write errors do act


def test_a_line_counted_from_the_other_end_would_be_seen(compute: Compute) -> None:
    spec = wired("shared", 1.0, 1.0)
    a, v = Key(3).generator().normal(size=(4, 4)), np.ones((4, 1))
    handle = MvmSolver(spec, "nodal").program(a, Key(2))
    r = handle.realisation
    turned = Realisation(r.g_pos[::-1], r.g_neg[::-1], r.offset, r.inverter_offset, r.inverter_ratio)
    right, wrong = (by_badcrossbar(compute, one, v, spec) for one in (r, turned))
    assert np.linalg.norm(wrong[::-1] - right) > 1e-4 * np.linalg.norm(right)
