"""`amcsim calibrate`: a campaign of circuits through ngspice, and the surrogate fitted to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from amcsim.cli._app import Json, command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "calibrate")(calibrate)


def calibrate(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN.toml", help="Which circuits, of which technology.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to fill; interrupted runs go on there.")],
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that run ngspice (default: one a core).")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Run on this Dask scheduler's workers instead (tcp://HOST:8786)."),
    ] = None,
    grow_to: Annotated[
        int | None,
        typer.Option("--grow-to", min=1, help="Add circuits until there are so many; those that are there stay."),
    ] = None,
    design: Annotated[
        str, typer.Option(metavar="random|sobol|adaptive", help="Which circuits --grow-to adds.")
    ] = "adaptive",
    save_invalid: Annotated[
        bool, typer.Option("--save-invalid", help="Save a fit that misses the campaign's targets, marked invalid.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fit a surrogate to a campaign in ngspice.

    Leaves surrogate.json, dataset.nc, samples.sqlite (every solved circuit), manifest.json and report.html, a page
    on circuits, fit and held-out errors, in the folder. --grow-to adds to a campaign that is done, or under way. A fit
    whose held-out error is above the campaign's targets is not saved.
    """
    import shlex
    import sys

    from amcsim.campaign.calibrate import calibrate as run
    from amcsim.campaign.design import load_campaign
    from amcsim.campaign.grow import grow_to as grow
    from amcsim.campaign.grow import grown
    from amcsim.cli._input import check_folder
    from amcsim.cli._output import number, print_json, print_lines
    from amcsim.report.calibration import write_report
    from amcsim.runs import default_workers, progress

    check_folder(out)
    plan = load_campaign(campaign)
    if scheduler is not None and workers is not None:
        raise ValueError("--workers and --scheduler exclude each other: a scheduler has its own workers")
    where: dict[str, Any] = {"workers": workers or default_workers(), "scheduler": scheduler}
    where["command"] = shlex.join(sys.argv)
    if grow_to is None:
        plan = grown(plan, out)
    else:
        plan = grow(plan, out, grow_to, design, say=lambda sentence: typer.echo(sentence, err=True), **where)
    with progress(plan.total, "circuits") as advance:
        done = run(
            plan,
            out,
            **where,
            save_invalid=save_invalid,
            progress=advance,
            say=lambda sentence: typer.echo(sentence, err=True),
        )
    report = write_report(plan, done, out)
    figures = done.surrogate.figures
    held_out = {} if figures is None else figures.model_dump()
    files = [out / name for name in ("surrogate.json", "dataset.nc", "samples.sqlite", "manifest.json")] + [report]
    if as_json:
        circuits = {"circuits": plan.total, "resumed": done.resumed, "campaign_sha256": plan.sha256}
        print_json({**circuits, "held_out": held_out, "valid": done.surrogate.valid, "files": files})
        return
    print_lines(
        {
            "circuits": f"{plan.total}, of which {done.resumed} were solved before",
            **{f"held out: {name.replace('_', ' ')}": number(value) for name, value in held_out.items()},
            "files": "  ".join(map(str, files)),
        }
    )
