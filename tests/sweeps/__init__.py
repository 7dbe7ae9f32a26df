"""Sweeps over whole ranges, as commands; each prints the table that a page of the documentation has."""
