"""Experts on their own rows: grouped, and run by the strategy that costs least."""
