"""What is asked of a circuit: the TOML spec file, its presets, and their validation.

Every quantity is SI. A spec is immutable; sections are pydantic models whose ranges are the ranges the rest of the
package was written for, so a wrong magnitude (20 for 20 uS, say) is refused with file, key and allowed range.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

SCHEMA_VERSION = 1
TRANSISTOR_OPAMPS = ("opamp_miller", "opamp_classab")
"""Sub-circuits of circuits/ that `opamp.model` may name."""
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


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, strict=True, use_attribute_docstrings=True
    )


class CellSpec(_Section):
    """1T1R cell: RRAM from bit-line to an internal node, NMOS from there to the source-line."""

    g_min: float = Field(20e-6, ge=1e-9, le=1e-2)
    """Conductance floor of both arrays, S."""
    g_max: float = Field(220e-6, ge=1e-9, le=1e-2)
    """Largest programmed conductance, S."""
    v_read_max: float = Field(0.3, ge=1e-3, le=2.0)
    """Bound on |x|, |xn| and inputs, V: read disturb, not amplifier swing, sets the range."""
    v_disturb: float = Field(0.5, ge=1e-3, le=10.0)
    """Voltage above which a read window moves states, V: an array driven beyond it (and v_read_max) is `disturbed`."""
    iv: Literal["linear", "sinh"] = "linear"
    """RRAM current law: linear I = G V, or I = G V0 sinh(V/V0)."""
    v0: float | None = Field(None, ge=0.05, le=10.0)
    """Curvature voltage of the sinh law at g_max, V (only with iv = "sinh")."""
    v0_exponent: float = Field(0.0, ge=-2.0, le=2.0)
    """V0 of a state G is v0 (G/g_max)^v0_exponent (sinh law)."""
    access: Literal["nmos_350n", "none"] = "none"
    """Access transistor card, or none (RRAM straight from bit-line to source-line)."""
    w: float = Field(20e-6, ge=0.4e-6, le=1e-3)
    """Access transistor width, m."""
    l: float = Field(0.5e-6, ge=0.3e-6, le=1e-4)  # noqa: E741  (the field's own name)
    """Access transistor length, m."""
    wordline: float = Field(5.0, ge=0.0, le=10.0)
    """Word-line voltage of a selected row, V."""
    wordline_off: float = Field(-5.0, ge=-10.0, le=0.0)
    """Word-line voltage of an unselected row, V: the lowest bit-line voltage, else cells leak."""
    bulk: float = Field(-5.0, ge=-10.0, le=0.0)
    """Bulk of the access transistors, V: the lowest supply."""

    @model_validator(mode="after")
    def _ranges(self) -> CellSpec:
        if self.g_min >= self.g_max:
            raise ValueError(f"g_min = {self.g_min:g} S must lie below g_max = {self.g_max:g} S")
        if (self.iv == "sinh") != (self.v0 is not None):
            raise ValueError('v0 goes with iv = "sinh", and "sinh" needs it')
        if self.access != "none" and self.wordline - self.bulk < 3.0:
            raise ValueError("wordline must lie at least 3 V above bulk for the access transistor to conduct")
        return self


class OpampSpec(_Section):
    """Operational amplifier. `ideal`: integrator of infinite DC gain. `linear`: finite gain, poles, output resistance.

    `behavioral`: linear plus slew limit, clamped integrator, output clamp and current limit, supply current.
    """

    model: str = Field("ideal", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
    """Amplifier: ideal, linear, behavioral, or the name of a transistor-level sub-circuit."""
    gain: float = Field(1e5, ge=10.0, le=1e9)
    """DC open-loop gain A0 (not used by `ideal`)."""
    gbw: float = Field(16e6, ge=1e3, le=1e11)
    """Gain-bandwidth product, Hz."""
    second_pole: float | None = Field(None, ge=1e3, le=1e12)
    """Second pole, Hz; absent = none."""
    slew_rate: float = Field(22e6, ge=1e3, le=1e12)
    """Slew rate, V/s (`behavioral`)."""
    swing: float = Field(3.5, ge=0.05, le=50.0)
    """Output clamps at +-swing, V (`behavioral`)."""
    supply: float = Field(5.0, ge=0.5, le=60.0)
    """Supplies are +-supply, V."""
    offset_sigma: float = Field(0.0, ge=0.0, le=0.1)
    """Standard deviation of the input offset of every amplifier, those of the inverters included, V."""
    output_resistance: float = Field(0.0, ge=0.0, le=1e5)
    """Open-loop output resistance, ohm."""
    output_current: float = Field(15e-3, ge=1e-6, le=10.0)
    """Output current limit, A (`behavioral`)."""
    noise_density: float = Field(0.0, ge=0.0, le=1e-5)
    """White input voltage noise, V/sqrt(Hz): read by noise analyses, no part of a DC or transient solve."""
    noise_corner: float = Field(0.0, ge=0.0, le=1e9)
    """1/f corner, Hz: read by noise analyses."""
    quiescent_current: float = Field(0.0, ge=0.0, le=1.0)
    """Supply current at rest, A (`behavioral`)."""
    feedback_capacitance: float = Field(0.0, ge=0.0, le=1e-6)
    """Capacitor from output to inverting input of each solving amplifier, F."""

    @property
    def transistors(self) -> bool:
        """Whether it is an amplifier of transistors, which only ngspice solves."""
        return self.model in TRANSISTOR_OPAMPS

    @model_validator(mode="after")
    def _ranges(self) -> OpampSpec:
        if self.swing > self.supply:
            raise ValueError(f"swing = {self.swing:g} V must not exceed supply = {self.supply:g} V")
        return self


class InverterSpec(_Section):
    """Analog inverter: an op-amp of the same model with two nominally equal resistors."""

    resistance: float = Field(1e3, ge=1.0, le=1e7)
    """Each of the two resistors, ohm."""
    feedback_capacitance: float = Field(0.0, ge=0.0, le=1e-6)
    """Capacitor across the feedback resistor, F."""
    mismatch_sigma: float = Field(0.0, ge=0.0, le=0.2)
    """Relative standard deviation of the resistor ratio (feedback over input)."""


class WireSpec(_Section):
    """Array wiring, and the capacitances at the amplifiers' inputs."""

    layout: Literal["shared", "separate"] = "shared"
    """Both arrays as one of 2m columns (shared), or two, each with its own source-lines (separate)."""
    bl_resistance: float = Field(0.0, ge=0.0, le=1e3)
    """Bit-line resistance a cell pitch, ohm."""
    sl_resistance: float = Field(0.0, ge=0.0, le=1e3)
    """Source-line resistance a cell pitch, ohm."""
    bl_capacitance: float = Field(0.0, ge=0.0, le=1e-9)
    """Bit-line capacitance a cell pitch, F."""
    sl_capacitance: float = Field(0.0, ge=0.0, le=1e-9)
    """Source-line capacitance a cell pitch, F."""
    summing_capacitance: float = Field(0.0, ge=0.0, le=1e-6)
    """Capacitance to ground at each summing node, F."""
    inverter_capacitance: float = Field(0.0, ge=0.0, le=1e-6)
    """Capacitance to ground at each inverter's amplifier input, F."""


