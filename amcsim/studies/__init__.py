"""What the package claims of itself, measured.

Public are the names in `__all__` of: hp_inv, montecarlo_speed, stamp, wires_speed.
"""
