"""Controllers inside a transient: exact instants, converters, ends, and what a controller may not ask."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.analysis.cosim import Converter, Cosimulation, Drive, Scripted, cosimulate
from amcsim.ngspice.messages import NgspiceError

RC = "RC\nVin drive 0 dc 0 pulse(0 5 0 1n 1n 1 2)\nR1 drive out 1k\nC1 out 0 100p\n.options reltol=1e-5\n.end\n"
"""The source has a waveform of its own, which the controller takes over."""


@dataclass
class Halving:
    """Drives 1 - v/2 after irregular waits; stops after the last."""

    waits: list[float] = field(default_factory=lambda: [1e-6, 0.7123456e-6, np.pi * 1e-6, 2e-6])
    seen: list[F64] = field(default_factory=list)

    def decide(self, time: float, sampled: F64) -> Drive | None:
        self.seen.append(sampled)
        return Drive(1.0 - sampled / 2, self.waits.pop(0)) if self.waits else None


def run(controller: object, deck: str = RC, stop: float = 20e-6, **options: object) -> Cosimulation:
    names = {"sources": ["Vin"], "senses": ["v(out)"], "record": ["v(drive)"], **options}
    return cosimulate(deck, controller, stop=stop, **names)  # type: ignore[arg-type]


def test_samples_are_points_of_the_transient_at_the_instants_asked_for() -> None:
    waits = Halving().waits
    found = run(Halving())
    instants = [sample.time for sample in found.samples]
    np.testing.assert_allclose(instants, np.cumsum([0.0, *waits]), rtol=0, atol=1e-13)
    for sample in found.samples:
        (row,) = np.flatnonzero(found.time == sample.time)
        assert found.signals["v(out)"][row] == sample.volts
        if sample.driven is not None:  # 10 ns later the DAC is there, at a time point of its own
            after = np.flatnonzero(np.abs(found.time - sample.time - 10e-9) < 1e-13)
            assert found.signals["v(drive)"][after] == pytest.approx(sample.driven)
    settled = np.array([sample.volts[0] for sample in found.samples])
    np.testing.assert_allclose(settled, [0, 1, 0.5, 0.75, 0.625], rtol=0, atol=1e-3)  # RC is 0.1 us


def test_it_ends_at_the_last_sample_or_at_stop() -> None:
    ended = run(Halving())
    assert (ended.samples[-1].driven, ended.time[-1]) == (None, ended.samples[-1].time)
    cut = run(Halving(), stop=2e-6)
    assert len(cut.samples) == 3
    assert cut.time[-1] == pytest.approx(2e-6)


def test_a_generator_is_a_controller() -> None:
    read: list[float] = []

    def staircase() -> Generator[Drive, F64, None]:
        for volts in (0.5, 1.0):
            read.extend((yield Drive(np.array([volts]), 1e-6)))

    found = run(Scripted(staircase()))
    np.testing.assert_allclose(read, [0.5, 1.0], rtol=0, atol=1e-4)
    assert [sample.time for sample in found.samples] == pytest.approx([0.0, 1e-6, 2e-6], abs=1e-13)


def test_converters_stand_between_controller_and_circuit() -> None:
    controller = Halving()
    found = run(controller, dac=Converter(4, 2.0), adc=Converter(3, 1.0))
    for sample, seen in zip(found.samples, controller.seen, strict=True):
        assert sample.read == seen == Converter(3, 1.0)(sample.volts)
        assert seen / 0.25 == np.round(seen / 0.25)
        assert abs(sample.read - sample.volts) <= 0.125 or sample.volts > 0.875  # clipped at 3/4
        if sample.driven is not None:
            assert sample.driven == np.round((1.0 - seen / 2) / 0.25) * 0.25
    assert (Converter(8, 0.3).step, Converter().step) == (0.6 / 256, 0.0)


def test_the_result_has_the_samples_and_a_trace_of_each_vector() -> None:
    result = run(Halving()).result("halving", shown=["v(out)"])
    assert (result.analysis, [name for name, t in result.traces.items() if t.shown]) == ("cosim", ["v(out)"])
    assert len(result.details["samples_s"]) == 5


@dataclass
class Asks:
    """Asks for one thing again and again."""

    volts: list[float]
    wait: float

    def decide(self, time: float, sampled: F64) -> Drive:
        return Drive(np.array(self.volts), self.wait)


@pytest.mark.parametrize(
    ("volts", "wait", "words"),
    [
        ([1.0, 2.0], 1e-6, "wanted are 1 finite voltages"),
        ([np.nan], 1e-6, "wanted are 1 finite voltages"),
        ([1.0], 5e-9, "must be longer than the rise time of 1e-08 s"),
        ([1.0], np.nan, "must be longer than the rise time"),
        ([1.0], -1.0, "must be longer than the rise time"),
    ],
)
def test_a_controller_that_asks_for_nonsense_is_told(volts: list[float], wait: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run(Asks(volts, wait))


def test_bad_set_ups_are_refused() -> None:
    good = Asks([1.0], 1e-6)
    for options, words in (
        ({"sources": ["Vout"]}, "the deck has 0 voltage sources 'Vout'"),
        ({"sources": ["R1"]}, "voltage sources 'R1'"),
        ({"senses": ["out"]}, "'out' is not the voltage of a node"),
        ({"stop": 1e-9}, "0 < rise < stop"),
        ({"deck": RC.replace(".end\n", "")}, "does not end with a line .end"),
        ({"dac": 3.0, "rise": np.nan}, "0 < rise < stop"),
    ):
        with pytest.raises(ValueError, match=words):
            run(good, **options)
    with pytest.raises(NgspiceError):
        run(good, senses=["v(nowhere)"])
    for bits, scale in ((0, 1.0), (33, 1.0), (8, 0.0), (8, np.inf)):
        with pytest.raises(ValueError, match="converter"):
            Converter(bits, scale)
