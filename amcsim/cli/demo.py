"""`amcsim demo`: all of it, small, and a page that shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from amcsim.cli._app import Json, Seed, command
from amcsim.cli.data import DataName

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "demo")(demo)


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder to fill; an interrupted calibration goes on there.")
    ] = Path("demo"),
    seed: Seed = 0,
    data: Annotated[DataName, typer.Option(help="Images to train on; letters are fetched once.")] = "digits",
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer circuits and epochs: seconds, for a first look.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the whole chain and show it on a page.

    Circuit, calibration, validation, refinement, training and its check in ngspice. Leaves index.html, one file that
    opens anywhere, results.json with every figure of it, manifest.json, and the calibration's own folder.
    """
    import shlex
    import sys

    from amcsim.cli._input import check_folder
    from amcsim.cli._output import print_json, print_lines
    from amcsim.report.demo import QUICK, DemoConfig, claims, run_demo
    from amcsim.report.demo_page import write_demo
    from amcsim.runs import default_workers

    check_folder(out)
    settings: dict[str, Any] = {"seed": seed, "data": data, "workers": min(default_workers(), 4)}
    words = shlex.join(["amcsim", *sys.argv[1:]])
    results = run_demo(DemoConfig(**settings | (QUICK if quick else {})), out, command=words)
    page = write_demo(results, out, words)
    said = claims(results)
    if as_json:
        found = {"claims": [vars(claim) for claim in said], "holds": all(claim.holds for claim in said)}
        print_json({"page": page, "elapsed_s": sum(results.elapsed_s.values()), **found})
        return
    print_lines({claim.text: f"{claim.found} ({'' if claim.holds else 'NOT '}{claim.wanted})" for claim in said})
    print_lines({"page": str(page)})
