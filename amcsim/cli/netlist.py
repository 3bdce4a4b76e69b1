"""`amcsim netlist inv`: the deck of one drawn circuit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amcsim.cli._app import Json, MatrixFile, RhsFile, Seed, SpecName, circuit_group, command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = circuit_group("netlist", "Write a circuit as a deck for ngspice.")
    command(group, "inv")(inv)
    app.add_typer(group)


def inv(
    matrix: MatrixFile,
    rhs: RhsFile,
    out: Annotated[str, typer.Option("--out", "-o", metavar="DECK", help="Deck to write; '-' is standard output.")],
    spec: SpecName = "pku_350nm",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write the INV circuit of a matrix as a deck.

    It runs alone with `ngspice -b` and prints the outputs of the operating point, then their settling time to 1 %
    after a step of the inputs. Outputs are volts: x is an output over the volts for one unit of x, in the deck's title.
    """
    from amcsim.analysis.inv import inv_deck
    from amcsim.cli._circuit import drawn
    from amcsim.cli._input import check_output
    from amcsim.cli._output import print_json, print_lines
    from amcsim.netlist.deck import standalone_text

    if as_json and out == "-":
        raise ValueError("--json and '-o -' both want standard output: give a file")
    if out != "-":
        check_output(Path(out))
    circuit = drawn(matrix, rhs, spec, seed)
    title = f"INV {circuit.m}x{circuit.m}, seed {seed}, {circuit.unit:.9g} V for one unit of x"
    deck = inv_deck(circuit.handle.spec, circuit.handle.realisation, circuit.volts, circuit.expected, title)
    text = standalone_text(deck, circuit.stop)
    if out == "-":
        typer.echo(text, nl=False)
        return
    from amcsim.runs.files import write_text

    write_text(Path(out), text)
    if as_json:
        outputs = [f"v(x{i})" for i in range(circuit.m)]
        print_json(
            {
                "deck": out,
                "outputs": outputs,
                "inputs_v": circuit.volts,
                "expected_v": circuit.expected[0],
                "volts_per_unit": circuit.unit,
            }
        )
    else:
        print_lines(
            {"deck": out, "run": f"ngspice -b {out}", "x": f"v(x0) ... v(x{circuit.m - 1}) / {circuit.unit:g} V"}
        )
