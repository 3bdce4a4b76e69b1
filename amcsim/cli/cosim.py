"""`amcsim cosim inv|write-verify`: a digital controller inside one transient."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amcsim.cli._app import Json, MatrixFile, RhsFile, Seed, SpecName, circuit_group, command
from amcsim.cli.write_verify import Verify

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = circuit_group("cosim", "A digital controller inside one transient of a circuit.")
    command(group, "inv")(inv)
    command(group, "write-verify")(write_verify)
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


_Targets = Annotated[str, typer.Option(metavar="S,...", help="Target conductance of each cell, S; at most 16.")]
_Tolerance = Annotated[float, typer.Option(help="Accepted error, S.")]
_AdcBits = Annotated[int, typer.Option(min=1, max=32, help="Of the current read.")]
_Pulses = Annotated[int, typer.Option(min=1, max=1000, help="Pulses at most.")]


def write_verify(
    targets: _Targets = "20e-6,100e-6,160e-6,220e-6",
    tolerance: _Tolerance = 10e-6,
    verify: Annotated[Verify, typer.Option(help="Read the RRAM alone, or the whole cell.")] = Verify.device,
    pulses: _Pulses = 30,
    adc_bits: _AdcBits = 12,
    out: _Files = None,
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Program a few 1T1R cells side by side, every pulse and read in one ngspice transient.

    Cells start anywhere between 20 and 220 uS (by the seed) and do not vary otherwise; `amcsim write-verify` programs
    many, with their variation, each pulse in a run of its own.
    """
    import numpy as np

    from amcsim.analysis.cosim_write_verify import write_verify_waveform
    from amcsim.analysis.export import ENDINGS, write_result
    from amcsim.cli._input import check_output
    from amcsim.cli._output import print_json, print_lines, print_table
    from amcsim.specs import load_spec
    from amcsim.streams import Key

    files = out or []
    for path in files:
        check_output(path, ENDINGS)
    try:
        wanted = np.array([float(word) for word in targets.split(",")])
    except ValueError:
        raise ValueError(f"--targets {targets[:80]!r}: give conductances in S, separated by commas") from None
    start = Key(seed).generator().uniform(20e-6, 220e-6, wanted.size)
    cell = load_spec(spec).cell
    run = write_verify_waveform(
        wanted, start, tolerance, cell=cell, verify=verify.value, adc_bits=adc_bits, max_pulses=pulses
    )
    shown = run.result(f"write-verify of {wanted.size} cells to +-{1e6 * tolerance:g} uS, {spec}, seed {seed}")
    for path in files:
        write_result(shown, path)
    counts, length = np.count_nonzero(run.pulses, axis=0), float(run.cosimulation.time[-1])
    if as_json:
        facts = {"targets": wanted, "start": start, "tolerance": tolerance, "verify": verify.value, "seed": seed}
        found = {"reads": run.reads, "pulses_v": run.pulses, "reached": run.reached, "pulses": counts}
        print_json({**facts, **found, "energy_J": run.energy, "duration_s": length, "files": files})
        return
    columns = (1e6 * wanted, 1e6 * run.reads[0], 1e6 * run.reads[-1], run.reached, counts, 1e12 * run.energy)
    rows = [
        [str(k), *(f"{v:.4g}" for v in row[:3]), "yes" if row[3] else "no", f"{row[4]:g}", f"{row[5]:.4g}"]
        for k, row in enumerate(zip(*columns, strict=True))
    ]
    print_table(["cell", "target uS", "first read uS", "last read uS", "reached", "pulses", "energy pJ"], rows)
    print_lines({"duration": f"{1e6 * length:.4g} us", "files": "  ".join(map(str, files)) or "none"})
