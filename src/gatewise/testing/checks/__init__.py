"""The checks of the estimator contract, a family a file."""
