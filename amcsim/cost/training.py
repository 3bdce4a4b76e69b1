"""What a K-FAC step on a network costs on arrays and on digital arithmetic alone: Table I of Zhang et al.

Every right-hand side is solved at every step (their Fig. 11b), on arrays that are written every T steps; BlockAMC's
off-diagonal products and HP-INV's residuals are digital, or on MVM arrays where the assumptions say so. The digital
machine with the same arithmetic forms the inverses every T steps and multiplies by them, as K-FAC programs do.

An *operation* is a floating-point addition or multiplication, so a multiply-add is two: the digital rows of Table I are
peak figures of one core in that unit (see DECODED). What they count of a K-FAC step the paper does not say;
`operations` has the candidates.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from amcsim.cost.assumptions import Assumptions
from amcsim.cost.counts import AUTOENCODER, Partition, partition, systems_of
from amcsim.cost.units import units

__all__ = ["DECODED", "DEFINITIONS", "PUBLISHED", "Step", "kfac_step", "operations", "table_one"]

PUBLISHED: dict[str, dict[str, float]] = {
    "ASIC, 28 nm": {"throughput": 1.85e9, "efficiency": 1.03e11},
    "H100 core": {"throughput": 3.21e9, "efficiency": 6.7e10},
    "Vega 20 core": {"throughput": 2e9, "efficiency": 4.92e10},
    "Zhang et al.": {"throughput": 1.89e10, "efficiency": 7.18e11},
}
"""Table I, operations a second and a joule. Its ratios: 5.88 over the H100's throughput, 6.9 over the ASIC's
efficiency."""
DECODED = {
    "ASIC, 28 nm": "1.85e9 / 1.03e11 = 18 mW, the power of the cited 60 pJ/b, 300 Mb/s detector; a chip, not a core",
    "H100 core": "0.7 x 67 TFLOPS (SXM) / 14,592 cores (PCIe) = 3.21e9; 0.7 x 67 TFLOPS / 700 W = 6.7e10: 70 % of the "
    "FP32 peak, a multiply-add as two operations",
    "Vega 20 core": "14.75 TFLOPS / 300 W (MI60) = 4.92e10: the FP32 peak; 2e9 is no FP32 figure of its 4,096 cores "
    "(3.6e9 at the peak)",
    "Zhang et al.": "1.89e10 / 7.18e11 = 26.3 mW; how many operations and seconds it is of is not said",
}
DEFINITIONS = {
    "preconditioning": "2 n^2 a right-hand side, every step",
    "inversion": "2 n^3 a factor, every T steps",
    "both": "inversion every T steps and preconditioning",
    "both, T = 1": "the same as if factors were inverted at every step",
    "whole step": "both, the factors' products and the forward and backward passes",
}


@dataclass(frozen=True)
class Step:
    """One K-FAC step's work, averaged over T steps."""

    passes: dict[int, float]
    """Analog INV passes by size."""
    solves: float
    """Right-hand sides."""
    macs: dict[str, float]
    """Digital multiply-adds by purpose."""
    conversions: float
    """Of each, DAC and ADC."""
    writes: float
    """Cells."""
    arrays: int
    """INV arrays that hold all factors."""
    energy: dict[str, float]
    """J by part."""
    time: dict[str, float]
    """s by part: analog, digital, writes; total."""
    area: float
    """Of arrays in work, all cells and the arithmetic, m2."""


def operations(widths: Sequence[int], period: float, batch: float) -> dict[str, float]:
    """Operations of one step by each definition of DEFINITIONS."""
    systems = systems_of(widths)
    product = sum(2.0 * s.n**2 * s.vectors for s in systems)
    inversion = sum(2.0 * s.n**3 for s in systems)
    weights = sum(a * g for a, g in pairwise(widths))
    rest = 6.0 * weights * batch + sum(2.0 * s.n**2 for s in systems) * batch
    return {
        "preconditioning": product,
        "inversion": inversion / period,
        "both": product + inversion / period,
        "both, T = 1": product + inversion,
        "whole step": product + inversion / period + rest,
    }


