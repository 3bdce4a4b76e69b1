"""Design of experiments, runs in ngspice, fit of a surrogate, validation on circuits that the fit never saw.

Public are the names in `__all__` of: design (Campaign, load_campaign), families, sample, fit, calibrate, validate.
"""
