"""Schemas of the JSON that pages read, one model a file."""