def kfac_step(known: Assumptions, widths: Sequence[int] = AUTOENCODER) -> Step:
    """Work, energy and time of a step on the arrays that the assumptions describe."""
    u, leaf, period = units(known), int(known["machine.array_size"]), known["algorithm.period"]
    parts = [(s, partition(s.n, leaf)) for s in systems_of(widths)]
    p, on_arrays = known["algorithm.passes"], known.word("machine.products") == "arrays"
    passes: Counter[int] = Counter()
    for s, part in parts:
        for n, visits in part.visits.items():
            passes[n] += visits * s.vectors
    passed = {n: p * count for n, count in sorted(passes.items())}
    # A pass takes one product with A, which updates the residual, and GCR's inner products and updates of n, about 2 p
    # on average; a single pass forms no residual.
    refined = 0.0 if p <= 1 else 1.0
    macs = {
        "off-diagonal products": float(sum(part.products * s.vectors for s, part in parts)),
        "residuals": refined * sum(count * (n * n + 2.0 * n * p) for n, count in passed.items()),
        "Schur complements": sum(part.schur for _, part in parts) / period,
    }
    cells = 2.0 * sum(n * n * count for _, part in parts for n, count in part.arrays.items())
    analog = [(count, u.analog_pass(n)) for n, count in passed.items()]
    energy = {
        "INV arrays": sum(
            c * (e - n * _conversion(known)) for (n, c), (_, (e, _)) in zip(passed.items(), analog, strict=True)
        )
    }
    conversions = sum(n * count for n, count in passed.items())
    energy["converters"] = conversions * _conversion(known)
    analog_time = sum(c * t for c, (_, t) in analog) / known["machine.inv_arrays"]
    digital = dict(macs)
    if on_arrays:
        slices = math.ceil(known["algorithm.word_bits"] / known["write.bits"])
        runs = slices * math.ceil(known["algorithm.word_bits"] / known["dac.bits"])
        products = runs * (digital.pop("off-diagonal products") + digital.pop("residuals")) / leaf**2
        each, seconds = u.analog_pass(leaf, "mvm")
        energy["MVM arrays"] = products * (each - leaf * _conversion(known))
        energy["converters"] += products * leaf * _conversion(known)
        conversions += products * leaf
        analog_time += products * seconds / known["machine.mvm_arrays"]
        cells += 2.0 * slices * sum(s.n**2 for s, _ in parts)
    writes = cells / period
    energy["writes"] = writes * u.write.energy
    for name, count in digital.items():
        energy[name] = count * u.mac.energy
    digital_time = sum(digital.values()) * u.mac.time / known["machine.mac_lanes"]
    write_time = writes * u.write.time / known["machine.write_parallel"]
    longer, shorter = max(analog_time, digital_time), min(analog_time, digital_time)
    total = longer + (1.0 - known["machine.overlap"]) * shorter + write_time
    technology = known.word("machine.technology")
    area = known["machine.inv_arrays"] * u.inv.area + cells * known[f"{technology}.cell_area"]
    area += known["machine.mac_lanes"] * u.mac.area + (known["machine.mvm_arrays"] * u.mvm.area if on_arrays else 0.0)
    return Step(
        passes=passed,
        solves=float(sum(s.vectors for s, _ in parts)),
        macs=macs,
        conversions=float(conversions),
        writes=writes,
        arrays=sum(_arrays(part) for _, part in parts),
        energy=energy,
        time={"analog": analog_time, "digital": digital_time, "writes": write_time, "total": total},
        area=area,
    )


def _arrays(part: Partition) -> int:
    return sum(part.arrays.values())


def _conversion(known: Assumptions) -> float:
    """Energy of one input and one output, J."""
    u = units(known)
    return u.adc.energy + u.dac.energy


def table_one(known: Assumptions, widths: Sequence[int] = AUTOENCODER) -> dict[str, Any]:
    """Table I: published rows, ours, ours with the arrays alone counted, and the same arithmetic without arrays."""
    step, u = kfac_step(known, widths), units(known)
    asked = operations(widths, known["algorithm.period"], known["algorithm.batch"])
    count = asked["both"]
    arrays_alone = sum(e for name, e in step.energy.items() if name in ("INV arrays", "MVM arrays", "converters"))
    macs = count / 2.0
    rows = {name: dict(row) for name, row in PUBLISHED.items()}
    rows["ours"] = _row(count, step.time["total"], sum(step.energy.values()))
    rows["ours, arrays and converters alone"] = _row(count, step.time["analog"], arrays_alone)
    rows["the same arithmetic without arrays"] = _row(
        count, macs * u.mac.time / known["machine.mac_lanes"], macs * u.mac.energy
    )
    for row in rows.values():
        row["power"] = row["throughput"] / row["efficiency"]
        row["throughput_ratio"] = row["throughput"] / PUBLISHED["H100 core"]["throughput"]
        row["efficiency_ratio"] = row["efficiency"] / PUBLISHED["ASIC, 28 nm"]["efficiency"]
    # The forward and backward passes and the factors' products are digital on every machine.
    extra = (asked["whole step"] - asked["both"]) / 2.0
    time = step.time["total"] + extra * u.mac.time / known["machine.mac_lanes"]
    energy = sum(step.energy.values()) + extra * u.mac.energy
    definitions = {
        name: _row(
            asked[name], *((time, energy) if name == "whole step" else (step.time["total"], sum(step.energy.values())))
        )
        | {"operations": asked[name], "published_step": asked[name] / PUBLISHED["Zhang et al."]["throughput"]}
        for name in DEFINITIONS
    }
    return {"rows": rows, "definitions": definitions, "step": vars(step), "lifetime_steps": _lifetime(known)}


def _row(count: float, time: float, energy: float) -> dict[str, float]:
    return {"throughput": count / time, "efficiency": count / energy}


def _lifetime(known: Assumptions) -> float:
    """Steps until cells have been written as often as they endure, each once a refresh."""
    return known["write.endurance"] * known["algorithm.period"]
