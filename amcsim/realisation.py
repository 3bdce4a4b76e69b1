"""One drawn circuit: the conductances, offsets and mismatches that every backend takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amcsim import mapping
from amcsim._types import F64
from amcsim.access import on_resistance
from amcsim.specs import Spec, SpecError
from amcsim.streams import Key
from amcsim.variation import read_cells, varies
from amcsim.write_error import draw_write_errors

__all__ = ["Realisation", "linear_matrix", "realise"]


@dataclass(frozen=True)
class Realisation:
    """The random part of a circuit, drawn once (batched: every array carries the batch's leading axes)."""

    g_pos: F64
    """RRAM conductances of the positive array, (*batch, m, n), S, without the access device."""
    g_neg: F64
    """Likewise of the negative array."""
    offset: F64
    """Input offsets of the solving amplifiers, (*batch, m), V."""
    inverter_offset: F64
    """Input offsets of the inverters' amplifiers, (*batch, n), V."""
    inverter_ratio: F64
    """Feedback over input resistor of each inverter, (*batch, n)."""

    def __getitem__(self, index: int | tuple[int, ...] | np.ndarray) -> Realisation:
        """One member of a batch."""
        return Realisation(
            self.g_pos[index],
            self.g_neg[index],
            self.offset[index],
            self.inverter_offset[index],
            self.inverter_ratio[index],
        )


def realise(a: F64, spec: Spec, key: Key, read: int = 0) -> Realisation:
    """Draw the circuit for a, (*batch, m, m), from named streams: cells, offsets, inverter offsets, mismatches.

    Targets are rounded to the nearest of programming.states. Programming errors: uniform within +-tolerance, gaussian
    with that standard deviation or one by state, or as write-verify leaves them (amcsim.write_error), on the verified
    quantity (the RRAM device, or the whole cell: then 1/g_device = 1/g_cell - R_on). Conductances stay above a tenth of
    g_min. Stuck cells read g_max or g_min whatever their target. What read number `read` of the devices then finds is
    amcsim.variation's: drift, telegraph noise, read noise; reads of one key share all but what is drawn anew each time.
    Raises SpecError for what is not supported, and where verify = "cell" asks for more than the access device lets
    through.
    """
    spec.require_supported()
    targets = mapping.targets(a, spec.cell)
    if spec.programming.states is not None:
        pitch = spec.g_unit / (spec.programming.states - 1)
        targets = spec.cell.g_min + pitch * np.round((targets - spec.cell.g_min) / pitch)
    tolerance = spec.programming.tolerance
    draw = key.child(0).generator()
    if spec.programming.model == "uniform":
        error = draw.random(targets.shape)  # as draw.uniform: its numbers, its rounding, sooner
        error *= 2.0 * tolerance
        error -= tolerance
        targets += error
    elif spec.programming.model == "gaussian":
        table = spec.programming.sigma_by_state
        sigmas = np.array(((0.0, tolerance),) if table is None else table)
        targets = targets + draw.standard_normal(targets.shape) * np.interp(targets, sigmas[:, 0], sigmas[:, 1])
    elif spec.programming.model == "write_verify":
        targets = targets + draw_write_errors(targets, spec.programming, spec.cell, draw)
    cells = np.maximum(targets, 0.1 * spec.cell.g_min, out=targets)
    stuck_on, stuck_off = spec.programming.stuck_on, spec.programming.stuck_off
    if stuck_on + stuck_off > 0:
        chance = key.child(4).generator().random(cells.shape)
        cells = np.where(chance < stuck_on, spec.cell.g_max, cells)
        cells = np.where((chance >= stuck_on) & (chance < stuck_on + stuck_off), spec.cell.g_min, cells)
    series = on_resistance(spec.cell)
    if spec.programming.verify == "cell" and series > 0:
        if cells.max() * series > 0.9:
            raise SpecError(
                f'programming.verify = "cell": a cell of {cells.max():.3g} S cannot be reached through an access '
                f"resistance of {series:.3g} ohm (allowed up to {0.9 / series:.3g} S)"
            )
        cells = cells / (1.0 - cells * series)
    if varies(spec.variation):
        cells = read_cells(cells, spec, key, read)
    shape = a.shape[:-2] + (a.shape[-1],)
    rows = a.shape[:-2] + (a.shape[-2],)
    sigma, mismatch = spec.opamp.offset_sigma, spec.inverter.mismatch_sigma
    return Realisation(
        g_pos=cells[..., 0, :, :],
        g_neg=cells[..., 1, :, :],
        offset=key.child(1).generator().standard_normal(rows) * sigma if sigma else np.zeros(rows),
        inverter_offset=key.child(2).generator().standard_normal(shape) * sigma if sigma else np.zeros(shape),
        inverter_ratio=1.0 + key.child(3).generator().standard_normal(shape) * mismatch if mismatch else np.ones(shape),
    )


def linear_matrix(r: Realisation, spec: Spec) -> F64:
    """(G+ - G-) / g_unit of the realised conductances, (*batch, m, m).

    It is the matrix that ideal amplifiers, no wires and no access devices would solve with: the reference x_lin of
    error_of_error, so that known write errors flatter no model.
    """
    return (r.g_pos - r.g_neg) / spec.g_unit
