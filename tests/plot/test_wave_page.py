"""The page of traces in headless Chromium, used as a person does: mouse, wheel, keys; cursors read what NumPy reads."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from amcsim.plot import wave_page

if TYPE_CHECKING:
    from .conftest import Browser

LEFT, RIGHT = 84, 24
"""Margins of the panels inside the canvas, pixels."""
T = np.r_[0.0, np.cumsum(np.geomspace(1e-9, 20e-9, 999))]
"""Uneven steps, as ngspice takes them."""
SIGNALS = {f"v(x{i})": 0.2 * (1 - np.exp(-T / 1e-6) * np.cos((i + 1) * 2e6 * T)) for i in range(12)}


class Page:
    """A page of traces on the screen."""

    def __init__(self, browser: Browser, folder: Path, *arguments: Any) -> None:
        self.browser = browser
        file = folder / "waves.html"
        file.write_text(wave_page(*arguments), encoding="utf-8")
        browser.open(file)
        assert browser.complaints() == []
        self.left, self.top, self.width = browser.run(
            "(r => [r.x, r.y, r.width])(document.getElementById('over').getBoundingClientRect())"
        )

    def data(self, name: str) -> Any:
        """What the page notes of its last drawing: `range` of the axis, `panels` (y, height, low, high)."""
        return json.loads(self.browser.run(f"document.getElementById('screen').dataset.{name}"))

    def at(self, x: float, log: bool = False) -> float:
        """Pixel of the screen where x lies now."""
        low, high = self.data("range")
        if log:
            x, low, high = np.log([x, low, high])
        return float(self.left + LEFT + (x - low) / (high - low) * (self.width - LEFT - RIGHT))

    def cursor(self, name: str) -> float:
        """Place of a cursor."""
        return float(self.browser.run(f"document.getElementById('{name}').dataset.value"))

    def reading(self, name: str) -> list[float]:
        """A trace's numbers at A, at B, and B - A; NaN where nothing is written."""
        row = f"document.querySelector('tr[data-name=\"{name}\"]')"
        return [
            float(v or "nan")
            for v in self.browser.run(f"[...{row}.querySelectorAll('td')].slice(1).map(e => e.dataset.value)")
        ]

    def text(self, selector: str) -> list[str]:
        """Texts of the elements that are seen."""
        return list(
            self.browser.run(
                f"[...document.querySelectorAll({selector!r})].filter(e => e.offsetParent).map(e => e.textContent)"
            )
        )

    def colour(self, x: float, y: float) -> tuple[int, ...]:
        """Red, green, blue of the drawing at a place of the screen."""
        where = f"getContext('2d').getImageData({x - self.left}, {y - self.top}, 1, 1).data"
        return tuple(self.browser.run(f"[...document.getElementById('plot').{where}].slice(0, 3)"))

    def row(self, value: float, panel: int = 0) -> float:
        """Pixel of the screen where a value of a linear panel lies."""
        y, height, low, high = self.data("panels")[panel]
        return float(self.top + y + (high - value) / (high - low) * height)


def transient(browser: Browser, folder: Path) -> Page:
    """Twelve outputs, four shown, settling marked."""
    traces = {name: (v, "V", False, k < 4) for k, (name, v) in enumerate(SIGNALS.items())}
    return Page(
        browser,
        folder,
        ("time", "s", T, False),
        traces,
        {"settling": (4.6e-6, "s", ("v(x1)", 4.6e-6)), "bandwidth": (float("inf"), "Hz", None)},
        "INV 4x4",
    )


