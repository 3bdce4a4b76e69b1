"""`amcsim reproduce`: studies, each one command that leaves every figure as JSON, or as a page that shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from amcsim.cli._app import Json, Seed, command
from amcsim.cli.data import DataName

__all__ = ["register"]

_Quick = Annotated[bool, typer.Option("--quick", help="A small grid, in seconds.")]
_Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="Every figure as .json, or a page as .html.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(name="reproduce", help="Studies: published experiments and beyond.", no_args_is_help=True)
    command(group, "analog-training")(analog_training)
    command(group, "hp-inv")(hp_inv)
    command(group, "stamp")(stamp)
    command(group, "cost")(cost)
    command(group, "ngspice-training")(ngspice_training)
    app.add_typer(group)


def analog_training(
    quick: _Quick = False,
    seed: Seed = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: one a core).")] = None,
    out: _Out = None,
    as_json: Json = False,
) -> None:
    """The first demonstration of second-order training: its figures, what the LP error follows from, and baselines."""
    from amcsim.cli._output import number, print_table
    from amcsim.report.analog_training import matches
    from amcsim.runs import default_workers, progress
    from amcsim.studies.analog_training import steps, study

    _check(out)
    with progress(steps(quick=quick), "computations", quiet=as_json) as advance:
        result = study(seed, quick=quick, workers=workers or default_workers(), progress=advance)
    _finish(result, seed, out, as_json)
    if not as_json:
        names = ["name", "lp_mean_by_vector", "lp_mean_by_array", "passes_mean", "diverging_arrays"]
        columns = ["one condition", "LP error by vector", "by array", "passes", "diverging arrays"]
        print_table(columns, [[r["name"], *(number(r[n]) for n in names[1:])] for r in result["effects"]])
        rows = [
            [r["optimizer"], r["settings"], number(r["epochs"]["median"]), f"{r['reached']} of {r['seeds']}"]
            for r in result["optimizers"]
        ]
        print_table(["optimiser", "settings", "epochs to 100 %, median", "reached"], rows)
        typer.echo(f"{len(matches(result))} of {len(result['grid'])} combinations give the published error and passes")


def hp_inv(quick: _Quick = False, seed: Seed = 0, out: _Out = None, as_json: Json = False) -> None:
    """HP-INV on random systems: passes, failures, writes and solves by size, condition, precision and method."""
    from amcsim.cli._output import number, print_table
    from amcsim.runs.progress_bar import progress
    from amcsim.studies.hp_inv import steps, study

    _check(out)
    with progress(steps(quick=quick), "cells", quiet=as_json) as advance:
        result = study(seed, quick=quick, progress=advance)
    _finish(result, seed, out, as_json)
    if not as_json:
        guard = result["safeguards"]
        columns = ["method", "failed alone", "array writes", "analog solves", "digital fallbacks"]
        print_table(
            columns,
            [
                [m, *(number(f[c]) for c in ("failed_alone", "array_writes", "analog_solves", "digital_fallbacks"))]
                for m, f in guard["by_method"].items()
            ],
        )
        typer.echo(f"{guard['systems']} systems, {guard['answers']} answers, {guard['wrong']} wrong")


def stamp(quick: _Quick = False, seed: Seed = 0, out: _Out = None, as_json: Json = False) -> None:
    """Bit-sliced INV after STAMP: error by slices and terms, where its series diverges, against HP-INV."""
    from amcsim.cli._output import number, print_table
    from amcsim.runs.progress_bar import progress
    from amcsim.studies.stamp import steps, study

    _check(out)
    with progress(steps(quick=quick), "parts", quiet=as_json) as advance:
        result = study(seed, quick=quick, progress=advance)
    _finish(result, seed, out, as_json)
    if not as_json:
        columns = ["cells", "solver", "analog solves", "error, median"]
        rows = result["against_hp_inv"]
        print_table(
            columns, [[r["cells"], r["solver"], str(r["analog_solves"]), number(r["error_median"])] for r in rows]
        )
        guard = result["safeguards"]
        typer.echo(f"{guard['systems']} systems, {guard['not_converged']} not converged, {guard['wrong']} wrong")


def ngspice_training(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to fill; an interrupted run goes on there.")
    ] = Path("ngspice-training"),
    quick: Annotated[bool, typer.Option("--quick", help="Three steps on digits, in half a minute.")] = False,
    data: Annotated[DataName, typer.Option(help="Images to train on; letters are fetched once.")] = "letters",
    epochs: Annotated[int, typer.Option(min=1, max=1000, help="Passes over the training images.")] = 50,
    spec: Annotated[
        list[str] | None,
        typer.Option("--spec", metavar="FILE|PRESET", help="Repeatable: conditions other than the study's own two."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes (default: one a core).")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train with ngspice in the loop, every pass of every vector, beside the surrogate and the digital host.

    Leaves index.html with the figures, also as .png, results.json, manifest.json, and epochs.sqlite: what is done.
    """
    import shlex
    import sys
    from dataclasses import replace

    from amcsim.cli._input import check_folder
    from amcsim.cli._output import number, print_json, print_table
    from amcsim.report.ngspice_training import write_results
    from amcsim.runs import default_workers
    from amcsim.runs.progress_bar import progress
    from amcsim.specs import load_spec
    from amcsim.studies.ngspice_training import Plan, study

    check_folder(out)
    plan = Plan(data, seed, epochs)
    if quick:
        plan = Plan("digits", seed, epochs=2, max_steps=3)
    if spec:
        plan = replace(plan, conditions={Path(name).stem: load_spec(name) for name in spec})
    out.mkdir(parents=True, exist_ok=True)
    with progress(len(plan.runs) * plan.epochs, "epochs", quiet=as_json) as advance:
        result = study(
            plan,
            workers=workers or default_workers(),
            store=out / f"epochs-{plan.sha256[:8]}.sqlite",
            progress=advance,
        )
    page = write_results(result, out, shlex.join(["amcsim", *sys.argv[1:]]))
    if as_json:
        print_json({"page": page, "runs": result["runs"], "elapsed_s": result["elapsed_s"]})
        return
    rows = [
        [
            f"{run['backend']} {run['condition']}",
            str(run["counts"]["analog_solves"]),
            number(run.get("passes")),
            number(run["elapsed_s"]),
            number(run["promised_s"]),
            f"{100 * run['accuracy'][-1]:.1f} %",
        ]
        for run in result["runs"]
    ]
    print_table(["run", "leaf solves", "passes", "elapsed (s)", "wanted (s)", "accuracy"], rows)
    for compared in result["comparisons"]:
        typer.echo(
            f"{compared['condition']}: update vectors of ngspice and surrogate differ by "
            f"{compared['update_difference_max']:.2g} at most"
        )
    typer.echo(f"page: {page}")


