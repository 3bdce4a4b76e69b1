"""The error that write-verify leaves: quantiles by state, fitted to ngspice runs, kept in calibration/, drawn here.

Vocabulary, as the transistor's card is: a realisation needs the numbers, so they come as package data. Who ran the
loops and fitted them: amcsim.analysis.write_verify and amcsim.device.writes. An error is drawn by inverting its
cumulative distribution, linear between the stored probabilities and between the two states next to the target.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from amcsim._types import F64
from amcsim.specs import CellSpec, ProgrammingSpec, SpecError

__all__ = ["TABLE", "WriteError", "draw_write_errors", "load_write_errors", "sigma_by_state", "write_error"]

TABLE = "rram_write_error.json"
"""The file in calibration/."""


@dataclass(frozen=True, eq=False)
class WriteError:
    """Quantiles of (verified - target) for one tolerance and one verified quantity."""

    verify: str
    """cell or device."""
    tolerance: float
    """S."""
    targets: F64
    """States that were run, ascending, (s,), S."""
    probabilities: F64
    """Ascending from 0 to 1, (p,)."""
    quantiles: F64
    """(s, p), S."""

    def quantile(self, target: F64, probability: F64) -> F64:
        """Errors (S) at probabilities for targets (S), broadcast together; targets inside the range that was run."""
        target, probability = np.broadcast_arrays(target, probability)
        state = np.clip(np.searchsorted(self.targets, target, side="right") - 1, 0, self.targets.size - 2)
        part = (target - self.targets[state]) / (self.targets[state + 1] - self.targets[state])
        column = np.clip(
            np.searchsorted(self.probabilities, probability, side="right") - 1, 0, self.probabilities.size - 2
        )
        low = self.probabilities[column]
        weight = (probability - low) / (self.probabilities[column + 1] - low)

        def at(row: Any) -> Any:
            return (1 - weight) * self.quantiles[row, column] + weight * self.quantiles[row, column + 1]

        return np.asarray((1 - part) * at(state) + part * at(state + 1), dtype=np.float64)


def load_write_errors(text: str) -> tuple[WriteError, ...]:
    """The tables of a file's text. Raises SpecError for what is no such file."""
    try:
        data = json.loads(text)
        if data["schema_version"] != 1:
            raise SpecError(f"write-error table: schema_version = {data['schema_version']!r}; this release reads 1")
        p = np.array(data["probabilities"], dtype=np.float64)
        tables = tuple(
            WriteError(row["verify"], float(row["tolerance"]), np.array(row["targets"]), p, np.array(row["quantiles"]))
            for row in data["tables"]
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise SpecError(f"write-error table: not readable ({error})") from None
    for table in tables:
        if table.quantiles.shape != (table.targets.size, p.size) or not np.isfinite(table.quantiles).all():
            raise SpecError("write-error table: quantiles must be finite, a row a target, a column a probability")
    return tables


@lru_cache
def _shipped() -> tuple[tuple[WriteError, ...], dict[str, Any]]:
    text = (files("amcsim.calibration") / TABLE).read_text(encoding="utf-8")
    return load_write_errors(text), json.loads(text)["cell"]


def write_error(programming: ProgrammingSpec, cell: CellSpec) -> WriteError:
    """The shipped table for a spec. Raises SpecError, one sentence, for what the fit does not cover."""
    tables, fitted = _shipped()
    if cell.access != "none":
        for key, value in fitted.items():
            found = getattr(cell, key)
            if found != value:
                raise SpecError(
                    f'cell.{key} = {found!r}: the fit of programming.model = "write_verify" was run with {value!r} only'
                )
    elif programming.verify == "cell":
        raise SpecError('programming.verify = "cell": with cell.access = "none" there is no cell but the device')
    table = next(
        (t for t in tables if t.verify == programming.verify and abs(t.tolerance / programming.tolerance - 1) < 1e-9)
        if programming.tolerance > 0
        else iter(()),
        None,
    )
    if table is None:
        known = ", ".join(f"{t.tolerance:g}" for t in tables if t.verify == programming.verify)
        raise SpecError(
            f'programming.tolerance = {programming.tolerance:g} S: the fit of "write_verify" covers {known} S'
        )
    low, high = float(table.targets[0]), float(table.targets[-1])
    for key in ("g_min", "g_max"):
        g = getattr(cell, key)
        if not low * (1 - 1e-9) <= g <= high * (1 + 1e-9):
            raise SpecError(f'cell.{key} = {g:g} S: the fit of "write_verify" covers {low:g} to {high:g} S')
    return table


def draw_write_errors(
    targets: F64, programming: ProgrammingSpec, cell: CellSpec, generator: np.random.Generator
) -> F64:
    """One error (S) for each target (S). Raises SpecError as `write_error`."""
    table = write_error(programming, cell)
    return table.quantile(np.clip(targets, table.targets[0], table.targets[-1]), generator.random(targets.shape))


def sigma_by_state(programming: ProgrammingSpec, cell: CellSpec) -> tuple[tuple[float, float], ...]:
    """(target, standard deviation of the error), S, of write-verify loops, as programming.sigma_by_state takes them.

    `programming` names tolerance and verified quantity, whatever its model. Between quantiles a and b at probabilities
    d apart the error's density is uniform: E[e] gains d (a + b)/2, E[e^2] d (a^2 + a b + b^2)/3. Raises SpecError as
    `write_error`.
    """
    table = write_error(programming, cell)
    share = np.diff(table.probabilities)
    low, high = table.quantiles[:, :-1], table.quantiles[:, 1:]
    mean = (share * (low + high) / 2).sum(axis=1)
    sigma = np.sqrt((share * (low**2 + low * high + high**2) / 3).sum(axis=1) - mean**2)
    return tuple(zip(table.targets.tolist(), sigma.tolist(), strict=True))
