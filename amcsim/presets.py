"""The presets' values, each with its source or the word assumed: section, key, (value, source)."""

from __future__ import annotations

from typing import Any

__all__ = ["PRESETS"]

Table = dict[str, dict[str, tuple[Any, str]]]

# Zhang et al., "First Demonstration of Second-order Training ... In-memory Analog Matrix Computing": 20-220 uS, write
# error 10 uS (Figs. 7, 9), 350 nm 1T1R (Fig. 4), board-level op-amps, DACs and ADCs (Fig. 3). The paper names no part;
# each value carries its source or the word assumed.
_PKU_350NM: Table = {
    "cell": {
        "g_min": (20e-6, "paper, Fig. 7"),
        "g_max": (220e-6, "paper, Fig. 7"),
        "v_read_max": (0.3, "assumed: 0.5 V for 1 ms leaves the prototype RRAM model unchanged"),
        "v_disturb": (0.5, "assumed: 0.7 V for 1 ms moves the prototype RRAM model by 1 %"),
        "access": ("nmos_350n", "paper: 350 nm CMOS; card assumed"),
        "w": (20e-6, "assumed"),
        "l": (0.5e-6, "assumed: 5 V device"),
        "wordline": (5.0, "assumed"),
        "wordline_off": (-5.0, "assumed"),
        "bulk": (-5.0, "assumed: lowest supply"),
    },
    "opamp": {
        "model": ("behavioral", "paper, Fig. 3: board-level op-amps; part assumed"),
        "gain": (45e3, "AD823 data sheet, 45 V/mV typical"),
        "gbw": (16e6, "AD823 data sheet"),
        "second_pole": (40e6, "assumed"),
        "slew_rate": (22e6, "AD823 data sheet"),
        "swing": (3.5, "assumed on +-5 V"),
        "supply": (5.0, "assumed"),
        "offset_sigma": (0.8e-3, "AD823 data sheet, maximum taken as one sigma"),
        "output_resistance": (50.0, "assumed"),
        "output_current": (15e-3, "AD823 data sheet"),
        "noise_density": (16e-9, "AD823 data sheet"),
        "noise_corner": (100.0, "assumed"),
        "quiescent_current": (3.5e-3, "assumed, AD823 class (7 mA for two amplifiers)"),
        "feedback_capacitance": (22e-12, "assumed: what the prototype needed for stability"),
    },
    "inverter": {
        "resistance": (1e3, "assumed: prototype"),
        "feedback_capacitance": (10e-12, "assumed: prototype"),
    },
    "wire": {
        "layout": ("shared", "paper, Fig. 3: one 8x8 array"),
        "bl_resistance": (1.0, "assumed: 0.07 ohm a square, 25 um pitch, 2 um wide"),
        "sl_resistance": (1.0, "assumed, likewise"),
        "bl_capacitance": (5e-15, "assumed: 0.2 fF a um, 25 um pitch"),
        "sl_capacitance": (5e-15, "assumed, likewise"),
        "summing_capacitance": (20e-12, "assumed: package, board and amplifier input"),
        "inverter_capacitance": (10e-12, "assumed"),
    },
    "programming": {
        "model": ("uniform", "assumed"),
        "tolerance": (10e-6, "paper, Fig. 9"),
        "verify": ("device", "assumed"),
    },
    "converters": {
        "read_window": (1e-3, "assumed: a microcontroller reads the ADCs (paper, Fig. 3b)"),
        "settling_tolerance": (1e-3, "assumed"),
    },
}

# The paper shows no noise of its cells; forms are those of amcsim.variation, which names their sources.
_VARYING: Table = {
    "programming": {
        "model": ("write_verify", "write-verify loops in ngspice (calibration/rram_write_error.json)"),
        "tolerance": (10e-6, "paper, Fig. 9"),
        "verify": ("device", "assumed"),
    },
    "variation": {
        "age": (1e4, "assumed: within the paper's retention test of 1e5 s, Fig. 6"),
        "onset": (1.0, "assumed"),
        "drift": (8.7e-4, "assumed: 0.2 % a decade, 1 % over the paper's 1e5 s"),
        "drift_sigma": (8.7e-4, "assumed: as large as its mean (form: Zhao et al., IEDM 2017)"),
        "telegraph_share": (0.3, "assumed"),
        "telegraph_largest": (0.2, "form: Ambrogio et al., IEEE TED 61, 2920 (2014); number assumed"),
        "telegraph_half": (5e-6, "assumed: 0.5 % at 200 uS, 4 % at 20 uS"),
        "read_sigma": (2e-3, "assumed: white noise of one read, a fifth of the telegraph noise"),
        "read_exponent": (0.5, "assumed: noise falls with the root of the filament's cross-section"),
    },
}

PRESETS: dict[str, Table] = {
    "ideal": {},
    "pku_350nm": _PKU_350NM,
    "pku_350nm_varying": _PKU_350NM | _VARYING,
}
