"""gatewise: train and audit neural networks that choose.

A gate p(z|x) picks one of K experts, an expert p(y|z,x) answers; z is discrete and never observed.

    import gatewise as gw

    mixture = gw.MixtureOfExperts(gate, experts)                 # any modules
    objective = gw.objectives.get("jensen", estimator="score-function")
    bound = objective(mixture.observe(x, y)).value               # runs only the experts that were drawn
    (-bound.mean()).backward()

    estimate = gw.expect(f, logits, gw.estimators.get("gumbel-softmax", temperature=0.5))
    print(gw.audit(mixture, (x, y)).recommended.reason)          # every estimator beside the exact gradient
    model = gw.sklearn.MixtureOfExpertsClassifier().fit(x, y)    # scikit-learn's way, on arrays and data frames
    y, routing = gw.nn.MoELayer(64, experts=8, k=2)(x)           # the same experts inside any network
    point = gw.sample(logits, gw.estimators.get("straight-through-gumbel-softmax"))
"""

import importlib
from typing import Any

from gatewise import estimators, mixture, nn, noise, objectives, schedules
from gatewise.diagnostics import Audit, audit
from gatewise.errors import GatewiseError
from gatewise.expectation import Estimate, Estimator, Info, Integrand, by_index, expect, sample
from gatewise.mixture import Categorical, ExpertList, MixtureOfExperts, MLPBank

__version__ = "0.1.0"

__all__ = [
    "Audit",
    "Categorical",
    "Estimate",
    "Estimator",
    "ExpertList",
    "GatewiseError",
    "Info",
    "Integrand",
    "MLPBank",
    "MixtureOfExperts",
    "__version__",
    "audit",
    "by_index",
    "estimators",
    "expect",
    "mixture",
    "nn",
    "noise",
    "objectives",
    "sample",
    "schedules",
]


LAZY = ("comparison", "data", "distributed", "sklearn", "testing", "training")
"""Subpackages that are imported when they are first asked for: the core needs torch alone."""


def __getattr__(name: str) -> Any:
    """A subpackage of `LAZY`."""
    if name not in LAZY:
        raise AttributeError(f"module 'gatewise' has no attribute {name!r}")
    return importlib.import_module(f"gatewise.{name}")


def __dir__() -> list[str]:
    """The names that there are, imported or not."""
    return sorted({*globals(), *LAZY})
