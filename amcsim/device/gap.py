"""The compact model of circuits/rram_gap.lib in NumPy: current, temperature, speed of the gap, and read disturb.

Equations: Guan, Yu, Wong, IEEE Electron Device Lett. 33, 1405 (2012); Jiang et al., IEEE Trans. Electron Devices 63,
1884 (2016). The numbers are read from the .subckt line of the library, so that SPICE and NumPy share them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib.resources import files

import numpy as np

from amcsim._types import F64

__all__ = ["GapModel", "gap_model", "read_disturb"]

_BOLTZMANN = 8.617333e-5
"""eV/K."""
_SUFFIX = {"": 1.0, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3}


@dataclass(frozen=True)
class GapModel:
    """Parameters of rram_gap.lib; gaps in nm, all else SI and eV."""

    i0: float
    """Current scale, A."""
    g0: float
    """Decay length of the current, nm."""
    v0: float
    """Curvature voltage, V."""
    gmin: float
    """Smallest gap, nm."""
    gmax: float
    """Largest gap, nm."""
    vel: float
    """Speed of the gap without a barrier, m/s."""
    ea: float
    """Barrier, eV."""
    a0: float
    """Hopping distance, nm."""
    tox: float
    """Oxide thickness, nm."""
    gam0: float
    """Field enhancement without a gap."""
    beta: float
    """Its fall with the gap."""
    g1: float
    """Gap of that fall, nm."""
    rth: float
    """Thermal resistance, K/W."""
    t0: float
    """Ambient temperature, K."""
    w: float
    """Width of the ends of the gap, nm."""

    def at(self, temperature: float) -> GapModel:
        """The same device at an ambient temperature, K."""
        return replace(self, t0=temperature)

    def conductance(self, gap: F64) -> F64:
        """Small-signal conductance of gaps (nm), S, same shape."""
        return np.asarray(self.i0 / self.v0 * np.exp(-gap / self.g0), dtype=np.float64)

    def gap(self, conductance: F64) -> F64:
        """Gap of small-signal conductances (S), nm, same shape; not limited to gmin ... gmax."""
        return np.asarray(self.g0 * np.log(self.i0 / self.v0 / conductance), dtype=np.float64)

    def current(self, v: F64, gap: F64) -> F64:
        """Current at voltages v (V), A; arguments broadcast."""
        return np.asarray(self.i0 * np.exp(-gap / self.g0) * np.sinh(v / self.v0), dtype=np.float64)

    def temperature(self, v: F64, gap: F64) -> F64:
        """Temperature of the filament, K."""
        return np.asarray(self.t0 + self.rth * v * self.current(v, gap), dtype=np.float64)

    def rate(self, v: F64, gap: F64) -> F64:
        """dg/dt at voltages v over the device (V > 0: SET), nm/s; arguments broadcast."""
        thermal = _BOLTZMANN * self.temperature(v, gap)
        bias = (self.gam0 - self.beta * (gap / self.g1) ** 3) * self.a0 / self.tox * v
        # Beyond some 1.6 V the barrier is gone; the library bounds the exponent there, and so is it here.
        opening = np.exp(np.minimum((-bias - self.ea) / thermal, 5.0)) * np.tanh((self.gmax - gap) / self.w)
        closing = np.exp(np.minimum((bias - self.ea) / thermal, 5.0)) * np.tanh((gap - self.gmin) / self.w)
        return np.asarray(0.5e9 * self.vel * (opening - closing), dtype=np.float64)


@lru_cache
def gap_model() -> GapModel:
    """The model with the numbers of circuits/rram_gap.lib."""
    text = re.sub(r"\n\+", " ", (files("amcsim.circuits") / "rram_gap.lib").read_text(encoding="utf-8"))
    line = next(line for line in text.splitlines() if line.startswith(".subckt rram_gap"))
    found = {key: float(v) * _SUFFIX[s] for key, v, s in re.findall(r"(\w+)=([-\d.e]+)([fpnumk]?)", line)}
    return GapModel(**{f.name: found[f.name] for f in fields(GapModel)})


def read_disturb(model: GapModel, gap: F64, v: float, times: F64, series: float = 0.0) -> F64:
    """Conductance (S) of devices of gaps (k,), nm, during a read at v (V), at `times` (t,), s, ascending: (k, t).

    `series` (ohm) is the access resistance, which takes its part of v. The rate is integrated by LSODA to 1e-6 nm.
    Raises ValueError for times that do not ascend from above 0.
    """
    from scipy.integrate import solve_ivp

    if times.ndim != 1 or times[0] <= 0 or (np.diff(times) <= 0).any():
        raise ValueError("times must ascend from above 0 s")

    def device_voltage(g: F64) -> F64:
        across = np.full_like(g, v)
        for _ in range(20):  # Newton on across + series I(across) = v
            slope = 1.0 + series / model.v0 * model.i0 * np.exp(-g / model.g0) * np.cosh(across / model.v0)
            across = across - (across + series * model.current(across, g) - v) / slope
        return across

    def rhs(_: float, g: F64) -> F64:
        return model.rate(device_voltage(g), g)

    span = 0.0, float(times[-1])
    found = solve_ivp(rhs, span, gap, method="LSODA", t_eval=times, rtol=1e-8, atol=1e-6)
    if not found.success:
        raise ValueError(f"the read disturb at {v:g} V could not be integrated: {found.message}")
    return model.conductance(found.y)
