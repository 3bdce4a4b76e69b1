"""What circuits, writes, conversions and arithmetic cost; Table I of Zhang et al. and STAMP's speed-ups from it.

Quick: from the assumptions' file alone. Full: the project's own figures in that file are measured anew beside it:
circuits and written cells (studies.cost_circuits), and passes and counts by running the solvers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from amcsim.cost import stamp, training
from amcsim.cost.assumptions import Assumptions, load_assumptions
from amcsim.cost.counts import AUTOENCODER, partition
from amcsim.cost.sensitivity import reaching, tornado
from amcsim.cost.units import units
from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.hp_inv import HpInv
from amcsim.streams import Key
from amcsim.studies.cost_circuits import TECHNOLOGIES, circuit_figures, written_cell
from amcsim.studies.hp_inv import systems, written

__all__ = ["steps", "study"]

_CIRCUITS = {4: 16, 16: 6, 64: 7, 128: 3}
"""Circuits measured by size."""
_VARIANTS: dict[str, dict[str, float | str]] = {
    "as assumed": {},
    "products on MVM arrays": {"machine.products": "arrays"},
    "three passes": {"algorithm.passes": 3.0},
    "one pass, nothing refined": {"algorithm.passes": 1.0},
    "256x256 arrays": {"machine.array_size": 256.0, "algorithm.passes": 8.0},
    "arithmetic of a 7 nm process": {"digital.node_factor": 0.1, "digital.words_per_mac": 0.02},
    "board amplifiers": {"machine.technology": "board"},
}


def steps(*, quick: bool = False) -> int:
    """How often `study` reports progress."""
    return 2 if quick else 2 + 2 * len(TECHNOLOGIES) * len(_CIRCUITS) + 2


def study(
    seed: int = 0,
    *,
    quick: bool = False,
    assumptions: str | Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """All figures: `assumptions`, `unit_costs`, `table_one` with `variants`, `stamp`, sensitivities, `measured`.

    Raises AssumptionError for a bad file.
    """
    advance = progress or (lambda _: None)
    known = load_assumptions(assumptions)
    result: dict[str, Any] = {
        "study": "cost",
        "settings": {"seed": seed, "quick": quick, "widths": AUTOENCODER, "changed": list(known.changed)},
        "assumptions": {name: vars(item) for name, item in known.items.items()},
        "unit_costs": _unit_costs(known),
        "table_one": training.table_one(known) | _what_decides(known),
        "decoded": training.DECODED,
        "definitions": training.DEFINITIONS,
    }
    advance(1)
    moved = tornado(_stamp_figures, known, _of(known, "stamp"))
    result["stamp"] = {
        "published": stamp.PUBLISHED,
        "implied": stamp.implied(),
        "ours": stamp.stamp_figures(known),
        "at_implied_epochs": _stamp_figures(known.with_value("stamp.epochs_ratio", stamp.implied()["epochs_ratio"])),
        "networks": _networks(known),
        "sensitivity": moved,
        "needed": _needed(_stamp_figures, known, moved, stamp.PUBLISHED),
        "writes": _writes(known),
    }
    advance(1)
    result["measured"] = None if quick else _measured(seed, advance)
    return result


def _of(known: Assumptions, *sections: str) -> list[str]:
    return [name for name in known if name.split(".")[0] in sections and known.items[name].low is not None]


def _stamp_figures(known: Assumptions) -> dict[str, float]:
    found = stamp.stamp_figures(known)
    return {name: found[name] for name in stamp.PUBLISHED}


def _ratios(known: Assumptions) -> dict[str, float]:
    row = training.table_one(known)["rows"]["ours"]
    return {name: row[name] for name in ("throughput_ratio", "efficiency_ratio")}


def _what_decides(known: Assumptions) -> dict[str, Any]:
    """Sensitivities of both ratios, what a single assumption would have to be to reach the paper's, and variants."""
    names = _of(known, "machine", "algorithm", known.word("machine.technology"), "write", "adc", "dac", "digital")
    goals = {name: training.table_one(known)["rows"]["Zhang et al."][name] for name in _ratios(known)}
    rows = tornado(_ratios, known, names)
    variants, fits = [], []
    for name, values in _VARIANTS.items():
        changed = known
        for key, value in values.items():
            changed = changed.with_value(key, value)
        found = training.table_one(changed)
        variants.append({"variant": name, **found["rows"]["ours"]})
        for definition, row in found["definitions"].items():
            off = {k: row[k] / training.PUBLISHED["Zhang et al."][k] for k in ("throughput", "efficiency")}
            fits.append({"variant": name, "definition": definition, **off})
    fits.sort(key=lambda fit: max(abs(np.log(fit[k])) for k in ("throughput", "efficiency")))
    return {
        "sensitivity": rows,
        "needed": _needed(_ratios, known, rows, goals),
        "mac_energy": _arithmetic(known),
        "variants": variants,
        "fits": fits[:8],
    }


