"""The campaign file: which circuits are drawn, from which technology, with which seed."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from amcsim._types import F64
from amcsim.campaign.families import draw_system, families_of, leaf_blocks
from amcsim.specs import Spec, load_spec, preset_names, read_toml, sentence
from amcsim.streams import Key
from amcsim.variation import varies

__all__ = ["HELD_OUT_EVERY", "Campaign", "CampaignError", "Round", "load_campaign", "load_recorded"]

LATER = (("programming", "states"), ("programming", "sigma_by_state"), ("converters", "ranging"))
"""Keys of a spec that are younger than the first campaigns."""
_SOBOL = 2**31 + 3
"""First number of the path of scrambled sequences; validation has those before."""
HELD_OUT_EVERY = 4
"""Of each family and size every fourth sample is held out of the fit."""


class CampaignError(ValueError):
    """A campaign file that cannot be used: one sentence."""


class Round(BaseModel):
    """Circuits that a campaign has grown by (amcsim.campaign.grow): families in turn, and sizes in turn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    design: Literal["random", "sobol", "adaptive"]
    """random as the first ones; sobol: matrices and vectors of those in the fit from a low-discrepancy sequence;
    adaptive: picked among random candidates, all of them in the fit."""
    candidates: int = Field(ge=1, le=100_000_000)
    """Sample ids that the round takes."""
    first: int = Field(0, ge=0)
    """Point at which its low-discrepancy sequences begin."""
    picked: tuple[int, ...] | None = None
    """Candidates that are run, ascending; absent: all."""

    @property
    def numbers(self) -> Sequence[int]:
        """Of the candidates that are run."""
        return range(self.candidates) if self.picked is None else self.picked


