"""The nodal leaf: the closed form where there is one, and the verdict on every column."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.mapping import inverse_for_ranging, matrix_scale, voltage_scale
from amcsim.realisation import linear_matrix, realise
from amcsim.solvers.base import Programmed
from amcsim.solvers.nodal import NodalSolver
from amcsim.specs import Spec, SpecError, preset
from amcsim.status import Reason, Status
from amcsim.streams import Key
from amcsim.topology.inv import closed_form

PKU = preset("pku_350nm")


@pytest.mark.parametrize("m", [1, 3, 8])
def test_an_ideal_circuit_solves_the_system(m: int) -> None:
    g = Key(m).generator()
    a, b = 5.0 * (g.normal(size=(m, m)) + 2 * m * np.eye(m)), g.normal(size=(m, 4))
    handle = NodalSolver(Spec()).program(a, Key(0))
    answer = handle.solve(b)
    assert isinstance(handle, Programmed)
    assert (answer.status == Status.OK).all()
    np.testing.assert_allclose(answer.x, np.linalg.solve(a, b), rtol=1e-9)


def test_write_errors_are_those_of_the_realisation() -> None:
    spec = Spec().replace(programming={"model": "uniform", "tolerance": 10e-6})
    a = np.stack([np.eye(4) + 0.1, 2.0 * np.eye(4)])
    b = Key(1).generator().normal(size=(2, 4, 3))
    written = linear_matrix(realise(a, spec, Key(5)), spec) * matrix_scale(a)[:, None, None]
    np.testing.assert_allclose(NodalSolver(spec).program(a, Key(5)).solve(b).x, np.linalg.solve(written, b), rtol=1e-9)


def test_offsets_act_in_volts_whatever_the_scale_of_the_problem() -> None:
    spec = Spec().replace(opamp={"model": "linear", "gain": 1e4, "offset_sigma": 1e-3})
    a, b = np.array([[40.0, 10.0], [-10.0, 30.0]]), np.array([[2e3], [-1e3]])
    r = realise(a, spec, Key(2))
    scale = voltage_scale(inverse_for_ranging(a), b, spec)
    x = closed_form(r, b * scale, spec)[0] / (scale * 40.0)
    np.testing.assert_allclose(NodalSolver(spec).program(a, Key(2)).solve(b).x, x, rtol=1e-9)


def test_statuses_of_a_batch() -> None:
    a = np.stack([np.eye(2), -np.eye(2), np.zeros((2, 2))])
    answer = NodalSolver(PKU).program(a, Key(0)).solve(np.ones((3, 2, 2)))
    assert (answer.status[0] == Status.OK).all()
    assert (answer.status[1] == Status.UNSTABLE).all()
    assert (answer.reason[1] == Reason.POLE).all()
    assert (answer.status[2] != Status.OK).all()
    assert np.isnan(answer.x[1]).all()
    assert np.isnan(answer.residual[1]).all()


def test_another_key_writes_another_array() -> None:
    a, b = np.eye(3), np.ones((3, 1))
    solver = NodalSolver(PKU)
    first, again, other = (solver.program(a, key).solve(b).x for key in (Key(1), Key(1), Key(1).child(1)))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="INV needs a square one"):
        NodalSolver(PKU).program(np.ones((2, 3)), Key(0))
    with pytest.raises(SpecError, match="is no amplifier of circuits/"):
        NodalSolver(PKU.replace(opamp={"model": "ad823"})).program(np.eye(2), Key(0))
