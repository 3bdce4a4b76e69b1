"""`amcsim data`: prepare the images that training takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from amcsim.cli._app import Json, command

__all__ = ["DataName", "EmnistFolder", "register"]

DataName = Literal["letters", "digits", "mnist", "curves"]
EmnistFolder = Annotated[
    Path | None,
    typer.Option("--emnist", "--mnist", metavar="FOLDER", help="Idx files: EMNIST's for letters, MNIST's for mnist."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "data")(data)


def data(
    name: Annotated[DataName, typer.Argument(help="Data set.")] = "digits",
    emnist: EmnistFolder = None,
    as_json: Json = False,
) -> None:
    """Prepare the images that training takes.

    Says where they are and how many. digits: scikit-learn's 3, 5, 8, 9, offline. letters: handwritten m, a, n, c,
    fetched once and cached. mnist: 28x28, from your own files. curves: 28x28, drawn, to stand in for them.
    """
    from amcsim.cli._output import print_json, print_lines
    from amcsim.streams import Key
    from amcsim.training.data import CACHE_FILE, cache_folder, load

    if name == "letters" and emnist is None and not (cache_folder() / CACHE_FILE).exists():
        typer.echo("fetching the letters ...", err=True)
    found = load(name, Key(0), emnist)
    where = str(emnist) if emnist else str(cache_folder() / CACHE_FILE)
    result = {
        "data": name,
        "where": {"digits": "scikit-learn", "curves": "drawn"}.get(name, where),
        "classes": found.classes,
        "train_images": len(found.y_train),
        "test_images": len(found.y_test),
        "shape": found.x_train.shape[1:],
    }
    if as_json:
        print_json(result)
        return
    print_lines(
        {
            "data": name,
            "where": str(result["where"]),
            "classes": ", ".join(found.classes),
            "training": f"{len(found.y_train)} images of {found.x_train.shape[-2]}x{found.x_train.shape[-1]} pixels",
            "test": f"{len(found.y_test)} images",
        }
    )