def test_cursors_read_what_numpy_reads(browser: Browser, tmp_path: Path) -> None:
    page = transient(browser, tmp_path)
    browser.click(page.at(1.7e-6), page.top + 200)
    browser.click(page.at(6.1e-6), page.top + 200, modifiers=8)
    a, b = page.cursor("A"), page.cursor("B")
    pixel = T[-1] / (page.width - LEFT - RIGHT)
    assert (a, b) == pytest.approx((1.7e-6, 6.1e-6), abs=pixel)
    for name in list(SIGNALS)[:4]:
        wanted = np.interp([a, b], T, SIGNALS[name])
        assert page.reading(name) == pytest.approx([*wanted, wanted[1] - wanted[0]], rel=1e-12, abs=1e-15)
    assert page.reading("v(x5)") == pytest.approx([np.nan] * 3, nan_ok=True)  # not shown
    seen = page.text("tr[data-name='v(x2)'] td")
    wanted = np.interp([a, b], T, SIGNALS["v(x2)"]) * 1e3
    assert [float(word.split()[0].replace("\N{MINUS SIGN}", "-")) for word in seen[1:3]] == pytest.approx(
        wanted, rel=1e-5
    )
    assert all(word.endswith(" mV") for word in seen[1:3])
    assert float(page.text("#rate")[0].split("= ")[1].split()[0]) == pytest.approx(1e-3 / (b - a), rel=1e-5)  # kHz

    browser.drag((page.at(a), page.top + 100), (page.at(4e-6), page.top + 300))  # a cursor is taken by its line
    assert page.cursor("A") == pytest.approx(4e-6, abs=pixel)
    browser.key("ArrowRight")
    there = page.cursor("A")
    assert there in T
    browser.key("ArrowLeft")
    assert page.cursor("A") == T[np.flatnonzero(there == T)[0] - 1]
    for typed, wanted_place in (("2.5u", 2.5e-6), ("2500 ns", 2.5e-6), ("1e-6", 1e-6), ("-3", 0.0), ("what", 0.0)):
        browser.run("document.getElementById('A').select()")
        browser.type(typed)
        browser.run("document.getElementById('A').dispatchEvent(new Event('change'))")
        assert page.cursor("A") == wanted_place
    assert browser.complaints() == []


def test_zooming_by_box_wheel_and_keys_and_back(browser: Browser, tmp_path: Path) -> None:
    page = transient(browser, tmp_path)
    assert page.data("range") == [0.0, T[-1]]
    whole = page.data("panels")
    browser.drag((page.at(2e-6), page.top + 200), (page.at(3e-6), page.top + 205))
    assert page.data("range") == pytest.approx([2e-6, 3e-6], abs=2 * T[-1] / page.width)
    assert page.data("panels") == whole  # a flat box zooms along the axis only
    browser.drag((page.at(2.2e-6), page.row(0.21)), (page.at(2.4e-6), page.row(0.17)))
    assert page.data("range") == pytest.approx([2.2e-6, 2.4e-6], abs=4e-9)
    assert page.data("panels")[0][2:] == pytest.approx([0.17, 0.21], abs=1e-3)
    middle = page.at(2.3e-6)
    browser.mouse("mouseWheel", middle, page.top + 200, deltaX=0, deltaY=300)
    browser.frame()
    low, high = page.data("range")
    assert (high - low, (low + high) / 2) == pytest.approx((0.2e-6 * 1.0015**300, 2.3e-6), rel=0.03)
    browser.key("+")
    assert np.ptp(page.data("range")) == pytest.approx((high - low) / 2)
    low, high = page.data("range")
    width = page.width - LEFT - RIGHT
    browser.drag((500, page.top + 300), (500 - width / 4, page.top + 300), modifiers=1)  # moved by a quarter
    assert page.data("range") == pytest.approx([low + (high - low) / 4, high + (high - low) / 4], rel=1e-3)
    where = {"x": middle, "y": page.top + 300, "button": "left"}
    for count in (1, 2):
        browser.mouse("mousePressed", **where, clickCount=count)
        browser.mouse("mouseReleased", **where, clickCount=count)
    browser.frame()
    assert page.data("range") == [0.0, T[-1]]
    assert page.data("panels") == whole


