"""The same elements stamped: sparse solve, port admittance, state matrix, verdicts. No ngspice here."""
