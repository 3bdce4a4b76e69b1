"""`amcsim bench`: against other programs, the same problem side by side in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from amcsim.cli._app import Json, command

__all__ = ["register"]

_Sizes = Annotated[list[int] | None, typer.Option("--size", min=2, max=4096, help="Repeatable: side of the matrix.")]
_Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="The table as .md or .json.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(name="bench", help="Side by side with other programs.", no_args_is_help=True)
    command(group, "wires")(wires)
    command(group, "montecarlo")(montecarlo)
    app.add_typer(group)


def wires(
    size: _Sizes = None,
    ohm: Annotated[list[float] | None, typer.Option(min=1e-3, max=1e3, help="Repeatable: of a wire segment.")] = None,
    peers: Annotated[bool, typer.Option(help="Run badcrossbar, too, where it is installed.")] = True,
    tolerance: Annotated[float, typer.Option(min=1e-13, max=1e-2, help="Relative error bound of our currents.")] = 1e-8,
    out: _Out = None,
    as_json: Json = False,
) -> None:
    """Solve wired MVM arrays, cold and for one vector, against SciPy's sparse LU and badcrossbar (to size 512)."""
    from amcsim.studies.wires_speed import compare

    _check(out)
    rows = []
    for n in size or [64, 128, 256]:
        for r in ohm or [1.0, 2.0]:
            found = compare(n, r, tolerance=tolerance, peers=peers)
            row: dict[str, Any] = {"size": n, "ohm": r, "amcsim_s": found.ours, "amcsim_mb": found.memory / 1e6}
            for peer, seconds in (("splu", found.splu), ("badcrossbar", found.badcrossbar)):
                row |= {f"{peer}_s": seconds, f"{peer}_ratio": None if seconds is None else seconds / found.ours}
            rows.append(row | {"difference": found.difference, "error": found.error, "iterations": found.iterations})
    _finish("wires", rows, out, as_json)


def montecarlo(
    size: _Sizes = None,
    samples: Annotated[int, typer.Option(min=2, help="Circuits that we solve.")] = 1000,
    others: Annotated[int | None, typer.Option(min=2, help="Circuits that the slow ones solve; default: all.")] = None,
    out: _Out = None,
    as_json: Json = False,
) -> None:
    """Solve drawn INV circuits against PySpice's shared library in a loop and `ngspice -b` on two threads."""
    from amcsim.studies.montecarlo_speed import compare

    _check(out)
    rows = []
    for n in size or [4, 16]:
        found = compare(n, samples, others)
        rows.append(
            {
                "size": n,
                "samples": found.samples,
                "amcsim_s": found.ours,
                "pyspice_s": found.pyspice,
                "pyspice_ratio": found.pyspice / found.ours,
                "ngspice_b_s": found.batch,
                "ngspice_b_ratio": found.batch / found.ours,
                "difference": found.difference,
            }
        )
    _finish("montecarlo", rows, out, as_json)


def _check(out: Path | None) -> None:
    from amcsim.cli._input import check_output

    if out is not None:
        check_output(out, (".md", ".json"))


def _finish(name: str, rows: list[dict[str, Any]], out: Path | None, as_json: bool) -> None:
    from amcsim.cli._output import print_json, print_table
    from amcsim.runs.files import write_json, write_text

    columns = list(rows[0])
    cells = [["" if row[c] is None else f"{row[c]:.4g}" for c in columns] for row in rows]
    result = {"bench": name, "rows": rows}
    if out is not None:
        if out.suffix.lower() == ".json":
            write_json(out, result)
        else:
            lines = [columns, ["---:"] * len(columns), *cells]
            write_text(out, "".join(f"| {' | '.join(line)} |\n" for line in lines))
    if as_json:
        print_json(result)
    else:
        print_table([c.replace("_", " ") for c in columns], cells)
