"""amcsim: SPICE-level co-simulation of analog matrix computing with RRAM.

Public are the names in `__all__` of the modules that the documentation's API pages list; names with an underscore, and
amcsim.cli (whose interface is the command line), are not. The names used most also stand here, and load at first use:
importing amcsim imports no other module of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amcsim.realisation import realise
    from amcsim.solvers.base import Counts, Programmed, Solution, Solver
    from amcsim.solvers.block_amc import BlockAmc
    from amcsim.solvers.circuit import CircuitSolver
    from amcsim.solvers.exact import Exact
    from amcsim.solvers.hp_inv import HpInv
    from amcsim.solvers.mvm import MvmSolver
    from amcsim.solvers.nodal import NodalSolver
    from amcsim.solvers.stack import leaf_solver
    from amcsim.solvers.surrogate import SurrogateSolver
    from amcsim.specs import Spec, load_spec, preset
    from amcsim.status import Reason, Status
    from amcsim.streams import Key
    from amcsim.surrogate.model import load_surrogate

__version__ = "0.1.0"

__all__ = [
    "BlockAmc",
    "CircuitSolver",
    "Counts",
    "Exact",
    "HpInv",
    "Key",
    "MvmSolver",
    "NodalSolver",
    "Programmed",
    "Reason",
    "Solution",
    "Solver",
    "Spec",
    "Status",
    "SurrogateSolver",
    "__version__",
    "leaf_solver",
    "load_spec",
    "load_surrogate",
    "preset",
    "realise",
]

_HOMES = {
    "realisation": ["realise"],
    "solvers.base": ["Counts", "Programmed", "Solution", "Solver"],
    "solvers.block_amc": ["BlockAmc"],
    "solvers.circuit": ["CircuitSolver"],
    "solvers.exact": ["Exact"],
    "solvers.hp_inv": ["HpInv"],
    "solvers.mvm": ["MvmSolver"],
    "solvers.nodal": ["NodalSolver"],
    "solvers.stack": ["leaf_solver"],
    "solvers.surrogate": ["SurrogateSolver"],
    "specs": ["Spec", "load_spec", "preset"],
    "status": ["Reason", "Status"],
    "streams": ["Key"],
    "surrogate.model": ["load_surrogate"],
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"amcsim.{module}"), name)
    raise AttributeError(f"module 'amcsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
