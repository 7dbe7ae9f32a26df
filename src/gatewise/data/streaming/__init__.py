"""Tables that stay on disk."""
