"""Mixtures of experts as scikit-learn estimators, on NumPy arrays and on pandas and polars data frames."""

from gatewise.sklearn.classifier import MixtureOfExpertsClassifier
from gatewise.sklearn.regressor import MixtureOfExpertsRegressor

__all__ = ["MixtureOfExpertsClassifier", "MixtureOfExpertsRegressor"]
