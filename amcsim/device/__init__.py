"""RRAM statistics without SPICE: the compact model in NumPy, read disturb, write error, relaxation, noise, pulses.

Public are the names in `__all__` of: gap, statistics, writes, pulses.
"""
