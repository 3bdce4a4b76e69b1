"""How a solve ends: every status where it belongs, and never `ok` where ngspice's transient goes elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amcsim._types import F64
from amcsim.analysis.inv import operating_points, transient
from amcsim.mapping import inverse_for_ranging, voltage_scale
from amcsim.nodal.inv import build
from amcsim.nodal.loop import LoopModel
from amcsim.nodal.verdict import certified, judge, judge_start_up, start_up_times
from amcsim.realisation import realise
from amcsim.specs import Spec, preset
from amcsim.status import Reason, Status
from amcsim.streams import Key

PKU = preset("pku_350nm")
QUIET = PKU.replace(programming={"model": "ideal"}, opamp={"offset_sigma": 0.0})
NO_CURE = {
    "opamp": {"feedback_capacitance": 0.0},
    "inverter": {"resistance": 10e3, "feedback_capacitance": 0.0},
}
Verdict = tuple[F64, list[str]]


def spd(condition: float, seed: int, m: int = 4) -> F64:
    q, _ = np.linalg.qr(Key(seed).generator().normal(size=(m, m)))
    a: F64 = (q * np.geomspace(1.0, 1.0 / condition, m)) @ q.T
    return a


def verdict(model: LoopModel, b: F64, **changes: Any) -> Verdict:
    """(x, "status reason" of each column); b (m, k), V; `changes` replaces what operating_point gave."""
    point = model.operating_point(b)
    given = {"u": point.u, "current": point.current, "converged": point.converged} | changes
    x, status, reason = judge(model, b, **given)
    assert np.isfinite(x).all(axis=0).tolist() == [Status(s).has_answer for s in status]
    return x, [f"{Status(s)} {Reason(r)}".strip() for s, r in zip(status, reason, strict=True)]


def model_of(a: F64, spec: Spec = QUIET, seed: int = 0) -> LoopModel:
    return build(spec, realise(a, spec, Key(seed)))


def ranged(a: F64, b: F64, spec: Spec = QUIET) -> F64:
    volts: F64 = b * voltage_scale(inverse_for_ranging(a), b, spec)
    return volts


def ends_at(model: LoopModel, b: F64, x: F64) -> bool:
    """Whether ngspice's transient from rest ends its read window at x, (m,), within 2 %."""
    waves = transient(model.spec, model.realisation, b, model.spec.converters.read_window, from_rest=True)
    tail = waves.matrix("x")[waves.time > 0.8 * waves.time[-1]]
    return float(np.abs(tail - x).max()) < 0.02 * max(float(np.abs(x).max()), 1e-3)


def test_a_good_array_is_ok_and_its_answer_is_left_alone() -> None:
    model, b = model_of(spd(10, 0)), ranged(spd(10, 0), np.eye(4))
    x, ended = verdict(model, b)
    assert ended == ["ok"] * 4
    np.testing.assert_array_equal(x, model.operating_point(b).u[:4])


def test_columns_are_judged_one_by_one() -> None:
    model = model_of(np.diag([1.0, 0.5]))
    b = np.array([[0.1, np.nan, 0.29, 0.0, 0.31, 2.0], [0.1, 0.1, 0.29, 0.0, 0.0, 2.0]])
    ended = verdict(model, b)[1]
    assert ended == [
        "ok",
        "not_converged nonfinite",
        "saturated disturb",
        "ok",
        "saturated disturb",
        "saturated voltage",
    ]


def test_an_output_current_beyond_the_amplifier_s_is_named() -> None:
    spec = QUIET.replace(cell={"v_read_max": 2.0}, opamp={"output_current": 1e-3, "output_resistance": 0.0})
    assert verdict(model_of(np.eye(2), spec), np.full((2, 1), 1.5))[1] == ["saturated current"]


