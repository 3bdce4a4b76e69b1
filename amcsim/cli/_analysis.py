"""Options and endings that the analyses' commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from amcsim.analysis.linearised import Problem
    from amcsim.analysis.result import Result
    from amcsim.analysis.table import Limit
    from amcsim.cli._circuit import Drawn

__all__ = [
    "Backend",
    "Case",
    "Circuit",
    "Out",
    "PerDecade",
    "Process",
    "Start",
    "Stop",
    "TableFile",
    "Temperature",
    "analysed",
    "finish",
    "prepared",
]

Circuit = Annotated[Literal["inv", "mvm"], typer.Argument(help="Which circuit.")]
Out = Annotated[
    list[Path] | None,
    typer.Option("--out", "-o", metavar="FILE", help="Repeatable: .png, .svg, .pdf, .csv, .json, .raw, .html."),
]
TableFile = Annotated[
    Path | None, typer.Option("--table", metavar="FILE", help="Spec table (TOML): min, typ, max of named measures.")
]
Backend = Annotated[
    Literal["nodal", "ngspice"] | None,
    typer.Option(help="Nodal equations (quick; the default but for dc and amplifiers of transistors), or ngspice."),
]
Start = Annotated[float | None, typer.Option(help="Lowest frequency, Hz.")]
Stop = Annotated[float | None, typer.Option(help="Highest frequency, Hz.")]
PerDecade = Annotated[int | None, typer.Option(min=1, max=1000, help="Points a decade.")]
Temperature = Annotated[float, typer.Option(help="Degrees Celsius.")]
Process = Annotated[Literal["typical", "slow", "fast"], typer.Option(help="Corner of the transistors' cards.")]


@dataclass(frozen=True)
class Case:
    """What is analysed, as the shared options give it."""

    circuit: str
    matrix: str
    rhs: str
    spec: str
    seed: int
    temperature: float = 27.0
    process: str = "typical"


def prepared(case: Case, out: Sequence[Path] | None) -> tuple[Drawn, Problem]:
    """The drawn circuit, with files to write seen to be possible. Raises ValueError."""
    from amcsim.analysis.export import ENDINGS
    from amcsim.analysis.linearised import Problem
    from amcsim.cli._circuit import drawn
    from amcsim.cli._input import check_output
    from amcsim.netlist.conditions import Conditions

    for path in out or ():
        check_output(path, ENDINGS)
    conditions = Conditions(case.temperature, case.process)
    found = drawn(case.circuit, case.matrix, case.rhs, case.spec, case.seed)
    handle = found.handle
    return found, Problem(handle.topology, handle.spec, handle.realisation, found.volts, conditions)


def analysed(
    name: str, case: Case, table: Path | None, out: Sequence[Path] | None, as_json: bool, **options: Any
) -> None:
    """Run one analysis and write what came of it; options that are None are left to the analysis."""
    from amcsim.analysis.suite import analyse

    rows = limits(table, (name,))
    _, problem = prepared(case, out)
    result = analyse(name, problem, **{key: value for key, value in options.items() if value is not None})
    finish(result, rows, out, as_json)


def limits(table: Path | None, analyses: Sequence[str] = ()) -> tuple[Limit, ...]:
    """Rows of a spec table; of these analyses where some are given. Raises ValueError."""
    if table is None:
        return ()
    from amcsim.analysis.table import load_table

    rows = load_table(table)
    wanted = tuple(row for row in rows if not analyses or row.analysis in analyses)
    if not wanted:
        raise ValueError(f"spec table {table} has no row for {', '.join(analyses)}")
    return wanted


def finish(
    result: Result,
    rows: Sequence[Limit],
    out: Sequence[Path] | None,
    as_json: bool,
    *,
    shown: Callable[[str], bool] = lambda _: True,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Check the table, write the files, print the measures (those `shown`, for people)."""
    from amcsim.analysis.export import write_result
    from amcsim.analysis.table import check
    from amcsim.cli._output import number, print_json, print_lines, print_table

    verdicts = check(rows, {result.analysis: result})
    for path in out or ():
        write_result(result, path)
    if as_json:
        passed = {"table": [v.as_dict() for v in verdicts], "pass": all(v.ok for v in verdicts)} if rows else {}
        print_json(result.as_dict() | passed | {"files": out or []} | dict(more or {}))
        return
    named = [(name, m) for name, m in result.measures.items() if shown(name)]
    print_table(["measure", "value"], [[name, _value(m.value, m.unit)] for name, m in named])
    if verdicts:
        print_table(
            ["limit", "min", "typ", "max", "value", ""],
            [
                [
                    v.limit.name,
                    *(number(x, v.unit) for x in (v.limit.min, v.limit.typ, v.limit.max, v.value)),
                    "pass" if v.ok else "FAIL",
                ]
                for v in verdicts
            ],
        )
    facts = {"result": result.title}
    facts |= {"note": " ".join(result.details["note"])} if "note" in result.details else {}
    print_lines(facts | ({"files": "  ".join(map(str, out))} if out else {}))


def _value(value: float, unit: str) -> str:
    from amcsim.cli._output import number

    return f"{'-' if value < 0 else ''}infinite" if abs(value) == float("inf") else number(value, unit)
