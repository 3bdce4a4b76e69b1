"""One cell: the access transistor from its model card in circuits/, and the current of a sinh cell in series with it.

SPICE level 3 (Vladimirescu and Liu, UCB/ERL M80/7), long channel, V_DS -> 0, V_S = 0:
V_ov = vto + gamma (sqrt(phi + V_SB) - sqrt(phi)) subtracted from V_GS; mobility falls by 1 + theta V_ov, so
R_on = (1 + theta V_ov) / (kp (W/L) V_ov).
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from importlib.resources import files

import numpy as np

from amcsim._types import F64
from amcsim.specs import CellSpec, SpecError

__all__ = [
    "card_parameters",
    "cell_current",
    "channel_capacitances",
    "curvature_voltage",
    "on_resistance",
    "transistor_cell_current",
]

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


def curvature_voltage(cell: CellSpec, g: F64) -> F64:
    """V0 of sinh cells with device conductances g (S), V, same shape; infinite for linear cells."""
    if cell.v0 is None:
        return np.full_like(g, np.inf)
    voltage: F64 = cell.v0 * (g / cell.g_max) ** cell.v0_exponent
    return voltage


def cell_current(v: F64, g: F64, v0: F64, series: float) -> tuple[F64, F64]:
    """Current (A) and slope dI/dV (S) of cells at voltages v: I = g v0 sinh((v - I series)/v0); arrays of one shape.

    Newton on v = v0 asinh(I/(g v0)) + I series, which is convex on either side of 0, from the linear current.
    """
    current = v * g / (1.0 + g * series)
    slope = np.empty_like(current)
    for _ in range(50):
        reduced = current / (g * v0)
        slope = 1.0 / (1.0 / (g * np.hypot(1.0, reduced)) + series)
        step = (v - v0 * np.arcsinh(reduced) - current * series) * slope
        current = current + step
        if np.abs(step).max(initial=0.0) <= 1e-15 * max(float(np.abs(current).max(initial=0.0)), 1e-12):
            break
    return current, slope


@lru_cache
def _channel(cell: CellSpec) -> tuple[float, float, float, float, float]:
    """(kp W/L, theta, gamma, phi, threshold without body effect less gamma sqrt(phi)) of the access transistor."""
    card = card_parameters(cell.access)
    flat = card["vto"] - card["gamma"] * math.sqrt(card["phi"])
    return card["kp"] * cell.w / cell.l, card["theta"], card["gamma"], card["phi"], flat


def transistor_cell_current(v: F64, g: F64, v0: F64, line: F64, cell: CellSpec) -> tuple[F64, F64]:
    """Current (A) and slope dI/dV (S) of cells at voltages v behind their transistors, source-lines at `line`, V.

    With the lower end of the channel at s, V_ov = wordline - s - V_th(s) and b = 1 + gamma/(4 sqrt(phi + s - bulk)),
    level 3 gives I = beta/(1 + theta V_ov) (V_ov - b V_DS/2) V_DS, here solved for V_DS; which end is the lower one,
    and for a current towards the bit-line s itself, follow from the current in the same Newton iteration.
    """
    beta, theta, gamma, phi, flat = _channel(cell)
    current = v * g / (1.0 + g * on_resistance(cell))
    drop, slope = current * on_resistance(cell), np.empty_like(current)
    for _ in range(50):
        low = line + np.minimum(drop, 0.0)
        root = np.sqrt(phi + np.maximum(low - cell.bulk, 0.0))
        over = np.maximum(cell.wordline - low - flat - gamma * root, 0.1)
        strength = beta / (1.0 + theta * over)
        straight, bent = strength * over, strength * (0.5 + 0.125 * gamma / root)
        rest = np.sqrt(np.maximum(straight * straight - 4.0 * bent * np.abs(current), (0.1 * straight) ** 2))
        drop = 2.0 * current / (straight + rest)
        reduced = current / (g * v0)
        slope = 1.0 / (1.0 / (g * np.hypot(1.0, reduced)) + 1.0 / rest)
        step = (v - v0 * np.arcsinh(reduced) - drop) * slope
        current = current + step
        if np.abs(step).max(initial=0.0) <= 1e-14 * max(float(np.abs(current).max(initial=0.0)), 1e-12):
            break
    return current, slope


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
