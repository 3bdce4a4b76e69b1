"""`amcsim write-verify`: program cells to conductances, pulse by pulse in ngspice."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from amcsim.cli._app import Json, Seed, SpecName, command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "write-verify")(write_verify)


class Verify(StrEnum):
    """The conductance that is compared with the target."""

    device = "device"
    cell = "cell"


def write_verify(
    targets: Annotated[
        str | None, typer.Option(metavar="S,...", help="Target conductances, S; default: 8 from 20e-6 to 220e-6.")
    ] = None,
    cells: Annotated[int, typer.Option(min=1, max=10000, help="Cells for each target.")] = 25,
    tolerance: Annotated[float, typer.Option(help="Accepted error, S.")] = 10e-6,
    verify: Annotated[Verify, typer.Option(help="Read the RRAM alone, or the whole cell.")] = Verify.device,
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Repeatable, distributions: .html, .png, .svg, .pdf, .csv, .json, .raw.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Program 1T1R cells within a tolerance and count pulses, time and energy.

    Every pulse and read is an ngspice run of the compact model circuits/rram_gap.lib with its variation from device to
    device and from pulse to pulse. A cell that 150 pulses do not bring there is given up, and counted as not reached.
    """
    import numpy as np

    from amcsim.analysis.export import ENDINGS, write_result
    from amcsim.analysis.write_verify import STATES
    from amcsim.analysis.write_verify import write_verify as program
    from amcsim.cli._input import check_output
    from amcsim.cli._output import print_json, print_lines, print_table
    from amcsim.runs import progress
    from amcsim.specs import load_spec
    from amcsim.streams import Key

    files = out or []
    for path in files:
        check_output(path, ENDINGS)
    wanted = STATES if targets is None else _numbers(targets)
    cell = load_spec(spec).cell
    with progress(len(wanted) * cells, "cells", quiet=as_json) as advance:
        done = program(
            np.asarray(wanted), cells, tolerance, Key(seed), cell=cell, verify=verify.value, progress=advance
        )
    for path in files:
        write_result(done.result(), path)
    error = done.verified - done.targets[:, None]
    columns = {
        "targets": done.targets,
        "reached": done.reached.mean(axis=1),
        "error_mean": error.mean(axis=1),
        "error_std": error.std(axis=1),
        "pulses_mean": done.pulses.mean(axis=1),
        "pulses_max": done.pulses.max(axis=1),
        "time_mean_s": done.time.mean(axis=1),
        "energy_mean_J": done.energy.mean(axis=1),
    }
    if as_json:
        facts = {"tolerance": tolerance, "verify": verify.value, "cells": cells, "seed": seed}
        print_json({**facts, **columns, "reached_all": float(done.reached.mean()), "files": files})
        return
    scales = (1e6, 100.0, 1e6, 1e6, 1.0, 1.0, 1e6, 1e12)
    rows = [[f"{s * v:.4g}" for s, v in zip(scales, row, strict=True)] for row in zip(*columns.values(), strict=True)]
    heads = ["target uS", "reached %", "mean error uS", "std uS", "pulses", "most", "time us", "energy pJ"]
    print_table(heads, rows)
    if files:
        print_lines({"files": "  ".join(map(str, files))})


def _numbers(text: str) -> list[float]:
    """Numbers separated by commas. Raises ValueError."""
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"--targets {text[:80]!r}: give conductances in S, separated by commas") from None
