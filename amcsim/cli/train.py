"""`amcsim train`: the paper's network, with any optimiser and any solver under K-FAC."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from amcsim.cli._app import Json, Seed, SpecName, SurrogateFile, command
from amcsim.cli.data import DataName, EmnistFolder
from amcsim.cli.solve import Backend

if TYPE_CHECKING:
    from amcsim.training.loop import TrainResult

__all__ = ["register"]

Optimizer = Literal["kfac", "sgd", "adam"]
Schedule = Literal["paper", "reuse"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "train")(train)


def train(
    data: Annotated[DataName, typer.Option(help="Data set.")] = "digits",
    optimizer: Annotated[Optimizer, typer.Option(help="Optimiser; only kfac has linear systems.")] = "kfac",
    solver: Annotated[Backend, typer.Option(help="K-FAC's solver; exact is digital.")] = "exact",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 50,
    seed: Seed = 0,
    schedule: Annotated[
        Schedule, typer.Option(help="paper: one array, written at each visit; reuse: arrays are kept.")
    ] = "paper",
    spec: SpecName = "pku_350nm",
    surrogate: SurrogateFile = None,
    passes: Annotated[
        int | None, typer.Option(min=1, help="Cut HP-INV to so many analog passes (default: refine to 24 bits).")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps.")] = None,
    snapshots: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Keep each step's matrices, right-hand sides and updates.")
    ] = None,
    emnist: EmnistFolder = None,
    as_json: Json = False,
) -> None:
    """Train a small classifier through any solver.

    Four handwritten characters, the paper's network; prints the curves, the solver's errors and what was spent.
    """
    from amcsim.cli._input import check_output
    from amcsim.cli._output import print_json
    from amcsim.runs import progress
    from amcsim.solvers.stack import leaf_solver, training_stack
    from amcsim.specs import load_spec
    from amcsim.training.loop import TrainConfig
    from amcsim.training.loop import train as run

    if snapshots is not None:
        check_output(snapshots, (".npz",))
    technology = load_spec(spec)
    stack = None
    if solver != "exact":
        stack = training_stack(leaf_solver(solver, technology, surrogate), schedule, passes=passes)
    elif passes is not None or surrogate is not None:
        raise ValueError("--passes and --surrogate go with analog solvers, not with --solver exact")
    config = TrainConfig(
        data=data,
        optimizer=optimizer,
        solver=stack.solver if stack else None,
        epochs=epochs,
        seed=seed,
        schedule=schedule,
        max_steps=max_steps,
        folder=emnist,
        snapshots=snapshots,
    )
    with progress(epochs, f"{optimizer} on {data}, {solver} solver, epochs") as advance:
        result = run(config, lambda epoch, accuracy, loss: advance(1), stack)
    if as_json:
        print_json(result.as_dict())
    else:
        _show(result)


def _show(result: TrainResult) -> None:
    from amcsim.cli._output import number, print_lines, print_table

    last = len(result.accuracy)
    shown = sorted({1, *range(5, last, 5), last})
    rows = [[str(e), f"{100 * result.accuracy[e - 1]:.1f} %", f"{result.loss[e - 1]:.5f}"] for e in shown]
    print_table(["epoch", "training accuracy", "loss"], rows)
    full = result.epochs_to_full_accuracy
    print_lines(
        {
            "test accuracy": f"{100 * result.test_accuracy:.1f} %",
            "epochs to 100 %": "never" if full is None else str(full),
            **{name.replace("_", " "): str(count) for name, count in result.counts.items()},
            **{name.replace("_", " "): number(value) for name, value in result.errors.items()},
            "passes a vector": number(result.iterations_mean),
            "elapsed": f"{result.elapsed_s:.3g} s",
        }
    )
