"""Arrays with amplifiers of transistors: solved in ngspice, judged by a transient, refused elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.analysis.waveforms import Waveforms
from amcsim.campaign.design import load_campaign
from amcsim.solvers import circuit
from amcsim.solvers.circuit import CircuitSolver
from amcsim.solvers.mvm import MvmSolver
from amcsim.solvers.nodal import NodalSolver
from amcsim.solvers.stack import leaf_solver
from amcsim.specs import Spec, SpecError, preset
from amcsim.status import Reason, Status
from amcsim.streams import Key

A = np.array([[1.0, 0.2, -0.1], [0.1, 0.9, 0.3], [-0.2, 0.1, 0.8]])
B = np.array([[0.5, -0.1], [-0.2, 0.4], [0.3, 0.2]])


def spec(model: str, **opamp: Any) -> Spec:
    return preset("pku_350nm").replace(programming={"model": "ideal"}, opamp={"model": model, **opamp})


def test_class_ab_amplifiers_solve_what_their_equivalent_solves() -> None:
    """To 3e-3: the systematic offset of 43 uV is there in the transistors alone."""
    real = CircuitSolver(spec("opamp_classab")).program(A, Key(2)).solve(B)
    modelled = NodalSolver(spec("opamp_classab").equivalent()).program(A, Key(2)).solve(B)
    assert real.status.tolist() == modelled.status.tolist() == [Status.OK, Status.OK]
    assert np.linalg.norm(real.x - modelled.x) < 3e-3 * np.linalg.norm(real.x)
    # offsets drawn for the realisation are in both: without them the solution is another
    still = CircuitSolver(spec("opamp_classab", offset_sigma=0.0)).program(A, Key(2)).solve(B)
    assert np.linalg.norm(real.x - still.x) > 3e-3 * np.linalg.norm(real.x)


def test_miller_amplifiers_saturate_where_class_ab_ones_hold() -> None:
    found = CircuitSolver(spec("opamp_miller")).program(A, Key(2)).solve(B)
    assert found.status.tolist() == [Status.SATURATED, Status.SATURATED]
    assert np.linalg.norm(found.x - np.linalg.solve(A, B)) > 0.1 * np.linalg.norm(found.x)


def test_products_too() -> None:
    found = MvmSolver(spec("opamp_classab"), "ngspice").program(A[:2], Key(2)).multiply(B)
    assert found.status.tolist() == [Status.OK, Status.OK]
    np.testing.assert_allclose(found.y, A[:2] @ B, atol=0.02)


@pytest.mark.parametrize(("end", "reason"), [(0.9, Reason.LATCHED), (np.nan, Reason.SIMULATOR)])
def test_an_answer_that_no_transient_reaches_is_none(
    monkeypatch: pytest.MonkeyPatch, end: float, reason: Reason
) -> None:
    """Poles and certificate are those of the equivalent, so they do not suffice."""
    rested = []

    def elsewhere(topology: Any, spec: Spec, r: Any, b: F64, stop: float, *, step: float, from_rest: bool) -> Waveforms:
        rested.append(from_rest)
        return Waveforms(np.array([0.0, stop]), {f"v(x{i})": np.full(2, end) for i in range(3)})

    monkeypatch.setattr(circuit, "transient", elsewhere)
    found = CircuitSolver(spec("opamp_classab")).program(A, Key(2)).solve(B)
    assert found.reason.tolist() == [reason, reason]
    assert np.isnan(found.x).all()
    assert rested == [False, False]


def test_other_backends_refuse_and_name_the_command(tmp_path: Path) -> None:
    transistors = spec("opamp_miller")
    words = "`amcsim opamp opamp_miller -o spec.toml` writes the behavioural"
    with pytest.raises(SpecError, match=words):
        NodalSolver(transistors).program(A, Key(0))
    with pytest.raises(SpecError, match=words):
        MvmSolver(transistors, "nodal").program(A, Key(0))
    for size in (3, 4):
        with pytest.raises(SpecError, match=words):
            leaf_solver("surrogate", transistors, size=size)
    (tmp_path / "spec.toml").write_text('base = "pku_350nm"\nschema_version = 1\n[opamp]\nmodel = "opamp_miller"\n')
    (tmp_path / "c.toml").write_text('schema_version = 1\nspec = "spec.toml"\nsizes = [2]\nseed = 1\n')
    with pytest.raises(SpecError, match=words):
        load_campaign(tmp_path / "c.toml")
