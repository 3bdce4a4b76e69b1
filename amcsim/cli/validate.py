"""`amcsim validate inv`: how far to trust a surrogate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amcsim.cli._app import Json, Seed, SurrogateFile, circuit_group, command

if TYPE_CHECKING:
    from amcsim.campaign.validate import Validation

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = circuit_group("validate", "Hold a surrogate against ngspice.")
    command(group, "inv")(inv)
    app.add_typer(group)


def inv(
    spec: Annotated[
        str | None,
        typer.Option(metavar="FILE|PRESET", help="Technology: a TOML file or a preset (default: the surrogate's own)."),
    ] = None,
    surrogate: SurrogateFile = None,
    matrices: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Your systems, a (k, m, m) and b (k, m), instead of fresh circuits."),
    ] = None,
    recorded: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Draw from systems of `train --snapshots` too (default for 4x4: those shipped).",
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Number of fresh circuits.")] = 200,
    size: Annotated[
        int | None, typer.Option(min=1, help="Their matrix size (default: 4, or the largest of the surrogate).")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare a surrogate with ngspice on circuits its fit never saw.

    error_of_error is the distance of the surrogate's answer from ngspice's over the circuit's own error. Rates are of
    one core, with ranging, bounds and verdict.
    """
    from importlib.resources import as_file, files

    from amcsim.campaign.design import load_recorded
    from amcsim.campaign.validate import validate
    from amcsim.cli._input import load_systems
    from amcsim.cli._output import print_json
    from amcsim.runs import progress
    from amcsim.solvers.stack import SHIPPED, shipped_surrogate
    from amcsim.specs import load_spec, preset_names
    from amcsim.surrogate.model import load_surrogate

    if matrices is not None and (recorded is not None or size is not None):
        raise ValueError("--matrices brings its own circuits: --recorded and --size do not go with it")
    technology = load_spec(spec) if spec is not None else None
    shipped = spec if spec in preset_names() else SHIPPED
    model = shipped_surrogate(shipped or SHIPPED) if surrogate is None else load_surrogate(surrogate)
    systems = None if matrices is None else load_systems(matrices)
    m = size or (4 if 4 in model.domain.sizes else max(model.domain.sizes))
    shipped_systems = files("amcsim.calibration") / "kfac_systems.npz"
    with as_file(shipped_systems) as path:
        source = path if recorded is None and m == 4 and matrices is None else recorded
        blocks = None if source is None else load_recorded(source, (m,))[m]
    with progress(samples if systems is None else len(systems[0]), "circuits") as advance:
        found = validate(
            model,
            technology or model.spec,
            m=m,
            seed=seed,
            count=samples,
            matrices=systems,
            recorded=blocks,
            progress=lambda done: advance(1),
        )
    if as_json:
        print_json(found.as_dict())
    else:
        _show(found)


def _show(found: Validation) -> None:
    from amcsim.cli._output import number, print_lines

    words = {name: value for name, value in found.as_dict().items() if isinstance(value, int | float)}
    print_lines({name.replace("_", " "): number(value) for name, value in words.items()})
    print_lines({f"ngspice: {name}": str(count) for name, count in found.as_dict()["statuses"].items() if count})
