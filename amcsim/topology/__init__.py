"""One file a circuit: its nodes, elements and closed-form equation. netlist/ writes them, nodal/ stamps them."""
