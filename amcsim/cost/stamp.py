"""STAMP's claims from their own relations, and from a model of its machine on the autoencoder.

Relations, whatever the machine: with e an epoch's length over that of first-order training, s the gain over a whole
training, r the epochs of first-order over those of second-order training, w the cells written over those of first-order
training, rho the cells written into second-order matrices over those written into weights,

    s = r / e,        w = (1 + rho) / r.

Machine: crossbars in parallel, one vector after the other, `input_cycles` cycles each; weights are written at every
step, and so are, every `period` steps, A and G of every layer in tiles of a crossbar under BlockAMC's recursion. Each
right-hand side takes x_slices runs of every term. A vector's work on all layers overlaps (PipeLayer). INV crossbars are
one for `vmm_per_inv` of the others: they hold as many copies of all factors as fit, at least one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from amcsim.cost.assumptions import Assumptions
from amcsim.cost.counts import AUTOENCODER, partition, systems_of

__all__ = ["PUBLISHED", "implied", "stamp_figures", "write_ratio"]

PUBLISHED = {"over_gpu": 68.0, "over_reram": 11.4, "epoch_ratio": 1.215, "write_ratio": 1.0 - 0.557}


def implied() -> dict[str, float]:
    """What the published figures say together: r = s e, first-order ReRAM over the GPU, and rho = r w - 1."""
    r = PUBLISHED["over_reram"] * PUBLISHED["epoch_ratio"]
    return {
        "epochs_ratio": r,
        "first_order_over_gpu": PUBLISHED["over_gpu"] / PUBLISHED["over_reram"],
        "soi_writes_per_weight_write": r * PUBLISHED["write_ratio"] - 1.0,
        "epochs_ratio_of_writes_alone": 1.0 / PUBLISHED["write_ratio"],
    }


def write_ratio(
    widths: Sequence[int], epochs_ratio: float, period: float, soi_slices: float, weight_slices: float, leaf: int = 0
) -> float:
    """w: second-order over first-order writes of a whole training, all weights written every step in both.

    leaf = 0 writes whole factors, else BlockAMC's diagonal tiles of that size alone.
    """
    weights = weight_slices * sum(a * g for a, g in pairwise(widths))
    soi = 0.0
    for s in systems_of(widths):
        tiles = partition(s.n, leaf).arrays if leaf else {s.n: 1}
        soi += soi_slices * sum(n * n * count for n, count in tiles.items())
    return (1.0 + soi / (period * weights)) / epochs_ratio


def stamp_figures(known: Assumptions, widths: Sequence[int] = AUTOENCODER) -> dict[str, Any]:
    """Speed-ups, epoch ratio and writes by the machine model."""
    leaf, cycle, batch = int(known["stamp.crossbar"]), known["stamp.cycle"], known["stamp.batch"]
    layers = list(pairwise(widths))
    vmm = sum(math.ceil(a / leaf) * math.ceil(g / leaf) for a, g in layers) * known["stamp.weight_slices"]
    # forward, backward (the transposed copy) and the gradient's products: three sets of crossbars at work at once
    fill = 3 * len(layers) * known["stamp.input_cycles"]
    weight_writes = leaf * known["stamp.row_write"]  # crossbars side by side, rows one after the other
    first = (batch * known["stamp.input_cycles"] + fill) * cycle + weight_writes
    parts = [(s, partition(s.n, leaf)) for s in systems_of(widths)]
    runs = known["stamp.x_slices"] * (known["stamp.terms"] + 1)
    tiles = sum(sum(p.arrays.values()) for _, p in parts)
    copies = max(1, int(3 * vmm / known["stamp.vmm_per_inv"] / tiles))
    # a factor's right-hand sides follow each other through its tiles; all factors are at work at once
    busiest = max(s.vectors * sum(p.visits.values()) / sum(p.arrays.values()) for s, p in parts)
    deepest = max(
        sum(a.visits.values()) + sum(g.visits.values()) for (_, a), (_, g) in zip(parts[::2], parts[1::2], strict=True)
    )
    solves = (busiest / copies + deepest) * runs * cycle
    soi = leaf * known["stamp.row_write"] / known["stamp.period"]
    second = first + solves + soi
    weights = sum(a * g for a, g in layers)
    gpu = 6.0 * weights * batch / (known["stamp.gpu_flops"] * known["stamp.gpu_share"])
    r = known["stamp.epochs_ratio"]
    slices = known["stamp.soi_slices"], known["stamp.weight_slices"]
    return {
        "over_gpu": r * gpu / second,
        "over_reram": r * first / second,
        "epoch_ratio": second / first,
        "write_ratio": write_ratio(widths, r, known["stamp.period"], *slices),
        "write_ratio_tiles": write_ratio(widths, r, known["stamp.period"], *slices, leaf=leaf),
        "first_order_over_gpu": gpu / first,
        "first_step": first,
        "second_step": second,
        "gpu_step": gpu,
        "vmm_crossbars": 3.0 * vmm,
        "inv_tiles": float(tiles),
        "inv_copies": float(copies),
    }
