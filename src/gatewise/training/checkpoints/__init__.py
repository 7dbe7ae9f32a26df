"""A state on disk, complete or absent, whole or sharded."""
