"""Many arrays of one vector each against the same arrays one by one: the same bits, whatever ends how."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.solvers.surrogate import SurrogateProgrammed, SurrogateSolver
from amcsim.specs import Spec, preset
from amcsim.status import Reason, Status
from amcsim.streams import Key
from amcsim.surrogate.columns import solved
from amcsim.surrogate.shipped import shipped_surrogate
from amcsim.surrogate.side_by_side import solved_once

PKU = preset("pku_350nm")
COARSE = PKU.replace(converters={"dac_bits": 8, "adc_bits": 6})
RANGED_ONCE = PKU.replace(converters={"ranging": "array"})


def written(spec: Spec, m: int) -> SurrogateProgrammed:
    """Random arrays, some turned to the unstable side, some regular."""
    a = Key(m).generator().standard_normal((70, m, m)) + 2.0 * np.sqrt(m) * np.eye(m)
    a[::7, 0] *= -1.0  # det < 0
    return SurrogateSolver(shipped_surrogate(spec, (m, m)), spec).program(a, Key(0))


@pytest.mark.parametrize("m", [4, 8])
@pytest.mark.parametrize("spec", [PKU, COARSE, RANGED_ONCE], ids=["ideal", "coarse", "ranged once"])
def test_it_is_one_by_one(spec: Spec, m: int) -> None:
    """Among plain answers: zero vectors, infinite ones, some too small to be ranged, unstable arrays."""
    arrays, limits = written(spec, m)._packed
    b = Key(1).generator().standard_normal((70, m, 1))
    b[3], b[4, 0], b[5], b[6] = 0.0, np.inf, 1e-305, np.nan

    def outcome(once: bool) -> tuple[F64, ...]:
        x, residual, words = np.zeros(b.shape), np.zeros((70, 1)), np.zeros((3, 70, 1), np.int64)
        hurt = np.zeros(70, np.bool_)
        function = solved_once if once else solved
        solves = function(arrays, limits, b, x, residual, words, hurt, np.empty((0, 0, 0)))
        mine = arrays[:, -1] == 0.0
        return np.array(solves), x[mine], residual[mine], words[:, mine], hurt[mine]

    for found, wanted in zip(outcome(True), outcome(False), strict=True):
        np.testing.assert_array_equal(found, wanted)
    status = outcome(True)[3][0]
    assert {Status.OK, Status.UNSTABLE, Status.NOT_CONVERGED} <= set(status.ravel().tolist())


def test_what_leaves_its_range_is_said() -> None:
    """An array far weaker than its ranging expects: the answer passes v_read_max, and the status says so."""
    handle = written(PKU, 4)
    arrays, limits = (part.copy() for part in handle._packed)
    arrays[:, 2 * 16 : 3 * 16] *= 10.0
    x, residual, words = np.zeros((70, 4, 1)), np.zeros((70, 1)), np.zeros((3, 70, 1), np.int64)
    solved_once(arrays, limits, np.ones((70, 4, 1)), x, residual, words, np.zeros(70, np.bool_), np.empty((0, 0, 0)))
    regular = arrays[:, -2:].sum(axis=1) == 0
    assert (words[0, regular] == Status.SATURATED).all()
    assert (words[1, regular] == Reason.DISTURB).any()


def test_a_batch_is_solved_as_its_members_are() -> None:
    a = Key(2).generator().standard_normal((40, 4, 4)) + 4.0 * np.eye(4)
    b = Key(3).generator().standard_normal((40, 4, 1))
    solver = SurrogateSolver(shipped_surrogate(PKU, (4, 4)), PKU)
    handle = solver.program(a, Key(4))
    whole, few = handle.solve(b), handle.solve(np.concatenate([b, b], axis=-1))
    np.testing.assert_array_equal(whole.x, few.x[..., :1])
    np.testing.assert_array_equal(whole.status, few.status[..., :1])
    np.testing.assert_array_equal(whole.residual, few.residual[..., :1])
    assert whole.counts.analog_solves == 40
