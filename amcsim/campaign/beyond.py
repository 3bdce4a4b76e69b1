"""Sizes and wires beyond the fitted ones, where ngspice is too slow for statistics: the nodal equations judge there.

They know the wires, the amplifiers' limits and every pole, but access devices as resistors. What the fit adds to that,
the devices' curvature, belongs to the single cell, whatever array it is in; `amcsim validate` holds the whole against
ngspice where that can be waited for.
"""

from __future__ import annotations

import numpy as np

from amcsim._types import F64
from amcsim.access import on_resistance
from amcsim.campaign.design import Campaign
from amcsim.campaign.families import draw_matrix, families_of
from amcsim.campaign.sample import error_of_error
from amcsim.realisation import linear_matrix, realise
from amcsim.solvers.arrays import nodal_array, surrogate_array
from amcsim.solvers.exact import solve_or_nan
from amcsim.specs import Spec
from amcsim.status import Status
from amcsim.streams import Key
from amcsim.surrogate.model import CellLaw, Surrogate

__all__ = ["BEYOND_TOLERANCE", "check_beyond", "straight"]

BEYOND_TOLERANCE = 1e-3
"""error_of_error against the nodal equations up to which the surrogate holds."""
_LARGEST = 64
"""Sizes are tried up to this one, doubled from the largest fitted: a 128x128 takes the nodal equations seconds."""
_EACH = 2
"""Circuits of each family."""


def straight(surrogate: Surrogate, spec: Spec) -> Surrogate:
    """The surrogate with what the nodal equations know of cells and amplifiers in the place of what was fitted."""
    known = {"gain": 1e12, "output_resistance": 0.0}
    if spec.opamp.model != "ideal":
        known = {"gain": spec.opamp.gain, "output_resistance": spec.opamp.output_resistance}
    return surrogate.model_copy(update=known | {"cell": CellLaw(r0=on_resistance(spec.cell))})


def check_beyond(surrogate: Surrogate, campaign: Campaign) -> None:
    """Raises ValueError where the surrogate does not hold in the sizes and wires that the campaign claims for it.

    Tried are sizes doubled from the largest fitted one on, without wires and with the largest resistance: each answer
    within BEYOND_TOLERANCE, and no status of the fast verdict that the full one denies.
    """
    sizes, m = [], 2 * max(campaign.sizes)
    while m <= min(campaign.largest_size or 0, _LARGEST):
        sizes.append(m)
        m *= 2
    wires = [None] if campaign.wire_resistance is None else [0.0, campaign.wire_resistance]
    if wires != [None]:
        sizes.insert(0, max(campaign.sizes))
    for number, (m, ohm) in enumerate((m, ohm) for m in sizes for ohm in wires):
        spec = campaign.spec
        if ohm is not None:
            spec = spec.replace(wire={"bl_resistance": ohm, "sl_resistance": ohm})
        for family in families_of(campaign.circuit):
            key = Key(campaign.seed, (campaign.end, 0, number))
            worst = _off(straight(surrogate, spec), spec, family, m, key)
            if not worst <= BEYOND_TOLERANCE:
                raise ValueError(
                    f"the surrogate does not hold for {m}x{m} circuits with wires of {spec.wire.bl_resistance:g} ohm "
                    f"({family}: {worst:.2g} off the nodal equations); lower the campaign's largest_size or "
                    "wire_resistance"
                )


def _off(surrogate: Surrogate, spec: Spec, family: str, m: int, key: Key) -> float:
    """Largest error of error of a few circuits; infinite where the statuses contradict each other."""
    a = np.stack([draw_matrix(family, m, key.child(0, i), None) for i in range(_EACH)])
    r = realise(a, spec, key.child(1))
    mine, judge = (
        surrogate_array(surrogate, spec, a, r),
        nodal_array(surrogate.circuit, spec, a, r),
    )
    volts = judge.inputs(key.child(2).generator().standard_normal((_EACH, m, 1)))[0]
    x, status, _ = mine.answer(volts)
    known, verdict, _ = judge.answer(volts)
    if (status != verdict).any():
        return float("inf")
    ok = verdict[:, 0] == Status.OK
    matrix = linear_matrix(r, spec)
    linear: F64 = solve_or_nan(matrix, volts) if surrogate.circuit == "inv" else matrix @ volts
    return float(error_of_error(x[ok, :, 0], known[ok, :, 0], linear[ok, :, 0]).max(initial=0.0))
