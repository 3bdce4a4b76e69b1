"""The command line. Only Typer is imported here: each command imports what it needs when it runs."""

from amcsim.cli import calibrate, data, doctor, netlist, solve, train, validate, waves
from amcsim.cli._app import app

__all__ = ["app", "main"]

for group in (doctor, netlist, solve, waves, calibrate, validate, train, data):
    group.register(app)


def main() -> None:
    """Entry point of `amcsim`."""
    app(prog_name="amcsim")
