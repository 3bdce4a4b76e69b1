"""`amcsim montecarlo|corners inv|mvm`: analyses over many draws, or over process, supply and temperature."""

from __future__ import annotations

from typing import Annotated

import typer

from amcsim.cli._analysis import Case, Circuit, Out, Process, TableFile, Temperature, finish, limits, prepared
from amcsim.cli._app import Json, MatrixFile, RhsFile, Seed, SpecName, command

__all__ = ["register"]

_Analyses = Annotated[
    list[str] | None,
    typer.Option("--analysis", "-a", metavar="NAME", help="Repeatable: op (default), dc, tran, ac, noise, ..."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "montecarlo")(montecarlo)
    command(app, "corners")(corners)


def montecarlo(
    circuit: Circuit,
    matrix: MatrixFile,
    rhs: RhsFile,
    out: Out = None,
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    samples: Annotated[int, typer.Option(min=1, help="Circuits to draw.")] = 200,
    analysis: _Analyses = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at most; default: one a core.")] = None,
    temperature: Temperature = 27.0,
    process: Process = "typical",
    table: TableFile = None,
    as_json: Json = False,
) -> None:
    """Draw the circuit again and again: spread of every measure, yield of a spec table with its interval."""
    from amcsim.analysis.montecarlo import montecarlo as run
    from amcsim.cli._output import number, print_table
    from amcsim.runs import progress
    from amcsim.streams import Key

    rows = limits(table)
    found, problem = prepared(Case(circuit, matrix, rhs, spec, seed, temperature, process), out)
    with progress(samples, "samples") as step:
        result = run(
            problem.topology,
            problem.spec,
            found.handle.a,
            problem.b,
            samples,
            Key(seed),
            analyses=analysis or (() if rows else ("op",)),
            table=rows,
            workers=workers,
            conditions=problem.conditions,
            progress=step,
        )
    finish(result, (), out, as_json, shown=lambda name: "." not in name)
    if not as_json:
        columns = ["mean", "sigma", "p5", "p50", "p95"]
        print_table(
            ["measure", *columns],
            [
                [
                    name,
                    *(
                        number(result.measures[f"{name}.{c}"].value, result.measures[f"{name}.{c}"].unit)
                        for c in columns
                    ),
                ]
                for name in result.traces
                if not name[-1].isdigit() and f"{name}.mean" in result.measures
            ],
        )


def corners(
    circuit: Circuit,
    matrix: MatrixFile,
    rhs: RhsFile,
    out: Out = None,
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    analysis: _Analyses = None,
    table: TableFile = None,
    as_json: Json = False,
) -> None:
    """The same circuit in a slow or fast process, at low or high supply, cold or hot."""
    import numpy as np

    from amcsim.analysis.corners import corners as run
    from amcsim.cli._output import number, print_table

    rows = limits(table)
    found, problem = prepared(Case(circuit, matrix, rhs, spec, seed), out)
    result = run(
        problem.topology,
        problem.spec,
        found.handle.a,
        problem.realisation,
        problem.b,
        analyses=analysis or (() if rows else ("op",)),
        table=rows,
    )
    values = {name: trace.values for name, trace in result.traces.items()}
    finish(result, (), out, as_json, shown=lambda name: "." not in name, more={"values": values})
    if as_json:
        return
    at = [corner["name"] for corner in result.details["corners"]]
    lines = []
    for name, trace in result.traces.items():
        if not name[-1].isdigit() and np.isfinite(trace.values).any():
            ends = int(np.nanargmin(trace.values)), int(np.nanargmax(trace.values))
            lines.append([name, *(text for k in ends for text in (number(float(trace.values[k]), trace.unit), at[k]))])
    print_table(["measure", "least", "in", "most", "in"], lines)
    if rows:
        verdicts = result.details["rows"]
        print_table(
            ["limit", "worst", "in", ""],
            [[v["name"], number(v["worst"]), v["at"], "pass" if v["ok"] else "FAIL"] for v in verdicts],
        )
