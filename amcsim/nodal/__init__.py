"""The same elements stamped: sparse solve, port admittance, state matrix, verdicts. No ngspice here.

Public are the names in `__all__` of: build (a drawn circuit as a LoopModel), loop, ports, certificate,
verdict, startup, inv.
"""
