"""Python inside a transient: voltages asked for, accepted points handed over, steps that end at wanted instants."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from amcsim.ngspice.messages import NgspiceError
from amcsim.ngspice.session import Session

RC = "RC\nVin drive 0 external\nR1 drive out 1k\nC1 out 0 100p\n.options reltol=1e-5\n.save v(out) v(drive)\n.end\n"


class Halving:
    """Every microsecond, sets the source to 1 - v/2 over 10 ns."""

    def __init__(self) -> None:
        self.level = self.before = self.since = self.due = 0.0
        self.seen: list[tuple[float, float]] = []

    def value(self, source: str, time: float) -> float:
        assert source == "vin"
        return self.before + (self.level - self.before) * min(max((time - self.since) / 10e-9, 0.0), 1.0)

    def accepted(self, time: float, read: Callable[[str], float]) -> Iterable[float]:
        if time < self.due - 1e-15:
            return ()
        self.seen.append((time, read("out")))
        self.before, self.level, self.since = self.level, 1.0 - read("out") / 2, time
        self.due += 1e-6
        return time + 10e-9, self.due


@pytest.fixture
def session() -> Session:
    session = Session()
    session.load(RC)
    return session


def test_a_controller_samples_at_exact_instants_and_drives_the_circuit(session: Session) -> None:
    """1, 1/2, 3/4, ... towards 2/3, each approached with RC = 0.1 us: by the closed form of a ramp into an RC."""
    loop = Halving()
    found = session.tran(20e-9, 8e-6, ["v(out)", "v(drive)"], external=loop)
    times, seen = np.array(loop.seen).T
    np.testing.assert_allclose(times, np.arange(9) * 1e-6, rtol=0, atol=1e-18)
    wanted, drive = [0.0], 0.0
    for _ in range(8):
        new, tau, ramp = 1.0 - wanted[-1] / 2, 1e-7, 1e-8
        slope = (new - drive) / ramp
        at_corner = drive + slope * (ramp - tau) + (wanted[-1] - drive + slope * tau) * np.exp(-ramp / tau)
        wanted.append(new + (at_corner - new) * np.exp(-(1e-6 - ramp) / tau))
        drive = new
    np.testing.assert_allclose(seen, wanted, rtol=0, atol=2e-5)
    assert set(times) <= set(found["time"])
    corner = found["time"][found["time"] > 1.009e-6][0]
    assert corner == pytest.approx(1.01e-6, abs=1e-18)  # the ramp's


def test_external_sources_are_quiet_without_one_and_runs_do_not_see_one_another(session: Session) -> None:
    assert not np.any(session.tran(20e-9, 2e-6, ["v(out)"])["v(out)"])
    first, second = Halving(), Halving()
    for loop in (first, second):
        session.tran(20e-9, 4e-6, ["v(out)"], external=loop)
    assert first.seen == second.seen
    assert session.op(["v(out)"]) == 0.0


@pytest.mark.parametrize("error", [ValueError("no more"), KeyboardInterrupt()])
def test_what_a_controller_raises_reaches_the_caller_and_the_session_stays_usable(
    session: Session, error: BaseException
) -> None:
    class Failing(Halving):
        def accepted(self, time: float, read: Callable[[str], float]) -> Iterable[float]:
            if time > 1.5e-6:
                raise error
            return super().accepted(time, read)

    with pytest.raises(type(error)):
        session.tran(20e-9, 4e-6, ["v(out)"], external=Failing())
    loop = Halving()
    session.tran(20e-9, 4e-6, ["v(out)"], external=loop)
    assert len(loop.seen) == 5


def test_an_unknown_vector_is_the_controllers_error(session: Session) -> None:
    class Lost(Halving):
        def accepted(self, time: float, read: Callable[[str], float]) -> Iterable[float]:
            read("nowhere")
            return ()

    with pytest.raises(NgspiceError, match="no vector 'nowhere' among those saved"):
        session.tran(20e-9, 1e-6, ["v(out)"], external=Lost())


@pytest.mark.parametrize("instant", [0.0, -1.0, float("nan")])
def test_an_instant_that_is_not_ahead_is_refused(session: Session, instant: float) -> None:
    class Backwards(Halving):
        def accepted(self, time: float, read: Callable[[str], float]) -> Iterable[float]:
            return (instant,)

    with pytest.raises(NgspiceError, match="no step can end at"):
        session.tran(20e-9, 1e-6, ["v(out)"], external=Backwards())