def _as_pairs(value: Any) -> Any:
    """TOML and JSON have lists only."""
    return tuple(map(_as_pairs, value)) if isinstance(value, list) else value


StateTable = Annotated[
    tuple[tuple[float, float], ...], BeforeValidator(_as_pairs), Field(min_length=1, max_length=1 << 10)
]
"""A number by state, S and S."""


class ProgrammingSpec(_Section):
    """How programmed conductances depart from their targets."""

    model: Literal["ideal", "uniform", "gaussian", "write_verify"] = "ideal"
    """Write errors: uniform within +-tolerance; gaussian, where tolerance is one standard deviation; write_verify, as
    fitted to write-verify loops in ngspice for tolerances of 10 and 2 uS."""
    tolerance: float = Field(0.0, ge=0.0, le=1e-2)
    """Write tolerance, S."""
    sigma_by_state: StateTable | None = None
    """Pairs (target, standard deviation), S, ascending by target, which gaussian takes instead of tolerance: linear
    between targets, held at the ends. amcsim.write_error.sigma_by_state makes one of write-verify loops."""
    states: int | None = Field(None, ge=2, le=1 << 16)
    """Targets are rounded to so many states, evenly spaced from g_min to g_max; absent = any conductance."""
    verify: Literal["cell", "device"] = "device"
    """Is the target the whole cell's conductance (access resistance inside), or the RRAM device's alone?"""
    stuck_on: float = Field(0.0, ge=0.0, le=1.0)
    """Fraction of cells stuck at g_max."""
    stuck_off: float = Field(0.0, ge=0.0, le=1.0)
    """Fraction of cells stuck at g_min."""

    @model_validator(mode="after")
    def _fractions(self) -> ProgrammingSpec:
        if self.sigma_by_state is not None:
            targets, sigmas = zip(*self.sigma_by_state, strict=True)
            if self.model not in ("gaussian", "ideal"):
                raise ValueError(f'sigma_by_state goes with model = "gaussian", not "{self.model}"')
            if list(targets) != sorted(set(targets)) or not 0.0 <= min(targets) <= max(targets) <= 1e-2:
                raise ValueError("sigma_by_state: targets must ascend within 0 to 0.01 S")
            if not 0.0 <= min(sigmas) <= max(sigmas) <= 1e-2:
                raise ValueError("sigma_by_state: standard deviations must lie within 0 to 0.01 S")
        if self.stuck_on + self.stuck_off > 1.0:
            raise ValueError(f"stuck_on + stuck_off = {self.stuck_on + self.stuck_off:g}: no more than 1 of all cells")
        return self


