from __future__ import annotations

import numpy as np
import pytest

from amcsim.solvers.circuit import CircuitSolver
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.exact import Exact
from amcsim.solvers.hp_inv import HpInv
from amcsim.solvers.mvm import MvmSolver
from amcsim.solvers.nodal import NodalSolver
from amcsim.solvers.stack import BACKENDS, leaf_solver, product_solver, training_stack
from amcsim.specs import Spec, preset
from amcsim.streams import Key
from amcsim.surrogate.model import DomainError

SPEC = preset("ideal").replace(programming={"model": "uniform", "tolerance": 10e-6})


def test_leaf_solvers_have_the_backends_names() -> None:
    found = [type(leaf_solver(name, SPEC)) for name in BACKENDS if name != "surrogate"]
    assert found == [Exact, NodalSolver, CircuitSolver]
    with pytest.raises(ValueError, match="'spice' is unknown; there are exact, nodal, ngspice, surrogate"):
        leaf_solver("spice", SPEC)
    with pytest.raises(ValueError, match="goes with the backend 'surrogate' only"):
        leaf_solver("nodal", SPEC, "s.json")
    with pytest.raises(DomainError, match=r"no shipped surrogate fits: pku_350nm_inv: .* fitted with cell.access"):
        leaf_solver("surrogate", SPEC)
    with pytest.raises(DomainError, match=r"pku_350nm_inv: .* fitted for sizes 4, 8, 16 and holds to 128, not 200x200"):
        leaf_solver("surrogate", preset("pku_350nm"), size=200)


def test_product_solvers_have_the_backends_names_too() -> None:
    assert [product_solver(name, SPEC) for name in BACKENDS if name != "surrogate"] == [
        MvmSolver(SPEC, "exact"),
        MvmSolver(SPEC, "nodal"),
        MvmSolver(SPEC, "ngspice"),
    ]
    assert product_solver("surrogate", preset("pku_350nm"), shape=(3, 16)).surrogate is not None
    with pytest.raises(DomainError, match=r"no shipped surrogate fits: pku_350nm_mvm: .* not 3x170"):
        product_solver("surrogate", preset("pku_350nm"), shape=(3, 170))
    with pytest.raises(ValueError, match="goes with the backend 'surrogate' only"):
        product_solver("exact", SPEC, "s.json")


def system(n: int) -> tuple[np.ndarray, np.ndarray]:
    """A covariance with damping, and 4 right-hand sides."""
    rng = Key(1).generator()
    x = rng.standard_normal((4 * n, n))
    return x.T @ x / (4 * n) + 0.1 * np.eye(n), rng.standard_normal((n, 4))


def test_the_stack_refines_leaves_of_any_matrix_and_names_the_errors_of_both_levels() -> None:
    a, b = system(16)
    stack = training_stack(Emulated(SPEC), "paper")
    answer = stack.solver.program(a, Key(0)).solve(b)
    assert np.linalg.norm(b - a @ answer.x) < 1e-6 * np.linalg.norm(b)
    assert (answer.counts.array_programmings, answer.counts.high_precision_vectors) == (9, 36)
    said = stack.summary()
    assert (said["lp_arrays"], said["hp_arrays"], said["hp_vectors"]) == (9, 9, 36)
    assert said["lp_vectors"] == answer.counts.analog_solves
    assert 0.02 < float(said["lp_mean_by_vector"] or 0) < 0.5  # +-10 uS on a span of 200 uS, amplified by A^-1
    assert 0 < float(said["hp_mean_by_vector"] or 0) < 1e-6


def test_passes_cut_refinement_without_any_help() -> None:
    """Each plain pass multiplies the error by about the leaf's own."""
    a, b = system(4)
    errors = []
    for passes in (1, 2, 4):
        answer = training_stack(Emulated(SPEC), passes=passes).solver.program(a, Key(0)).solve(b)
        errors.append(float(np.linalg.norm(answer.x - np.linalg.solve(a, b)) / np.linalg.norm(answer.x)))
        assert answer.counts.analog_solves == 4 * passes
        assert (answer.counts.reprogrammings, answer.counts.digital_fallbacks) == (0, 0)
    assert errors[0] > 3 * errors[1] > 9 * errors[2] > 0
    with pytest.raises(ValueError, match="max_iterations = 0"):
        training_stack(Emulated(SPEC), passes=0)


def test_options_of_refinement_are_kept_and_their_inner_solver_replaced() -> None:
    a, b = system(4)
    options = HpInv(Exact(), method="minimal_residual", max_iterations=1)
    answer = training_stack(Emulated(Spec(), output_gain=0.5), hp=options).solver.program(a, Key(0)).solve(b)
    # one minimal-residual pass undoes a gain error, which one plain pass would leave
    assert np.linalg.norm(b - a @ answer.x) < 1e-12 * np.linalg.norm(b)
    assert answer.counts.analog_solves == 4