def test_a_false_point_does_not_pass_kirchhoff_s_law() -> None:
    model, b = model_of(spd(10, 0)), ranged(spd(10, 0), np.ones((4, 2)))
    u = model.operating_point(b).u
    u[:4, 1] += [0.05, -0.05, 0.05, 0.0]
    assert verdict(model, b, u=u)[1] == ["ok", "not_converged kcl"]


@pytest.mark.parametrize("model_name", ["linear", "behavioral"])
def test_symmetric_indefinite_arrays_are_unstable(model_name: str) -> None:
    spec = PKU.replace(programming={"model": "ideal"}, opamp={"model": model_name})
    for seed in range(20):
        q, _ = np.linalg.qr(Key(seed).generator().normal(size=(4, 4)))
        a = (q * np.array([1.0, 0.6, 0.3, -0.1])) @ q.T
        assert verdict(model_of(a, spec, seed), np.full((4, 1), 0.01))[1] == ["unstable pole"]


@pytest.mark.parametrize("seed", [5, pytest.param(1, marks=pytest.mark.slow), pytest.param(9, marks=pytest.mark.slow)])
def test_the_oscillating_example_and_its_cure(seed: int) -> None:
    """Condition 30, 10 kohm inverters with 10 pF at their inputs: `.op` has the answer, and the circuit does not."""
    a = spd(30, seed)
    b = ranged(a, np.ones((4, 1)))
    cured, bad = model_of(a), model_of(a, QUIET.replace(**NO_CURE))
    assert verdict(cured, b)[1] == ["ok"]
    assert ends_at(cured, b[:, 0], cured.operating_point(b).u[:4, 0])
    assert verdict(bad, b)[1] == ["unstable pole"]
    solution = bad.operating_point(b).u[:4, 0]
    np.testing.assert_allclose(operating_points(bad.spec, bad.realisation, b)[:4, 0], solution, rtol=1e-3, atol=1e-5)
    waves = transient(bad.spec, bad.realisation, b[:, 0], 8e-6, from_rest=True)
    late = waves.matrix("x")[waves.time > 6e-6]
    assert np.ptp(late, axis=0).max() > 0.5  # V


def test_slow_arrays_are_unsettled_and_give_what_is_sampled() -> None:
    spec = QUIET.replace(converters={"read_window": 2e-6})
    a = spd(30, 0)
    model, b = model_of(a, spec), ranged(a, np.eye(4))
    x, ended = verdict(model, b)
    assert "unsettled window" in ended
    column = ended.index("unsettled window")
    waves = transient(spec, model.realisation, b[:, column], 2e-6, step=5e-9)
    answer = model.operating_point(b).u[:4, column]
    sampled = waves.matrix("x")[-1]
    assert np.linalg.norm(sampled - answer) > 0.05 * np.linalg.norm(answer)
    np.testing.assert_allclose(x[:, column], sampled, rtol=0, atol=0.01 * np.abs(answer).max())


def test_slewing_past_the_read_window_is_unsettled() -> None:
    spec = QUIET.replace(opamp={"slew_rate": 1e3}, converters={"read_window": 1e-4})
    model = model_of(np.eye(2), spec)
    x, ended = verdict(model, np.array([[0.25], [0.1]]))  # 0.25 V at 1 V/ms in 0.1 ms
    assert ended == ["unsettled window"]
    assert 0.05 < x[0, 0] < 0.11


@pytest.mark.parametrize(
    ("x", "expected", "ended"),
    [
        (np.full(91, 0.2), 0.2, Reason.NONE),
        (np.full(91, 0.2), None, Reason.NONE),
        (np.full(91, 2.0), 0.2, Reason.LATCHED),
        (np.sin(np.arange(91.0)), 0.2, Reason.OSCILLATION),
        (np.where(np.arange(91) > 80, np.nan, 0.2), 0.2, Reason.SIMULATOR),
        (np.zeros(91), 0.0, Reason.NONE),
        (1e-7 * np.sin(np.arange(91.0)), 0.0, Reason.NONE),
        (1.0 - np.exp(-np.arange(91.0)), 1.0, Reason.NONE),
    ],
)
def test_where_a_start_up_ended(x: F64, expected: float | None, ended: Reason) -> None:
    wanted = None if expected is None else np.array([expected])
    assert judge_start_up(x[:, None], wanted, 1e-3)[1] is ended


