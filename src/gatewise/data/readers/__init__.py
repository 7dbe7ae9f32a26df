"""One reader a format, and the one that finds out which."""
