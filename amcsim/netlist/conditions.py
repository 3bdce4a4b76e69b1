"""Under which a deck runs: temperature, process, and whether amplifiers and access transistors are noisy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

from amcsim.access import on_resistance
from amcsim.specs import Spec

__all__ = ["NOMINAL", "PROCESSES", "Conditions"]

PROCESSES: dict[str, dict[str, float]] = {
    "typical": {},
    "slow": {"vto": 1.1, "kp": 0.9},
    "fast": {"vto": 0.9, "kp": 1.1},
}
"""Factors on the parameters of the model cards (assumed: +-10 %, of the order of a 350 nm process's corners)."""


@dataclass(frozen=True)
class Conditions:
    """What a spec does not say, the same for the whole chip. Raises ValueError out of range."""

    temperature: float = 27.0
    """Degrees Celsius. Transistors follow their cards; RRAM, resistors and behavioural amplifiers do not change."""
    process: str = "typical"
    """Name of PROCESSES: scales the transistors' cards."""
    noise: bool = False
    """Whether amplifiers and access transistors get their noise sources, which only noise analyses need."""

    def __post_init__(self) -> None:
        if not -200.0 <= self.temperature <= 300.0:
            raise ValueError(f"temperature = {self.temperature:g} C: allowed is -200 to 300")
        if self.process not in PROCESSES:
            raise ValueError(f"process {self.process!r} is unknown; there are {', '.join(PROCESSES)}")

    @property
    def options(self) -> tuple[str, ...]:
        """Lines that a deck needs for them."""
        return () if self.temperature == 27.0 else (f".options temp={self.temperature:.12g}",)

    def applied(self, library: str, spec: Spec) -> str:
        """Text of sub-circuits and cards under these conditions."""
        for key, factor in PROCESSES[self.process].items():
            library = re.sub(rf"^(\+ {key} = )(\S+)", rf"\1{{\2*{factor:g}}}", library, flags=re.M)
        return _with_noise(library, spec) if self.noise else library


NOMINAL = Conditions()
"""27 C, typical, quiet."""


def _with_noise(library: str, spec: Spec) -> str:
    """Noise in series with each op-amp's input, and 4 k T / R_on across each access transistor's channel.

    ngspice 39's level-3 transistor makes 4 k T (2/3) gm, which is 0 at no drain voltage, where the channel's is
    4 k T gds (van der Ziel 1986): hence a noisy resistor of its own and a controlled source.
    """
    density, corner, ron = spec.opamp.noise_density, spec.opamp.noise_corner, on_resistance(spec.cell)
    if density > 0:
        source = (files("amcsim.circuits") / "opamp_noise.lib").read_text(encoding="utf-8").rstrip()
        line = f"Vos inn n {{vos}}\nXn n e opamp_noise en={density:.12g} fc={corner:.12g}"
        library = f"{source}\n{re.sub(r'^Vos inn e {vos}$', line, library, flags=re.M)}"
    if ron > 0:
        channel = f"Rz z 0 {ron:.12g}\nGz n sl z 0 {1 / ron:.12g}"
        library = re.sub(r"^(Mn n wl sl bulk .*)$", rf"\1\n{channel}", library, flags=re.M)
    return library
