"""`amcsim train`: the paper's network or a larger one, with any optimiser and any solver under K-FAC."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from amcsim.cli._app import Json, Seed, SpecName, SurrogateFile, command
from amcsim.cli.data import DataName, EmnistFolder
from amcsim.cli.solve import Backend

if TYPE_CHECKING:
    from amcsim.solvers.base import Solver
    from amcsim.training.large import LargeResult
    from amcsim.training.loop import TrainResult

__all__ = ["register"]

Optimizer = Literal["kfac", "sgd", "adam"]
Schedule = Literal["paper", "reuse"]
Model = Literal["letters", "autoencoder", "resnet20"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "train")(train)


def train(
    data: Annotated[
        DataName | None,
        typer.Option(help="Data set (default: digits; for the autoencoder curves; mnist with --mnist)."),
    ] = None,
    model: Annotated[
        Model, typer.Option(help="letters: the paper's network; autoencoder: 784-1000-500-250-30 mirrored; resnet20.")
    ] = "letters",
    optimizer: Annotated[Optimizer, typer.Option(help="Optimiser; only kfac has linear systems.")] = "kfac",
    solver: Annotated[Backend, typer.Option(help="K-FAC's solver; exact is digital.")] = "exact",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training images (default: 50; larger models 5).")
    ] = None,
    seed: Seed = 0,
    schedule: Annotated[
        Schedule | None,
        typer.Option(
            help="paper: one array, written at each visit (default); reuse: kept, as larger models always do."
        ),
    ] = None,
    spec: SpecName = "pku_350nm",
    surrogate: SurrogateFile = None,
    passes: Annotated[
        int | None, typer.Option(min=1, help="Cut HP-INV to so many analog passes (default: refine to 24 bits).")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps.")] = None,
    snapshots: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Keep each step's matrices, right-hand sides and updates.")
    ] = None,
    leaf: Annotated[
        int | None, typer.Option(min=2, max=256, help="Larger models: rows of the largest array (default: 128).")
    ] = None,
    images: Annotated[int | None, typer.Option(min=1, help="Larger models: train on so many images.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Larger models: images a step.")] = None,
    lr: Annotated[float | None, typer.Option(min=0.0, help="Larger models: learning rate.")] = None,
    damping: Annotated[float | None, typer.Option(min=0.0, help="Larger models: K-FAC's damping.")] = None,
    emnist: EmnistFolder = None,
    as_json: Json = False,
) -> None:
    """Train a classifier or an autoencoder through any solver.

    Four handwritten characters and the paper's network, or a larger model with its factors on larger arrays; prints
    the curves, the solver's errors and what was spent.
    """
    if model != "letters":
        if schedule == "paper" or snapshots is not None:
            raise ValueError(f"--schedule paper and --snapshots go with --model letters only, not with {model}")
        of_model = "mnist" if emnist is not None else "curves" if model == "autoencoder" else "digits"
        arrays = _large_solver(solver, spec, surrogate, leaf or 128, passes)
        chosen = {name: value for name, value in (("lr", lr), ("damping", damping)) if value is not None}
        size: dict[str, Any] = {"batch_size": batch, "images": images, "max_steps": max_steps, "folder": emnist}
        _train_large(
            as_json,
            {"model": model, "data": data or of_model, "optimizer": optimizer, "solver": arrays, "seed": seed}
            | {"epochs": epochs or 5, "options": chosen}
            | size,
        )
        return
    for name, value in {"leaf": leaf, "images": images, "batch": batch, "lr": lr, "damping": damping}.items():
        if value is not None:
            raise ValueError(f"--{name} goes with the larger models only (--model autoencoder or resnet20)")
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
        stack = training_stack(leaf_solver(solver, technology, surrogate), schedule or "paper", passes=passes)
    elif passes is not None or surrogate is not None:
        raise ValueError("--passes and --surrogate go with analog solvers, not with --solver exact")
    schedule, epochs = schedule or "paper", epochs or 50
    config = TrainConfig(
        data=data or "digits",
        optimizer=optimizer,
        solver=stack.solver if stack else None,
        epochs=epochs,
        seed=seed,
        schedule=schedule,
        max_steps=max_steps,
        folder=emnist,
        snapshots=snapshots,
    )
    with progress(epochs, f"{optimizer} on {config.data}, {solver} solver, epochs") as advance:
        result = run(config, lambda epoch, accuracy, loss: advance(1), stack)
    if as_json:
        print_json(result.as_dict())
    else:
        _show(result)


def _large_solver(solver: str, spec: str, surrogate: str | None, size: int, passes: int | None) -> Solver | None:
    from amcsim.solvers.stack import large_arrays
    from amcsim.specs import load_spec

    if solver != "exact":
        return large_arrays(solver, load_spec(spec), surrogate, size=size, passes=passes)
    if passes is not None or surrogate is not None:
        raise ValueError("--passes and --surrogate go with analog solvers, not with --solver exact")
    return None


def _train_large(as_json: bool, settings: dict[str, Any]) -> None:
    from amcsim.cli._output import print_json
    from amcsim.runs import progress
    from amcsim.training.large import LargeConfig, train_large

    config = LargeConfig(**settings)
    with progress(config.epochs, f"{config.optimizer}, {config.model} on {config.data}, epochs") as advance:
        result = train_large(config, lambda step, per_epoch, loss: advance(int(step % per_epoch == 0)))
    if as_json:
        print_json(result.as_dict())
    else:
        _show_large(result)


def _show_large(result: LargeResult) -> None:
    from amcsim.cli._output import number, print_lines, print_table

    rows = [
        [str(epoch), number(loss), "-" if right is None else f"{100 * right:.1f} %"]
        for epoch, (loss, right) in enumerate(zip(result.loss, result.accuracy, strict=True), start=1)
    ]
    print_table(["epoch", "loss", "training accuracy"], rows)
    lines = {"test loss": number(result.test_loss)}
    if result.test_accuracy is not None:
        lines["test accuracy"] = f"{100 * result.test_accuracy:.1f} %"
    if result.squared_error is not None:
        lines["squared error of a test image"] = number(result.squared_error)
    counts = {name.replace("_", " "): str(count) for name, count in result.counts.items()}
    seconds = sorted(result.step_s)
    spent = {
        "passes a vector": number(result.iterations_mean),
        "a step, processor time": f"{sum(seconds) / len(seconds):.3g} s (median {seconds[len(seconds) // 2]:.3g} s)",
        "elapsed": f"{result.elapsed_s:.3g} s",
    }
    print_lines(lines | counts | spent)


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
