"""`amcsim waves inv|mvm`: the transient after an input step, as a picture, for ngspice, for a spreadsheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amcsim.cli._app import Json, MatrixFile, RhsFile, Seed, SpecName, VectorFile, circuit_group, command

if TYPE_CHECKING:
    from amcsim.analysis.result import Result
    from amcsim.analysis.waveforms import Waveforms

__all__ = ["register"]

_BEFORE = 0.05
"""Part of the transient that lies before the step."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = circuit_group("waves", "Waveforms of a circuit after an input step.")
    command(group, "inv")(inv)
    command(group, "mvm")(mvm)
    app.add_typer(group)


_Files = Annotated[
    list[Path],
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="Repeatable: .html (a page to look into), .png, .svg, .pdf, .csv, .json, .raw (ngspice).",
    ),
]
_Stop = Annotated[
    float | None, typer.Option(help="Length of the transient, s; default: three times the settling to 0.1 %.")
]
_Tolerance = Annotated[float, typer.Option(min=1e-6, max=0.5, help="Settled within this part of the answer.")]


def inv(
    matrix: MatrixFile,
    rhs: RhsFile,
    out: _Files,
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    stop: _Stop = None,
    tolerance: _Tolerance = 0.01,
    as_json: Json = False,
) -> None:
    """Step the inputs of an INV circuit in ngspice.

    Writes the waveforms and says when they settled. Settling counts from the step until all outputs together stay
    within the tolerance of their end; it is null where they do not settle, or settle elsewhere than at the operating
    point of the same circuit.
    """
    _step("inv", matrix, rhs, out, spec, seed, stop, tolerance, as_json)


def mvm(
    matrix: MatrixFile,
    rhs: VectorFile,
    out: _Files,
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    stop: _Stop = None,
    tolerance: _Tolerance = 0.01,
    as_json: Json = False,
) -> None:
    """Step the inputs of an MVM circuit in ngspice.

    As `waves inv`, for a matrix of any shape. The amplifiers invert: x = A v is minus their outputs.
    """
    _step("mvm", matrix, rhs, out, spec, seed, stop, tolerance, as_json)


def _step(
    circuit: str,
    matrix: str,
    rhs: str,
    out: list[Path],
    spec: str,
    seed: int,
    stop: float | None,
    tolerance: float,
    as_json: bool,
) -> None:
    import numpy as np

    from amcsim.analysis.array import operating_points, transient
    from amcsim.analysis.export import ENDINGS, write_result
    from amcsim.cli._circuit import drawn
    from amcsim.cli._input import check_output
    from amcsim.cli._output import number, print_json, print_lines, print_table

    for path in out:
        check_output(path, ENDINGS)
    if stop is not None and not 1e-9 <= stop <= 10.0:
        raise ValueError(f"--stop = {stop:g} s: allowed is 1e-9 to 10 s")
    found = drawn(circuit, matrix, rhs, spec, seed)
    length = found.stop if stop is None else stop
    handle, name = found.handle, found.output
    drawn_circuit = handle.topology, handle.spec, handle.realisation
    waves = transient(*drawn_circuit, found.volts, length, delay=_BEFORE * length)
    end = waves.matrix(name)[-1]
    point = operating_points(*drawn_circuit, found.volts[:, None])[: end.size, 0]
    settled_after = waves.settling_time(name, tolerance)
    there = np.linalg.norm(end - point) <= 2 * tolerance * np.linalg.norm(point)
    settling = settled_after if np.isfinite(settled_after) and there else None
    overshoot = waves.overshoot(name)
    shown = _result(waves, name, settling, tolerance, f"{found.name}, {spec}, seed {seed}")
    for path in out:
        write_result(shown, path)
    result = {
        "settling_time_s": settling,
        "tolerance": tolerance,
        "overshoot": overshoot,
        "outputs": end,
        "operating_point": point,
        "x": end / found.unit,
        "stop_s": length,
        "files": out,
    }
    if as_json:
        print_json(result)
        return
    rows = [
        [f"{name}{i}", *map(number, row)]
        for i, row in enumerate(np.stack([end, point, 100 * overshoot, end / found.unit], axis=1).tolist())
    ]
    print_table(["output", "at the end (V)", "operating point (V)", "overshoot (%)", "x"], rows)
    settled = "does not settle at its operating point" if settling is None else f"{1e6 * settling:.4g} us"
    print_lines({f"settling to {100 * tolerance:g} %": settled, "files": "  ".join(map(str, out))})


def _result(waves: Waveforms, output: str, settling: float | None, tolerance: float, title: str) -> Result:
    """The transient with its outputs shown; settling is marked on the output that is largest at the end."""
    import numpy as np

    from amcsim.analysis.result import Axis, Measure, Result, Trace

    end, overshoot = waves.matrix(output)[-1], waves.overshoot(output)
    outputs = [f"v({output}{i})" for i in range(end.size)]
    traces = {name: Trace(v, "V", shown=name in outputs) for name, v in waves.signals.items()}
    largest = outputs[int(np.argmax(np.abs(end)))]
    settled = None if settling is None else (largest, waves.step + settling)
    measures = {f"settling to {100 * tolerance:g} %": Measure(np.nan if settling is None else settling, "s", settled)}
    measures |= {f"overshoot of {name}": Measure(v) for name, v in zip(outputs, overshoot.tolist(), strict=True)}
    return Result("tran", title, Axis("time", "s", waves.time), traces, measures)
