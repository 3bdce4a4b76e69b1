"""Running decks: batch, persistent session, raw files, doctor. The only room that knows ngspice's habits.

Names load at first use: importing this package imports neither PySpice nor libngspice.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch import BatchResult, ngspice_version, run_batch
    from .doctor import Check, check
    from .library import library_version
    from .messages import NgspiceDied, NgspiceError, NgspiceTimeout
    from .raw import Plot, RawFileError, read_raw, write_raw
    from .session import Session, session_for
    from .trust import SpiceRefused, check_spice, read_spice

_HOMES = {
    "BatchResult": "batch",
    "Check": "doctor",
    "NgspiceDied": "messages",
    "NgspiceError": "messages",
    "NgspiceTimeout": "messages",
    "Plot": "raw",
    "RawFileError": "raw",
    "Session": "session",
    "SpiceRefused": "trust",
    "check": "doctor",
    "check_spice": "trust",
    "library_version": "library",
    "ngspice_version": "batch",
    "read_raw": "raw",
    "read_spice": "trust",
    "run_batch": "batch",
    "session_for": "session",
    "write_raw": "raw",
}

__all__ = [
    "BatchResult",
    "Check",
    "NgspiceDied",
    "NgspiceError",
    "NgspiceTimeout",
    "Plot",
    "RawFileError",
    "Session",
    "SpiceRefused",
    "check",
    "check_spice",
    "library_version",
    "ngspice_version",
    "read_raw",
    "read_spice",
    "run_batch",
    "session_for",
    "write_raw",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
