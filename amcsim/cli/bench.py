"""`amcsim bench`: against other programs, the same problem side by side in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from amcsim.cli._app import Json, command
from amcsim.cli.solve import Backend

__all__ = ["register"]

_Sizes = Annotated[list[int] | None, typer.Option("--size", min=2, max=4096, help="Repeatable: side of the matrix.")]
_Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="The table as .md or .json.")]
_Rows = list[dict[str, Any]]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(name="bench", help="Side by side with other programs.", no_args_is_help=True)
    command(group, "wires")(wires)
    command(group, "montecarlo")(montecarlo)
    command(group, "inv")(inv)
    command(group, "inv-size")(inv_size)
    command(group, "kfac")(kfac)
    command(group, "all")(everything)
    app.add_typer(group)


def wires(
    size: _Sizes = None,
    ohm: Annotated[list[float] | None, typer.Option(min=1e-3, max=1e3, help="Repeatable: of a wire segment.")] = None,
    peers: Annotated[bool, typer.Option(help="Run badcrossbar and CrossSim, too, where they are installed.")] = True,
    tolerance: Annotated[float, typer.Option(min=1e-13, max=1e-2, help="Relative error bound of our currents.")] = 1e-8,
    out: _Out = None,
    as_json: Json = False,
) -> None:
    """Solve wired MVM arrays, cold, one vector, beside SciPy's sparse LU (to 1024), badcrossbar, CrossSim (to 512)."""
    _check(out)
    _finish({"wires": _wires(size or [64, 128, 256], ohm or [1.0, 2.0], peers, tolerance)}, out, as_json)


def _wires(sizes: list[int], ohms: list[float], peers: bool, tolerance: float) -> _Rows:
    from amcsim.studies.wires_speed import compare

    rows = []
    for n in sizes:
        for r in ohms:
            found = compare(n, r, tolerance=tolerance, peers=peers)
            row: dict[str, Any] = {"size": n, "ohm": r, "amcsim_s": found.ours, "amcsim_mb": found.memory / 1e6}
            for peer, seconds in (
                ("splu", found.splu),
                ("badcrossbar", found.badcrossbar),
                ("crosssim_cold", found.crosssim),
                ("crosssim_warm", found.crosssim_warm),
            ):
                row |= {f"{peer}_s": seconds, f"{peer}_ratio": None if seconds is None else seconds / found.ours}
            row |= {"difference": found.difference, "error": found.error, "iterations": found.iterations}
            row |= {
                "badcrossbar_difference": found.badcrossbar_difference,
                "crosssim_difference": found.crosssim_difference,
                "crosssim": found.crosssim_said or None,
            }
            rows.append(row)
    return rows


def montecarlo(
    size: _Sizes = None,
    samples: Annotated[int, typer.Option(min=2, help="Circuits that we solve.")] = 1000,
    others: Annotated[int | None, typer.Option(min=2, help="Circuits that the slow ones solve; default: all.")] = None,
    out: _Out = None,
    as_json: Json = False,
) -> None:
    """Solve drawn INV circuits against PySpice's shared library in a loop and `ngspice -b` on two threads."""
    _check(out)
    _finish({"montecarlo": _montecarlo(size or [4, 16], samples, others)}, out, as_json)


def _montecarlo(sizes: list[int], samples: int, others: int | None) -> _Rows:
    from amcsim.studies.montecarlo_speed import compare

    rows = []
    for n in sizes:
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
    return rows


def inv(
    size: _Sizes = None,
    largest_ngspice: Annotated[int, typer.Option(min=2, max=256, help="Above it ngspice is not asked.")] = 32,
    out: _Out = None,
    as_json: Json = False,
) -> None:
    """What an INV costs by size in ngspice, by the nodal equations and by the surrogate, alone and in batches."""
    _check(out)
    _finish({"inv": _inv(size or [4, 8, 16, 32, 64, 128], largest_ngspice)}, out, as_json)


def _inv(sizes: list[int], largest_ngspice: int) -> _Rows:
    from amcsim.studies.inv_speed import compare

    rows = []
    for n in sizes:
        for found in compare(n, largest_ngspice=largest_ngspice):
            known = not found.said
            rows.append(
                {
                    "size": n,
                    "backend": found.backend,
                    "first_s": found.first if known else None,
                    "further_s": found.further if known else None,
                    "further_per_s": 1.0 / found.further if known else None,
                    "difference": found.difference,
                    "same_status": found.same_status,
                    "said": found.said or None,
                }
            )
    return rows


def inv_size(
    size: _Sizes = None,
    peers: Annotated[bool, typer.Option(help="Run ngspice, too, up to size 32.")] = True,
    out: _Out = None,
    as_json: Json = False,
) -> None:
    """What a wired INV costs by size: first and further vectors, nodal against SciPy's sparse LU and ngspice."""
    from dataclasses import asdict

    from amcsim.studies.inv_size import LARGEST, compare

    _check(out)
    sizes = size or [4, 8, 16, 32, 64, 128, 256]
    if max(sizes) > LARGEST:
        raise ValueError(f"--size {max(sizes)} is no size of INV circuits: 2 to {LARGEST}")
    _finish({"inv-size": [asdict(compare(n, peers=peers)) for n in sizes]}, out, as_json)


