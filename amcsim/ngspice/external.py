"""Sources whose voltage Python gives while a transient runs: what libngspice asks of it, and tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

__all__ = ["External"]


class External(Protocol):
    """What drives the sources that a deck writes as `Vname node 0 external`.

    An exception in either method reaches the caller when the transient has ended; `accepted` is not called after it,
    and `value` gives 0 where it fails.
    """

    def value(self, source: str, time: float) -> float:
        """Voltage (V) of a source, by its name in small letters (`vin0`), at an instant (s).

        Asked at every Newton iteration, at instants after the last accepted point, and again at earlier ones when a
        step is taken back: it must depend on nothing but time and what `accepted` did. The operating point asks for 0.
        """
        ...

    def accepted(self, time: float, read: Callable[[str], float]) -> Iterable[float]:
        """Called at every time point that ngspice keeps, the operating point at 0 first.

        `read("x0")` gives a saved vector's value (V; A for `vdd#branch`). Returns instants (s), later than `time`, at
        which a step must end: sampling instants and the corners of waveforms that `value` is going to give.
        """
        ...
