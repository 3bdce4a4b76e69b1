from __future__ import annotations

import base64
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from amcsim import plot
from amcsim.plot.style import si_unit

TIME = np.linspace(0.0, 20e-6, 201)
SIGNALS = {"v(x0)": 0.2 * (1 - np.exp(-TIME / 2e-6)), "v(x1)": -0.1 * (1 - np.exp(-TIME / 2e-6))}


def texts(fig: Figure) -> str:
    """All words of a figure."""
    return " | ".join(item.get_text() for item in fig.findobj(mpl.text.Text) if item.get_text())


def test_waveforms_mark_settling_in_microseconds_and_volts_of_a_fitting_size() -> None:
    fig = plot.waveforms(TIME, SIGNALS, settling=9.2e-6, step=1e-6)
    words = texts(fig)
    assert "time (\N{MICRO SIGN}s)" in words
    assert "voltage (mV)" in words
    assert "settled to 1 %\nafter 9.2 \N{MICRO SIGN}s" in words
    assert "v(x1)" in words
    verticals = [line.get_xdata()[0] for line in fig.axes[0].lines if line.get_xdata()[0] == line.get_xdata()[-1]]
    assert verticals == pytest.approx([1.0, 10.2])


def test_a_circuit_that_does_not_settle_has_no_settling_mark() -> None:
    for settling in (None, float("inf")):
        assert "settled" not in texts(plot.waveforms(TIME, SIGNALS, settling=settling))


def test_an_array_map_writes_each_cell_in_microsiemens() -> None:
    g = np.array([[20e-6, 220e-6], [100e-6, 57.4e-6]])
    fig = plot.array_map([g], ["positive"])
    words = [t.get_text() for t in fig.axes[0].texts]
    assert words == ["20", "220", "100", "57"]
    with pytest.raises(ValueError, match="titles"):
        plot.array_map([g], [])


def test_curves_leave_gaps_where_there_is_no_number() -> None:
    fig = plot.training_curves({"K-FAC": [0.5, 1.0]}, {"K-FAC": [1.0, None]})  # type: ignore[list-item]
    accuracy, loss = (axes.lines[0].get_ydata() for axes in fig.axes)
    assert list(accuracy) == [50.0, 100.0]
    assert np.isnan(loss[1])
    fig = plot.error_by_pass({"plain": [0.3, 0.1]}, stop=2.0**-24)
    assert fig.axes[0].get_yscale() == "log"
    assert "stop rule, 6e-08" in texts(fig)


def test_losses_of_steps_in_running_means() -> None:
    fig = plot.step_losses({"one": {"SGD": [4.0, 2.0, 6.0]}, "two": {"SGD": [4.0, 2.0, 6.0]}}, mean=[1, 2])
    first, second = (axes.lines[0] for axes in fig.axes)
    assert list(first.get_ydata()) == [4.0, 2.0, 6.0]
    assert list(second.get_xdata()) == [2, 3]
    assert list(second.get_ydata()) == [3.0, 4.0]


def test_the_comparison_marks_median_and_95th_percentile_of_known_figures() -> None:
    figures = np.linspace(1e-4, 1e-2, 101)
    error = np.array([0.01, np.nan, -0.02])
    words = texts(plot.surrogate_vs_ngspice(error, error, figures))
    assert "median 5.0e-03" in words or "median 5.1e-03" in words
    assert "95th percentile 9.5e-03" in words
    assert "2 outputs" in words
    plot.to_svg(plot.surrogate_vs_ngspice(error[1:2], error[1:2], error[1:2]))  # nothing known: empty axes, no error


@pytest.mark.parametrize(
    ("largest", "label"),
    [(2e-5, "\N{MICRO SIGN}s"), (1e-9, "ns"), (1.0, "s"), (999.0, "s"), (1000.0, "ks"), (0.0, "s"), (1e-20, "fs")],
)
def test_units_bring_the_largest_number_into_one_to_a_thousand(largest: float, label: str) -> None:
    factor, unit = si_unit(largest, "s")
    assert unit == label
    assert largest in (0.0, 1e-20) or 0.999999 <= largest * factor < 1000


def test_saved_figures_are_what_their_ending_says_and_the_same_each_time(tmp_path: Path) -> None:
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    for ending in plot.FORMATS:
        first, second = (
            plot.save(plot.waveforms(TIME, SIGNALS, settling=9.2e-6), tmp_path / f"{k}{ending}").read_bytes()
            for k in range(2)
        )
        assert first.startswith(starts[ending])
        assert first == second
    assert sorted(p.suffix for p in tmp_path.iterdir()) == sorted(2 * list(plot.FORMATS))
    with pytest.raises(ValueError, match="ending must be one of"):
        plot.save(plot.waveforms(TIME, SIGNALS), tmp_path / "x.gif")


def test_pages_get_a_whole_svg_element_or_a_png_of_print_resolution() -> None:
    fig = plot.error_by_pass({"plain": [0.3, 0.1]})
    assert ET.fromstring(plot.to_svg(fig)).tag.endswith("svg")
    png = base64.b64decode(plot.to_png_uri(fig).removeprefix("data:image/png;base64,"))
    width, _ = struct.unpack(">II", png[16:24])
    assert width == pytest.approx(5.5 * 200, abs=1)


def test_the_look_does_not_depend_on_or_change_the_callers_settings() -> None:
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 30, "axes.grid": False}):
        fig = plot.error_by_pass({"plain": [0.3, 0.1]})
        assert fig.axes[0].xaxis.label.get_fontsize() == 10
    assert dict(mpl.rcParams) == before


def test_pyplot_is_never_imported() -> None:
    code = "import sys, amcsim.plot; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
