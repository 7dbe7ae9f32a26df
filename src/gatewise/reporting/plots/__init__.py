"""Pictures that a page shows."""