class VariationSpec(_Section):
    """What a cell reads after it was verified (amcsim.variation); every part is off by default."""

    age: float = Field(1.0, ge=1e-9, le=1e10)
    """Time from the write to the read, s."""
    onset: float = Field(1.0, ge=1e-9, le=1e10)
    """Time after the write at which conductances are as verified, s; before it nothing drifts."""
    drift: float = Field(0.0, ge=-0.5, le=0.5)
    """Mean exponent nu of the drift G (age/onset)^-nu."""
    drift_sigma: float = Field(0.0, ge=0.0, le=0.5)
    """Standard deviation of nu from cell to cell."""
    telegraph_share: float = Field(0.0, ge=0.0, le=1.0)
    """Fraction of cells with an active trap, each filled for its own share of the time, uniform in 0 to 1."""
    telegraph_largest: float = Field(0.2, ge=0.0, le=0.9)
    """Relative fall of the conductance by a filled trap, in the limit of high resistance."""
    telegraph_half: float = Field(5e-6, ge=1e-9, le=1e-2)
    """Conductance at which half of that fall is reached, S."""
    read_sigma: float = Field(0.0, ge=0.0, le=0.5)
    """Relative standard deviation of a cell's conductance from read to read, at g_max."""
    read_exponent: float = Field(0.0, ge=0.0, le=2.0)
    """It grows as (G/g_max)^-read_exponent towards small conductances, up to a half."""


class ConverterSpec(_Section):
    """Data converters; an absent resolution means ideal, never 0 bits."""

    dac_bits: int | None = Field(None, ge=1, le=32)
    """Bits of the input converters."""
    adc_bits: int | None = Field(None, ge=1, le=32)
    """Bits of the output converters."""
    dac_full_scale: float | None = Field(None, ge=1e-3, le=50.0)
    """DAC range is +-full scale, V; absent = cell.v_read_max."""
    adc_full_scale: float | None = Field(None, ge=1e-3, le=50.0)
    """ADC range is +-full scale, V; absent = cell.v_read_max."""
    ranging: Literal["vector", "array"] = "vector"
    """What the power of two between numbers and volts is found for: each right-hand side, so that its own answer fills
    the range; or the array, so that the largest answer to any right-hand side of that size still fits."""
    read_window: float = Field(1e-3, ge=1e-9, le=1.0)
    """Time from the input step to the ADC's sampling instant, s."""
    settling_tolerance: float = Field(1e-3, ge=1e-9, le=0.5)
    """Remaining fraction of the answer's norm at the sampling instant above which a solve is `unsettled`."""


class Spec(_Section):
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


# Zhang et al., "First Demonstration of Second-order Training ... In-memory Analog Matrix Computing": 20-220 uS, write
# error 10 uS (Figs. 7, 9), 350 nm 1T1R (Fig. 4), board-level op-amps, DACs and ADCs (Fig. 3). The paper names no part;
# each value carries its source or the word assumed.
_PKU_350NM: dict[str, dict[str, tuple[Any, str]]] = {
    "cell": {
        "g_min": (20e-6, "paper, Fig. 7"),
        "g_max": (220e-6, "paper, Fig. 7"),
        "v_read_max": (0.3, "assumed: 0.5 V for 1 ms leaves the prototype RRAM model unchanged"),
        "v_disturb": (0.5, "assumed: 0.7 V for 1 ms moves the prototype RRAM model by 1 %"),
        "access": ("nmos_350n", "paper: 350 nm CMOS; card assumed"),
        "w": (20e-6, "assumed"),
        "l": (0.5e-6, "assumed: 5 V device"),
        "wordline": (5.0, "assumed"),
        "wordline_off": (-5.0, "assumed"),
        "bulk": (-5.0, "assumed: lowest supply"),
    },
    "opamp": {
        "model": ("behavioral", "paper, Fig. 3: board-level op-amps; part assumed"),
        "gain": (45e3, "AD823 data sheet, 45 V/mV typical"),
        "gbw": (16e6, "AD823 data sheet"),
        "second_pole": (40e6, "assumed"),
        "slew_rate": (22e6, "AD823 data sheet"),
        "swing": (3.5, "assumed on +-5 V"),
        "supply": (5.0, "assumed"),
        "offset_sigma": (0.8e-3, "AD823 data sheet, maximum taken as one sigma"),
        "output_resistance": (50.0, "assumed"),
        "output_current": (15e-3, "AD823 data sheet"),
        "noise_density": (16e-9, "AD823 data sheet"),
        "noise_corner": (100.0, "assumed"),
        "quiescent_current": (3.5e-3, "assumed, AD823 class (7 mA for two amplifiers)"),
        "feedback_capacitance": (22e-12, "assumed: what the prototype needed for stability"),
    },
    "inverter": {
        "resistance": (1e3, "assumed: prototype"),
        "feedback_capacitance": (10e-12, "assumed: prototype"),
    },
    "wire": {
        "layout": ("shared", "paper, Fig. 3: one 8x8 array"),
        "bl_resistance": (1.0, "assumed: 0.07 ohm a square, 25 um pitch, 2 um wide"),
        "sl_resistance": (1.0, "assumed, likewise"),
        "bl_capacitance": (5e-15, "assumed: 0.2 fF a um, 25 um pitch"),
        "sl_capacitance": (5e-15, "assumed, likewise"),
        "summing_capacitance": (20e-12, "assumed: package, board and amplifier input"),
        "inverter_capacitance": (10e-12, "assumed"),
    },
    "programming": {
        "model": ("uniform", "assumed"),
        "tolerance": (10e-6, "paper, Fig. 9"),
        "verify": ("device", "assumed"),
    },
    "converters": {
        "read_window": (1e-3, "assumed: a microcontroller reads the ADCs (paper, Fig. 3b)"),
        "settling_tolerance": (1e-3, "assumed"),
    },
}

