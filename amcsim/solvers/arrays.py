"""Arrays of any circuit and backend by name: voltages in, voltages and verdicts out, whatever they stand for."""

from __future__ import annotations

from amcsim._types import F64
from amcsim.realisation import Realisation
from amcsim.solvers.circuit import CircuitProgrammed
from amcsim.solvers.mvm import MvmCircuit, MvmNodal, MvmSurrogate
from amcsim.solvers.nodal import NodalArray, NodalProgrammed
from amcsim.solvers.surrogate import SurrogateProgrammed
from amcsim.specs import Spec
from amcsim.surrogate import inv, mvm
from amcsim.surrogate.model import Surrogate

__all__ = ["circuit_array", "nodal_array", "surrogate_array"]


def nodal_array(circuit: str, spec: Spec, a: F64, r: Realisation) -> NodalArray:
    """Matrices a, (*batch, m, n), drawn as r in arrays of that circuit, by their nodal equations."""
    return (MvmNodal if circuit == "mvm" else NodalProgrammed)(a, spec, r)


def circuit_array(circuit: str, spec: Spec, a: F64, r: Realisation) -> MvmCircuit | CircuitProgrammed:
    """The same in ngspice."""
    return (MvmCircuit if circuit == "mvm" else CircuitProgrammed)(a, spec, r)


def surrogate_array(surrogate: Surrogate, spec: Spec, a: F64, r: Realisation) -> MvmSurrogate | SurrogateProgrammed:
    """The same by a surrogate of its own circuit. Raises DomainError outside its domain."""
    if surrogate.circuit == "mvm":
        return MvmSurrogate(a, spec, r, mvm.program(surrogate, spec, r))
    return SurrogateProgrammed(a, spec, r, inv.program(surrogate, spec, r))
