"""Solvers: `program` a matrix once, which is dear; `solve` right-hand sides, which is cheap; both are counted.

Public are the names in `__all__` of: base (what a solver is: Solver, Programmed, Solution, Counts); the leaves exact,
nodal, circuit (ngspice), surrogate, emulated, and mvm for products; the wrappers hp_inv, block_amc, record; stack
(solvers by name, the stack that trains); analog and arrays, to build leaves of one's own. Most stand in `amcsim` too.
"""