def test_traces_are_searched_and_switched(browser: Browser, tmp_path: Path) -> None:
    page = transient(browser, tmp_path)
    names = "tr[data-name] span"
    assert page.text(names) == list(SIGNALS)
    assert page.text("tr[data-name]:not(.off) span") == list(SIGNALS)[:4]
    browser.run("document.getElementById('search').focus()")
    browser.type("X1 v")
    assert page.text(names) == ["v(x1)", "v(x10)", "v(x11)"]
    assert page.text("#found") == ["3 of 12"]
    browser.press("#only")
    assert np.isfinite(page.reading("v(x11)")).all()
    browser.run("document.getElementById('search').value = ''")
    browser.run("document.getElementById('search').dispatchEvent(new Event('input'))")
    assert page.text("tr[data-name]:not(.off) span") == ["v(x1)", "v(x10)", "v(x11)"]
    low, high = page.data("panels")[0][2:]
    browser.press("tr[data-name='v(x1)'] input")
    assert page.text("tr[data-name]:not(.off) span") == ["v(x10)", "v(x11)"]
    browser.press("#hide")
    assert page.text("tr[data-name]:not(.off) span") == []
    assert low < 0 < 0.3 < high
    assert browser.complaints() == []


def test_measures_are_marked_and_listed(browser: Browser, tmp_path: Path) -> None:
    page = transient(browser, tmp_path)
    place = page.at(4.6e-6), page.row(float(np.interp(4.6e-6, T, SIGNALS["v(x1)"])))
    assert page.colour(*place) == (0, 0, 0)
    assert [*page.text("#measures td")] == [
        "1", "settling", "4.6 \N{MICRO SIGN}s", "v(x1) at 4.6 \N{MICRO SIGN}s", "2", "bandwidth", "\N{INFINITY}", "",
    ]  # fmt: skip
    browser.press("#measures button")
    assert page.cursor("A") == 4.6e-6


def test_a_frequency_axis_is_logarithmic_until_switched(browser: Browser, tmp_path: Path) -> None:
    f = np.logspace(1, 8, 351)
    h = 1 / (1 + 1j * f / 1e5)
    gain, noise = 20 * np.log10(np.abs(h)), 16e-9 * np.sqrt(1 + 1e3 / f)
    traces = {"gain": (gain, "dB", False, True), "noise": (noise, "V/sqrt(Hz)", True, True)}
    page = Page(browser, tmp_path, ("frequency", "Hz", f, True), traces)
    browser.click(page.at(1e5, log=True), page.top + 60)
    a = page.cursor("A")
    assert np.log10(a) == pytest.approx(5, abs=7 / (page.width - LEFT - RIGHT))
    assert page.reading("gain")[0] == pytest.approx(np.interp(a, f, gain), rel=1e-12)
    assert page.reading("noise")[0] == pytest.approx(np.interp(a, f, noise), rel=1e-12)
    assert page.data("panels")[1][2] == pytest.approx(np.log10(16e-9), abs=0.1)  # in decades
    assert page.text("#logs label") == ["log frequency", "log magnitude", "log noise density"]
    browser.press("#logs input")
    browser.click(page.at(5e7), page.top + 60)
    assert page.cursor("A") == pytest.approx(5e7, rel=0.01)
    browser.press("#logs label:last-child input")
    assert page.data("panels")[1][3] == pytest.approx(noise.max(), rel=0.1)


def test_no_peak_is_lost_and_gaps_stay_gaps(browser: Browser, tmp_path: Path) -> None:
    """One point of 100,000, at any zoom; nothing is drawn where there is no number."""
    x = np.linspace(0.0, 1.0, 100_001)
    spike, gap = np.zeros(x.size), np.full(x.size, 1.13)
    spike[50_000] = 2.0
    gap[20_000:30_000] = np.nan
    traces = {"s": (spike, "V", False, True), "g": (gap, "V", False, True)}
    page = Page(browser, tmp_path, ("time", "s", x, False), traces)
    assert min(page.colour(round(page.at(0.5)) + d, page.row(1.63))[0] for d in (-1, 0, 1)) < 60
    assert page.colour(page.at(0.43), page.row(1.63)) == (255, 255, 255)
    assert max(page.colour(page.at(0.13), page.row(1.13))) < 255
    assert page.colour(page.at(0.27), page.row(1.13)) == (255, 255, 255)


