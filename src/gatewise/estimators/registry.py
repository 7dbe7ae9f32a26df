"""The registry of estimators."""

from gatewise.estimators.base import GradientEstimator
from gatewise.registry import Registry

ESTIMATORS: Registry[GradientEstimator] = Registry("estimator")

register = ESTIMATORS.register
names = ESTIMATORS.names
options = ESTIMATORS.options
get = ESTIMATORS.get
