"""Typed results: JSON without traces, a panel for each unit, measures marked."""

from __future__ import annotations

import json

import numpy as np

from amcsim.analysis.result import Axis, Measure, Result, Trace


def bode() -> Result:
    """A first-order low-pass of 1 kHz."""
    f = np.logspace(1, 5, 41)
    h = 1 / (1 + 1j * f / 1e3)
    return Result(
        "ac",
        "low-pass",
        Axis("frequency", "Hz", f, log=True),
        {"gain": Trace(20 * np.log10(np.abs(h)), "dB"), "phase": Trace(np.degrees(np.angle(h)), "deg")},
        {"bandwidth": Measure(1e3, "Hz", ("gain", 1e3)), "none": Measure(float("nan"), "Hz", ("gain", float("nan")))},
        {"poles": [-6283.2]},
    )


def test_the_figure_has_a_panel_for_each_unit_and_marks_measures_that_exist() -> None:
    """dB above deg, one logarithmic axis, the bandwidth named with its value."""
    fig = bode().plot()
    top, bottom = fig.axes
    assert (top.get_ylabel(), bottom.get_ylabel()) == ("magnitude (dB)", "phase (deg)")
    assert (bottom.get_xlabel(), bottom.get_xscale()) == ("frequency (Hz)", "log")
    labels = [text.get_text() for text in top.get_legend().get_texts()]
    assert labels == ["gain", "bandwidth: 1 kHz"]


def test_the_object_holds_measures_and_details_without_traces() -> None:
    """Traces go to files."""
    found = bode().as_dict()
    assert found["measures"]["bandwidth"] == {"value": 1e3, "unit": "Hz"}
    assert found["poles"] == [-6283.2]
    assert len(json.dumps(found["measures"]["bandwidth"])) < 100
    assert "traces" not in found


def test_what_is_counted_is_drawn_as_points_with_their_names() -> None:
    axis = Axis("corner", "", np.arange(3.0), points=("slow", "typical", "fast"))
    figure = Result("corners", "c", axis, {"op.error": Trace(np.array([0.1, np.nan, 0.3]), "")}).plot()
    (panel,) = figure.axes
    assert panel.lines[0].get_linestyle() == "None"
    assert [label.get_text() for label in panel.get_xticklabels()] == ["slow", "typical", "fast"]
    assert panel.get_ylabel() == "op.error"


def test_more_traces_than_a_legend_holds_are_counted() -> None:
    traces = {f"x{i}": Trace(np.array([0.0, float(i)]), "V") for i in range(12)}
    (panel,) = Result("dc", "d", Axis("s", "", np.arange(2.0)), traces).plot().axes
    assert panel.get_legend().get_title().get_text() == "12 traces"
