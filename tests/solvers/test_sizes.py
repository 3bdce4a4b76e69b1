"""INV and MVM from 1 to 64 rows, wired, on every backend: nodal against ngspice, the surrogate against nodal."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.solvers.circuit import CircuitSolver
from amcsim.solvers.mvm import MvmSolver
from amcsim.solvers.nodal import NodalSolver
from amcsim.solvers.surrogate import SurrogateSolver
from amcsim.specs import Spec, preset
from amcsim.status import Status
from amcsim.streams import Key
from amcsim.surrogate.model import Domain, Surrogate
from amcsim.surrogate.shipped import shipped_surrogate

PKU = preset("pku_350nm")
LINEAR = PKU.replace(cell={"access": "none"}, opamp={"model": "linear"})
"""All wires, capacitances, write errors and offsets of the preset, and nothing that bends."""
SIZES = (1, 2, 3, 5, 16)
LARGE = 64


def system(m: int, circuit: str) -> tuple[F64, F64]:
    """INV: a covariance, far from singular. MVM: weights of both signs, two columns fewer than rows from 3 rows on."""
    rng = Key(m).generator()
    x = rng.standard_normal((4 * m, m))
    a = x.T @ x / (4 * m) + 0.5 * np.eye(m) if circuit == "inv" else x[:m, : max(m - 2, 1)]
    return a, 0.3 * rng.standard_normal((a.shape[1], 2))


def answer(circuit: str, backend: str, spec: Spec, m: int, surrogate: Surrogate | None = None) -> F64:
    a, v = system(m, circuit)
    key = Key(5)
    if circuit == "mvm":
        product = MvmSolver(spec, backend, surrogate).program(a, key).multiply(v)  # type: ignore[arg-type]
        assert (product.status == Status.OK).all()
        return product.y
    if surrogate is not None:
        found = SurrogateSolver(surrogate, spec).program(a, key).solve(v)
    else:
        found = (CircuitSolver if backend == "ngspice" else NodalSolver)(spec).program(a, key).solve(v)
    assert np.isfinite(found.x).all()
    return found.x


def distance(x: F64, reference: F64) -> float:
    return float(np.linalg.norm(x - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize("circuit", ["inv", "mvm"])
@pytest.mark.parametrize("m", [*SIZES, pytest.param(LARGE, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_ngspice_equals_nodal(circuit: str, m: int) -> None:
    """1e-5: reltol of ngspice; with the access transistors, whose curvature the nodal model leaves out, 1e-4."""
    assert distance(answer(circuit, "ngspice", LINEAR, m), answer(circuit, "nodal", LINEAR, m)) < 1e-5
    if m <= max(SIZES):
        assert distance(answer(circuit, "ngspice", PKU, m), answer(circuit, "nodal", PKU, m)) < 1e-4


@pytest.mark.parametrize("circuit", ["inv", "mvm"])
@pytest.mark.parametrize("m", [*SIZES, LARGE])
def test_the_surrogate_equals_nodal(circuit: str, m: int) -> None:
    """The shipped surrogate's parameters beyond the sizes it was fitted to; the same curvature is left."""
    fitted = shipped_surrogate(PKU, (4, 4), circuit)
    domain = Domain(**{**fitted.domain.model_dump(), "sizes": (*SIZES, LARGE)})
    surrogate = fitted.model_copy(update={"domain": domain})
    assert distance(answer(circuit, "surrogate", PKU, m, surrogate), answer(circuit, "nodal", PKU, m)) < 1e-4
