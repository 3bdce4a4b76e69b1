"""The fast model: grey-box cell, wires and amplifier fitted to ngspice, with the residual reported, not hidden."""
