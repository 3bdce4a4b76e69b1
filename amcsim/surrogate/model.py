"""Fitted parameters, their domain and held-out figures, and the file they live in."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from amcsim._types import F64
from amcsim.specs import LARGEST_FILE, Spec, sentence
from amcsim.surrogate.confidence import Confidence

__all__ = [
    "CellLaw",
    "Domain",
    "DomainError",
    "Figures",
    "Surrogate",
    "SurrogateFileError",
    "load_surrogate",
    "save_surrogate",
]

SCHEMA_VERSION = 1


class SurrogateFileError(ValueError):
    """A surrogate file that cannot be used: one sentence."""


class DomainError(ValueError):
    """A circuit outside the domain that the surrogate was fitted and validated on."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CellLaw(_Part):
    """Series law of the access device, fitted to single-cell sweeps: with the inner node at v_n = I R_on,

    R_on = r0 + r_even v_n + r_odd |v_n|.
    """

    r0: float = Field(ge=0.0, le=1e7)
    """At rest, ohm."""
    r_even: float = Field(0.0, ge=-1e6, le=1e6)
    """Even part, ohm/V: the channel's mean potential lowers the overdrive."""
    r_odd: float = Field(0.0, ge=-1e6, le=1e6)
    """Odd part, ohm/V: mobility reduction counts from the lower of both ends."""

    def conductance(self, g: F64) -> F64:
        """Small-signal conductance of a cell with device conductance g, S."""
        return g / (1.0 + g * self.r0)

    def current(self, v: F64, g: F64, v0: F64) -> tuple[F64, F64]:
        """Current (A) and slope dI/dV (S) of sinh cells with curvature voltage v0 at v; arrays that broadcast.

        Newton on v = v0 asinh(I/(g v0)) + I R_on, the inner node at I r0.
        """
        current = v * self.conductance(g)
        slope = np.broadcast_to(self.conductance(g), current.shape)
        for _ in range(30):
            reduced = current / (g * v0)
            bend = self.r_even + self.r_odd * np.sign(current)
            drop = self.r0 * current * (1.0 + bend * current)
            slope = 1.0 / (1.0 / (g * np.hypot(1.0, reduced)) + self.r0 * (1.0 + 2.0 * bend * current))
            step = (v - v0 * np.arcsinh(reduced) - drop) * slope
            current = current + step
            if np.abs(step).max(initial=0.0) <= 1e-14 * max(float(np.abs(current).max(initial=0.0)), 1e-12):
                break
        return current, slope


class Domain(_Part):
    """Where the surrogate may be asked."""

    sizes: tuple[int, ...]
    """Matrix sizes fitted."""
    largest_size: int | None = None
    """Largest size that may be asked beyond those; absent: none."""
    wire_resistance: float | None = None
    """Largest resistance of a wire's segment that may be asked, from 0 on and in either layout, ohm; absent: the
    fitted wires alone."""
    g_min: float
    """Smallest realised device conductance, S."""
    g_max: float
    """Largest realised device conductance, S."""
    v_max: float = Field(gt=0)
    """Largest output or input voltage, V."""


class Figures(_Part):
    """Held-out figures: error_of_error (amcsim.campaign.sample) on circuits that the fit never saw."""

    samples: int
    """Held-out circuits that ngspice calls ok."""
    error_of_error_median: float
    """Median error of error."""
    error_of_error_p95: float
    """Its 95th percentile."""
    relative_error_median: float
    """Median of ||x - x_spice|| / ||x_spice||."""
    cell_law_rms: float
    """Root mean square of the cell law's relative residual on its sweeps."""
    certificates_checked: int
    """Circuits on which the fast verdict was held against the full one; none may disagree."""
    timed_reads: int = 0
    """Held-out circuits whose transients ngspice ran: settling, power and energy of their reads."""
    settling_error_median: float | None = None
    """Median relative error of the settling time."""
    settling_error_p95: float | None = None
    """Its 95th percentile."""
    power_error_median: float | None = None
    """Median relative error of the power drawn after settling."""
    power_error_p95: float | None = None
    """Its 95th percentile."""
    energy_error_median: float | None = None
    """Median relative error of the energy drawn until then."""
    energy_error_p95: float | None = None
    """Its 95th percentile."""
    signal_energy_error_median: float | None = None
    """Likewise of what is left of the energy without the amplifiers' quiescent currents."""
    signal_energy_error_p95: float | None = None
    """Its 95th percentile."""


