from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.solvers import record
from amcsim.solvers.base import Counts, answered
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.hp_inv import HpInv
from amcsim.solvers.record import Recorded, Recorder
from amcsim.specs import Spec
from amcsim.status import Status
from amcsim.streams import Key

Make = Callable[..., F64]


def test_each_definition_on_two_arrays_by_hand() -> None:
    """Array 0: errors 0.1 of length 10 and 0.3 of length 1; array 1: error 0.8 of length 1."""
    recorder, a = Recorder(arrays=2), np.eye(2)
    wanted = np.array([[10.0, 0.0], [0.0, 1.0]])
    recorder.add(0, wanted, answered(a, wanted + np.array([[1.0, 0.0], [0.0, 0.3]]), wanted))
    wanted = np.array([[0.6], [0.8]])
    recorder.add(1, wanted, answered(a, 0.2 * wanted, wanted))
    got = recorder.summary()
    assert got["arrays"] == 2
    assert got["vectors"] == 3
    assert got["mean_by_vector"] == pytest.approx((0.1 + 0.3 + 0.8) / 3)
    assert got["median_by_vector"] == pytest.approx(0.3)
    assert got["mean_by_array"] == pytest.approx((0.2 + 0.8) / 2)
    assert got["pooled"] == pytest.approx(np.sqrt((1.0 + 0.09 + 0.64) / (100.0 + 1.0 + 1.0)))
    unit = 1 / 0.8**2  # the third vector reaches 0.8
    assert got["pooled_unit_range"] == pytest.approx(np.sqrt((0.01 + 0.09 + 0.64 * unit) / (1.0 + 1.0 + unit)))
    assert got["iterations_mean"] == 1.0


def test_low_and_high_precision_errors_of_one_run(spd: Make, rhs: Make) -> None:
    lp, hp = Recorder(), Recorder()
    solver = BlockAmc(Recorded(HpInv(Recorded(Emulated(output_gain=0.42), lp)), hp), schedule="paper")
    answer = solver.program(spd(25), Key(0)).solve(rhs(25, 4))
    low, high = lp.summary(), hp.summary()
    for name in ("mean_by_vector", "mean_by_array", "median_by_vector", "pooled", "pooled_unit_range"):
        assert low[name] == pytest.approx(0.58, rel=1e-9)
        assert 0 < high[name] < 2.0**-24 * 15  # the error exceeds the residual by A's condition at most
    assert (low["vectors"], high["vectors"]) == (60 * 31, 60)
    assert (low["arrays"], high["arrays"]) == (15, 15)
    assert (low["iterations_mean"], high["iterations_mean"]) == (1.0, 31.0)
    assert hp.counts == answer.counts


def test_diverging_arrays_are_counted(spd: Make, rhs: Make, error_leaf: Any) -> None:
    errors = np.broadcast_to(0.1 * np.eye(4), (5, 4, 4)).copy()
    errors[[1, 4]] = 1.5 * np.eye(4)
    leaf, a, b = error_leaf((errors, 0.1 * np.eye(4))), spd(4, (5,)), rhs(5, 4, 2)
    batched, single = Recorder(), Recorder()
    Recorded(HpInv(leaf), batched).program(a, Key(0)).solve(b)
    for i in range(5):
        alone = error_leaf((errors[i], 0.1 * np.eye(4)))
        handle = Recorded(HpInv(alone), single).program(a[i], Key(0))
        handle.solve(b[i])
        handle.solve(b[i])  # an array that diverges twice is one array
    assert batched.summary()["diverging_arrays"] == single.summary()["diverging_arrays"] == 2
    assert single.counts.reprogrammings == 4
    assert batched.summary()["mean_by_array"] == pytest.approx(single.summary()["mean_by_array"], rel=1e-6)


def test_vectors_without_an_answer_are_set_apart(spd: Make, rhs: Make, error_leaf: Any) -> None:
    recorder = Recorder()
    leaf = error_leaf((0.5 * np.eye(4),), np.array([False, True]))
    Recorded(leaf, recorder).program(spd(4, (2,)), Key(0)).solve(rhs(2, 4, 3))
    got = recorder.summary()
    assert (got["vectors"], got["vectors_without_answer"]) == (3, 3)
    assert got["mean_by_vector"] == pytest.approx(0.5)


def test_an_empty_record_has_no_figures() -> None:
    got = Recorder().summary()
    assert got["vectors"] == 0
    assert got["mean_by_vector"] is None


def test_recording_changes_no_answer_and_long_records_find_room(
    spd: Make, rhs: Make, written: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "ROOM", 7)
    recorder, a, b = Recorder(), spd(4), rhs(4, 3)
    plain = HpInv(Emulated(written)).program(a, Key(0))
    noted = HpInv(Recorded(Emulated(written), recorder)).program(a, Key(0))
    for _ in range(4):
        np.testing.assert_array_equal(noted.solve(b).x, plain.solve(b).x)
    assert recorder.summary()["vectors"] == 4 * plain.solve(b).iterations.sum()
    assert recorder.counts == noted.counts + Counts(analog_solves=4 * int(plain.solve(b).iterations.sum()))
    copy = pickle.loads(pickle.dumps(noted))
    copy.solve(b)
    assert recorder.summary()["vectors"] == 4 * plain.solve(b).iterations.sum()


def test_recorders_of_two_parts_add_up_to_one_of_the_whole() -> None:
    a = np.array([np.diag([1.0, 0.5, 0.3, 0.7]), np.eye(4), np.diag([0.2, 0.9, 0.6, 1.0])])
    b = np.random.default_rng(1).standard_normal((3, 4, 2))
    whole, parts = Recorder(), [Recorder(), Recorder()]
    leaf = Emulated(Spec.model_validate({"programming": {"model": "uniform", "tolerance": 1e-5}}))
    for k in range(3):
        for recorder in (whole, parts[k > 0]):
            Recorded(leaf, recorder).program(a[k], Key(k)).solve(b[k])
    joined = Recorder()
    for part in parts:
        joined.extend(part.contents())
    assert joined.summary() == whole.summary()
    np.testing.assert_array_equal(joined.statuses, whole.statuses)
    assert joined.statuses[Status.OK] == 6
