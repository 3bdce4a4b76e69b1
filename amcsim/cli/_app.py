"""The application, its commands' last line of defence, and the options that commands share.

Exit status: 0 done (a solve that ends in any status is done), 1 the computation failed, 2 bad input. Standard output
carries the result, standard error everything else.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

__all__ = [
    "Compensate",
    "Json",
    "MatrixFile",
    "RhsFile",
    "Seed",
    "SpecName",
    "SurrogateFile",
    "VectorFile",
    "app",
    "circuit_group",
    "command",
]


class _Sentences(TyperGroup):
    """Wrong options and arguments, too, end as one sentence on standard error."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *rest: Any, **extra: Any) -> Any:
        """Run and exit, as in the parent class."""
        try:
            code = super().main(args, prog_name, *rest[:1], **extra | {"standalone_mode": False})
        except typer.Abort:
            typer.echo("amcsim: aborted", err=True)
            code = 1
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()  # type: ignore[attr-defined]
            else:
                typer.echo(f"amcsim: {' '.join(error.format_message().split())}", err=True)
            code = error.exit_code  # type: ignore[attr-defined]
        sys.exit(code)


app = typer.Typer(
    name="amcsim",
    cls=_Sentences,
    help="SPICE-level co-simulation of analog matrix computing with RRAM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_FILES = ".npy, .csv or .txt; '-' is standard input"
MatrixFile = Annotated[str, typer.Option("--matrix", metavar="FILE", help=f"Matrix, {_FILES}.")]
RhsFile = Annotated[str, typer.Option("--rhs", metavar="FILE", help=f"Right-hand side (several as columns), {_FILES}.")]
VectorFile = Annotated[
    str, typer.Option("--rhs", metavar="FILE", help=f"Vector to multiply (several as columns), {_FILES}.")
]
SpecName = Annotated[
    str, typer.Option("--spec", metavar="FILE|PRESET", help="Technology: a TOML file, 'ideal' or 'pku_350nm'.")
]
SurrogateFile = Annotated[
    str | None, typer.Option("--surrogate", metavar="FILE", help="Surrogate file (default: the shipped one).")
]
Compensate = Annotated[
    bool,
    typer.Option("--compensate", help="Choose conductances so that wires, access devices and gain are made up for."),
]
Seed = Annotated[int, typer.Option(min=0, help="Names the random draws: programming errors, offsets, data, order.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from amcsim import __version__

        typer.echo(f"amcsim {__version__}")


def command(group: typer.Typer, name: str, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command whose errors end as one sentence on standard error, without traceback."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @group.command(name, **settings)
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except (typer.Exit, typer.Abort):
                raise
            except Exception as error:  # noqa: BLE001 (a user gets a sentence, whatever went wrong)
                _end(error)

        return function

    return register


def circuit_group(name: str, summary: str) -> typer.Typer:
    """A command with a circuit after it, such as `solve inv`."""
    return typer.Typer(name=name, help=summary, no_args_is_help=True, rich_markup_mode=None)


def _end(error: Exception) -> NoReturn:
    """Exit with the error's sentence; AMCSIM_DEBUG=1 shows the traceback instead."""
    if os.environ.get("AMCSIM_DEBUG") or (isinstance(error, OSError) and error.errno == errno.EPIPE):
        raise error
    # A name may hold anything: no escape sequence of it reaches the terminal.
    sentence = " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in str(error)).split())
    code = 1
    kind = type(error).__name__
    if isinstance(error, ModuleNotFoundError):
        extras = {"torch": "amcsim[training]", "distributed": "amcsim[cluster]"}
        extra = extras.get(error.name or "", error.name)
        sentence = f"this command needs the Python package {error.name}: pip install '{extra}'"
    elif isinstance(error, ValueError) and kind not in ("LinAlgError", "StoreFullError"):
        code = 2
    elif isinstance(error, OSError) and error.strerror:
        sentence = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif isinstance(error, MemoryError):
        sentence = "not enough memory for a problem of this size"
    elif not type(error).__module__.startswith("amcsim."):  # ours are sentences already
        sentence = f"unexpected {kind}: {sentence} (AMCSIM_DEBUG=1 shows where)"
    typer.echo(f"amcsim: {sentence}", err=True)
    raise typer.Exit(code)
