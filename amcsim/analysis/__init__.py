"""What ngspice is asked about a circuit, and typed results of it: operating points, transients, named measures."""
