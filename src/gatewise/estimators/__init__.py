"""Gradient estimators for E_{z ~ softmax(logits)} f(z): one registry, one file a family.

    >>> import gatewise as gw
    >>> gw.estimators.names()
    ['enumeration', 'gumbel-softmax', ...]
    >>> estimator = gw.estimators.get("score-function", baseline="leave-one-out")

Each states facts about itself: `.name`, `.calls`, `.unbiased`, `.sample_counts`, `.evaluations(S, K)` and
`.reference`. To add your own, subclass `GradientEstimator` (or `PointEstimator`) and decorate it with `register`.
"""

from gatewise.estimators.base import GradientEstimator, PointEstimator, Tempered
from gatewise.estimators.baselines import Baseline, Learned, LeaveOneOut, NoBaseline, RunningMean
from gatewise.estimators.enumeration import Enumeration
from gatewise.estimators.gumbel_softmax import GumbelSoftmax, StraightThroughGumbelSoftmax
from gatewise.estimators.registry import get, names, options, register
from gatewise.estimators.score_function import ScoreFunction
from gatewise.estimators.selected_relaxation import SelectedRelaxation

__all__ = [
    "Baseline",
    "Enumeration",
    "GradientEstimator",
    "GumbelSoftmax",
    "Learned",
    "LeaveOneOut",
    "NoBaseline",
    "PointEstimator",
    "RunningMean",
    "ScoreFunction",
    "SelectedRelaxation",
    "StraightThroughGumbelSoftmax",
    "Tempered",
    "get",
    "names",
    "options",
    "register",
]
