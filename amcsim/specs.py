"""What is asked of a circuit: the TOML spec file, its presets, and their validation.

Every quantity is SI. A spec is immutable; a wrong magnitude (20 for 20 uS, say) is refused with file, key and allowed
range. Sections are in amcsim.sections, the presets' values in amcsim.presets.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from amcsim.presets import PRESETS
from amcsim.sections import (
    TRANSISTOR_OPAMPS,
    CellSpec,
    ConverterSpec,
    InverterSpec,
    OpampSpec,
    ProgrammingSpec,
    Section,
    VariationSpec,
    WireSpec,
)

SCHEMA_VERSION = 1
LARGEST_FILE = 1 << 20
"""Bytes of a spec or campaign file; a longer one, or a device without an end, is no such file."""

__all__ = [
    "SCHEMA_VERSION",
    "TRANSISTOR_OPAMPS",
    "CellSpec",
    "ConverterSpec",
    "InverterSpec",
    "OpampSpec",
    "ProgrammingSpec",
    "Spec",
    "SpecError",
    "VariationSpec",
    "WireSpec",
    "load_spec",
    "preset",
    "preset_names",
    "preset_sources",
    "read_toml",
]


class SpecError(ValueError):
    """A spec that cannot be used: one sentence naming file, key, value and allowed range."""


class Spec(Section):
    """One circuit technology: everything but the matrix, the right-hand side and the seed."""

    schema_version: Literal[1] = 1
    cell: CellSpec = CellSpec()
    opamp: OpampSpec = OpampSpec()
    inverter: InverterSpec = InverterSpec()
    wire: WireSpec = WireSpec()
    programming: ProgrammingSpec = ProgrammingSpec()
    variation: VariationSpec = VariationSpec()
    converters: ConverterSpec = ConverterSpec()

    @property
    def g_unit(self) -> float:
        """Unit conductance g_max - g_min, S: the conductance of a matrix entry of size a_max."""
        return self.cell.g_max - self.cell.g_min

    def replace(self, **sections: Mapping[str, Any]) -> Spec:
        """A copy with some fields of some sections replaced, validated anew: `spec.replace(wire={"bl_resistance": 2})`.

        Raises SpecError.
        """
        data = self.model_dump()
        for section, fields in sections.items():
            data.setdefault(section, {}).update(fields)
        return _validated(data, "replace")

    def require_supported(self) -> Spec:
        """This spec, or SpecError naming the first field that no backend supports."""
        model, supply = self.opamp.model, self.opamp.supply
        if model not in ("ideal", "linear", "behavioral", *TRANSISTOR_OPAMPS):
            raise SpecError(
                f'opamp.model = "{model}" is no amplifier of circuits/: there are ideal, linear, behavioral, '
                f"{', '.join(TRANSISTOR_OPAMPS)}; `amcsim opamp FILE` makes a behavioural section of any other"
            )
        if self.opamp.transistors and not 4.5 <= supply <= 5.5:
            raise SpecError(f'opamp.supply = {supply:g}: "{model}" is biased for 5 V (allowed 4.5 to 5.5)')
        return self

    def require_equations(self, backend: str) -> Spec:
        """This spec, or SpecError where its amplifiers are transistors, for which only ngspice has equations."""
        if self.opamp.transistors:
            raise SpecError(
                f'opamp.model = "{self.opamp.model}" has transistors, which the ngspice backend solves and {backend} '
                f"does not: `amcsim opamp {self.opamp.model} -o spec.toml` writes the behavioural [opamp] section that "
                "stands for it"
            )
        return self

    def equivalent(self) -> Spec:
        """This spec, transistors replaced by the behavioural section that stands for them (`circuits/opamp_*.toml`)."""
        return _equivalent(self) if self.opamp.transistors else self


@lru_cache(maxsize=64)
def _equivalent(spec: Spec) -> Spec:
    text = (files("amcsim.circuits") / f"{spec.opamp.model}.toml").read_text(encoding="utf-8")
    section, supply = tomllib.loads(text)["opamp"], spec.opamp.supply
    return spec.replace(opamp=section | {"supply": supply, "swing": min(section["swing"], supply)})


def preset_names() -> tuple[str, ...]:
    """Names that `preset` takes."""
    return tuple(PRESETS)


def preset(name: str) -> Spec:
    """The named preset: `ideal` (no wires, no access device, ideal amplifiers and writes), `pku_350nm`, or
    `pku_350nm_varying` (the same with drift, telegraph noise and read noise).

    Raises SpecError for another name.
    """
    if name not in PRESETS:
        raise SpecError(f"preset {name!r} is unknown; there are {', '.join(PRESETS)}")
    values = {section: {key: value for key, (value, _) in rows.items()} for section, rows in PRESETS[name].items()}
    return _validated(values, name)


def preset_sources(name: str) -> dict[str, str]:
    """Where each value of a preset comes from, by `section.key`; what is not named is the schema's default.

    Raises SpecError for an unknown preset.
    """
    preset(name)
    return {f"{section}.{key}": row[1] for section, rows in PRESETS[name].items() for key, row in rows.items()}


def load_spec(source: str | Path) -> Spec:
    """A spec from a preset's name or a TOML file; a file may name a preset to start from with `base = "pku_350nm"`.

    Raises SpecError, one sentence, for a missing or unreadable file, unknown keys, values out of range.
    """
    if isinstance(source, str) and source in PRESETS:
        return preset(source)
    path = Path(source)
    try:
        data = read_toml(path)
    except FileNotFoundError:
        raise SpecError(f"spec {str(source)!r} is neither a file nor a preset ({', '.join(PRESETS)})") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"spec file {path} cannot be read: {_first_line(error)}") from None
    base = data.pop("base", None)
    if base is not None:
        if not isinstance(base, str) or base not in PRESETS:
            raise SpecError(f"{path}: base = {base!r} is not a preset; there are {', '.join(PRESETS)}")
        merged = preset(base).model_dump()
        for section, fields in data.items():
            if isinstance(fields, dict) and isinstance(merged.get(section), dict):
                merged[section].update(fields)
            else:
                merged[section] = fields
        data = merged
    elif "schema_version" not in data:
        raise SpecError(f"{path}: schema_version is missing; this release reads schema_version = {SCHEMA_VERSION}")
    version = data.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION or not isinstance(version, int) or isinstance(version, bool):
        raise SpecError(f"{path}: schema_version = {version!r}; this release reads schema_version = {SCHEMA_VERSION}")
    return _validated(data, str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file of up to LARGEST_FILE bytes. Raises OSError, and ValueError for all else."""
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError(f"it is longer than {LARGEST_FILE} bytes")
    try:
        return tomllib.loads(content.decode())
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def _validated(data: Mapping[str, Any], where: str) -> Spec:
    try:
        return Spec.model_validate(data)
    except ValidationError as error:
        raise SpecError(f"{where}: {sentence(error)}") from None


def sentence(error: ValidationError) -> str:
    """The first problem of a pydantic error as one sentence: key, what is wrong, value, allowed range."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "file"
    key = key[:80] if key.isprintable() else repr(key)[:80]
    value = first.get("input")
    if first["type"] == "extra_forbidden":
        return f"{key} is not a known key"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" or isinstance(value, dict):
        return f"{key}: {message}"
    shown = f"{value:g}" if isinstance(value, float) and math.isfinite(value) else repr(value)[:80]
    return f"{key} = {shown}: {message[0].lower()}{message[1:]}{_allowed(key)}"


def _allowed(key: str) -> str:
    """The allowed range of `section.field`, in brackets, where it has one."""
    section, _, field = key.partition(".")
    if section not in Spec.model_fields or not field:
        return ""
    model = Spec.model_fields[section].annotation
    if not (isinstance(model, type) and issubclass(model, BaseModel)) or field not in model.model_fields:
        return ""
    bounds: dict[str, float] = {}
    for item in model.model_fields[field].metadata:
        for name in ("ge", "le"):
            if hasattr(item, name):
                bounds[name] = getattr(item, name)
    return f" (allowed {bounds['ge']:g} to {bounds['le']:g})" if len(bounds) == 2 else ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
