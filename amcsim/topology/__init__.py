"""One file a circuit: its nodes, elements and closed-form equation. netlist/ writes them, nodal/ stamps them.

Public are the names in `__all__` of: circuit (Topology), network (NetworkBuilder, Network), array, inv, mvm.
"""
