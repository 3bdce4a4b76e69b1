"""The command line. Only Typer is imported here: each command imports what it needs when it runs."""

import ctypes
import logging
import os
from contextlib import suppress

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


def _keep_memory() -> None:
    """Let glibc keep up to a quarter gigabyte that numpy's temporaries free, rather than ask the kernel for fresh pages
    at every operation: a quarter of the time of programming many small arrays.
    """
    with suppress(OSError, AttributeError):
        c = ctypes.CDLL(None)
        if hasattr(c, "gnu_get_libc_version"):
            c.mallopt(_M_TRIM_THRESHOLD, 1 << 28)
            c.mallopt(_M_MMAP_THRESHOLD, 1 << 25)  # the most that it takes


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""


def main() -> None:
    """Entry point of `amcsim`."""
    # One BLAS thread unless the user says otherwise: systems are small, and threads only wait for one another.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    _keep_memory()
    log = logging.getLogger("amcsim")
    log.addHandler(logging.StreamHandler())
    log.handlers[-1].setFormatter(logging.Formatter("amcsim: %(message)s"))
    log.setLevel(logging.INFO)
    app(prog_name="amcsim")
