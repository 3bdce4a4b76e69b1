"""`amcsim validate inv|mvm|variation`: how far to trust a surrogate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amcsim.cli._app import Json, Seed, SpecName, SurrogateFile, circuit_group, command

if TYPE_CHECKING:
    from amcsim.campaign.validate import Validation

__all__ = ["register"]

_VECTORS = 2**31 + 2
"""First number of the path of drawn vectors; validation has the two before."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = circuit_group("validate", "Hold a surrogate against ngspice.")
    command(group, "inv")(inv)
    command(group, "mvm")(mvm)
    command(group, "variation")(variation)
    app.add_typer(group)


_Technology = Annotated[
    str | None,
    typer.Option(
        "--spec", metavar="FILE|PRESET", help="Technology: a TOML file or a preset (default: the surrogate's own)."
    ),
]
_Recorded = Annotated[
    Path | None,
    typer.Option(metavar="FILE.npz", help="Draw from systems of `train --snapshots` too (default: those shipped)."),
]
_Samples = Annotated[int, typer.Option(min=1, help="Number of fresh circuits.")]
_Size = Annotated[int | None, typer.Option(min=1, help="Their matrix size (default: 4, or the surrogate's largest).")]

_Matrices = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Your matrices instead of fresh circuits: .npz with a (k, m, n) and maybe b (k, n), .npy, .csv or .txt.",
    ),
]
_Vectors = Annotated[int, typer.Option(min=1, help="Vectors drawn for each of --matrices that brings none.")]
_Timed = Annotated[
    int | None,
    typer.Option(min=0, help="Circuits of which ngspice runs the transient, too (default: as many as take seconds)."),
]
_Wire = Annotated[
    float | None,
    typer.Option(min=0.0, metavar="OHM", help="Resistance of a wire's segment (default: the technology's)."),
]
_Against = Annotated[
    str, typer.Option(metavar="ngspice|nodal", help="The judge; nodal equations for sizes beyond about 48.")
]