def cost(
    quick: Annotated[bool, typer.Option("--quick", help="Nothing measured anew: a second.")] = False,
    seed: Seed = 0,
    assumptions: Annotated[
        Path | None,
        typer.Option("--assumptions", metavar="FILE.toml", help="Assumptions in place of the shipped ones."),
    ] = None,
    out: _Out = None,
    as_json: Json = False,
) -> None:
    """Energy, time and area of each operation with sources; Table I of the second-order paper, STAMP's speed-ups."""
    from amcsim.cli._output import number, print_table
    from amcsim.runs.progress_bar import progress
    from amcsim.studies.cost import steps, study

    _check(out)
    with progress(steps(quick=quick), "parts", quiet=as_json) as advance:
        result = study(seed, quick=quick, assumptions=assumptions, progress=advance)
    _finish(result, seed, out, as_json)
    if not as_json:
        columns = ["Table I", "operations/s", "operations/J", "over the H100 core", "over the ASIC"]
        names = ("throughput", "efficiency", "throughput_ratio", "efficiency_ratio")
        rows = result["table_one"]["rows"].items()
        print_table(columns, [[name, *(f"{row[n]:.3g}" for n in names)] for name, row in rows])
        ours, theirs = result["stamp"]["ours"], result["stamp"]["published"]
        print_table(
            ["STAMP", "published", "ours"], [[n.replace("_", " "), number(theirs[n]), f"{ours[n]:.3g}"] for n in theirs]
        )


def _check(out: Path | None) -> None:
    from amcsim.cli._input import check_output

    if out is not None:
        check_output(out, (".json", ".html"))


def _finish(result: dict[str, Any], seed: int, out: Path | None, as_json: bool) -> None:
    import shlex
    import sys

    from amcsim.cli._output import print_json
    from amcsim.runs.files import plain, write_json, write_text
    from amcsim.runs.manifest import manifest

    if out is None and not as_json:
        return
    result["manifest"] = manifest(shlex.join(["amcsim", *sys.argv[1:]]), seed)
    if out is not None and out.suffix.lower() == ".json":
        write_json(out, plain(result))
    elif out is not None:
        from amcsim.report.studies import PAGES

        write_text(out, PAGES[result["study"]](result))
    if as_json:
        print_json(result)
