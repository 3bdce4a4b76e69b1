"""The command line. Only Typer is imported here: each command imports what it needs when it runs."""

import os

from amcsim.cli import (
    analyses,
    bench,
    calibrate,
    cosim,
    data,
    demo,
    doctor,
    netlist,
    opamp,
    reproduce,
    solve,
    train,
    validate,
    waves,
    write_verify,
    yields,
)
from amcsim.cli._app import app

__all__ = ["app", "main"]

for group in (
    doctor,
    netlist,
    opamp,
    solve,
    waves,
    analyses,
    yields,
    write_verify,
    cosim,
    calibrate,
    validate,
    train,
    data,
    demo,
    bench,
    reproduce,
):
    group.register(app)


def main() -> None:
    """Entry point of `amcsim`."""
    # One BLAS thread unless the user says otherwise: systems are small, and threads only wait for one another.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    app(prog_name="amcsim")
