"""What `amcsim demo` computes: the parts in their order, and what they must show. Its page is demo_page.py's.

The surrogate fitted here is the one that the single circuit, refinement, training and the check in ngspice use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal

import numpy as np

from amcsim._types import F64
from amcsim.campaign.calibrate import calibrate
from amcsim.campaign.design import Campaign, load_recorded
from amcsim.campaign.families import FAMILIES
from amcsim.report.calibration import write_report
from amcsim.report.demo_parts import (
    SPEC,
    Checked,
    Comparison,
    Endings,
    M,
    Refinement,
    Solved,
    Trained,
    check_in_ngspice,
    compare,
    find_endings,
    refine,
    solve_one,
    train_all,
)
from amcsim.runs import progress
from amcsim.streams import Key
from amcsim.surrogate.model import Surrogate
from amcsim.surrogate.shipped import shipped_surrogate

__all__ = ["QUICK", "Claim", "DemoConfig", "DemoResults", "claims", "run_demo"]

CIRCUIT, LEAF = range(2)
"""Sub-streams of the seed for single circuits; campaign, validation and training have their own."""


@dataclass(frozen=True)
class DemoConfig:
    """How much is done."""

    seed: int = 0
    data: Literal["digits", "letters"] = "digits"
    circuits: int = 192
    """Of the calibration; a quarter of them is held out."""
    validated: int = 200
    """Fresh circuits of each validation."""
    epochs: int = 50
    check_steps: int = 2
    """Training steps that are repeated in ngspice."""
    workers: int = 2
    """Processes that run ngspice for the calibration."""


QUICK = {"circuits": 32, "validated": 16, "epochs": 4, "check_steps": 1}
"""Fields of DemoConfig for a look in seconds."""


@dataclass(frozen=True)
class DemoResults:
    """Everything that the page shows."""

    config: DemoConfig
    campaign_sha256: str
    calibration_folder: str
    """Its name in the output folder."""
    resumed: int
    """Circuits that an earlier run had solved."""
    surrogate: Surrogate
    solved: Solved
    fresh: Comparison
    """The surrogate of this run."""
    shipped: Comparison
    """The surrogate that comes with the package."""
    refinement: Refinement
    trained: Trained
    checked: Checked
    endings: Endings
    elapsed_s: dict[str, float]
    """By stage."""

    def as_dict(self) -> dict[str, Any]:
        """All of it and the claims, for JSON (arrays and NaN are still in it)."""
        said = [asdict(claim) for claim in claims(self)]
        return {"claims": said, **asdict(self), "surrogate": self.surrogate.model_dump()}


@dataclass(frozen=True)
class Claim:
    """Something that the demo must show, and whether it does."""

    text: str
    wanted: str
    found: str
    holds: bool


def run_demo(config: DemoConfig, folder: Path, *, command: str, quiet: bool = False) -> DemoResults:
    """Compute everything; the calibration is kept in `folder`/calibration-HASH and goes on from there.

    Progress goes to standard error unless `quiet`. Raises DataError where the images cannot be had, OSError where the
    folder cannot be written, and StoreError, TaskError, WorkerFailure or NgspiceError from the runs.
    """
    from amcsim.training.data import load
    from amcsim.training.loop import DATA

    key, elapsed = Key(config.seed), dict[str, float]()
    dataset = load(config.data, key.child(DATA))  # what may need a network comes first

    @contextmanager
    def stage(name: str, total: int) -> Iterator[Callable[[int], None]]:
        begin = time.perf_counter()
        with progress(total, name, quiet=quiet) as advance:
            yield advance
        elapsed[name] = time.perf_counter() - begin

    with as_file(files("amcsim.calibration") / "kfac_systems.npz") as path:
        blocks = load_recorded(path, (M,))[M]
    campaign = demo_campaign(config, blocks)
    calibrated = f"calibration-{campaign.sha256[:8]}"
    with stage("calibration, circuits", campaign.total) as advance:
        done = calibrate(campaign, folder / calibrated, workers=config.workers, command=command, progress=advance)
        write_report(campaign, done, folder / calibrated)
    with stage("one circuit", 1) as advance:
        solved = solve_one(done.surrogate, key.child(CIRCUIT))
        advance(1)
    with stage("validation, circuits", 2 * config.validated) as advance:
        fresh, shipped = (
            compare(model, config.seed, config.validated, blocks, advance)
            for model in (done.surrogate, shipped_surrogate(SPEC, (M, M)))
        )
    with stage("refinement", 1) as advance:
        refinement = refine(done.surrogate, blocks, key.child(LEAF))
        advance(1)
    with stage("training, epochs", 4 * config.epochs) as advance:
        trained = train_all(dataset, done.surrogate, config.epochs, config.seed, advance)
    with stage("check in ngspice, runs", 4) as advance:
        checked = check_in_ngspice(dataset, done.surrogate, config.check_steps, config.seed, advance)
    with stage("endings", 1) as advance:
        endings = find_endings(done.surrogate)
        advance(1)
    return DemoResults(
        config=config,
        campaign_sha256=campaign.sha256,
        calibration_folder=calibrated,
        resumed=done.resumed,
        surrogate=done.surrogate,
        solved=solved,
        fresh=fresh,
        shipped=shipped,
        refinement=refinement,
        trained=trained,
        checked=checked,
        endings=endings,
        elapsed_s=elapsed,
    )


def demo_campaign(config: DemoConfig, blocks: F64) -> Campaign:
    """The families of the shipped campaign in equal shares, with the demo's seed; blocks (k, m, m) are K-FAC leaves."""
    families = (*FAMILIES, "recorded")
    return Campaign(
        schema_version=1,
        spec=SPEC,
        sizes=(M,),
        seed=config.seed,
        samples=dict.fromkeys(families, config.circuits // len(families)),
        recorded={M: blocks},
    )


def claims(results: DemoResults) -> list[Claim]:
    """What must hold, with what was found. Epochs to 100 % are left out where neither run got there."""
    found = []

    def at_most(text: str, value: float, bound: float) -> None:
        found.append(Claim(text, f"{bound:g} or less", f"{value:.2g}", bool(value <= bound)))

    def equal(text: str, value: int, wanted: int) -> None:
        found.append(Claim(text, str(wanted), str(value), value == wanted))

    answers = results.solved.answers
    gap = np.linalg.norm(answers["nodal"] - answers["ngspice"]) / np.linalg.norm(answers["ngspice"])
    at_most("the circuit's nodal solution against ngspice, relative", float(gap), 1e-3)
    for name, compared in (("surrogate fitted here", results.fresh), ("shipped surrogate", results.shipped)):
        at_most(f"{name}: error of the error, median", compared.figures["error_of_error_median"], 1e-3)
        at_most(f"{name}: error of the error, 95th percentile", compared.figures["error_of_error_p95"], 5e-3)
        equal(f"{name}: circuits with another status than in ngspice", compared.figures["status_disagreements"], 0)
    runs = results.trained.runs
    digital, analog = runs["K-FAC, digital"], runs["K-FAC, surrogate"]
    steps = analog["counts"]["steps"]
    equal(f"leaf INVs in {steps} steps, 139 a step", analog["counts"]["high_precision_vectors"], 139 * steps)
    equal(f"arrays programmed in {steps} steps, 28 a step", analog["counts"]["array_programmings"], 28 * steps)
    equal("arrays programmed in a step where they are kept", results.trained.reuse_counts["array_programmings"], 12)
    epochs = (digital["epochs_to_full_accuracy"], analog["epochs_to_full_accuracy"])
    if epochs != (None, None):
        holds = None not in epochs and abs(epochs[0] - epochs[1]) <= 1
        text = "epochs to 100 % training accuracy, K-FAC digital and through the surrogate"
        found.append(Claim(text, "1 apart or less", f"{epochs[0] or 'never'} and {epochs[1] or 'never'}", holds))
    at_most(
        "update vectors in ngspice against the surrogate, full refinement, largest", max(results.checked.full), 0.01
    )
    at_most("the same with a single pass, which nothing refines", max(results.checked.single), 0.01)
    return found
