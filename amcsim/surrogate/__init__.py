"""The fast model: grey-box cell, wires and amplifier fitted to ngspice, with the residual reported, not hidden.

Public are the names in `__all__` of: model (Surrogate, load_surrogate, domain, figures), shipped, and, to see how
it computes, inv, mvm, wires, curved.
"""
