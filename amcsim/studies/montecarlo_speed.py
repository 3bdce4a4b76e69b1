"""How fast Monte-Carlo is, against PySpice's shared library in a loop and against `ngspice -b` on two threads.

All three draw the same samples of one INV circuit (preset pku_350nm: wired, access transistors, behavioural amplifiers)
and give its operating points; their answers are compared. `amcsim bench
montecarlo` runs it in one go.

PySpice 1.5 as released does not get through this loop with ngspice 39: it takes any text on stderr for failure, looks
for libngspice.so alone, does not know the version's vector types, and keeps every circuit it loaded. It runs here with
the corrections of amcsim.ngspice.library, a `remcirc` a sample, and the array body as text (netlist.deck.to_circuit),
which is forty times quicker than its own objects: the loop of a user who knows all that.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from amcsim._types import F64
from amcsim.analysis.array import array_deck
from amcsim.analysis.montecarlo import BLOCK, montecarlo
from amcsim.netlist.deck import Deck, deck_text, to_circuit
from amcsim.ngspice.batch import run_batch
from amcsim.ngspice.library import library
from amcsim.realisation import Realisation, realise
from amcsim.specs import preset
from amcsim.streams import Key
from amcsim.studies.timing import timed
from amcsim.topology.inv import INV

__all__ = ["Speed", "compare"]

_SPEC = preset("pku_350nm")


@dataclass(frozen=True)
class Speed:
    """Seconds a sample, and the largest distance between any two contenders' answers."""

    size: int
    samples: int
    """Of ours; the others may have run on fewer, the first of the same."""
    ours: float
    pyspice: float
    batch: float
    difference: float
    """V"""


def compare(size: int, samples: int = 1000, others: int | None = None, workers: int = 2) -> Speed:
    """Monte-Carlo of one INV circuit of that size by all three; `others`: samples of the slow two (default: all)."""
    draw = Key(size).generator()
    a = draw.normal(size=(size, size)) / np.sqrt(size) / 2 + np.eye(size)
    b, key = draw.uniform(-0.1, 0.1, size), Key(size, (1,))
    count = min(samples if others is None else others, samples)
    library()  # imports PySpice and opens libngspice, once a process, for ours and for PySpice's loop alike
    seconds, found = timed(lambda: montecarlo(INV, _SPEC, a, b, samples, key, workers=workers))
    ours = np.stack([found.traces[f"op.x{i}"].values for i in range(size)], axis=1)[:count]

    def decks() -> list[Deck]:
        whole = [_block(a, key, k, samples) for k in range(-(-count // BLOCK))]
        drawn = [r[k] for r in whole for k in range(len(r.offset))]
        return [array_deck(INV, _SPEC, r, b) for r in drawn[:count]]

    pyspice_seconds, pyspice = timed(lambda: _pyspice(decks(), size))
    batch_seconds, batch = timed(lambda: _batch(decks(), size))
    apart = max(float(np.abs(x - ours).max()) for x in (pyspice, batch))
    return Speed(size, samples, seconds / samples, pyspice_seconds / count, batch_seconds / count, apart)


def _block(a: F64, key: Key, block: int, samples: int) -> Realisation:
    """The samples of one block, drawn as `montecarlo` draws them."""
    count = min(BLOCK, samples - block * BLOCK)
    return realise(np.broadcast_to(a, (count, *a.shape)), _SPEC, key.child(block))


def _pyspice(decks: list[Deck], size: int) -> F64:
    """Answers (samples, size) by PySpice's simulator on the process's library."""
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared

    class Patched:
        """The process's library as PySpice's simulator wants it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(library(), name)

        def plot(self, simulation: Any, name: str) -> Any:
            return NgSpiceShared.plot(library(), simulation, name)

    shared = Patched()
    library().owner = None
    found = np.empty((len(decks), size))
    for k, deck in enumerate(decks):
        circuit = to_circuit(deck)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            simulator = circuit.simulator(temperature=27, nominal_temperature=27, ngspice_shared=shared)
            analysis = simulator.operating_point()
        found[k] = [float(analysis[f"x{i}"][0]) for i in range(size)]
        shared.command(b"remcirc")
    return found


def _batch(decks: list[Deck], size: int) -> F64:
    """Answers (samples, size) by one process a sample, two at a time."""

    def one(deck: Deck) -> list[float]:
        plot = run_batch(deck_text(deck, [".op"])).plot("operating")
        return [float(plot[f"v(x{i})"][0].real) for i in range(size)]

    with ThreadPoolExecutor(2) as pool:
        return np.array(list(pool.map(one, decks)))
