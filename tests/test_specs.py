"""Specs: every range holds, and what is refused is refused in one sentence."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from amcsim.specs import (
    TRANSISTOR_OPAMPS,
    Spec,
    SpecError,
    load_spec,
    preset,
    preset_names,
    preset_sources,
)


def bounded_fields() -> list[tuple[str, str, float, float]]:
    """(section, field, lowest, highest) of every numeric field."""
    found = []
    for section, info in Spec.model_fields.items():
        model = info.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            continue
        for name, field in model.model_fields.items():
            kind = str(field.annotation)
            if ("float" in kind or "int" in kind) and "tuple" not in kind:  # tables have rules of their own
                bounds = {k: getattr(m, k) for m in field.metadata for k in ("ge", "le") if hasattr(m, k)}
                found.append((section, name, bounds["ge"], bounds["le"]))  # KeyError: a number without a range
    return found


FIELDS = bounded_fields()


def toml(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf"
    return repr(value)


def one_sentence(message: str) -> bool:
    return "\n" not in message and 10 < len(message) < 300


def test_there_are_ranges_to_test() -> None:
    assert len(FIELDS) > 35


@pytest.mark.parametrize(("section", "field", "low", "high"), FIELDS, ids=lambda v: str(v))
def test_every_range_is_enforced_and_named(tmp_path: Path, section: str, field: str, low: float, high: float) -> None:
    path = tmp_path / "spec.toml"
    below, above = (low - 1 if low == 0 else low / 2 if low > 0 else 2 * low), (2 * high if high > 0 else high + 1)
    for value in (below, above, math.nan, math.inf):
        if isinstance(low, int) and math.isfinite(value):
            value = math.floor(below) if value == below else math.ceil(above)
        path.write_text(f'base = "pku_350nm"\n[{section}]\n{field} = {toml(value)}\n', encoding="utf-8")
        with pytest.raises(SpecError) as caught:
            load_spec(path)
        message = str(caught.value)
        assert one_sentence(message)
        shown = f"{value:g}" if isinstance(value, float) and math.isfinite(value) else toml(value)
        assert message.startswith(f"{path}: {section}.{field} = {shown}:")
        assert message.endswith(f"(allowed {low:g} to {high:g})")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('base = "pku_350nm"\n[cell]\ngmin = 1e-6\n', ("cell.gmin", "not a known key")),
        ('base = "pku_350nm"\n[cells]\ng_min = 1e-6\n', ("cells", "not a known key")),
        ('base = "pku_350nm"\n[cell]\ng_min = 2e-4\ng_max = 1e-4\n', ("cell", "g_min = 0.0002 S", "below g_max")),
        ('base = "pku_350nm"\n[cell]\ng_min = 1e-4\ng_max = 1e-4\n', ("cell", "below g_max")),
        ('base = "pku_350nm"\n[cell]\niv = "sinh"\n', ("cell", "v0")),
        ('base = "pku_350nm"\n[cell]\nv0 = 0.5\n', ("cell", "v0")),
        ('base = "pku_350nm"\n[cell]\nwordline = 0.0\nbulk = -1.0\n', ("cell", "wordline", "3 V")),
        ('base = "pku_350nm"\n[cell]\naccess = "pmos"\n', ("cell.access", "'pmos'", "'none'")),
        ('base = "pku_350nm"\n[cell]\ng_min = "much"\n', ("cell.g_min", "'much'", "allowed 1e-09 to 0.01")),
        ('base = "pku_350nm"\n[opamp]\nswing = 6.0\n', ("opamp", "swing = 6 V", "supply = 5 V")),
        ('base = "pku_350nm"\n[opamp]\nmodel = "x y"\n', ("opamp.model", "'x y'")),
        ('base = "pku_350nm"\ncell = 3\n', ("cell",)),
        ('base = "board"\n', ("base = 'board'", "ideal, pku_350nm")),
        ('base = ["ideal"]\n', ("base = ['ideal']", "ideal, pku_350nm")),
        ("[cell]\ng_min = 1e-6\n", ("schema_version is missing",)),
        ("schema_version = 2\n", ("schema_version = 2",)),
        ("schema_version = 1\n[cell\n", ("cannot be read",)),
        ("schema_version = 1\n[cell]\ng_min = 1e-6\ng_min = 1e-5\n", ("cannot be read",)),
    ],
)
def test_a_file_that_cannot_be_used_gives_one_sentence(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_spec(str(path))
    message = str(caught.value)
    assert one_sentence(message)
    assert str(path) in message
    for word in words:
        assert word in message


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="neither a file nor a preset"):
        load_spec("board.toml")
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"schema_version = 1 # \xe9\n")
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path / "latin.toml")


def test_base_gives_what_the_file_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text('base = "pku_350nm"\n[wire]\nbl_resistance = 2\n', encoding="utf-8")
    wanted = preset("pku_350nm").replace(wire={"bl_resistance": 2.0})
    assert load_spec(path) == wanted
    assert load_spec(path).wire.sl_resistance == preset("pku_350nm").wire.sl_resistance
    path.write_text("schema_version = 1\n[wire]\nbl_resistance = 2\n", encoding="utf-8")
    assert load_spec(path) == preset("ideal").replace(wire={"bl_resistance": 2.0})


def test_presets_are_valid_and_supported() -> None:
    for name in preset_names():
        assert load_spec(name) == preset(name) == Spec.model_validate(preset(name).model_dump())
        assert preset(name).require_supported() is not None
    assert preset("pku_350nm").g_unit == pytest.approx(200e-6, rel=1e-12)
    with pytest.raises(SpecError, match="'board' is unknown; there are ideal, pku_350nm"):
        preset("board")


@pytest.mark.parametrize(
    ("section", "fields", "said"),
    [
        ("opamp", {"model": "ad823"}, 'opamp.model = "ad823" is no amplifier of circuits/'),
        ("opamp", {"model": "opamp_miller", "supply": 12.0}, 'opamp.supply = 12: "opamp_miller" is biased for 5 V'),
    ],
)
def test_what_no_backend_supports_is_refused(section: str, fields: dict[str, Any], said: str) -> None:
    spec = preset("ideal").replace(**{section: fields})
    with pytest.raises(SpecError) as caught:
        spec.require_supported()
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("model", TRANSISTOR_OPAMPS)
def test_transistors_have_a_behavioural_equivalent_and_equations_only_in_ngspice(model: str) -> None:
    spec = preset("pku_350nm").replace(opamp={"model": model, "supply": 4.6, "swing": 3.0, "offset_sigma": 2e-3})
    assert spec.require_supported() is spec
    stands_for = spec.equivalent().opamp
    assert (stands_for.model, stands_for.supply, stands_for.offset_sigma) == ("behavioral", 4.6, 2e-3)
    assert stands_for.feedback_capacitance == spec.opamp.feedback_capacitance
    with pytest.raises(SpecError, match=f"ngspice backend solves and nodal does not: `amcsim opamp {model} -o"):
        spec.require_equations("nodal")
    behavioral = preset("pku_350nm")
    assert behavioral.equivalent() is behavioral.require_equations("nodal") is behavioral


def test_replace_validates_and_leaves_the_original_alone() -> None:
    spec = preset("ideal")
    assert spec.replace(cell={"g_max": 1e-4}).cell.g_max == 1e-4
    assert spec.cell.g_max == 220e-6
    with pytest.raises(SpecError, match=r"replace: wire\.bl_resistance = -1: .*\(allowed 0 to 1000\)"):
        spec.replace(wire={"bl_resistance": -1.0})
    with pytest.raises(SpecError, match="wires is not a known key"):
        spec.replace(wires={"bl_resistance": 1.0})
    with pytest.raises(ValueError, match="frozen"):
        spec.cell.g_max = 1.0  # type: ignore[misc]
    assert hash(spec) == hash(Spec())  # specs are keys of caches


def test_every_value_of_a_preset_says_where_it_comes_from_and_what_it_means() -> None:
    sources, values = preset_sources("pku_350nm"), preset("pku_350nm").model_dump(exclude={"schema_version"})
    default = preset("ideal").model_dump()
    changed = {f"{s}.{k}" for s, fields in values.items() for k, v in fields.items() if v != default[s][k]}
    assert changed <= set(sources)
    assert all(re.match(r"paper|AD823 data sheet|assumed", text) for text in sources.values())
    assert preset_sources("ideal") == {}
    for section, fields in values.items():
        described = type(getattr(preset("ideal"), section)).model_fields
        assert [k for k in fields if not described[k].description] == []
    with pytest.raises(SpecError, match="unknown"):
        preset_sources("nowhere")
