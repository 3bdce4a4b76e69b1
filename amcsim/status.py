"""How a solve may end: the same words on every backend."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Reason", "Status"]


class Status(IntEnum):
    """Outcome of one analog solve. Integers, so that a batch of them is a NumPy array; `str()` gives the word."""

    OK = 0
    SATURATED = 1
    """A bound was hit: swing, read-disturb voltage, or output current (see Reason)."""
    UNSTABLE = 2
    """Right-half-plane pole, limit cycle, or latched in a wrong state: there is no answer."""
    UNSETTLED = 3
    """Stable, but not within tolerance at the sampling instant."""
    NOT_CONVERGED = 4
    """The simulator found no operating point: there is no answer."""

    def __str__(self) -> str:
        return self.name.lower()

    @property
    def has_answer(self) -> bool:
        """Whether `x` holds numbers (else it is null in JSON and NaN in arrays)."""
        return self not in (Status.UNSTABLE, Status.NOT_CONVERGED)


class Reason(IntEnum):
    """Why a solve ended as it did."""

    NONE = 0
    VOLTAGE = 1
    """saturated: an output reached the amplifier's swing"""
    DISTURB = 2
    """saturated: |x|, |xn| or an input beyond cell.v_read_max"""
    CURRENT = 3
    """saturated: an output current beyond opamp.output_current"""
    POLE = 4
    """unstable: a pole of the state matrix in the right half-plane"""
    LATCHED = 5
    """unstable: the start-up transient settled elsewhere than at the operating point"""
    OSCILLATION = 6
    """unstable: the start-up transient did not settle at all"""
    WINDOW = 7
    """unsettled: settling takes longer than the read window"""
    SIMULATOR = 8
    """not_converged: the simulator failed, timed out, or died"""
    KCL = 9
    """not_converged: currents at a summing node do not add up to zero"""
    NONFINITE = 10
    """not_converged: NaN or infinity in the answer"""
    REFINEMENT = 11
    """unsettled or not_converged: HP-INV stopped above its tolerance (not_converged where x is no better than 0)"""

    def __str__(self) -> str:
        return "" if self is Reason.NONE else self.name.lower()
