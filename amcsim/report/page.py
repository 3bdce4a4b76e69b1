"""One self-contained HTML page from small pieces: sections, paragraphs, tables, figures.

Pieces are strings of HTML; text is escaped here and nowhere else, and `word` between back-ticks becomes code. Pictures
are data URIs and the style is inline, so that a page opens offline, and its content policy lets nothing else load.
"""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Section",
    "count",
    "document",
    "facts",
    "figure",
    "number",
    "paragraph",
    "percent",
    "provenance",
    "quantity",
    "table",
]

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 900px; background: #fff; color: #1c1c1c;
  counter-reset: figures tables;
  font: 16px/1.55 "Helvetica Neue", Arial, "Liberation Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; }
h2 { font-size: 1.3rem; margin: 2.8rem 0 .5rem; padding-top: .7rem; border-top: 1px solid #d8d8d4; }
p { margin: .6rem 0; max-width: 46rem; }
a { color: #00548a; }
nav ol { margin: 0; padding-left: 1.5rem; columns: 2; column-gap: 2.5rem; }
nav { margin: 1.2rem 0; }
code { font: .9em "DejaVu Sans Mono", Menlo, Consolas, monospace; background: #f0f0ec; padding: 0 .2em; }
figure { margin: 1.4rem 0; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { margin: .5rem 0; max-width: 46rem; font-size: .9rem; color: #444; }
figcaption::before { counter-increment: figures; content: "Figure " counter(figures) ". "; font-weight: bold; }
.table figcaption::before { counter-increment: tables; content: "Table " counter(tables) ". "; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .8rem .28rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #e4e4e0; }
th { border-bottom: 1px solid #777; font-weight: 600; vertical-align: bottom; }
td.n, th.n { text-align: right; white-space: nowrap; }
footer { margin-top: 3rem; padding-top: .7rem; border-top: 1px solid #d8d8d4; font-size: .85rem; color: #444; }
@page { size: A4; margin: 16mm 15mm; }
@media print {
  :root { font-size: 9.5pt; }
  body { max-width: none; padding: 0; font-size: 1rem; }
  nav { display: none; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  thead { display: table-header-group; }
  .table { break-inside: auto; overflow: visible; }
  .table figcaption { break-after: avoid; }
  a { color: inherit; text-decoration: none; }
}
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_DASH = "–"


@dataclass(frozen=True)
class Section:
    """A numbered section: its title and its pieces, HTML each."""

    title: str
    pieces: Sequence[str]


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{_inline(text)}</p>"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str, *, words: Sequence[int] = (0,)) -> str:
    """A table of text cells; columns hold numbers, aligned right, but for those listed in `words`.

    Raises ValueError for a row of another length than the header.
    """
    wrong = [row for row in rows if len(row) != len(columns)]
    if wrong:
        raise ValueError(f"table {caption!r}: {wrong[0]} does not fit {len(columns)} columns")
    side = ["" if k in words else ' class="n"' for k in range(len(columns))]
    names = "".join(f"<th{s}>{_inline(name)}</th>" for s, name in zip(side, columns, strict=True))
    head = f"<thead><tr>{names}</tr></thead>\n" if any(columns) else ""
    body = "\n".join(
        "<tr>" + "".join(f"<td{s}>{_inline(cell)}</td>" for s, cell in zip(side, row, strict=True)) + "</tr>"
        for row in rows
    )
    return (
        f'<figure class="table"><figcaption>{_inline(caption)}</figcaption>\n<table>{head}'
        f"<tbody>\n{body}\n</tbody></table></figure>"
    )


def facts(rows: Sequence[tuple[str, str]], caption: str) -> str:
    """A table of names and values in words."""
    return table(["", ""], rows, caption, words=(0, 1))


def figure(fig: Figure, caption: str) -> str:
    """A figure with its caption, as vector graphics of its own size in inches (96 pixels each)."""
    from amcsim.plot import to_svg

    data = base64.b64encode(to_svg(fig).encode()).decode()
    width, height = (round(96 * float(inches)) for inches in fig.get_size_inches())
    alt = html.escape(caption.replace("`", ""), quote=True)
    return (
        f'<figure><img src="data:image/svg+xml;base64,{data}" width="{width}" height="{height}" alt="{alt}">\n'
        f"<figcaption>{_inline(caption)}</figcaption></figure>"
    )


def document(title: str, lead: Sequence[str], sections: Sequence[Section], footer: str) -> str:
    """The whole page: title, lead pieces, contents, numbered sections, footer (plain text)."""
    numbered = list(enumerate(sections, 1))
    contents = "".join(f'<li><a href="#s{k}">{_inline(s.title)}</a></li>' for k, s in numbered)
    body = "\n".join(
        f'<section id="s{k}">\n<h2>{k}. {_inline(s.title)}</h2>\n' + "\n".join(s.pieces) + "\n</section>"
        for k, s in numbered
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{_inline(title)}</h1>
{chr(10).join(lead)}
<nav><ol>{contents}</ol></nav>
{body}
<footer>{_inline(footer)}</footer>
</body>
</html>
"""


def provenance(manifest: Mapping[str, Any]) -> str:
    """One line on what made a page, from manifest.json's content."""
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items() if version)
    revision = f", revision {manifest['git_revision']}" if manifest["git_revision"] else ""
    seed = "" if manifest["seed"] is None else f", seed {manifest['seed']}"
    return f"Made by `{manifest['command']}`{seed}, {manifest['time']}. {versions}{revision}. {manifest['platform']}."


def number(value: float | None, digits: int = 3) -> str:
    """A number in `digits` significant digits, powers of ten beyond 0.001 to 100,000; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return _DASH
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        text = f"{value:,.{digits}g}"
        return (f"{float(text):,.0f}" if "e" in text else text).replace("-", "\N{MINUS SIGN}")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = str(int(exponent)).translate(_SUPERSCRIPTS)
    return f"{mantissa} × 10{power}".replace("-", "\N{MINUS SIGN}")


def percent(value: float | None, digits: int = 3) -> str:
    """A ratio in per cent; a dash where there is none."""
    return _DASH if value is None or not math.isfinite(value) else f"{number(100 * value, digits)} %"


def count(value: int | None) -> str:
    """A whole number with thousands apart; a dash where there is none."""
    return _DASH if value is None else f"{value:,}"


def quantity(value: float, unit: str, digits: int = 4) -> str:
    """A value in SI units with a prefix: 22 pF."""
    from amcsim.plot.style import si_unit

    factor, label = si_unit(abs(value), unit.replace("ohm", "Ω").replace("sqrt(Hz)", "√Hz"))
    return f"{number(value * factor, digits)} {label}"
