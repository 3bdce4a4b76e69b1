"""`amcsim solve inv`: one matrix, its right-hand sides, one backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from amcsim.cli._app import Json, MatrixFile, RhsFile, Seed, SpecName, SurrogateFile, circuit_group, command

if TYPE_CHECKING:
    from amcsim._types import F64

__all__ = ["Backend", "register"]

Backend = Literal["exact", "nodal", "ngspice", "surrogate"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = circuit_group("solve", "Solve A x = b in an analog array.")
    command(group, "inv")(inv)
    app.add_typer(group)


def inv(
    matrix: MatrixFile,
    rhs: RhsFile,
    spec: SpecName = "pku_350nm",
    backend: Annotated[Backend, typer.Option(help="What solves the circuit; exact is no circuit.")] = "nodal",
    surrogate: SurrogateFile = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Solve A x = b with the closed-loop INV circuit.

    The exact solution stands beside it. Any status is a done computation; x is null where the circuit has no answer
    (unstable, not_converged).
    """
    from amcsim.cli._input import load_problem
    from amcsim.cli._output import print_json

    a, b = load_problem(matrix, rhs)
    result = solve_inv(a, b, spec, backend, surrogate, seed)
    if as_json:
        print_json(result)
    else:
        _show(result)


def solve_inv(a: F64, b: F64, spec: str, backend: str, surrogate: str | None, seed: int) -> dict[str, Any]:
    """What `solve inv` prints; x and x_exact have the shape of b, (m,) or (m, k).

    With several right-hand sides status and reason are the gravest (`statuses`, `reasons` hold each), a column of x
    without an answer is NaN, and relative_error is the norm over the columns that have one (0 where they are zero).
    """
    import time

    import numpy as np

    from amcsim.solvers.base import worst_status
    from amcsim.solvers.exact import solve_or_nan
    from amcsim.solvers.stack import leaf_solver
    from amcsim.specs import load_spec
    from amcsim.status import Reason, Status
    from amcsim.streams import Key

    solver = leaf_solver(backend, load_spec(spec), surrogate)
    columns = b.reshape(a.shape[0], -1)
    with np.errstate(all="ignore"):
        start = time.perf_counter()
        answer = solver.program(a, Key(seed)).solve(columns)
        elapsed = time.perf_counter() - start
        exact = solve_or_nan(a, columns)
        has = np.isfinite(answer.x).all(axis=0)
        regular = bool(np.isfinite(exact).all())
        top = np.abs(exact[:, has]).max(initial=0.0)  # taken out, so that no square leaves the range of floats
        off = (answer.x[:, has] - exact[:, has]) / top
        error = float(np.linalg.norm(off) / np.linalg.norm(exact[:, has] / top)) if top else 0.0
    status, reason = worst_status(answer.status, answer.reason)
    result: dict[str, Any] = {
        "x": answer.x.reshape(b.shape) if has.any() else None,
        "x_exact": exact.reshape(b.shape) if regular else None,
        "relative_error": error if has.any() and regular else None,
        "status": str(status),
        "reason": str(reason),
        "backend": backend,
        "elapsed_s": elapsed,
    }
    if b.ndim == 2:
        result["statuses"] = [str(Status(s)) for s in answer.status]
        result["reasons"] = [str(Reason(r)) for r in answer.reason]
    return result


def _show(result: dict[str, Any]) -> None:
    import numpy as np

    from amcsim.cli._output import number, print_lines, print_table

    shape = next((np.shape(result[k]) for k in ("x", "x_exact") if result[k] is not None), (0,))
    nothing = np.full(shape, np.nan)
    x, exact = (nothing if result[k] is None else np.asarray(result[k]) for k in ("x", "x_exact"))
    rows = [
        [",".join(map(str, index)), *(number(float(v[index])) for v in (x, exact, x - exact))]
        for index in np.ndindex(shape)
    ]
    print_table(["entry", "x", "exact", "difference"], rows)
    why = f" ({result['reason']})" if result["reason"] else ""
    print_lines(
        {
            "status": result["status"] + why,
            "relative error": number(result["relative_error"]),
            "backend": result["backend"],
            "elapsed": f"{result['elapsed_s']:.3g} s",
        }
    )
