"""`amcsim cosim inv`: a digital controller inside one transient of an array."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amcsim.cli._app import Json, MatrixFile, RhsFile, Seed, SpecName, circuit_group, command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = circuit_group("cosim", "A digital controller inside one transient of a circuit.")
    command(group, "inv")(inv)
    app.add_typer(group)


_Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="Repeatable: .html (a page to look into), .png, .svg, .pdf, .csv, .json, .raw (ngspice).",
    ),
]
_Passes = Annotated[int, typer.Option(min=1, max=1000, help="Passes at most.")]
_Window = Annotated[
    float | None, typer.Option(help="Read window, s: from driving the DACs to reading the ADCs; default: the spec's.")
]
_Stop = Annotated[float, typer.Option(help="Stop where ||b - A x|| is at most this part of ||b||.")]


def inv(
    matrix: MatrixFile,
    rhs: RhsFile,
    out: _Files = None,
    spec: SpecName = "pku_350nm",
    passes: _Passes = 8,
    window: _Window = None,
    stop: _Stop = 2.0**-24,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Refine A x = b by HP-INV, all passes in one ngspice transient.

    The host drives DACs, reads ADCs at exact instants and forms residuals in high precision; converters and read window
    are the spec's. Passes that were read before the circuit had settled are listed, and each pass stands beside what
    the solver-level HP-INV gives on the same circuit.
    """
    import time

    import numpy as np

    from amcsim.analysis.export import ENDINGS, write_result
    from amcsim.cli._input import check_output, load_problem
    from amcsim.cli._output import number, print_json, print_lines, print_table
    from amcsim.solvers.circuit import CircuitSolver
    from amcsim.solvers.exact import solve_or_nan
    from amcsim.solvers.hp_inv import Stop
    from amcsim.solvers.hp_inv_cosim import hp_inv_waveform
    from amcsim.specs import load_spec
    from amcsim.streams import Key

    files = out or []
    for path in files:
        check_output(path, ENDINGS)
    a, b = load_problem(matrix, rhs)
    if b.size != a.shape[1]:
        raise ValueError(f"right-hand side {rhs} has {b.shape[1]} columns; this command takes one")
    technology = load_spec(spec)
    if window is not None:
        technology = technology.replace(converters={"read_window": window})
    handle = CircuitSolver(technology).program(a, Key(seed))
    start = time.perf_counter()
    run = hp_inv_waveform(handle, b.ravel(), passes, Stop(stop))
    elapsed = time.perf_counter() - start
    n = a.shape[0]
    shown = run.result(f"HP-INV of INV {n}x{n}, {spec}, seed {seed}, window {technology.converters.read_window:g} s")
    for path in files:
        write_result(shown, path)
    exact, x = solve_or_nan(a, b.reshape(n, 1))[:, 0], run.passes[-1].x
    known = bool(np.isfinite(exact).all())
    error = float(np.linalg.norm(x - exact) / np.linalg.norm(exact)) if known else None
    result = run.as_dict() | {
        "x_exact": exact if known else None,
        "relative_error": error,
        "read_window_s": technology.converters.read_window,
        "elapsed_s": elapsed,
        "files": files,
    }
    if as_json:
        print_json(result)
        return
    columns = ("residual", "settling_error", "code_error", "steps_from_solver")
    rows = [
        [str(k), number(1e6 * row["time_s"]), *(number(row[name]) for name in columns)]
        for k, row in enumerate(result["passes"], 1)
    ]
    print_table(["pass", "read at (us)", "residual", "unsettled part", "ADC steps off", "steps from solver"], rows)
    late = ", ".join(map(str, run.unsettled))
    print_lines(
        {
            "status": f"{run.status}{f' ({run.reason})' if run.reason else ''}",
            "passes read too early": late or "none",
            "x": "  ".join(map(number, x.tolist())),
            "relative error": number(error),
            "files": "  ".join(map(str, files)) or "none",
            "elapsed": f"{elapsed:.3g} s",
        }
    )
