"""`amcsim waves inv`: the transient after an input step, as a picture, for ngspice, for a spreadsheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amcsim.cli._app import Json, MatrixFile, RhsFile, Seed, SpecName, circuit_group, command

if TYPE_CHECKING:
    from amcsim.analysis.waveforms import Waveforms

__all__ = ["register"]

_PICTURES = (".png", ".svg", ".pdf")
_BEFORE = 0.05
"""Part of the transient that lies before the step."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = circuit_group("waves", "Waveforms of a circuit after an input step.")
    command(group, "inv")(inv)
    app.add_typer(group)


def inv(
    matrix: MatrixFile,
    rhs: RhsFile,
    out: Annotated[
        list[Path],
        typer.Option("--out", "-o", metavar="FILE", help="Repeatable: .png, .svg or .pdf, .raw (ngspice), .csv."),
    ],
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    stop: Annotated[
        float | None, typer.Option(help="Length of the transient, s; default: three times the settling to 0.1 %.")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=1e-6, max=0.5, help="Settled within this part of the answer.")] = 0.01,
    as_json: Json = False,
) -> None:
    """Step the inputs of an INV circuit in ngspice.

    Writes the waveforms and says when they settled. Settling counts from the step until all outputs together stay
    within the tolerance of their end; it is null where they do not settle, or settle elsewhere than at the operating
    point of the same circuit.
    """
    import numpy as np

    from amcsim.analysis.inv import operating_points, transient
    from amcsim.cli._circuit import drawn
    from amcsim.cli._input import check_output
    from amcsim.cli._output import number, print_json, print_lines, print_table

    for path in out:
        check_output(path, (*_PICTURES, ".raw", ".csv"))
    if stop is not None and not 1e-9 <= stop <= 10.0:
        raise ValueError(f"--stop = {stop:g} s: allowed is 1e-9 to 10 s")
    circuit = drawn(matrix, rhs, spec, seed)
    length = circuit.stop if stop is None else stop
    delay = _BEFORE * length
    r = circuit.handle.realisation
    waves = transient(circuit.handle.spec, r, circuit.volts, length, delay=delay)
    end = waves.matrix("x")[-1]
    point = operating_points(circuit.handle.spec, r, circuit.volts[:, None])[: circuit.m, 0]
    found = waves.settling_time(tolerance=tolerance)
    there = np.linalg.norm(end - point) <= 2 * tolerance * np.linalg.norm(point)
    settling = found if np.isfinite(found) and there else None
    title = f"INV {circuit.m}x{circuit.m}, {spec}, seed {seed}"
    for path in out:
        _write(path, waves, settling, tolerance, title)
    result = {
        "settling_time_s": settling,
        "tolerance": tolerance,
        "overshoot": waves.overshoot(),
        "outputs": end,
        "operating_point": point,
        "x": end / circuit.unit,
        "stop_s": length,
        "files": out,
    }
    if as_json:
        print_json(result)
        return
    rows = [
        [f"x{i}", *map(number, row)]
        for i, row in enumerate(np.stack([end, point, 100 * waves.overshoot(), end / circuit.unit], axis=1).tolist())
    ]
    print_table(["output", "at the end (V)", "operating point (V)", "overshoot (%)", "x"], rows)
    settled = "does not settle at its operating point" if settling is None else f"{1e6 * settling:.4g} us"
    print_lines({f"settling to {100 * tolerance:g} %": settled, "files": "  ".join(map(str, out))})


def _write(path: Path, waves: Waveforms, settling: float | None, tolerance: float, title: str) -> None:
    import numpy as np

    ending = path.suffix.lower()
    if ending in _PICTURES:
        from amcsim.plot import save, waveforms

        shown = {name: values for name, values in waves.signals.items() if name.startswith("v(x") and name[3] != "n"}
        fig = waveforms(waves.time, shown, settling=settling, tolerance=tolerance, step=waves.step, title=title)
        save(fig, path)
    elif ending == ".raw":
        from amcsim.ngspice.raw import Plot, write_raw

        variables = (("time", "time"), *((name, "voltage") for name in waves.signals))
        write_raw(path, Plot(title, "Transient Analysis", variables, np.stack([waves.time, *waves.signals.values()])))
    else:
        from amcsim.runs.files import write_text

        rows = np.stack([waves.time, *waves.signals.values()], axis=1).tolist()
        header = ",".join(["time_s", *waves.signals])
        write_text(path, "\n".join([header, *(",".join(map(repr, row)) for row in rows)]) + "\n")
