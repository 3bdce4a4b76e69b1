"""`amcsim opamp`: figures of an op-amp sub-circuit, and the behavioural section that stands for it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from amcsim.cli._app import Json, command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "opamp")(opamp)


class View(StrEnum):
    """What a picture, page or table shows."""

    load = "load"
    ac = "ac"
    noise = "noise"
    slew = "slew"


def opamp(
    source: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE", help="opamp_miller, opamp_classab, opamp_behavioral, or a SPICE library file."
        ),
    ],
    subcircuit: Annotated[str | None, typer.Option(metavar="NAME", help="Which sub-circuit of a file.")] = None,
    load: Annotated[
        str | None, typer.Option(metavar="OHM,...", help="Loads; default: 100 kohm down to 50 ohm.")
    ] = None,
    column: Annotated[
        float, typer.Option(help="Load that the written section stands for, ohm; the default is a 4x4 array's column.")
    ] = 500.0,
    capacitance: Annotated[float, typer.Option(help="From the output to ground, F.")] = 10e-12,
    supply: Annotated[float, typer.Option(help="Supplies are +- this, V.")] = 5.0,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Repeatable: .toml (spec with the behavioural [opamp]), .html, .png, .svg, .pdf, .csv, .json, .raw.",
        ),
    ] = None,
    view: Annotated[View, typer.Option(help="What files other than .toml hold.")] = View.load,
    base: Annotated[str | None, typer.Option(metavar="PRESET", help="Preset that the .toml file starts from.")] = None,
    as_json: Json = False,
) -> None:
    """Characterise an op-amp in ngspice and write its behavioural section.

    Open and against load: gain, bandwidth, phase margin, swing; slew rate, output resistance and current, offset,
    noise, supply rejection and current. The sub-circuit has the pins inn out vdd vss, its non-inverting input inside
    at ground, so that there is no common mode.
    """
    from amcsim.analysis.export import ENDINGS, write_result
    from amcsim.analysis.opamp import LOADS, characterise, sub_circuit
    from amcsim.cli._input import check_output
    from amcsim.cli._output import number, print_json, print_lines, print_table
    from amcsim.runs.files import write_text
    from amcsim.specs import preset

    files = out or []
    for path in files:
        check_output(path, (".toml", *ENDINGS))
    if base is not None:
        preset(base)
    loads = LOADS if load is None else _ohms(load)
    amplifier = sub_circuit(source, subcircuit)
    report = characterise(amplifier, loads=loads, column=column, capacitance=capacitance, supply=supply)
    for path in files:
        if path.suffix.lower() == ".toml":
            write_text(path, report.toml(base))
        else:
            write_result(report.results[view], path)
    if as_json:
        print_json(report.as_dict() | {"files": files})
        return
    print_lines({name.replace("_", " "): number(m.value, m.unit) for name, m in report.measures.items()})
    columns = {"load (ohm)": report.results["load"].axis.values}
    for name, trace in report.results["load"].traces.items():
        scaled = (1e-6, "MHz") if trace.unit == "Hz" else (1.0, trace.unit)
        columns[f"{name} ({scaled[1]})"] = trace.values * scaled[0]
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    print_table(list(columns), [[f"{value:.4g}" for value in row] for row in rows])
    typer.echo(report.toml(base), nl=False)
    if files:
        print_lines({"files": "  ".join(map(str, files))})


def _ohms(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise ValueError(f"--load {text[:60]!r} must be numbers with commas between, ohm") from None
