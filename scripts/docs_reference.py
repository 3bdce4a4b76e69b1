"""MkDocs hook: fills the pages' `<!-- reference: NAME -->` lines from the code, so that no table can drift from it."""

from __future__ import annotations

import ast
import inspect
import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

MARK = re.compile(r"^<!-- reference: ([\w -]+) -->$", flags=re.MULTILINE)
_UNIT = re.compile(r", (V/sqrt\(Hz\)|V/s|ohm/V|ohm|Hz|S|V|A|F|m|s)(?![\w/])")


def on_page_markdown(markdown: str, **_: object) -> str:
    """MkDocs calls this with the text of each page."""
    return MARK.sub(lambda found: REFERENCES[found[1]](), markdown)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def unit(description: str) -> str:
    """The unit that a field's description names, empty where it is a number or a word."""
    found = _UNIT.search(description)
    return found[1] if found else ""


def number(value: float) -> str:
    """A number as one would type it: 20e-6 rather than 2e-05."""
    if value == 0 or 1e-2 <= abs(value) < 1e4:
        return f"{value:g}"
    power = 3 * math.floor(math.log10(abs(value)) / 3 + 1e-9)
    return f"{value / 10.0**power:.6g}e{power}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "absent"
    return f'`"{value}"`' if isinstance(value, str) else f"`{_shown(value)}`"


def _shown(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _allowed(field: FieldInfo) -> str:
    """Bounds, or the words of a choice, or the kind of value."""
    bounds = {
        name: getattr(item, name) for item in field.metadata for name in ("ge", "gt", "le") if hasattr(item, name)
    }
    if "le" in bounds:
        return f"{number(bounds['ge'])} to {number(bounds['le'])}"
    if bounds:
        return f"{'above' if 'gt' in bounds else 'from'} {number(next(iter(bounds.values())))}"
    words = [word for word in _literals(field.annotation) if word is not None]
    return ", ".join(f'`"{w}"`' if isinstance(w, str) else f"`{w}`" for w in words) or _kind(field.annotation)


def _literals(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is not None and "Literal" in str(get_origin(annotation)):
        yield from get_args(annotation)


def _kind(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"an object, `{annotation.__name__}` below"
    if "tuple[tuple[float" in str(annotation):
        return "a list of pairs of numbers"
    parts = [part for part in get_args(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
    names = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
    names |= {tuple: "whole numbers", dict: "a table of whole numbers"}
    return f"an object, `{parts[0].__name__}` below" if parts else names.get(get_origin(annotation) or annotation, "")


def keys(model: type[BaseModel], prefix: str = "") -> str:
    """One table row a field of a pydantic model."""
    rows = []
    for name, field in model.model_fields.items():
        text = descriptions(model)[name]
        rows.append([f"`{prefix}{name}`", _default(field), unit(text), _allowed(field), text])
    return _table(["key", "default", "unit", "allowed", "meaning"], rows)


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What each field of a pydantic model means; empty where nothing says so."""
    documented = _attribute_docs(model)
    return {name: field.description or documented.get(name, "") for name, field in model.model_fields.items()}


def _attribute_docs(kind: type) -> dict[str, str]:
    """The docstrings under the attributes of a class, by name."""
    body = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    found = {}
    for one, two in itertools.pairwise(body):
        target = (
            one.target if isinstance(one, ast.AnnAssign) else one.targets[0] if isinstance(one, ast.Assign) else None
        )
        if isinstance(target, ast.Name) and isinstance(two, ast.Expr) and isinstance(two.value, ast.Constant):
            found[target.id] = str(two.value.value)
    return found


def spec_keys() -> str:
    """Every section of the spec file with its keys."""
    from amcsim.specs import Spec

    parts = []
    for section, field in Spec.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            parts += [f"#### [{section}]", " ".join((model.__doc__ or "").split()), keys(model)]
    return "\n\n".join(parts)


def campaign_keys() -> str:
    """The campaign file's keys, as a file spells them: a name for the spec, a file for recorded systems."""
    from amcsim.campaign.design import Campaign

    lines = [line for line in keys(Campaign).splitlines() if not line.startswith("| `recorded`")]
    return "\n".join(re.sub(r"an object, `Spec` below", "a preset or a file", line) for line in lines)


def families() -> str:
    """The matrix families of campaigns."""
    from amcsim.campaign.families import FAMILIES

    rows = [[f"`{name}`", draw.__doc__ or ""] for name, draw in FAMILIES.items()]
    return _table(
        ["family", "matrices, (m, m)"], [*rows, ["`recorded`", "Leaf blocks of `recorded_file`, picked at random."]]
    )


def surrogate_keys() -> str:
    """The surrogate file's keys, part by part."""
    from amcsim.surrogate.confidence import Confidence
    from amcsim.surrogate.model import CellLaw, Domain, Figures, Surrogate

    parts = CellLaw, Domain, Figures, Confidence
    return "\n\n".join([keys(Surrogate), *(f"`{part.__name__}`:\n\n{keys(part)}" for part in parts)])


def presets() -> str:
    """The values of each preset that differ from the defaults, with their sources."""
    from amcsim.specs import preset, preset_names, preset_sources

    parts = []
    for name in preset_names():
        spec, rows = preset(name), []
        for key, source in preset_sources(name).items():
            section, field = key.split(".")
            value = getattr(getattr(spec, section), field)
            rows.append([f"`{key}`", f"`{_shown(value)}`", source])
        parts.append(f"#### {name}\n\n" + (_table(["key", "value", "source"], rows) if rows else "The defaults above."))
    return "\n\n".join(parts)


def statuses() -> str:
    """Statuses and reasons with their numbers in arrays and files."""
    from amcsim.status import Reason, Status

    parts = []
    for kind in (Status, Reason):
        texts = _attribute_docs(kind)
        rows = [[str(int(one)), f"`{one}`" if str(one) else "", texts.get(one.name, "")] for one in kind]
        parts.append(_table(["number", kind.__name__.lower(), "meaning"], rows))
    return "\n\n".join(parts)


def commands() -> Iterator[str]:
    """Every command that does something, as typed."""
    from amcsim.cli import app

    def walk(name: str, one: Any) -> Iterator[str]:
        children = getattr(one, "commands", None)
        if children is None:
            yield name
        else:
            for word, child in children.items():
                yield from walk(f"{name} {word}", child)

    yield from walk("amcsim", typer.main.get_command(app))


def command_reference() -> str:
    """What `--help` prints of every command on a terminal of 80 columns."""
    from amcsim.cli import app

    parts = []
    for name in commands():
        said = CliRunner().invoke(app, [*name.split()[1:], "--help"], prog_name="amcsim", env={"COLUMNS": "80"})
        parts.append(f"## {name}\n\n```text\n{said.stdout.strip()}\n```")
    return "\n\n".join(parts)


REFERENCES: dict[str, Callable[[], str]] = {
    "spec keys": spec_keys,
    "presets": presets,
    "campaign keys": campaign_keys,
    "families": families,
    "surrogate keys": surrogate_keys,
    "statuses": statuses,
    "commands": command_reference,
}