def _needed(
    figures: Callable[[Assumptions], Mapping[str, float]],
    known: Assumptions,
    rows: Mapping[str, list[dict[str, Any]]],
    goals: Mapping[str, float],
) -> dict[str, dict[str, float | None]]:
    """What each single assumption that is no count would have to be for each figure's goal."""

    def value(figure: str, name: str) -> float | None:
        return reaching(lambda k: figures(k)[figure], known, name, goals[figure])

    return {
        figure: {row["name"]: value(figure, row["name"]) for row in found if not known.items[row["name"]].whole}
        for figure, found in rows.items()
    }


def _arithmetic(known: Assumptions) -> dict[str, float | None]:
    """Energy of a multiply-add, J: as assumed, and at which the paper's efficiency is met by what is digital here."""
    step, u = training.kfac_step(known), units(known)
    count = training.operations(AUTOENCODER, known["algorithm.period"], known["algorithm.batch"])["both"]
    digital = {name: e for name, e in step.energy.items() if name in step.macs}
    room = count / training.PUBLISHED["Zhang et al."]["efficiency"] - (
        sum(step.energy.values()) - sum(digital.values())
    )
    macs = sum(digital.values()) / u.mac.energy
    return {"assumed": u.mac.energy, "needed": room / macs if room > 0 else None, "macs_per_operation": macs / count}


def _unit_costs(known: Assumptions) -> list[dict[str, Any]]:
    """Energy, time and area of one operation each, for both technologies."""
    rows = []
    for technology in TECHNOLOGIES:
        u = units(known.with_value("machine.technology", technology))
        n = u.array_size
        for name, cost in (
            (f"INV, {n} rows, settled", u.inv),
            (f"MVM, {n} rows, settled", u.mvm),
        ):
            rows.append({"operation": name, "technology": technology, **vars(cost)})
    for name, cost in (
        ("written cell", u.write),
        ("ADC conversion", u.adc),
        ("DAC conversion", u.dac),
        ("digital multiply-add, FP32", u.mac),
    ):
        rows.append({"operation": name, "technology": "", **vars(cost)})
    return rows


def _networks(known: Assumptions) -> list[dict[str, Any]]:
    """The machine's figures on networks without and with many locations an image."""
    asked = (
        ("autoencoder", stamp.AUTOENCODER_LAYERS, 1),
        ("VGG-13, 32x32 images", stamp.VGG13, 1),
        ("VGG-13, early layers 16 times", stamp.VGG13, 16),
        ("VGG-13, early layers 64 times", stamp.VGG13, 64),
    )
    return [
        {"network": name, **stamp.stamp_figures(known.with_value("stamp.copies", float(copies)), network)}
        for name, network, copies in asked
    ]


def _writes(known: Assumptions) -> list[dict[str, Any]]:
    """Cells written over those of first-order training, by definition, and the epochs' ratio that 55.7 % would take."""
    slices = known["stamp.soi_slices"], known["stamp.weight_slices"]
    leaf, r = int(known["stamp.crossbar"]), known["stamp.epochs_ratio"]
    layers = list(pairwise(AUTOENCODER))
    rows = []
    for name, period, tile in (
        ("weights alone", np.inf, 0),
        ("weights, and whole factors every step", 1.0, 0),
        ("weights, and whole factors every 20 steps", 20.0, 0),
        ("weights, and BlockAMC's tiles every step", 1.0, leaf),
        ("weights, and BlockAMC's tiles every 20 steps", 20.0, leaf),
    ):
        ratio = stamp.write_ratio(layers, 1.0, period, *slices, leaf=tile)
        needed = ratio / stamp.PUBLISHED["write_ratio"]
        rows.append(
            {"definition": name, "an_epoch": ratio, "training": ratio / r, "epochs_ratio_for_published": needed}
        )
    return rows


def _measured(seed: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """The project's own figures in the file, anew."""
    circuits = []
    for technology in TECHNOLOGIES:
        for circuit in ("inv", "mvm"):
            for n, count in _CIRCUITS.items():
                circuits.append(circuit_figures(technology, circuit, n, count, seed))
                advance(1)
    cells = [written_cell(25, seed, bits=bits) for bits in (4, 6)]
    advance(1)
    solved = [_solved(n, leaf, bits, seed) for n in sorted(set(AUTOENCODER)) for leaf in (128, 256) for bits in (4, 6)]
    advance(1)
    return {"circuits": circuits, "cells": cells, "solves": solved}


def _solved(n: int, leaf: int, bits: int, seed: int) -> dict[str, Any]:
    """BlockAMC over HP-INV (GCR, 24 bits) on cells of so many bits: its passes, and its counts beside `partition`'s."""
    a, b = (v[0] for v in systems(n, 10.0, 1, Key(seed, (2, n))))
    handle = BlockAmc(HpInv(Emulated(written(bits)), method="gcr"), leaf=leaf).program(a, Key(seed, (3, n)))
    counts = handle.counts + handle.solve(b).counts
    part = partition(n, leaf)
    return {
        "n": n,
        "leaf": leaf,
        "bits": bits,
        "passes": counts.analog_solves / counts.high_precision_vectors,
        "arrays": counts.array_programmings,
        "arrays_counted": sum(part.arrays.values()),
        "visits": counts.high_precision_vectors,
        "visits_counted": sum(part.visits.values()),
        "digital_fallbacks": counts.digital_fallbacks,
    }