class Surrogate(_Part):
    """One fitted technology."""

    schema_version: Literal[1] = 1
    """Version of the file's own schema."""
    circuit: Literal["inv", "mvm"] = "inv"
    """Circuit fitted."""
    spec: Spec
    """Technology fitted, complete."""
    cell: CellLaw
    """Series law of the access device."""
    gain: float = Field(ge=1.0, le=1e12)
    """Open-loop gain seen in ngspice."""
    output_resistance: float = Field(ge=0.0, le=1e6)
    """Output resistance of the amplifiers seen in ngspice, ohm."""
    fast_verdict: bool
    """Whether the fast verdict never contradicted the full one on the campaign; else every array takes the full one."""
    domain: Domain
    """Outside it the surrogate refuses."""
    figures: Figures | None = None
    """How far it was off on held-out circuits."""
    confidence: Confidence | None = None
    """How far an answer may be off, told from the answer and its array."""
    valid: bool = True
    """Whether the held-out figures met the campaign's targets; where not, only `validate` loads the file."""
    campaign_sha256: str = ""
    """Hash of all that decides the campaign's samples."""
    ngspice_version: str = ""
    """The simulator behind it."""

    def require(self, spec: Spec, shape: tuple[int, int], g: F64, circuit: str = "inv") -> None:
        """Raise DomainError unless this may stand for a circuit of that kind and shape with device conductances g, S.

        MVM may be rectangular, with no side longer than the largest size fitted. SpecError for transistor amplifiers.
        """
        spec.require_equations("a surrogate")
        if circuit != self.circuit:
            raise DomainError(f"the surrogate was fitted to {self.circuit.upper()} circuits, not to {circuit.upper()}")
        sizes, most = self.domain.sizes, self.domain.largest_size or 0
        if max(shape) > most and ((shape[0] not in sizes) if circuit == "inv" else (max(shape) > max(sizes))):
            fitted, wanted = ", ".join(str(s) for s in sizes), "x".join(str(s) for s in shape)
            fitted += f" and holds to {most}" if most else ""
            raise DomainError(f"the surrogate was fitted for sizes {fitted}, not {wanted}; calibrate one for it")
        difference = _technology_difference(self.spec, spec, self.domain.wire_resistance)
        if difference:
            raise DomainError(difference)
        low, high = float(g.min()), float(g.max())
        if low < self.domain.g_min * (1 - 1e-12) or high > self.domain.g_max * (1 + 1e-12):
            raise DomainError(
                f"realised conductances {low:.3g} to {high:.3g} S leave the fitted range "
                f"{self.domain.g_min:.3g} to {self.domain.g_max:.3g} S"
            )


@lru_cache(maxsize=64)
def _technology_difference(fitted: Spec, spec: Spec, wire_resistance: float | None) -> str:
    """What of the circuit's technology differs, as a sentence; empty where nothing does."""
    free = ("bl_resistance", "sl_resistance", "layout") if wire_resistance is not None else ()
    for key in free[:2]:
        if getattr(spec.wire, key) > (wire_resistance or 0.0):
            return (
                f"the surrogate holds for wire.{key} up to {wire_resistance:g} ohm, the spec has "
                f"{getattr(spec.wire, key):g}; calibrate one for it"
            )
    if free:
        spec = spec.replace(wire={key: getattr(fitted.wire, key) for key in free})
    drawn: dict[str, dict[str, float]] = {
        "cell": {"v_disturb": 0.5},
        "opamp": {"offset_sigma": 0.0},
        "inverter": {"mismatch_sigma": 0.0},
    }
    for section in ("cell", "opamp", "inverter", "wire"):
        mine = getattr(fitted.replace(**drawn), section).model_dump()
        theirs = getattr(spec.replace(**drawn), section).model_dump()
        for key, value in mine.items():
            narrower = key == "v_read_max" and theirs[key] <= value  # lower voltages than the fitted ones
            if theirs[key] != value and not narrower:
                return (
                    f"the surrogate was fitted with {section}.{key} = {value}, the spec has {theirs[key]}; "
                    "calibrate one for it"
                )
    return ""


def save_surrogate(surrogate: Surrogate, path: Path) -> None:
    """Write the file (temporary name, then renamed)."""
    from amcsim.runs.files import write_text

    write_text(path, json.dumps(surrogate.model_dump(), indent=2, allow_nan=False) + "\n")


def load_surrogate(path: Path | str, *, invalid: bool = False) -> Surrogate:
    """Read a surrogate file. Raises SurrogateFileError, one sentence; for one marked invalid unless `invalid`."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ValueError(f"it is longer than {LARGEST_FILE} bytes")
        data = json.loads(content.decode())
    except FileNotFoundError:
        raise SurrogateFileError(f"surrogate file {path} does not exist") from None
    except RecursionError:
        raise SurrogateFileError(f"surrogate file {path} cannot be read: its values are nested too deeply") from None
    except (OSError, ValueError) as error:
        raise SurrogateFileError(f"surrogate file {path} cannot be read: {str(error).splitlines()[0]}") from None
    found = data.get("schema_version") if isinstance(data, dict) else None
    if found != SCHEMA_VERSION or isinstance(found, bool):
        raise SurrogateFileError(
            f"{path}: schema_version = {found!r}; this release reads schema_version = {SCHEMA_VERSION}"
        )
    try:
        surrogate = Surrogate.model_validate(data)
    except ValidationError as error:
        raise SurrogateFileError(f"{path}: {sentence(error)}") from None
    if not (surrogate.valid or invalid):
        raise SurrogateFileError(
            f"{path} is marked invalid: its held-out figures miss the campaign's targets; `amcsim validate` says more"
        )
    return surrogate


def fit_cell_law(g: F64, v: F64, current: F64, v0: F64 | None = None) -> tuple[CellLaw, float]:
    """Fit the series law to sweeps of single cells of device conductance g (S): bit-line voltage v (V), current (A).

    All are (n,); v0: curvature voltages of sinh cells, V. Returns the law and the root mean square relative residual of
    the current. The measured series resistance is what the device, v0 asinh(I/(g v0)) or I/g, leaves of v, over I; the
    fit is linear in the three coefficients, weighted by the current share that it moves.
    """
    device = current / g if v0 is None else v0 * np.arcsinh(current / (g * v0))
    r = (v - device) / current
    if float(np.abs(r * g).max()) < 1e-9:
        return CellLaw(r0=0.0), float(np.sqrt(np.mean((r * g) ** 2)))
    inner = v - device
    columns = np.stack([np.ones_like(inner), inner, np.abs(inner)], axis=1)
    weight = g * np.abs(v)
    solution = np.linalg.lstsq(columns * weight[:, None], r * weight, rcond=None)[0]
    law = CellLaw(r0=float(solution[0]), r_even=float(solution[1]), r_odd=float(solution[2]))
    rms = math.sqrt(float(np.mean(((columns @ solution - r) * g) ** 2)))
    return law, rms
