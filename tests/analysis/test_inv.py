"""INV in ngspice on a persistent session: operating points and transients of any drawn circuit."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.analysis.inv import inv_deck, operating_points, transient
from amcsim.netlist.deck import deck_text
from amcsim.ngspice import Session, run_batch
from amcsim.nodal.inv import build
from amcsim.realisation import Realisation, realise
from amcsim.specs import Spec, preset
from amcsim.streams import Key

PKU = preset("pku_350nm")
A = np.array([[1.0, -0.3, 0.2], [-0.25, 0.9, 0.1], [0.15, 0.0, 0.8]])


def drawn(seed: int, spec: Spec = PKU) -> tuple[Realisation, F64]:
    return realise(A, spec, Key(seed)), Key(seed, (1,)).generator().uniform(-0.1, 0.1, (3, 2))


def test_an_operating_point_is_that_of_a_deck_run_alone() -> None:
    r, b = drawn(0)
    found = operating_points(PKU, r, b)
    u = build(PKU, r).operating_point(b).u
    for k in range(2):
        plot = run_batch(deck_text(inv_deck(PKU, r, b[:, k], (u[:3, k], u[3:6, k])), [".op"])).plot("operating")
        names = [f"v({n})" for group in ("x{}", "xn{}", "sl{}", "xi{}.q") for n in map(group.format, range(3))]
        alone = [plot[name][0].real for name in names]
        np.testing.assert_allclose(found[:, k], alone, rtol=0, atol=1e-6)


def test_order_does_not_matter_to_the_bit() -> None:
    """Campaigns run their samples in any order and must store the same numbers."""
    circuits = [drawn(seed) for seed in range(6)]
    forward = [operating_points(PKU, *c) for c in circuits]
    backward = [operating_points(PKU, *c) for c in reversed(circuits)]
    np.testing.assert_array_equal(forward, backward[::-1])
    transient(PKU, *drawn(3)[:1], np.full(3, 0.05), 1e-6)
    np.testing.assert_array_equal(operating_points(PKU, *circuits[0]), forward[0])


def test_columns_that_are_no_input_are_nan_and_leave_the_others_alone() -> None:
    r, b = drawn(0)
    b[0, 0] = np.nan
    found = operating_points(PKU, r, b)
    assert np.isnan(found[:, 0]).all()
    np.testing.assert_array_equal(found[:, 1], operating_points(PKU, *drawn(0))[:, 1])


def test_a_point_found_by_ngspice_s_last_resort_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After all stepping fails, ngspice takes a transient's end: with the sources at rest, it is the wrong point."""
    r, b = drawn(0)
    right = operating_points(PKU, r, b)
    calls: list[F64] = []
    op = Session.op

    def falls_back_first(self: Session, names: list[str]) -> F64:
        calls.append(op(self, names))
        return calls[-1] if len(calls) % 2 == 0 else np.zeros(len(names))

    def says_so(_: Session) -> tuple[str, ...]:
        return ("Note: Transient op finished successfully",) if len(calls) % 2 else ()

    monkeypatch.setattr(Session, "op", falls_back_first)
    monkeypatch.setattr(Session, "messages", property(says_so))
    np.testing.assert_array_equal(operating_points(PKU, r, b), right)
    assert len(calls) == 4
    monkeypatch.setattr(Session, "messages", property(lambda _: ("Note: Transient op finished successfully",)))
    assert np.isnan(operating_points(PKU, r, b)).all()


def test_a_large_circuit_that_needs_that_resort_gets_the_right_point() -> None:
    """16x16 without access devices, first solve of a session: stepping fails and the last resort takes over."""
    m = 16
    spec = PKU.replace(cell={"access": "none"})
    g = Key(m).generator()
    r = realise(g.normal(size=(m, m)) / np.sqrt(m) / 2 + 1.5 * np.eye(m), spec, Key(1))
    b = 0.1 * g.uniform(-1, 1, (m, 1))
    wanted = build(spec, r).operating_point(b).u[:m]
    np.testing.assert_allclose(operating_points(spec, r, b)[:m], wanted, rtol=0, atol=1e-6)


def test_a_transient_starts_at_the_resting_circuit_and_ends_at_the_operating_point() -> None:
    r, b = drawn(1)
    points = operating_points(PKU, r, np.stack([np.zeros(3), b[:, 0]], axis=1))
    waves = transient(PKU, r, b[:, 0], 40e-6, delay=1e-6)
    before = waves.matrix("x")[waves.time < 1e-6]
    np.testing.assert_allclose(before, np.broadcast_to(points[:3, 0], before.shape), rtol=0, atol=2e-6)
    np.testing.assert_allclose(waves.matrix("x")[-1], points[:3, 1], rtol=0, atol=2e-6)
    np.testing.assert_allclose(waves.matrix("xn")[-1], points[3:6, 1], rtol=0, atol=2e-6)
    np.testing.assert_allclose(waves.matrix("sl")[-1], points[6:9, 1], rtol=0, atol=2e-6)
    assert 0.5e-6 < waves.settling_time() < 10e-6


def test_from_rest_all_voltages_start_at_zero() -> None:
    r, b = drawn(1)
    waves = transient(PKU, r, b[:, 0], 40e-6, from_rest=True)
    assert np.abs(waves.matrix("x")[0]).max() < 5e-3  # the word-lines' kick
    np.testing.assert_allclose(waves.matrix("x")[-1], operating_points(PKU, r, b)[:3, 0], rtol=0, atol=5e-6)


def test_the_default_step_gives_settling_to_two_percent() -> None:
    r, b = drawn(2)
    coarse = transient(PKU, r, b[:, 0], 20e-6).settling_time()
    fine = transient(PKU, r, b[:, 0], 20e-6, step=2e-9).settling_time()
    assert coarse == pytest.approx(fine, rel=0.02)


def test_time_steps_stay_below_the_one_asked_for() -> None:
    r, b = drawn(2)
    assert np.diff(transient(PKU, r, b[:, 0], 5e-6, step=10e-9).time).max() < 10.1e-9


def test_an_array_with_a_pole_to_the_right_leaves_its_operating_point() -> None:
    a = np.diag([1.0, -0.5, 0.8])
    r = realise(a, PKU, Key(0))
    b = np.array([0.05, 0.05, 0.05])
    point = operating_points(PKU, r, b[:, None])[:3, 0]
    assert np.isfinite(point).all()  # ngspice has no complaint
    end = transient(PKU, r, b, 20e-6, from_rest=True).matrix("x")[-1]
    assert abs(end[1] - point[1]) > 1.0
