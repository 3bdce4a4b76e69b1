"""The kept pulse response: abrupt SET, gradual RESET, and a step function that walks along its train."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np

from amcsim.device.pulses import TABLE, pulse_trains


def test_both_polarities_are_there_and_go_their_way() -> None:
    trains = pulse_trains()
    assert {t.polarity for t in trains} == {"set", "reset"}
    for train in trains:
        change = np.diff(train.nominal) * (1 if train.polarity == "set" else -1)
        assert (change > -1e-9).all()
        assert train.mean.shape == train.std.shape == train.nominal.shape == (101,)
        assert train.std[0] == 0.0 < train.std[-1]


def test_a_gate_limits_set() -> None:
    ends = {t.gate: t.nominal[-1] for t in pulse_trains() if t.polarity == "set" and t.voltage == 1.5}
    assert ends[1.9] < 0.5 * ends[2.05]


def test_steps_walk_along_the_train() -> None:
    train = next(t for t in pulse_trains() if t.polarity == "reset" and t.voltage == 1.0)
    walked = train.nominal[0]
    for _ in range(100):
        walked = walked + float(train.step(np.array(walked)))
    np.testing.assert_allclose(walked, train.nominal[-1], rtol=0.01)
    assert train.step(np.array(500e-6)) == 0.0


def test_the_file_says_how_it_was_made() -> None:
    data = json.loads((files("amcsim.calibration") / TABLE).read_text(encoding="utf-8"))
    assert data["command"].startswith("python scripts/rram_calibration.py pulses")
    assert set(data["provenance"]) == {"ngspice", "libraries_sha256", "seed", "cells_per_state"}
