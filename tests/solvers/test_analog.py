"""What all analog leaves share: voltages in range, converters, scaling back, shapes and counts."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amcsim._types import F64, I64
from amcsim.mapping import matrix_scale
from amcsim.realisation import realise
from amcsim.solvers.analog import AnalogProgrammed
from amcsim.specs import Spec
from amcsim.status import Reason, Status
from amcsim.streams import Key

IDEAL = Spec()


@dataclass(frozen=True)
class Exact(AnalogProgrammed):
    """A backend that answers voltages exactly and remembers none; inputs above 0.29 V are said to be saturated."""

    def answer(self, volts: F64) -> tuple[F64, I64, I64]:
        scaled = self.a / matrix_scale(self.a)[..., None, None]
        high = np.abs(volts).max(axis=-2) > 0.29
        status = np.where(high, Status.SATURATED, Status.OK).astype(np.int64)
        x: F64 = np.asarray(np.linalg.solve(scaled, volts), dtype=np.float64)
        return x, status, np.where(high, Reason.DISTURB, Reason.NONE).astype(np.int64)


def exact(a: F64, spec: Spec = IDEAL) -> Exact:
    return Exact(a, spec, realise(a, spec, Key(0)))


@given(st.integers(-60, 60), st.integers(-60, 60))
def test_scales_of_matrix_and_vector_cancel(log_a: int, log_b: int) -> None:
    """Powers of two: scaling there and back rounds nothing."""
    a, b = np.array([[3.0, 1.0], [-1.0, 2.0]]), np.array([[1.0, 0.5], [-0.25, 4.0]])
    plain = exact(a).solve(b).x
    scaled = exact(a * 2.0**log_a).solve(b * 2.0**log_b).x
    np.testing.assert_array_equal(scaled * 2.0 ** (log_a - log_b), plain)


def test_cells_are_written_beyond_v_disturb_or_by_ringing_not_at_the_read_bound() -> None:
    """v_read_max keeps a margin: between it and v_disturb a solve is saturated and its array intact."""

    @dataclass(frozen=True)
    class Drawn(Exact):
        def answer(self, volts: F64) -> tuple[F64, I64, I64]:
            x = np.array([0.2, 0.4, 0.6, 0.1])[:, None, None] * np.ones((4, 2, 1))
            status = np.array([[Status.OK], [Status.SATURATED], [Status.SATURATED], [Status.UNSTABLE]], np.int64)
            return x, status, np.zeros((4, 1), np.int64)

    a, b = np.broadcast_to(np.eye(2), (4, 2, 2)), np.ones((4, 2, 1))
    for v_disturb, written in ((0.5, [2, 3]), (0.39, [1, 2, 3]), (0.1, [1, 2, 3])):
        spec = IDEAL.replace(cell={"v_disturb": v_disturb})
        answer = Drawn(a, spec, realise(a, spec, Key(0))).solve(b)
        assert np.flatnonzero(answer.disturbed).tolist() == written
    assert exact(np.eye(2)).solve(np.ones((2, 1))).disturbed.shape == ()


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_any_leading_axes(batch: tuple[int, ...]) -> None:
    g = Key(1).generator()
    a = g.normal(size=(*batch, 4, 4)) + 4 * np.eye(4)
    b = g.normal(size=(*batch, 4, 5))
    handle = exact(a)
    answer = handle.solve(b)
    np.testing.assert_allclose(answer.x, np.linalg.solve(a, b), rtol=1e-12)
    assert answer.status.shape == answer.reason.shape == answer.residual.shape == answer.iterations.shape == (*batch, 5)
    assert answer.residual.max() < 1e-13
    assert handle.counts.array_programmings == int(np.prod(batch))
    assert answer.counts.analog_solves == 5 * int(np.prod(batch))


def test_a_zero_vector_needs_no_circuit() -> None:
    @dataclass(frozen=True)
    class Off(Exact):
        def answer(self, volts: F64) -> tuple[F64, I64, I64]:
            status = np.full(volts.shape[-1], Status.UNSTABLE)
            return np.full_like(volts, np.nan), status, np.full_like(status, Reason.POLE)

    a = np.eye(2)
    answer = Off(a, IDEAL, realise(a, IDEAL, Key(0))).solve(np.array([[0.0, 1.0], [0.0, 0.0]]))
    assert answer.status.tolist() == [Status.OK, Status.UNSTABLE]
    assert answer.x[:, 0].tolist() == [0.0, 0.0]
    assert np.isnan(answer.x[:, 1]).all()
    assert answer.residual[0] == 0.0
    assert answer.iterations.tolist() == [0, 1]
    assert answer.counts.analog_solves == 1


def test_a_converter_rounds_to_its_step_and_clips() -> None:
    spec = IDEAL.replace(converters={"dac_bits": 4, "dac_full_scale": 0.16})
    handle = exact(np.eye(1), spec)
    volts, unit = handle.inputs(np.array([[0.1, 0.104, -0.1, 0.157]]))
    np.testing.assert_allclose(volts / 0.02, np.round(volts / 0.02), atol=1e-9)
    assert volts.max() <= 7 * 0.02 + 1e-12  # two's complement: -8 to 7
    assert volts.min() >= -8 * 0.02 - 1e-12
    assert (np.abs(volts - np.array([[0.1, 0.104, -0.1, 0.157]]) * unit) <= 0.01 + 1e-12).sum() >= 3


def test_error_of_a_converter_halves_with_each_bit() -> None:
    g = Key(2).generator()
    a, b = np.broadcast_to(np.eye(4), (200, 4, 4)), g.normal(size=(200, 4, 1))
    errors = []
    for bits in (6, 8, 10):
        answer = exact(a, IDEAL.replace(converters={"adc_bits": bits})).solve(b)
        errors.append(float(np.linalg.norm(answer.x - b) / np.linalg.norm(b)))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4.0, rel=0.1)


def test_a_status_with_an_answer_keeps_it() -> None:
    spec = IDEAL.replace(converters={"adc_full_scale": 2.0}, cell={"v_read_max": 0.3})
    answer = exact(np.eye(1), spec).solve(np.array([[0.2999999]]))
    assert answer.x[0, 0] == pytest.approx(0.2999999)


@pytest.mark.parametrize("shape", [(2,), (3, 1), (1, 2, 1)])
def test_right_hand_sides_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="right-hand sides have shape"):
        exact(np.eye(2)).solve(np.ones(shape))


def test_a_handle_travels_to_a_worker() -> None:
    from amcsim.solvers.nodal import NodalSolver

    handle = NodalSolver(IDEAL).program(np.array([[2.0, 1.0], [0.0, 1.0]]), Key(0))
    b = np.ones((2, 1))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(handle)).solve(b).x, handle.solve(b).x)
    with pytest.raises(AttributeError):
        handle.spec = IDEAL  # type: ignore[misc]
    assert replace(handle, spec=IDEAL.replace(converters={"adc_bits": 4})).solve(b).residual[0] > 1e-3
