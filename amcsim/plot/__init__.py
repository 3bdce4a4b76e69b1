"""Figures of plain arrays, one look for all: importing this room imports matplotlib (but never pyplot)."""

from amcsim.plot.arrays import array_map
from amcsim.plot.calibration import cell_law, error_shares
from amcsim.plot.comparison import surrogate_vs_ngspice
from amcsim.plot.curves import error_by_pass, step_losses, training_curves
from amcsim.plot.style import FORMATS, save, to_png_uri, to_svg
from amcsim.plot.transients import waveforms
from amcsim.plot.wave_page import wave_page

__all__ = [
    "FORMATS",
    "array_map",
    "cell_law",
    "error_by_pass",
    "error_shares",
    "save",
    "step_losses",
    "surrogate_vs_ngspice",
    "to_png_uri",
    "to_svg",
    "training_curves",
    "wave_page",
    "waveforms",
]
