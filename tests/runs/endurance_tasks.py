"""Items of a hundred solves each on the worker's ngspice session; some end their worker."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from amcsim.analysis.array import operating_points, transient
from amcsim.ngspice import NgspiceDied, NgspiceError, Session
from amcsim.realisation import realise
from amcsim.runs import ReplaceWorker
from amcsim.specs import preset
from amcsim.streams import Key
from amcsim.topology.inv import INV

SOLVES = 100
HOPELESS = "t\nB1 b 0 V={exp(V(b))+1}\nR1 b 0 1k\n.end\n"
DEADLY = "t\nV1 a 0 1\nR1 a 0 {nosuch}\n.end\n"


def resident() -> int:
    """Resident memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def solve_many(work: tuple[int, str]) -> tuple[int, int, bytes]:
    """(process, its resident memory afterwards, hash of the answers): SOLVES right-hand sides of one drawn 4x4 circuit.

    `work` is the item's number and its fate. Each tenth item also runs a start-up transient, each twentieth a circuit
    without an operating point.
    """
    item, fate = work
    key, spec = Key(4, (item,)), preset("pku_350nm")
    x = key.child(0).generator().standard_normal((4, 16))
    r = realise(x @ x.T / 16 + 0.1 * np.eye(4), spec, key.child(1))
    b = 0.05 * key.child(2).generator().standard_normal((4, SOLVES))
    found = operating_points(INV, spec, r, b)
    if item % 10 == 0:
        transient(INV, spec, r, b[:, 0], 5e-6, from_rest=True)
    if item % 20 == 0:
        session = Session()
        session.load(HOPELESS)
        with pytest.raises(NgspiceError):
            session.op(["v(b)"])
    match fate:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(600)
        case "die":
            try:
                Session().load(DEADLY)
            except NgspiceDied as error:
                raise ReplaceWorker(str(error)) from None
    return os.getpid(), resident(), hashlib.sha256(found.tobytes()).digest()
