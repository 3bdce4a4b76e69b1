"""The access transistor in its linear region: on-resistance and capacitance from the model card in circuits/.

SPICE level 3 (Vladimirescu and Liu, UCB/ERL M80/7), long channel, V_DS -> 0, V_S = 0:
V_ov = vto + gamma (sqrt(phi + V_SB) - sqrt(phi)) subtracted from V_GS; mobility falls by 1 + theta V_ov, so
R_on = (1 + theta V_ov) / (kp (W/L) V_ov).
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from importlib.resources import files

from amcsim.specs import CellSpec, SpecError

__all__ = ["card_parameters", "channel_capacitances", "on_resistance"]

_SUFFIX = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "meg": 1e6, "g": 1e9}
_EPS_OX = 3.9 * 8.8541878128e-12


@lru_cache
def card_parameters(name: str) -> dict[str, float]:
    """The numbers of the .model card `circuits/<name>.lib`, SPICE suffixes resolved."""
    text = re.sub(r"\n\+", " ", (files("amcsim.circuits") / f"{name}.lib").read_text(encoding="utf-8"))
    card = next(line for line in text.splitlines() if line.lower().startswith(f".model {name}"))
    return {
        key.lower(): float(number) * _SUFFIX.get(suffix.lower(), 1.0)
        for key, number, suffix in re.findall(r"(\w+)\s*=\s*([-+.\deE]*\d)(meg|[fpnumkg])?", card, flags=re.I)
    }


@lru_cache
def on_resistance(cell: CellSpec) -> float:
    """Resistance of the conducting access transistor at V_DS = 0 and its source at ground, ohm; 0 without one.

    Raises SpecError where the word-line does not turn the transistor on.
    """
    if cell.access == "none":
        return 0.0
    card = card_parameters(cell.access)
    threshold = card["vto"] + card["gamma"] * (math.sqrt(card["phi"] - cell.bulk) - math.sqrt(card["phi"]))
    overdrive = cell.wordline - threshold
    if overdrive < 0.2:
        raise SpecError(
            f"cell.wordline = {cell.wordline:g}: the access transistor conducts from {threshold + 0.2:.2f} V on, "
            f"with cell.bulk = {cell.bulk:g} V"
        )
    return (1 + card["theta"] * overdrive) / (card["kp"] * cell.w / cell.l * overdrive)


@lru_cache
def channel_capacitances(cell: CellSpec) -> tuple[float, float]:
    """Capacitance to ground at the inner node and at the source-line of a conducting cell, F.

    Half the gate oxide, the overlap, and the reverse-biased junction of the drain or source (areas as in
    circuits/cell_1t1r.lib: 1 um long diffusions) each; zero without a transistor.
    """
    if cell.access == "none":
        return 0.0, 0.0
    card = card_parameters(cell.access)
    gate = 0.5 * _EPS_OX / card["tox"] * cell.w * cell.l
    reverse = 1.0 - cell.bulk / 0.8
    junction = card.get("cj", 0.0) * cell.w * 1e-6 / reverse**0.5
    sidewall = card.get("cjsw", 0.0) * (cell.w + 2e-6) / reverse**0.33
    one = gate + card.get("cgso", 0.0) * cell.w + junction + sidewall
    return one, one
