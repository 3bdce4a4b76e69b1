"""`amcsim ac|dc|tran|stability|noise|supply inv|mvm`: what a circuit designer asks of a drawn circuit."""

from __future__ import annotations

from typing import Annotated

import typer

from amcsim.cli._analysis import (
    Backend,
    Case,
    Circuit,
    Out,
    PerDecade,
    Process,
    Start,
    Stop,
    TableFile,
    Temperature,
    analysed,
)
from amcsim.cli._app import Json, MatrixFile, RhsFile, Seed, SpecName, command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for function in (ac, dc, tran, stability, noise, supply):
        command(app, function.__name__)(function)


def ac(
    circuit: Circuit,
    matrix: MatrixFile,
    rhs: RhsFile,
    out: Out = None,
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    only: Annotated[
        int | None, typer.Option("--input", min=0, help="Swing this input alone, not all along the vector.")
    ] = None,
    backend: Backend = None,
    start: Start = None,
    stop: Stop = None,
    per_decade: PerDecade = None,
    temperature: Temperature = 27.0,
    process: Process = "typical",
    table: TableFile = None,
    as_json: Json = False,
) -> None:
    """Closed-loop frequency response of the answers: gain, bandwidth, peaking."""
    case = Case(circuit, matrix, rhs, spec, seed, temperature, process)
    options = {"only": only, "backend": backend, "start": start, "stop": stop, "per_decade": per_decade}
    analysed("ac", case, table, out, as_json, **options)


def dc(
    circuit: Circuit,
    matrix: MatrixFile,
    rhs: RhsFile,
    out: Out = None,
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    reach: Annotated[float, typer.Option(help="Sweep the inputs from minus to plus this times the vector.")] = 1.0,
    points: Annotated[int, typer.Option(min=5, max=100_001, help="Points, odd.")] = 41,
    backend: Backend = None,
    temperature: Temperature = 27.0,
    process: Process = "typical",
    table: TableFile = None,
    as_json: Json = False,
) -> None:
    """Dc sweep of all inputs together: linearity, offsets, where the answers clip."""
    case = Case(circuit, matrix, rhs, spec, seed, temperature, process)
    analysed("dc", case, table, out, as_json, reach=reach, points=points, backend=backend)


def tran(
    circuit: Circuit,
    matrix: MatrixFile,
    rhs: RhsFile,
    out: Out = None,
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    stop: Annotated[float | None, typer.Option(help="Length of the transient, s; default: from the poles.")] = None,
    tolerance: Annotated[float, typer.Option(help="Settled within this part of the answer.")] = 0.01,
    overload: Annotated[float, typer.Option(help="Factor by which the inputs are too large at first.")] = 1.0,
    overload_time: Annotated[float, typer.Option(help="How long, s.")] = 5e-6,
    dac_time_constant: Annotated[float, typer.Option(help="The inputs settle exponentially, s; 0: at once.")] = 0.0,
    adc_capacitance: Annotated[float, typer.Option(help="Sampling capacitor that kicks the answers, F.")] = 0.0,
    adc_resistance: Annotated[float, typer.Option(help="Of the sampling switch, ohm.")] = 1e3,
    temperature: Temperature = 27.0,
    process: Process = "typical",
    table: TableFile = None,
    as_json: Json = False,
) -> None:
    """Input step in ngspice: settling, overshoot, slewing, recovery from overload, ADC kick-back."""
    from amcsim.analysis.step import Disturbances

    case = Case(circuit, matrix, rhs, spec, seed, temperature, process)
    disturbances = Disturbances(overload, overload_time, dac_time_constant, adc_capacitance, adc_resistance)
    analysed("tran", case, table, out, as_json, stop=stop, tolerance=tolerance, disturbances=disturbances)


def stability(
    circuit: Circuit,
    matrix: MatrixFile,
    rhs: RhsFile,
    out: Out = None,
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    backend: Backend = None,
    start: Start = None,
    stop: Stop = None,
    per_decade: PerDecade = None,
    temperature: Temperature = 27.0,
    process: Process = "typical",
    table: TableFile = None,
    as_json: Json = False,
) -> None:
    """Poles, the margin that all loops share, phase and gain margin of each loop with the others closed."""
    case = Case(circuit, matrix, rhs, spec, seed, temperature, process)
    options = {"backend": backend, "start": start, "stop": stop, "per_decade": per_decade}
    analysed("stability", case, table, out, as_json, **options)


def noise(
    circuit: Circuit,
    matrix: MatrixFile,
    rhs: RhsFile,
    out: Out = None,
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    backend: Backend = None,
    start: Start = None,
    stop: Stop = None,
    per_decade: PerDecade = None,
    temperature: Temperature = 27.0,
    process: Process = "typical",
    table: TableFile = None,
    as_json: Json = False,
) -> None:
    """Noise of the answers: density by origin, integrated, effective bits."""
    case = Case(circuit, matrix, rhs, spec, seed, temperature, process)
    options = {"backend": backend, "start": start, "stop": stop, "per_decade": per_decade}
    analysed("noise", case, table, out, as_json, **options)


def supply(
    circuit: Circuit,
    matrix: MatrixFile,
    rhs: RhsFile,
    out: Out = None,
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    start: Start = None,
    stop: Stop = None,
    per_decade: PerDecade = None,
    temperature: Temperature = 27.0,
    process: Process = "typical",
    table: TableFile = None,
    as_json: Json = False,
) -> None:
    """Rejection of ripple on the amplifiers' supplies, the word-lines and the bulk."""
    case = Case(circuit, matrix, rhs, spec, seed, temperature, process)
    analysed("supply", case, table, out, as_json, start=start, stop=stop, per_decade=per_decade)
