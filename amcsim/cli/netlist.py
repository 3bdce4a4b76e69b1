"""`amcsim netlist inv|mvm`: the deck of one drawn circuit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amcsim.cli._app import Compensate, Json, MatrixFile, RhsFile, Seed, SpecName, VectorFile, circuit_group, command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = circuit_group("netlist", "Write a circuit as a deck for ngspice.")
    command(group, "inv")(inv)
    command(group, "mvm")(mvm)
    app.add_typer(group)


_Deck = Annotated[str, typer.Option("--out", "-o", metavar="DECK", help="Deck to write; '-' is standard output.")]


def inv(
    matrix: MatrixFile,
    rhs: RhsFile,
    out: _Deck,
    spec: SpecName = "pku_350nm",
    compensate: Compensate = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write the INV circuit of a matrix as a deck.

    It runs alone with `ngspice -b` and prints the outputs of the operating point, then their settling time to 1 %
    after a step of the inputs. Outputs are volts: x is an output over the volts for one unit of x, in the deck's title.
    """
    _write("inv", matrix, rhs, out, spec, compensate, seed, as_json)


def mvm(
    matrix: MatrixFile,
    rhs: VectorFile,
    out: _Deck,
    spec: SpecName = "pku_350nm",
    compensate: Compensate = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write the MVM circuit of a matrix as a deck.

    As `netlist inv`, for a matrix of any shape: x = A v. The amplifiers invert, so the volts for one unit are negative.
    """
    _write("mvm", matrix, rhs, out, spec, compensate, seed, as_json)


def _write(
    circuit: str, matrix: str, rhs: str, out: str, spec: str, compensate: bool, seed: int, as_json: bool
) -> None:
    from amcsim.analysis.array import array_deck
    from amcsim.cli._circuit import drawn
    from amcsim.cli._input import check_output
    from amcsim.cli._output import print_json, print_lines
    from amcsim.netlist.deck import standalone_text

    if as_json and out == "-":
        raise ValueError("--json and '-o -' both want standard output: give a file")
    if out != "-":
        check_output(Path(out))
    found = drawn(circuit, matrix, rhs, spec, seed, compensated=compensate)
    handle, m = found.handle, found.shape[0]
    title = f"{found.name}, seed {seed}, {found.unit:.9g} V for one unit of x"
    deck = array_deck(handle.topology, handle.spec, handle.realisation, found.volts, found.expected, title)
    text = standalone_text(deck, found.stop)
    if out == "-":
        typer.echo(text, nl=False)
        return
    from amcsim.runs.files import write_text

    write_text(Path(out), text)
    outputs = [f"v({found.output}{i})" for i in range(m)]
    if as_json:
        print_json(
            {
                "deck": out,
                "outputs": outputs,
                "inputs_v": found.volts,
                "expected_v": found.expected[:m],
                "volts_per_unit": found.unit,
            }
        )
    else:
        print_lines(
            {"deck": out, "run": f"ngspice -b {out}", "x": f"{outputs[0]} ... {outputs[-1]} / {found.unit:g} V"}
        )
