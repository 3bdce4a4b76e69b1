"""A spec as a table: every value with its unit, its meaning, and for a preset its source."""

from __future__ import annotations

import re

from pydantic import BaseModel

from amcsim.report.page import number, quantity, table
from amcsim.specs import Spec, preset, preset_names, preset_sources

__all__ = ["technology_rows", "technology_table"]

_UNIT = re.compile(r", (ohm|S|V/s|V/sqrt\(Hz\)|Hz|V|A|F|m|s)(?=[.;:]? |[.;:]?$)")
"""Field descriptions name the unit after a comma: "Wire resistance a cell pitch, ohm."."""
_DEFAULT = "default"


def technology_rows(spec: Spec) -> list[tuple[str, str, str, str]]:
    """(key, value, meaning, source) of every field that has a value; sources are empty where spec is no preset."""
    names = [name for name in preset_names() if preset(name) == spec]
    sources = preset_sources(names[0]) if names else {}
    rows = []
    for section, fields in spec:
        if not isinstance(fields, BaseModel):
            continue
        for key, info in type(fields).model_fields.items():
            value = getattr(fields, key)
            if value is None:
                continue
            about = info.description or ""
            unit = _UNIT.search(about)
            shown = quantity(value, unit[1]) if unit else number(value, 4) if isinstance(value, float) else str(value)
            meaning = about.replace(unit[0], "", 1) if unit else about
            where = sources.get(f"{section}.{key}", _DEFAULT if names else "")
            rows.append((f"`{section}.{key}`", shown, meaning.replace("+-", "±"), where.replace("+-", "±")))
    return rows


def technology_table(spec: Spec, caption: str) -> str:
    """The table as HTML."""
    rows = technology_rows(spec)
    if any(source for *_, source in rows):
        return table(["key", "value", "meaning", "source"], rows, caption, words=(0, 2, 3))
    return table(["key", "value", "meaning"], [row[:3] for row in rows], caption, words=(0, 2))
