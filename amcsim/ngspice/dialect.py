"""What newer versions of ngspice want said differently: decks are written for Debian's 39."""

from __future__ import annotations

import re

__all__ = ["KLU_LINES", "KLU_VERSION", "adapted"]

KLU_VERSION = 42
"""From which on ngspice has the KLU solver: 4 (16x16 INV) to 13 times (32x32) faster there, the same at 4x4."""
KLU_LINES = 1000
"""Of a deck that is large enough to gain. Without wires KLU often fails where the older solver does not."""
_NLEV_VERSION = 40
"""From which on level-3 transistors choose their 1/f noise by NLEV, none of which is version 39's."""
_OXIDE = 3.9 * 8.854214871e-12
"""Permittivity of silicon dioxide as ngspice has it, F/m."""

_CARD = re.compile(r"^\.model\s+\S+\s+[np]mos\b.*(?:\n\+.*)*", re.IGNORECASE | re.MULTILINE)


def adapted(deck: str, version: int, *, klu: bool) -> str:
    """The deck for that major version; with the KLU solver if asked for."""
    if version >= _NLEV_VERSION:
        deck = _CARD.sub(_flicker, deck)
    return deck.replace("\n", "\n.options klu\n", 1) if klu else deck


def _flicker(card: re.Match[str]) -> str:
    """Version 39: S_id = KF Id^AF/(f W L Cox^2), for level 3. Later NLEV = 1: S_id = KF Id^AF/(f W L Cox)."""
    text = card[0]
    values = {name: re.search(rf"\b{name}\s*=\s*([\d.eE+-]+)", text, re.IGNORECASE) for name in ("level", "kf", "tox")}
    if any(found is None for found in values.values()):
        return text
    level, kf, tox = (float(found[1]) for found in values.values() if found is not None)
    if level != 3 or values["kf"] is None:
        return text
    start, end = values["kf"].span(1)
    return f"{text[:start]}{kf * tox / _OXIDE!r}{text[end:]}\n+ nlev = 1"
