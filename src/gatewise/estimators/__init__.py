"""Gradient estimators for E_{z ~ softmax(logits)} f(z): one registry, one file a family.

>>> import gatewise as gw
>>> gw.estimators.names()
['antithetic', 'arsm', ...]
>>> estimator = gw.estimators.get("score-function", baseline="leave-one-out")
>>> sorted(estimator.unbiased)
['logits', 'parameters', 'value']

Each states facts about itself: `.name`, `.calls`, `.unbiased`, `.sample_counts`, `.evaluations(S, K)` and
`.reference`. To add your own, subclass `GradientEstimator` (or `PointEstimator`) and decorate it with `register`.
"""

from gatewise.estimators.antithetic import Antithetic
from gatewise.estimators.arsm import ARSM
from gatewise.estimators.base import GradientEstimator, PointEstimator, Tempered
from gatewise.estimators.baselines import Baseline, Learned, LeaveOneOut, NoBaseline, RunningMean
from gatewise.estimators.enumeration import Enumeration
from gatewise.estimators.gapped import GappedStraightThrough
from gatewise.estimators.gumbel_rao import GumbelRao
from gatewise.estimators.gumbel_softmax import GumbelSoftmax, StraightThroughGumbelSoftmax
from gatewise.estimators.implicit_mle import ImplicitMLE
from gatewise.estimators.muprop import MuProp
from gatewise.estimators.rebar import REBAR, RELAX
from gatewise.estimators.registry import estimator_text, get, get_fitting, names, options, register, setting_text
from gatewise.estimators.reinmax import ReinMax
from gatewise.estimators.score_function import ScoreFunction
from gatewise.estimators.selected_relaxation import SelectedRelaxation
from gatewise.estimators.straight_through import DecoupledStraightThrough, StraightThrough
from gatewise.estimators.sum_and_sample import SumAndSample
from gatewise.estimators.unordered_set import UnorderedSet

__all__ = [
    "ARSM",
    "REBAR",
    "RELAX",
    "Antithetic",
    "Baseline",
    "DecoupledStraightThrough",
    "Enumeration",
    "GappedStraightThrough",
    "GradientEstimator",
    "GumbelRao",
    "GumbelSoftmax",
    "ImplicitMLE",
    "Learned",
    "LeaveOneOut",
    "MuProp",
    "NoBaseline",
    "PointEstimator",
    "ReinMax",
    "RunningMean",
    "ScoreFunction",
    "SelectedRelaxation",
    "StraightThrough",
    "StraightThroughGumbelSoftmax",
    "SumAndSample",
    "Tempered",
    "UnorderedSet",
    "estimator_text",
    "get",
    "get_fitting",
    "names",
    "options",
    "register",
    "setting_text",
]
