"""The sections of a spec file: keys, units, defaults, and the ranges that the rest of the package was written for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = [
    "TRANSISTOR_OPAMPS",
    "CellSpec",
    "ConverterSpec",
    "InverterSpec",
    "OpampSpec",
    "ProgrammingSpec",
    "Section",
    "VariationSpec",
    "WireSpec",
]

TRANSISTOR_OPAMPS = ("opamp_miller", "opamp_classab")
"""Sub-circuits of circuits/ that `opamp.model` may name."""


class Section(BaseModel):
    """Frozen; unknown keys and other types are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, strict=True, use_attribute_docstrings=True
    )


class CellSpec(Section):
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


class OpampSpec(Section):
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


class InverterSpec(Section):
    """Analog inverter: an op-amp of the same model with two nominally equal resistors."""

    resistance: float = Field(1e3, ge=1.0, le=1e7)
    """Each of the two resistors, ohm."""
    feedback_capacitance: float = Field(0.0, ge=0.0, le=1e-6)
    """Capacitor across the feedback resistor, F."""
    mismatch_sigma: float = Field(0.0, ge=0.0, le=0.2)
    """Relative standard deviation of the resistor ratio (feedback over input)."""


class WireSpec(Section):
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


class ProgrammingSpec(Section):
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


class VariationSpec(Section):
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


class ConverterSpec(Section):
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
