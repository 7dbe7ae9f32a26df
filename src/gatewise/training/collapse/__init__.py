"""What keeps experts alive: the monitor, the warm start, re-initialisation."""
