"""What one operation costs: an INV, an MVM, a written cell, a conversion, a digital multiply-add; energy, time, area.

INV, MVM      power_row n (dac.time + settling);  settling straight in the logarithms between measured sizes
conversion    ADC: figure_of_merit 2^bits (Walden's);  DAC: energy
multiply-add  node_factor mac_energy + words_per_mac word_energy
pass          dac.time + settling + columns/rate: inputs set, circuit settled, answers read
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from amcsim.cost.assumptions import Assumptions

__all__ = ["Cost", "Units", "units"]

_SIZES = (4, 16, 64, 128)
"""At which settling of INV was measured."""


@dataclass(frozen=True)
class Cost:
    """Of one operation."""

    energy: float
    """J"""
    time: float
    """s"""
    area: float
    """Of what does it, m2."""


@dataclass(frozen=True)
class Units:
    """Costs of one operation each."""

    inv: Cost
    """An INV array's pass without its conversions."""
    mvm: Cost
    adc: Cost
    dac: Cost
    mac: Cost
    """FP32 multiply-add with its share of memory words."""
    write: Cost
    """A cell, write-verified."""
    array_size: int

    def analog_pass(self, n: int, kind: Literal["inv", "mvm"] = "inv") -> tuple[float, float]:
        """Energy (J) and time (s) of a pass of n rows with its conversions, on an array of `array_size` rows.

        Rows beyond n are off.
        """
        array = self.inv if kind == "inv" else self.mvm
        share = n / self.array_size
        return share * array.energy + n * (self.adc.energy + self.dac.energy), array.time + self.adc.time


def units(known: Assumptions) -> Units:
    """Unit costs for the technology and array size that the assumptions name."""
    t, n = known.word("machine.technology"), int(known["machine.array_size"])
    sampled = known["dac.time"] + _settling(known, t, n), known["dac.time"] + _mvm_settling(known, t, n)
    cells, amplifier = 2 * n * n * known[f"{t}.cell_area"], known[f"{t}.amplifier_area"]
    converters = n * (known["dac.area"] + known["adc.area"] / known["adc.columns"])
    mac = known["digital.node_factor"] * known["digital.mac_energy"]
    return Units(
        inv=Cost(known[f"{t}.inv_power_row"] * n * sampled[0], sampled[0], cells + 2 * n * amplifier + converters),
        mvm=Cost(known[f"{t}.mvm_power_row"] * n * sampled[1], sampled[1], cells + n * amplifier + converters),
        adc=Cost(
            known["adc.figure_of_merit"] * 2 ** known["adc.bits"],
            known["adc.columns"] / known["adc.rate"],
            known["adc.area"],
        ),
        dac=Cost(known["dac.energy"], known["dac.time"], known["dac.area"]),
        mac=Cost(
            mac + known["digital.words_per_mac"] * known["digital.word_energy"],
            1.0 / known["digital.clock"],
            known["digital.node_factor"] * known["digital.mac_area"],
        ),
        write=Cost(known["write.energy"], known["write.time"], known[f"{t}.cell_area"]),
        array_size=n,
    )


def _settling(known: Assumptions, technology: str, n: int) -> float:
    """Of INV at n rows, s: power laws between measured sizes, the last of them beyond."""
    times = [known[f"{technology}.inv_settling_{m}"] for m in _SIZES]
    k = min(max(sum(n > m for m in _SIZES) - 1, 0), len(_SIZES) - 2)
    (low, high), (first, last) = _SIZES[k : k + 2], times[k : k + 2]
    return first * math.pow(n / low, math.log(last / first) / math.log(high / low))


def _mvm_settling(known: Assumptions, technology: str, n: int) -> float:
    """Of MVM, s: with the square root of n, as measured from 16 to 128 rows."""
    return known[f"{technology}.mvm_settling_128"] * math.sqrt(n / 128)