def kfac(
    solver: Annotated[Backend, typer.Option(help="Arrays under BlockAMC and HP-INV.")] = "surrogate",
    spec: Annotated[
        str | None, typer.Option(help="Spec file or preset (default: pku_350nm with 0.3 ohm a cell and +-2 uS).")
    ] = None,
    leaf: Annotated[int, typer.Option(min=2, max=256, help="Rows of the largest array.")] = 128,
    passes: Annotated[int | None, typer.Option(min=1, help="Cut HP-INV to so many passes (default: 24 bits).")] = None,
    steps: Annotated[int, typer.Option(min=2, help="Steps of each; the first refreshes the inverses.")] = 3,
    out: _Out = None,
    as_json: Json = False,
) -> None:
    """What a K-FAC step on the autoencoder 784-1000-500-250-30 takes through arrays, and digitally; batch 1000."""
    from amcsim.solvers.stack import large_arrays
    from amcsim.specs import load_spec
    from amcsim.streams import Key
    from amcsim.studies.kfac_speed import INTERVAL, compare, onchip
    from amcsim.training.images import curves

    _check(out)
    arrays = large_arrays(solver, load_spec(spec) if spec else onchip(), size=leaf, passes=passes)
    digital, analog = compare(arrays, curves(Key(0), train=1000 * min(steps, 4), test=1), steps=steps)
    rows = [
        {
            "systems": name,
            "passes_s": found.passes_s,
            "update_s": found.update_s,
            "refresh_s": found.refresh_s,
            "step_s": found.step_s(INTERVAL),
            "update_ratio": found.update_s / digital.update_s,
            "step_ratio": found.step_s(INTERVAL) / digital.step_s(INTERVAL),
            "array_programmings": found.counts.array_programmings,
            "passes_a_vector": found.counts.analog_solves / (found.counts.high_precision_vectors or 1),
            "digital_fallbacks": found.counts.digital_fallbacks,
            "drift": found.drift,
        }
        for name, found in (("digital", digital), (solver, analog))
    ]
    _finish({"kfac": rows}, out, as_json)


def everything(
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, in a minute.")] = False,
    out: _Out = None,
    as_json: Json = False,
) -> None:
    """Run all tables: wires, Monte-Carlo, INV.

    The whole training through ngspice and the surrogate is `amcsim reproduce ngspice-training`.
    """
    _check(out)
    if quick:
        tables = {"wires": _wires([32, 64], [1.0], True, 1e-8), "montecarlo": _montecarlo([4], 100, 20)}
        tables["inv"] = _inv([4, 16], 16)
    else:
        tables = {
            "wires": _wires([64, 128, 256], [1.0, 2.0], True, 1e-8),
            "montecarlo": _montecarlo([4, 16], 1000, 100),
        }
        tables["inv"] = _inv([4, 8, 16, 32, 64, 128], 32)
    _finish(tables, out, as_json)


def _check(out: Path | None) -> None:
    from amcsim.cli._input import check_output

    if out is not None:
        check_output(out, (".md", ".json"))


def _finish(tables: dict[str, _Rows], out: Path | None, as_json: bool) -> None:
    from amcsim.cli._output import print_json, print_table
    from amcsim.runs.files import write_json, write_text

    single = len(tables) == 1
    result: dict[str, Any] = {"bench": "all", "tables": tables}
    if single:
        result = {"bench": next(iter(tables)), "rows": next(iter(tables.values()))}
    if out is not None:
        if out.suffix.lower() == ".json":
            write_json(out, result)
        else:
            write_text(out, "\n".join(_markdown(rows, None if single else name) for name, rows in tables.items()))
    if as_json:
        print_json(result)
        return
    for name, rows in tables.items():
        if not single:
            typer.echo(name)
        columns, *lines = _by_quantity(rows)
        print_table(columns, lines)
        for note in _notes(rows):
            typer.echo(note)


def _markdown(rows: _Rows, title: str | None) -> str:
    columns, *lines = _by_quantity(rows)
    table = "".join(f"| {' | '.join(line)} |\n" for line in (columns, ["---:"] * len(columns), *lines))
    notes = "".join(f"\n{note}\n" for note in _notes(rows))
    return (f"## {title}\n\n" if title else "") + table + notes


def _by_quantity(rows: _Rows) -> list[list[str]]:
    """A column a row, a line a quantity that any of them has; the first of them heads the columns."""
    names = [name for name in rows[0] if any(row[name] is not None and not _long(row[name]) for row in rows)]
    return [[name, *(_cell(row[name]) for row in rows)] for name in names]


def _notes(rows: _Rows) -> list[str]:
    """What is too long for a table, once each."""
    return list(dict.fromkeys(f"{name}: {text}" for row in rows for name, text in row.items() if _long(text)))


def _long(value: Any) -> bool:
    return isinstance(value, str) and len(value) > 20


def _cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return str(value).lower() if isinstance(value, bool) else f"{value:.4g}"
