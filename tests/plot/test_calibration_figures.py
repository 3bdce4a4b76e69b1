from __future__ import annotations

import numpy as np
import pytest

from amcsim import plot


def test_error_shares_rise_from_zero_to_all_circuits_of_each_family() -> None:
    fig = plot.error_shares({"a": np.array([3e-5, 1e-5, np.nan]), "none": np.zeros(2)}, label="error", bound=5e-3)
    (ax,) = fig.axes
    steps, bound = ax.lines
    assert steps.get_xdata() == pytest.approx([1e-5, 1e-5, 3e-5])
    assert steps.get_ydata() == pytest.approx([0, 50, 100])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a, 2", "bound 5e-03"]
    assert bound.get_xdata()[0] == 5e-3


def test_the_cell_law_is_drawn_in_ohms_over_millivolts_in_order() -> None:
    inner = np.array([2e-3, -1e-3, 0.0])
    fig = plot.cell_law(inner, 98 + inner, 98 + inner)
    points, line = fig.axes[0].lines
    assert line.get_xdata() == pytest.approx([-1, 0, 2])
    assert points.get_ydata() == pytest.approx(98 + inner)
    assert fig.axes[0].get_ylabel() == "its resistance (Ω)"
