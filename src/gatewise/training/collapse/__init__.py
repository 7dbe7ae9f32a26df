"""Against collapse of the gate: the monitor, the warm start, re-initialisation of dead experts."""
