"""What ngspice's messages mean: it exits with 0 on some failures and prints errors on the way to good answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["NgspiceDied", "NgspiceError", "NgspiceTimeout", "fatal_line", "warning_lines"]

# These mean that there is no answer, whatever the exit status. (39 solves a resistor without value as 1 mohm, 46 leaves
# it out.)
_FATAL = re.compile(
    r"simulation\(s\) aborted|doanalyses:|fatal error|simulation interrupted|not parsed|any circuits loaded"
    r"|cannot recover|resistance to low|resistor .* is too small|instance line, ignored|^error\b|undefined parameter"
    r"|cannot compute substitute|unknown subckt",
    re.IGNORECASE,
)
# Printed while Newton iterates and recovers, or when a .meas finds nothing, which is the caller's to judge; a failed
# transient operating point is followed by a doAnalyses line, and the words before it say more.
_HARMLESS = re.compile(
    r"out of range for|^error: (?:meas|transient op failed|\S+ (?:in )?argument)|no such vector|^\s*in line",
    re.IGNORECASE,
)
_CAUSE = re.compile(r"singular matrix|undefined parameter|could ?n[o']t find|can't find", re.IGNORECASE)


class NgspiceError(RuntimeError):
    """ngspice gave no answer: one sentence, with the first offending line of its log.

    `log` is what ngspice said; `folder` holds deck and log where they were kept (batch runs), else None.
    """

    def __init__(self, sentence: str, *, log: str = "", folder: Path | None = None) -> None:
        super().__init__(sentence)
        self.log = log
        self.folder = folder


class NgspiceDied(NgspiceError):
    """libngspice died: this process cannot use it again, a new one can."""


class NgspiceTimeout(NgspiceError):
    """ngspice was killed at the time-out."""


def fatal_line(lines: Iterable[str]) -> str | None:
    """The line that says best why there is no answer, or None where the messages announce none.

    A matrix that is singular at DC and "solved" by the transient operating point only has no unique answer (a floating
    node keeps whatever charge the transient left on it), so this counts as fatal too.
    """
    fatal = cause = None
    transient_op = False
    for raw in lines:
        line = raw.strip()
        if cause is None and _CAUSE.search(line):
            cause = line
        transient_op = transient_op or "Transient op started" in line
        if fatal is None and _FATAL.search(line) and not _HARMLESS.search(line):
            fatal = line
    if fatal is not None:
        return _last_words(cause or fatal)
    if transient_op and cause is not None and "singular matrix" in cause.lower():
        return _last_words(cause)
    return None


def warning_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """Lines that warn, in order, each once."""
    return tuple(dict.fromkeys(line.strip() for line in lines if "warning" in line.lower()))


def _last_words(line: str) -> str:
    """A progress message and the warning after it share a line: keep the warning, on one line of 200 characters."""
    for mark in ("Warning:", "Error:"):
        at = line.rfind(mark)
        if at > 0:
            line = line[at:]
    return " ".join(line.split())[:200]
