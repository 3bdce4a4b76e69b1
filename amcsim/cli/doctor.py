"""`amcsim doctor`: is this machine fit to run decks?"""

from __future__ import annotations

import typer

from amcsim.cli._app import Json, command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "doctor")(doctor)


def doctor(as_json: Json = False) -> None:
    """Check that this machine can run decks.

    Looks at Python, ngspice, libngspice, PySpice and PyTorch; exit 1 where something required is missing.
    """
    from dataclasses import asdict

    from amcsim.cli._output import print_json, print_table
    from amcsim.ngspice.doctor import check

    checks = check()
    ok = all(item.ok for item in checks if item.required)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(item) for item in checks]})
    else:
        words = {(True, True): "ok", (True, False): "ok", (False, True): "MISSING", (False, False): "optional"}
        rows = [[item.name, words[item.ok, item.required], item.detail] for item in checks]
        print_table(["check", "", "found"], rows, numbers=False)
        for item in checks:
            if not item.ok and item.fix:
                typer.echo(f"{item.name}: {item.fix}")
    if not ok:
        raise typer.Exit(1)
