"""STAMP's claims from their own relations, and from a model of its machine.

Relations, whatever the machine: with e an epoch's length over that of first-order training, s the gain over a whole
training, r the epochs of first-order over those of second-order training, w the cells written over those of first-order
training, rho the cells written into second-order matrices over those written into weights,

    s = r / e,        w = (1 + rho) / r.

Machine: layers in a pipeline, one vector (one location of an image, on as many copies of its layer as `copies` says)
after the other, `input_cycles` cycles each; weights are written at every
step, and so are, every `period` steps, A and G of every layer in tiles of a crossbar under BlockAMC's recursion. Each
right-hand side takes x_slices runs of every term.
INV crossbars are
one for `vmm_per_inv` of the others: they hold as many copies of all factors as fit, at least one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from amcsim.cost.assumptions import Assumptions
from amcsim.cost.counts import AUTOENCODER, partition, systems_of_layers

__all__ = ["AUTOENCODER_LAYERS", "PUBLISHED", "VGG13", "Network", "implied", "stamp_figures", "write_ratio"]


@dataclass(frozen=True)
class Network:
    """Layers of a inputs, g outputs and so many locations an image."""

    layers: tuple[tuple[int, int, int], ...]
    batch: int | None = None
    """Images a step; None as assumed."""


AUTOENCODER_LAYERS = Network(tuple((a, g, 1) for a, g in pairwise(AUTOENCODER)))
VGG13 = Network(
    (
        (27, 64, 1024),
        (576, 64, 1024),
        (576, 128, 256),
        (1152, 128, 256),
        (1152, 256, 64),
        (2304, 256, 64),
        (2304, 512, 16),
        (4608, 512, 16),
        (4608, 512, 4),
        (4608, 512, 4),
        (512, 10, 1),
    ),
    batch=128,
)
"""VGG-13 (Simonyan and Zisserman, 2014) for images of 32x32, with one fully connected layer."""
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
    layers: Sequence[tuple[int, int]],
    epochs_ratio: float,
    period: float,
    soi_slices: float,
    weight_slices: float,
    leaf: int = 0,
) -> float:
    """w: second-order over first-order writes of a whole training, all weights written every step in both.

    leaf = 0 writes whole factors, else BlockAMC's diagonal tiles of that size alone.
    """
    weights = weight_slices * sum(a * g for a, g in layers)
    soi = 0.0
    for s in systems_of_layers(layers):
        tiles = partition(s.n, leaf).arrays if leaf else {s.n: 1}
        soi += soi_slices * sum(n * n * count for n, count in tiles.items())
    return (1.0 + soi / (period * weights)) / epochs_ratio


def stamp_figures(known: Assumptions, network: Network = AUTOENCODER_LAYERS) -> dict[str, Any]:
    """Speed-ups, epoch ratio and writes by the machine model."""
    leaf, cycle, copied = int(known["stamp.crossbar"]), known["stamp.cycle"], int(known["stamp.copies"])
    layers = [(a, g) for a, g, _ in network.layers]
    batch = network.batch or known["stamp.batch"]
    tiles_of = [math.ceil(a / leaf) * math.ceil(g / leaf) * min(copied, at) for a, g, at in network.layers]
    # forward, backward (the transposed copy) and the gradient's products: three sets of crossbars at work at once
    vmm = 3 * known["stamp.weight_slices"] * sum(tiles_of)
    slowest = max(math.ceil(at / copied) for _, _, at in network.layers)
    weight_writes = leaf * known["stamp.row_write"]  # crossbars side by side, rows one after the other
    first = (batch * slowest + 3 * len(layers)) * known["stamp.input_cycles"] * cycle + weight_writes
    parts = [(s, partition(s.n, leaf)) for s in systems_of_layers(layers)]
    runs = known["stamp.x_slices"] * (known["stamp.terms"] + 1)
    tiles = sum(sum(p.arrays.values()) for _, p in parts)
    copies = max(1, int(vmm / known["stamp.vmm_per_inv"] / tiles))
    # a factor's right-hand sides follow each other through its tiles; all factors are at work at once
    busiest = max(s.vectors * sum(p.visits.values()) / sum(p.arrays.values()) for s, p in parts)
    deepest = max(
        sum(a.visits.values()) + sum(g.visits.values()) for (_, a), (_, g) in zip(parts[::2], parts[1::2], strict=True)
    )
    solves = (busiest / copies + deepest) * runs * cycle
    second = first + solves + leaf * known["stamp.row_write"] / known["stamp.period"]
    work = sum(a * g * at for a, g, at in network.layers)
    gpu = 6.0 * work * batch / (known["stamp.gpu_flops"] * known["stamp.gpu_share"])
    r = known["stamp.epochs_ratio"]
    slices = known["stamp.soi_slices"], known["stamp.weight_slices"]
    return {
        "over_gpu": r * gpu / second,
        "over_reram": r * first / second,
        "epoch_ratio": second / first,
        "write_ratio": write_ratio(layers, r, known["stamp.period"], *slices),
        "write_ratio_tiles": write_ratio(layers, r, known["stamp.period"], *slices, leaf=leaf),
        "first_order_over_gpu": gpu / first,
        "first_step": first,
        "second_step": second,
        "gpu_step": gpu,
        "vmm_crossbars": float(vmm),
        "inv_tiles": float(tiles),
        "inv_copies": float(copies),
    }