# The paper shows no noise of its cells; forms are those of amcsim.variation, which names their sources.
_VARYING: dict[str, dict[str, tuple[Any, str]]] = {
    "programming": {
        "model": ("write_verify", "write-verify loops in ngspice (calibration/rram_write_error.json)"),
        "tolerance": (10e-6, "paper, Fig. 9"),
        "verify": ("device", "assumed"),
    },
    "variation": {
        "age": (1e4, "assumed: within the paper's retention test of 1e5 s, Fig. 6"),
        "onset": (1.0, "assumed"),
        "drift": (8.7e-4, "assumed: 0.2 % a decade, 1 % over the paper's 1e5 s"),
        "drift_sigma": (8.7e-4, "assumed: as large as its mean (form: Zhao et al., IEDM 2017)"),
        "telegraph_share": (0.3, "assumed"),
        "telegraph_largest": (0.2, "form: Ambrogio et al., IEEE TED 61, 2920 (2014); number assumed"),
        "telegraph_half": (5e-6, "assumed: 0.5 % at 200 uS, 4 % at 20 uS"),
        "read_sigma": (2e-3, "assumed: white noise of one read, a fifth of the telegraph noise"),
        "read_exponent": (0.5, "assumed: noise falls with the root of the filament's cross-section"),
    },
}

_PRESETS: dict[str, dict[str, dict[str, tuple[Any, str]]]] = {
    "ideal": {},
    "pku_350nm": _PKU_350NM,
    "pku_350nm_varying": _PKU_350NM | _VARYING,
}


def preset_names() -> tuple[str, ...]:
    """Names that `preset` takes."""
    return tuple(_PRESETS)


def preset(name: str) -> Spec:
    """The named preset: `ideal` (no wires, no access device, ideal amplifiers and writes), `pku_350nm`, or
    `pku_350nm_varying` (the same with drift, telegraph noise and read noise).

    Raises SpecError for another name.
    """
    if name not in _PRESETS:
        raise SpecError(f"preset {name!r} is unknown; there are {', '.join(_PRESETS)}")
    values = {section: {key: value for key, (value, _) in rows.items()} for section, rows in _PRESETS[name].items()}
    return _validated(values, name)


def preset_sources(name: str) -> dict[str, str]:
    """Where each value of a preset comes from, by `section.key`; what is not named is the schema's default.

    Raises SpecError for an unknown preset.
    """
    preset(name)
    return {f"{section}.{key}": row[1] for section, rows in _PRESETS[name].items() for key, row in rows.items()}


def load_spec(source: str | Path) -> Spec:
    """A spec from a preset's name or a TOML file; a file may name a preset to start from with `base = "pku_350nm"`.

    Raises SpecError, one sentence, for a missing or unreadable file, unknown keys, values out of range.
    """
    if isinstance(source, str) and source in _PRESETS:
        return preset(source)
    path = Path(source)
    try:
        data = read_toml(path)
    except FileNotFoundError:
        raise SpecError(f"spec {str(source)!r} is neither a file nor a preset ({', '.join(_PRESETS)})") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"spec file {path} cannot be read: {_first_line(error)}") from None
    base = data.pop("base", None)
    if base is not None:
        if not isinstance(base, str) or base not in _PRESETS:
            raise SpecError(f"{path}: base = {base!r} is not a preset; there are {', '.join(_PRESETS)}")
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