def test_a_transient_that_does_not_come_to_an_end_is_not_converged() -> None:
    model = model_of(spd(1000, 0))
    b = np.full((4, 1), 0.3)  # beyond the limits: the transient decides
    times = start_up_times(model)
    assert verdict(model, b, run=lambda _: np.full((times.size, 4), np.nan))[1] == ["not_converged simulator"]


def test_the_certificate_is_the_symmetric_part() -> None:
    assert certified(model_of(spd(100, 0)))
    assert not certified(model_of(np.array([[1.0, 1.0], [-0.2, 0.1]])))
    assert certified(model_of(np.array([[0.5, 1.0], [-1.0, 0.5]])))


AWKWARD = {
    "zero": np.zeros((3, 3)),
    "rank one": np.ones((3, 3)),
    "zero row": np.diag([1.0, 0.0, 1.0]),
    "one by one": np.array([[1.0]]),
    "one by one, negative": np.array([[-1.0]]),
    "one by one, zero": np.array([[0.0]]),
    "rotation": np.array([[0.0, 1.0], [-1.0, 0.0]]),
    "nearly singular": np.array([[1.0, 1.0], [1.0, 1.0 + 1e-9]]),
}
BARE: dict[str, Any] = {
    "cell": {"access": "none"},
    "wire": {"bl_capacitance": 0.0, "sl_capacitance": 0.0, "summing_capacitance": 0.0, "inverter_capacitance": 0.0},
}
TECHNOLOGIES = {
    "ideal": preset("ideal"),
    "preset": QUIET,
    "linear": QUIET.replace(opamp={"model": "linear"}),
    "no capacitance to ground": QUIET.replace(**BARE),
    "no capacitance": QUIET.replace(
        **BARE | {"opamp": {"feedback_capacitance": 0.0}, "inverter": {"feedback_capacitance": 0.0}}
    ),
}


@pytest.mark.parametrize("technology", TECHNOLOGIES)
@pytest.mark.parametrize("matrix", AWKWARD)
def test_awkward_matrices_get_a_status_and_no_exception(matrix: str, technology: str) -> None:
    a = AWKWARD[matrix]
    m = len(a)
    b = np.stack([np.full(m, 0.01), np.zeros(m), np.full(m, np.nan), np.full(m, 1e-12), np.full(m, np.inf)], axis=1)
    model = model_of(a, TECHNOLOGIES[technology])
    ended = verdict(model, b)[1]
    assert ended[2] == ended[4] == "not_converged nonfinite"
    assert verdict(model, b[:, :0])[1] == []
    if matrix in ("zero", "rank one", "zero row", "one by one, negative", "one by one, zero", "rotation"):
        assert "ok" not in ended[0]


square = st.integers(1, 4).flatmap(lambda m: hnp.arrays(np.float64, (m, m), elements=st.integers(-8, 8).map(float)))


@settings(max_examples=25)
@given(square, st.sampled_from([QUIET, QUIET.replace(**NO_CURE)]), st.integers(0, 1000))
def test_ok_is_never_said_of_what_ngspice_does_not_reach(a: F64, spec: Spec, seed: int) -> None:
    spec = spec.replace(opamp={"offset_sigma": 0.8e-3}, programming={"model": "uniform"})
    model = model_of(a, spec, seed)
    b = ranged(a, Key(seed, (7,)).generator().normal(size=(len(a), 1)), spec)
    x, ended = verdict(model, b)
    assert ended != ["ok"] or ends_at(model, b[:, 0], x[:, 0])