class Campaign(BaseModel):
    """A design of experiments. Sample ids count through the families in order, sizes within a family in turn."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    schema_version: Literal[1]
    """Version of the file's own schema."""
    circuit: Literal["inv", "mvm"] = "inv"
    """Circuit that is drawn and fitted."""
    spec: Spec
    """Technology."""
    sizes: tuple[int, ...] = Field(min_length=1, max_length=16)
    """Sides of square matrices; a third of the MVM circuits are rectangular with sides up to the size."""
    seed: int = Field(ge=0)
    """Names every random draw."""
    samples: dict[str, int]
    """Number of circuits by family."""
    sweep_conductances: int = Field(12, ge=3, le=200)
    """Device conductances of the single-cell sweep, geometrically over the realisable range."""
    sweep_voltages: int = Field(20, ge=4, le=1000)
    """Voltages of the single-cell sweep, both polarities."""
    target_median: float = Field(1e-3, gt=0.0)
    """Largest median error of error on held-out circuits of a fit that is saved as valid."""
    target_p95: float = Field(5e-3, gt=0.0)
    """Largest 95th percentile, likewise."""
    largest_size: int | None = Field(None, ge=1, le=256)
    """Largest matrix size that the surrogate may be asked, beyond those fitted; absent: none."""
    wire_resistance: float | None = Field(None, ge=0.0, le=100.0)
    """Largest resistance of a wire's segment that it may be asked, from 0 on, ohm; absent: the spec's alone."""
    rounds: tuple[Round, ...] = Field((), repr=False)
    """What it has grown by, in order; `calibrate --grow-to` adds to them, in rounds.json beside the samples."""
    recorded: dict[int, F64] = Field(default_factory=dict, repr=False)
    """Leaf blocks by size, (k, m, m), for the family "recorded"."""

    @model_validator(mode="after")
    def _check(self) -> Campaign:
        families = families_of(self.circuit)
        for family, count in self.samples.items():
            if family not in families and family != "recorded":
                raise ValueError(f"samples.{family} is no family; there are {', '.join(families)}, recorded")
            if not 0 <= count <= 10_000_000:
                raise ValueError(f"samples.{family} = {count} is outside 0 to 10000000")
        if sum(self.samples.values()) < 8:
            raise ValueError("samples: a campaign needs at least 8 circuits")
        for m in self.sizes:
            if not 1 <= m <= 64:
                raise ValueError(f"sizes holds {m}, outside 1 to 64")
            if self.samples.get("recorded", 0) and m not in self.recorded:
                raise ValueError(f'samples.recorded: recorded systems for size {m} are missing (key "recorded_file")')
        if max(self.samples.values()) < (least := HELD_OUT_EVERY * len(self.sizes)):
            raise ValueError(f"samples: one family needs {least} circuits, so that the fit holds some of each size out")
        return self

    @property
    def total(self) -> int:
        """Number of samples."""
        return sum(self.samples.values()) + sum(len(r.numbers) for r in self.rounds)

    @property
    def end(self) -> int:
        """First number that is no sample id."""
        return sum(self.samples.values()) + sum(r.candidates for r in self.rounds)

    @property
    def ids(self) -> list[int]:
        """Ids of all samples, ascending."""
        found, start = list(range(sum(self.samples.values()))), sum(self.samples.values())
        for r in self.rounds:
            found += [start + number for number in r.numbers]
            start += r.candidates
        return found

    def with_rounds(self, rounds: Sequence[Round]) -> Campaign:
        """The same with these rounds instead."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return Campaign(**fields | {"rounds": tuple(rounds)})

    @cached_property
    def sha256(self) -> str:
        """Hash of all that decides the samples."""
        said = self.model_dump(exclude={"recorded": True, "spec": {"cell": {"v_disturb"}}})  # neither decides any
        del said["target_median"], said["target_p95"]  # nor do these
        del said["largest_size"], said["wire_resistance"]
        if not self.rounds:
            del said["rounds"]
        for section, key in LATER:  # at its default a younger key leaves the hash of older campaigns as it was
            if said["spec"][section][key] == type(getattr(self.spec, section)).model_fields[key].default:
                del said["spec"][section][key]
        if not varies(self.spec.variation):
            del said["spec"]["variation"]
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
        for m in sorted(self.recorded):
            digest.update(np.ascontiguousarray(self.recorded[m]).tobytes())
        return digest.hexdigest()

    def locate(self, sample: int) -> tuple[str, int, int]:
        """(family, size, number within the family and, after the first ones, the round) of a sample id."""
        rest, families = sample, list(self.samples)
        for family, count in self.samples.items():
            if rest < count:
                return family, self.sizes[rest % len(self.sizes)], rest
            rest -= count
        if sample >= self.end:
            raise IndexError(f"sample {sample} is outside 0 to {self.end - 1}")
        _, number = self._in_round(sample)
        number, which = divmod(number, len(families))
        return families[which], self.sizes[number % len(self.sizes)], number

    def _in_round(self, sample: int) -> tuple[Round | None, int]:
        """The round of a sample id, None for the first samples, and its number there."""
        rest = sample - sum(self.samples.values())
        for r in self.rounds if rest >= 0 else ():
            if rest < r.candidates:
                return r, rest
            rest -= r.candidates
        return None, sample

    def held_out(self, sample: int) -> bool:
        """Whether the fit does not see this sample."""
        grown, _ = self._in_round(sample)
        if grown is not None and grown.design == "adaptive":
            return False
        return self.locate(sample)[2] // len(self.sizes) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1

    def draw(self, sample: int) -> tuple[F64, F64, Key]:
        """(a, vector, key of the realisation) of a sample: named streams, so any worker draws the same."""
        family, m, number = self.locate(sample)
        key, number, sobol = Key(self.seed, (sample,)), number // len(self.sizes), None
        grown, _ = self._in_round(sample)
        if grown is not None and grown.design == "sobol" and not self.held_out(sample):
            kind = list(self.samples).index(family)
            sobol = Key(self.seed, (_SOBOL, kind)), grown.first + number - (number + 1) // HELD_OUT_EVERY
        return draw_system(self.circuit, family, m, number, key, self.recorded.get(m), sobol)


def load_recorded(path: Path, sizes: tuple[int, ...]) -> dict[int, F64]:
    """Leaf blocks by size from an .npz of recorded systems (`amcsim train --snapshots`). Raises CampaignError."""
    try:
        with open(path, "rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            systems = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise CampaignError(f"recorded systems {path} cannot be read: {why}") from None
    try:
        return {m: leaf_blocks(systems, m) for m in sizes}
    except ValueError as error:
        raise CampaignError(f"{path}: {error}") from None


def load_campaign(path: Path | str) -> Campaign:
    """Read a campaign file; `spec` is a preset or a spec file beside it, `recorded_file` an .npz beside it.

    Raises CampaignError or SpecError, one sentence.
    """
    path = Path(path)
    try:
        data = read_toml(path)
    except FileNotFoundError:
        raise CampaignError(f"campaign file {path} does not exist") from None
    except (OSError, ValueError) as error:
        raise CampaignError(f"campaign file {path} cannot be read: {str(error).splitlines()[0]}") from None
    name = data.get("spec")
    if not isinstance(name, str):
        raise CampaignError(f"{path}: spec = {name!r} must name a preset ({', '.join(preset_names())}) or a spec file")
    spec = load_spec(name if name in preset_names() else path.parent / name)
    data["spec"] = spec.require_equations("a campaign's surrogate")
    recorded = data.pop("recorded_file", None)
    if recorded is not None:
        if not isinstance(recorded, str):
            raise CampaignError(f"{path}: recorded_file = {recorded!r} must be a file name")
        sizes = data.get("sizes")
        sizes = [s for s in sizes if isinstance(s, int) and s > 0] if isinstance(sizes, list) else []
        data["recorded"] = load_recorded(path.parent / recorded, tuple(sizes))
    try:
        return Campaign.model_validate(data)
    except ValidationError as error:
        raise CampaignError(f"{path}: {sentence(error)}") from None
