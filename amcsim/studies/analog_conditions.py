"""Conditions of the circuit under which low-precision INV is met: each inside a range with a source.

All start from the preset pku_350nm. `EFFECTS` change one thing at a time, `grid` every one with every other, and
`CONDITIONS` are those that train.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from amcsim.specs import Spec, preset

__all__ = ["CONDITIONS", "EFFECTS", "WIDTHS", "Changes", "Condition", "grid"]

_BASE = preset("pku_350nm")
WIDTHS = (20e-6, 5e-6, 3e-6, 2e-6, 1.5e-6)
"""Access transistors, m; each is a technology of its own, with a surrogate of its own."""

Changes = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Condition:
    """A circuit that differs from the preset pku_350nm, and why it may."""

    name: str
    changes: Changes
    source: str

    @property
    def spec(self) -> Spec:
        """The preset with the changes."""
        return _BASE.replace(**self.changes)


def _changes(*parts: Changes) -> Changes:
    merged: Changes = {}
    for part in parts:
        for section, fields in part.items():
            merged.setdefault(section, {}).update(fields)
    return merged


def _width(w: float) -> Changes:
    return {"cell": {"w": w}}


def _board(v: float) -> Changes:
    """The converters of a microcontroller board, seen from a read range of +-v."""
    fields = {"adc_bits": 10, "adc_full_scale": 2.5, "dac_bits": 12, "dac_full_scale": 2.5}
    return {"cell": {"v_read_max": v}, "converters": fields}


def _bits(bits: int) -> Changes:
    return {"converters": {"dac_bits": bits, "adc_bits": bits}}


_IDEAL_WRITES: Changes = {"programming": {"model": "ideal", "tolerance": 0.0}}
_STATES: Changes = {"programming": {"states": 8}}
_ARRAY: Changes = {"converters": {"ranging": "array"}}
_OFFSET: Changes = {"opamp": {"offset_sigma": 3e-3}}

_BOARD_SOURCE = "10 bits on 5 V: ATmega328P data sheet (the paper's MCU reads the ADCs); DAC of 12 bits assumed"
_WIDTH_SOURCE = "350 nm CMOS (Fig. 4), 0.5 um long; width and so on-resistance assumed, targets verified on the device"
_BITS_SOURCE = "low-resolution converters for LP-INV (Zuo et al., Nature Electronics 2025); the number assumed"

EFFECTS: tuple[Condition, ...] = (
    Condition("ideal writing", _IDEAL_WRITES, "lower limit"),
    Condition("as the preset, +-10 uS", {}, "Fig. 9; preset"),
    Condition("8 states", _STATES, "Fig. 7"),
    Condition("one gain an array", _ARRAY, "no probing of the range; assumed"),
    Condition("offsets of 3 mV", _OFFSET, "TL08x-class board amplifiers, data sheet, typical"),
    *(Condition(f"converters of {b} bits", _bits(b), _BITS_SOURCE) for b in (8, 6, 5, 4)),
    *(
        Condition(f"converters of {b} bits, one gain an array", _changes(_bits(b), _ARRAY), _BITS_SOURCE)
        for b in (8, 6, 5, 4)
    ),
    *(
        Condition(f"board converters, read range {v:g} V", _changes(_board(v), _ARRAY), _BOARD_SOURCE)
        for v in (0.3, 0.1, 0.05)
    ),
    *(Condition(f"access transistor {w * 1e6:g} um wide", _width(w), _WIDTH_SOURCE) for w in WIDTHS[1:]),
)
"""One at a time, on top of the preset."""

_AXES: dict[str, dict[str, Changes]] = {
    "width": {f"{w * 1e6:g} um": _width(w) for w in WIDTHS},
    "states": {"any": {}, "8": _STATES},
    "converters": {
        "ideal": {},
        "board, 0.3 V": _board(0.3),
        "board, 0.1 V": _board(0.1),
        "board, 0.05 V": _board(0.05),
        "4 bits": _bits(4),
    },
    "ranging": {"vector": {}, "array": _ARRAY},
    "offsets": {"0.8 mV": {}, "3 mV": _OFFSET},
}
"""The grid: every choice with every other."""

CONDITIONS: tuple[Condition, ...] = (
    Condition("preset", {}, "pku_350nm"),
    Condition(
        "3 um, 8 states, board",
        _changes(_width(3e-6), _STATES, _board(0.1), _ARRAY),
        f"{_WIDTH_SOURCE}; Fig. 7; {_BOARD_SOURCE}",
    ),
    Condition("2 um", _width(2e-6), _WIDTH_SOURCE),
    Condition(
        "3 um, 8 states, 4 bits",
        _changes(_width(3e-6), _STATES, _bits(4), _ARRAY),
        f"{_WIDTH_SOURCE}; Fig. 7; {_BITS_SOURCE}",
    ),
)
"""Trainings through the surrogate."""


def grid() -> list[tuple[dict[str, str], Changes]]:
    """Every choice with every other: (choice by axis, changes)."""
    cells = itertools.product(*(axis.items() for axis in _AXES.values()))
    named = (zip(*cell, strict=True) for cell in cells)
    return [(dict(zip(_AXES, names, strict=True)), _changes(*parts)) for names, parts in named]