def inv(
    spec: _Technology = None,
    surrogate: SurrogateFile = None,
    matrices: _Matrices = None,
    vectors: _Vectors = 4,
    recorded: _Recorded = None,
    samples: _Samples = 200,
    size: _Size = None,
    timed: _Timed = None,
    wire: _Wire = None,
    against: _Against = "ngspice",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare a surrogate with ngspice on circuits its fit never saw.

    error_of_error is the distance of the surrogate's answer from ngspice's over the circuit's own error. Settling,
    power and energy are those of a read, signal_energy what is left of it without quiescent currents. Rates are of one
    core, with ranging, bounds and verdict.
    """
    _compare("inv", spec, surrogate, matrices, vectors, recorded, samples, size, timed, wire, against, seed, as_json)


def mvm(
    spec: _Technology = None,
    surrogate: SurrogateFile = None,
    matrices: _Matrices = None,
    vectors: _Vectors = 4,
    recorded: _Recorded = None,
    samples: _Samples = 200,
    size: _Size = None,
    timed: _Timed = None,
    wire: _Wire = None,
    against: _Against = "ngspice",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare a surrogate of MVM circuits with ngspice on circuits its fit never saw.

    As `validate inv`; a third of the fresh circuits are rectangular, with sides up to the size.
    """
    _compare("mvm", spec, surrogate, matrices, vectors, recorded, samples, size, timed, wire, against, seed, as_json)


def variation(
    spec: SpecName = "pku_350nm_varying",
    surrogate: Annotated[
        list[str] | None,
        typer.Option("--surrogate", metavar="FILE", help="Repeatable: circuits of its kind take it, not the shipped."),
    ] = None,
    circuits: Annotated[int, typer.Option(min=1, max=10, help="How many of the ten circuits.")] = 10,
    samples: Annotated[int, typer.Option(min=40, help="Realisations of each.")] = 1000,
    quick: Annotated[bool, typer.Option("--quick", help="Two circuits, 100 realisations each.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at most; default: one a core.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Hold a surrogate's Monte-Carlo against ngspice's: programming, drift, telegraph noise, read noise, offsets.

    On shared realisations the standard deviation of each output and its 5, 50 and 95 % quantiles, 2 % being of the
    output's standard deviation in ngspice; on independent seeds a test that both are one distribution. Exit 1 where
    either fails.
    """
    import numpy as np

    from amcsim.campaign.paired import CASES, Case, paired, pooled
    from amcsim.cli._output import print_json, print_lines, print_table
    from amcsim.runs import progress
    from amcsim.specs import load_spec
    from amcsim.surrogate.model import Surrogate, load_surrogate
    from amcsim.surrogate.shipped import shipped_surrogate

    if quick:
        circuits, samples = 2, 100
    technology, own = load_spec(spec), {model.circuit: model for model in map(load_surrogate, surrogate or ())}

    def surrogate_of(case: Case) -> Surrogate:
        return own.get(case.circuit) or shipped_surrogate(technology, (case.rows, case.columns), case.circuit)

    with progress(circuits * samples, "samples") as step:
        spreads = paired(
            CASES[:circuits], technology, surrogate_of, samples=samples, seed=seed, workers=workers, progress=step
        )
    found = pooled(spreads) | {"spec": spec, "seed": seed}
    if as_json:
        print_json(found)
    else:
        rows = [
            [
                s.case.name,
                f"{s.used}/{s.samples}",
                *(f"{value:.1e}" for value in (s.worst_ratio, *np.abs(s.quantiles).max(axis=1))),
                *(f"{seconds:.3g}" for seconds in (s.spice_s, s.surrogate_s)),
            ]
            for s in spreads
        ]
        print_table(["circuit", "used", "sigma", "5 %", "50 %", "95 %", "ngspice s", "surrogate s"], rows)
        print_lines(
            {
                "shared realisations": f"ratios of sigma within {found['worst_ratio']:.2g} of 1, quantiles within "
                f"{found['worst_quantile']:.2g} sigma (wanted {found['tolerance']:g})",
                "independent seeds": f"{found['independent_within_95']:.1%} of {found['independent_comparisons']} "
                f"differences within 95 % intervals, smallest p-value after Bonferroni {found['independent_p']:.2g}",
            }
        )
    if not (found["within_tolerance"] and found["independent_consistent"]):
        raise typer.Exit(1)


def _compare(
    circuit: str,
    spec: str | None,
    surrogate: str | None,
    matrices: Path | None,
    vectors: int,
    recorded: Path | None,
    samples: int,
    size: int | None,
    timed: int | None,
    wire: float | None,
    against: str,
    seed: int,
    as_json: bool,
) -> None:
    from importlib.resources import as_file, files

    import numpy as np

    from amcsim.campaign.design import CampaignError, load_recorded
    from amcsim.campaign.validate import validate
    from amcsim.cli._input import load_systems
    from amcsim.cli._output import print_json
    from amcsim.runs import progress
    from amcsim.specs import load_spec, preset
    from amcsim.streams import Key
    from amcsim.surrogate.model import load_surrogate
    from amcsim.surrogate.shipped import shipped_surrogate

    if against not in ("ngspice", "nodal"):
        raise ValueError(f"--against {against}: there are ngspice and nodal")
    if matrices is not None and (recorded is not None or size is not None):
        raise ValueError("--matrices brings its own circuits: --recorded and --size do not go with it")
    systems = None
    if matrices is not None:
        a, b = load_systems(matrices, circuit)
        if b is None:
            a = np.repeat(a, vectors, axis=0)
            b = Key(seed, (_VECTORS,)).generator().standard_normal((len(a), a.shape[2]))
        else:
            vectors = 1
        systems = a, b
    shape = (size or 4, size or 4) if systems is None else systems[0].shape[1:]
    model = load_surrogate(surrogate, invalid=True) if surrogate is not None else None
    technology = load_spec(spec) if spec is not None else model.spec if model is not None else preset("pku_350nm")
    if wire is not None:
        technology = technology.replace(wire={"bl_resistance": wire, "sl_resistance": wire})
    if model is None:
        model = shipped_surrogate(technology, shape, circuit)
    elif model.circuit != circuit:
        raise ValueError(
            f"surrogate {surrogate} was fitted to {model.circuit.upper()} circuits: `validate {model.circuit}`"
        )
    if not model.valid:
        typer.echo(f"{surrogate} is marked invalid: its held-out figures miss the campaign's targets", err=True)
    m = size or (4 if 4 in model.domain.sizes else max(model.domain.sizes))
    blocks = None
    if systems is None:
        with as_file(files("amcsim.calibration") / "kfac_systems.npz") as path:
            try:
                blocks = load_recorded(recorded or path, (m,))[m]
            except CampaignError:
                if recorded is not None:
                    raise  # those shipped hold no system of this size
    with progress(samples if systems is None else len(systems[0]), "circuits") as advance:
        found = validate(
            model,
            technology,
            m=m,
            seed=seed,
            count=samples,
            matrices=systems,
            recorded=blocks,
            timed=timed,
            against=against,
            progress=lambda done: advance(1),
        )
    table = [] if systems is None else found.by_matrix(vectors)
    if as_json:
        print_json(found.as_dict() | {"valid": model.valid} | ({"matrices": table} if table else {}))
    else:
        _show(found, table)


def _show(found: Validation, table: list[dict[str, Any]]) -> None:
    from amcsim.cli._output import number, print_lines, print_table

    if table:
        rows = [
            [
                str(line["matrix"]),
                f"{line['rows']}x{line['columns']}",
                f"{line['condition']:.3g}",
                " ".join(f"{count} {name}" for name, count in line["statuses"].items()),
                *(f"{line[name]:.2g}" for name in ("error_of_error", "relative_error", "error_bound")),
                f"{line['within_bound']}/{line['compared']}",
            ]
            for line in table
        ]
        columns = ["matrix", "shape", "condition", "ngspice", "error of error", "relative", "bound", "within"]
        print_table(columns, rows)
    words = {name: value for name, value in found.as_dict().items() if isinstance(value, int | float)}
    print_lines({name.replace("_", " "): number(value) for name, value in words.items()})
    print_lines(
        {f"{found.against}: {name}": str(count) for name, count in found.as_dict()["statuses"].items() if count}
    )