@pytest.mark.parametrize("order", ["falling", "there and back"])
def test_sweeps_may_run_down_or_there_and_back(browser: Browser, tmp_path: Path, order: str) -> None:
    """A hysteresis is drawn as it was swept; a cursor reads the first crossing."""
    up = np.linspace(-1.0, 1.0, 201)
    x = up[::-1] if order == "falling" else np.r_[up, up[::-1]]
    y = x**2 if order == "falling" else np.r_[up, up[::-1] + 1.0]
    page = Page(browser, tmp_path, ("input", "V", x, False), {"y": (y, "V", False, True)})
    browser.click(page.at(0.5), page.top + 100)
    a = page.cursor("A")
    assert page.reading("y")[0] == pytest.approx(np.interp(a, up, up**2 if order == "falling" else up), rel=1e-9)
    if order != "falling":
        for value in (0.5, 1.5):
            assert min(page.colour(page.at(0.53), page.row(value + 0.03) + d)[0] for d in (-1, 0, 1)) < 150


def test_hostile_names_stay_text_and_the_page_takes_nothing_from_elsewhere(browser: Browser, tmp_path: Path) -> None:
    bad = '</script><img src="https://example.org/x.png" onerror="document.title=1">{{script}}'
    traces = {bad: (np.array([0.0, 1.0]), bad, False, True)}
    page = Page(browser, tmp_path, (bad, "s", np.array([0.0, 1.0]), False), traces, {bad: (1.0, bad, (bad, 0.5))}, bad)
    assert page.text("tr[data-name] span") == [bad]
    assert page.text("h1") == [bad]
    assert browser.run("document.title") == bad
    assert browser.run("document.images.length") == 0
    text = (tmp_path / "waves.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|https?:", text.replace("https://example.org", ""))


def test_a_trace_without_points_or_with_one_is_no_error(browser: Browser, tmp_path: Path) -> None:
    for x in (np.zeros(0), np.array([1.0])):
        page = Page(browser, tmp_path, ("time", "s", x, False), {"y": (x, "V", False, True)})
        browser.click(page.at(1.0), page.top + 100)
        assert browser.complaints() == []


def test_it_prints_on_one_page(browser: Browser, tmp_path: Path) -> None:
    transient(browser, tmp_path)
    pdf = base64.b64decode(browser("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"])
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1


def test_five_hundred_traces_of_five_thousand_points_zoom_without_stutter(browser: Browser, tmp_path: Path) -> None:
    """A redraw takes 20 to 60 ms of the page's thread, all points looked at; counted is its own time on the core."""
    walk = np.random.default_rng(0).normal(size=(500, 5000)).cumsum(axis=1)
    x = np.linspace(0.0, 1e-3, 5000)
    browser("Performance.enable", timeDomain="threadTicks")

    def busy() -> float:
        found = {m["name"]: m["value"] for m in browser("Performance.getMetrics")["metrics"]}
        return float(found["TaskDuration"])

    start = busy()
    traces = {f"v(x{i})": (w, "V", False, True) for i, w in enumerate(walk)}
    page = Page(browser, tmp_path, ("time", "s", x, False), traces)
    assert busy() - start < 4.0
    times = []
    for k in range(12):
        start = busy()
        browser.mouse("mouseWheel", page.at(0.5e-3) if k == 0 else 400, page.top + 200, deltaX=0, deltaY=-150)
        browser.frame()
        times.append(busy() - start)
    assert np.ptp(page.data("range")) < 0.1 * x[-1]
    assert np.median(times) < 0.1
    browser.click(page.at(np.mean(page.data("range"))), page.top + 100)
    a = page.cursor("A")
    assert page.reading("v(x499)")[0] == pytest.approx(np.interp(a, x, walk[499]), rel=1e-12)
