"""What ngspice is asked about a circuit, and typed results of it: operating points, transients, named measures.

Public are the names in `__all__` of: array (any topology), inv, waveforms.
"""
