"""amcsim: SPICE-level co-simulation of analog matrix computing with RRAM."""

__version__ = "0.1.0"
