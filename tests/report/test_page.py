from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest

from amcsim.plot import error_by_pass
from amcsim.report.page import (
    Section,
    count,
    document,
    facts,
    figure,
    number,
    paragraph,
    percent,
    provenance,
    quantity,
    table,
)

VOID = {"meta", "img", "br"}


class Outline(HTMLParser):
    """Checks that tags nest, and keeps what could load something from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        assert tag not in ("script", "link", "iframe", "object", "embed")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(text: str) -> Outline:
    parser = Outline()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def test_a_page_is_whole_numbered_and_loads_nothing_from_elsewhere() -> None:
    fig = figure(error_by_pass({"a & b": [0.1, 0.01]}), "Error by pass of `A`, <1 %.")
    rows = [("x0 < 1", "2.5"), ("x1", "3.5")]
    sections = [Section("First", [fig, table(["name", "value (V)"], rows, "Outputs.")]), Section("Second", [])]
    page = document("A & B", [paragraph("See `results.json`.")], sections, "made by hand")
    links = outline(page).links
    assert [link for link in links if not link.startswith("data:image/svg+xml;base64,")] == ["#s1", "#s2"]
    assert "<h2>2. Second</h2>" in page
    assert "<title>A &amp; B</title>" in page
    assert "x0 &lt; 1" in page
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", page)

    svg = base64.b64decode(next(link for link in links if link.startswith("data:")).split(",")[1]).decode()
    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert 'href="http' not in svg.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert 'alt="Error by pass of A, &lt;1 %."' in page


def test_tables_align_numbers_and_refuse_ragged_rows() -> None:
    text = table(["name", "value"], [("a", "1")], "Caption.")
    assert '<td>a</td><td class="n">1</td>' in text
    assert "<thead>" not in facts([("a", "b")], "Facts.")
    with pytest.raises(ValueError, match=r"'Ragged.': \('a',\) does not fit 2 columns"):
        table(["name", "value"], [("a",)], "Ragged.")


def test_numbers_read_as_in_print() -> None:
    assert [number(v) for v in (0.0, 0.25, -1.5, 0.001, 12345.6)] == ["0", "0.25", "\u22121.5", "0.001", "12,300"]
    assert number(45156.5, 6) == "45,156.5"
    assert number(3.9e-5, 2) == "3.9 × 10⁻⁵"
    assert number(-2.5e7) == "\u22122.50 × 10⁷"
    assert [number(v) for v in (None, float("nan"), float("inf"))] == ["–"] * 3
    assert [percent(0.1312), percent(None)] == ["13.1 %", "–"]
    assert [count(13900), count(None)] == ["13,900", "–"]
    assert [quantity(2.2e-11, "F"), quantity(1.6e-8, "V/sqrt(Hz)"), quantity(1e3, "ohm")] == [
        "22 pF", "16 nV/√Hz", "1 kΩ"
    ]  # fmt: skip


def test_the_footer_says_what_made_a_page_and_leaves_out_what_is_unknown() -> None:
    manifest = {
        "versions": {"amcsim": "1.0", "ngspice": None},
        "seed": 3,
        "command": "amcsim demo",
        "git_revision": None,
        "time": "2026-01-01T00:00:00+00:00",
        "platform": "Linux",
    }
    assert provenance(manifest) == "Made by `amcsim demo`, seed 3, 2026-01-01T00:00:00+00:00. amcsim 1.0. Linux."
    assert "revision abc." in provenance(manifest | {"git_revision": "abc", "seed": None})


def test_figures_keep_their_size_in_inches() -> None:
    fig = error_by_pass({"a": list(np.geomspace(1, 1e-6, 7))})
    assert 'width="528" height="326"' in figure(fig, "x")  # 5.5 x 3.4 inches of 96 pixels
