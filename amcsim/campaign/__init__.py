"""Design of experiments, runs in ngspice, fit of a surrogate, validation on circuits that the fit never saw."""
