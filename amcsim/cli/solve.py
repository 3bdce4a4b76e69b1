"""`amcsim solve inv|mvm`: one matrix, its right-hand sides, one backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from amcsim.cli._app import (
    Compensate,
    Json,
    MatrixFile,
    RhsFile,
    Seed,
    SpecName,
    SurrogateFile,
    VectorFile,
    circuit_group,
    command,
)

if TYPE_CHECKING:
    from amcsim._types import F64

__all__ = ["Backend", "register"]

Backend = Literal["exact", "nodal", "ngspice", "surrogate"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = circuit_group("solve", "Solve A x = b, or multiply x = A v, in an analog array.")
    command(group, "inv")(inv)
    command(group, "mvm")(mvm)
    app.add_typer(group)


_BackendName = Annotated[Backend, typer.Option("--backend", help="What solves the circuit; exact is no circuit.")]


def inv(
    matrix: MatrixFile,
    rhs: RhsFile,
    spec: SpecName = "pku_350nm",
    backend: _BackendName = "nodal",
    surrogate: SurrogateFile = None,
    compensate: Compensate = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Solve A x = b with the closed-loop INV circuit.

    The exact solution stands beside it. Any status is a done computation; x is null where the circuit has no answer
    (unstable, not_converged).
    """
    _run("inv", matrix, rhs, spec, backend, surrogate, compensate, seed, as_json)


def mvm(
    matrix: MatrixFile,
    rhs: VectorFile,
    spec: SpecName = "pku_350nm",
    backend: _BackendName = "nodal",
    surrogate: SurrogateFile = None,
    compensate: Compensate = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Multiply x = A v with the open-loop MVM circuit; A may be rectangular.

    The exact product stands beside it. Any status is a done computation; x is null where the circuit has no answer.
    """
    _run("mvm", matrix, rhs, spec, backend, surrogate, compensate, seed, as_json)


def _run(
    circuit: str,
    matrix: str,
    rhs: str,
    spec: str,
    backend: str,
    surrogate: str | None,
    compensate: bool,
    seed: int,
    as_json: bool,
) -> None:
    from amcsim.cli._input import load_problem
    from amcsim.cli._output import print_json

    a, b = load_problem(matrix, rhs, circuit)
    result = solve(circuit, a, b, spec, backend, surrogate, seed, compensated=compensate)
    if as_json:
        print_json(result)
    else:
        _show(result)


def solve(
    circuit: str,
    a: F64,
    b: F64,
    spec: str,
    backend: str,
    surrogate: str | None,
    seed: int,
    *,
    compensated: bool = False,
) -> dict[str, Any]:
    """What `solve` prints for a, (m, n), and b, (n,) or (n, k); x and x_exact are (m,) or (m, k).

    With several right-hand sides status and reason are the gravest (`statuses`, `reasons` hold each), a column of x
    without an answer is NaN, and relative_error is the norm over the columns that have one (0 where they are zero).
    A surrogate adds error_bound, the bound on ||x - x_ngspice|| / ||x|| of each column, null where its status is not
    ok, that a share `confidence` of circuits keeps.
    The time is that of programming and solving; that of compensation is not in it.
    """
    import time

    import numpy as np

    from amcsim.solvers.base import worst_status
    from amcsim.solvers.compensated import compensate
    from amcsim.solvers.exact import solve_or_nan
    from amcsim.solvers.stack import leaf_solver, product_solver
    from amcsim.solvers.surrogate import SurrogateArray
    from amcsim.specs import load_spec
    from amcsim.status import Reason, Status
    from amcsim.streams import Key

    technology, key = load_spec(spec), Key(seed)
    rows, columns = a.shape
    found = (
        compensate(a, technology, "mvm" if circuit == "mvm" else "inv") if compensated and backend != "exact" else None
    )
    written = found.matrix if found else a
    vectors, shape = b.reshape(columns, -1), (rows, *b.shape[1:])
    handle: object
    with np.errstate(all="ignore"):
        if circuit == "mvm":
            product = product_solver(backend, technology, surrogate, (rows, columns))
            start = time.perf_counter()
            written_product = product.program(written, key)
            multiplied = written_product.multiply(vectors)
            x, statuses, reasons = multiplied.y, multiplied.status, multiplied.reason
            disturbed = multiplied.disturbed
            elapsed = time.perf_counter() - start
            handle, exact = written_product, a @ vectors
        else:
            solver = leaf_solver(backend, technology, surrogate, size=rows)
            start = time.perf_counter()
            programmed = solver.program(written, key)
            answer = programmed.solve(vectors)
            x, statuses, reasons = answer.x, answer.status, answer.reason
            disturbed = answer.disturbed
            elapsed = time.perf_counter() - start
            handle, exact = programmed, solve_or_nan(a, vectors)
        has = np.isfinite(x).all(axis=0)
        regular = bool(np.isfinite(exact).all())
        top = np.abs(exact[:, has]).max(initial=0.0)  # taken out, so that no square leaves the range of floats
        off = (x[:, has] - exact[:, has]) / top
        error = float(np.linalg.norm(off) / np.linalg.norm(exact[:, has] / top)) if top else 0.0
    status, reason = worst_status(statuses, reasons)
    result: dict[str, Any] = {
        "x": x.reshape(shape) if has.any() else None,
        "x_exact": exact.reshape(shape) if regular else None,
        "relative_error": error if has.any() and regular else None,
        "status": str(status),
        "reason": str(reason),
        "disturbed": bool(disturbed),
        "backend": backend,
        "elapsed_s": elapsed,
    }
    if found:
        result["compensation"] = {"factor": float(found.factor), "beyond": float(found.beyond)}
    if isinstance(handle, SurrogateArray) and handle.array.surrogate.confidence is not None:
        bounds = handle.error_bounds(vectors) / np.linalg.norm(x, axis=0)
        result["error_bound"] = bounds.reshape(b.shape[1:])
        result["confidence"] = handle.array.surrogate.confidence.level
    if b.ndim == 2:
        result["statuses"] = [str(Status(s)) for s in statuses]
        result["reasons"] = [str(Reason(r)) for r in reasons]
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
            "status": result["status"] + why + (", array disturbed" if result["disturbed"] else ""),
            "relative error": number(result["relative_error"]),
            "backend": result["backend"],
            **({"distance from ngspice": _bound(result)} if "error_bound" in result else {}),
            "elapsed": f"{result['elapsed_s']:.3g} s",
            **({"compensation": _range(**result["compensation"])} if "compensation" in result else {}),
        }
    )


def _bound(result: dict[str, Any]) -> str:
    import numpy as np

    from amcsim.cli._output import number

    known = result["error_bound"][np.isfinite(result["error_bound"])]
    return f"at most {number(float(known.max()))} at {result['confidence']:.0%}" if known.size else "unknown"


def _range(factor: float, beyond: float) -> str:
    return f"{factor:.3g} of the range left; without scaling {beyond:.3g} of the pairs of cells would leave it"
