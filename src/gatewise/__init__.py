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

TYPE_CHECKING = False  # typing's own would take longer to import than Python takes to start, and Ctrl-C may come then
if TYPE_CHECKING:
    from typing import Any

    from gatewise import estimators, mixture, nn, noise, objectives, schedules
    from gatewise.auditing import Audit, audit
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

NAMES = {
    "auditing": ("Audit", "audit"),
    "errors": ("GatewiseError",),
    "expectation": ("Estimate", "Estimator", "Info", "Integrand", "by_index", "expect", "sample"),
    "mixture": ("Categorical", "ExpertList", "MLPBank", "MixtureOfExperts"),
}
"""Where the names are that are no subpackage, by the part that they are in."""
CORE = (*NAMES, "estimators", "nn", "noise", "objectives", "registry", "schedules")
LAZY = ("comparison", "config", "data", "distributed", "models", "runs", "sklearn", "testing", "training")
"""Subpackages beyond the core, which needs torch alone."""


def __getattr__(name: str) -> "Any":
    """A name that is imported when it is first asked for: the command line hears Ctrl-C before torch is there."""
    if name not in (*CORE, *LAZY) and name not in __all__:
        raise AttributeError(f"module 'gatewise' has no attribute {name!r}")
    for part, names in NAMES.items():
        module = importlib.import_module(f"gatewise.{part}")
        globals().update({each: getattr(module, each) for each in names})
    return globals()[name] if name in globals() else importlib.import_module(f"gatewise.{name}")


def __dir__() -> list[str]:
    """The names that there are, imported or not."""
    return sorted({*globals(), *__all__, *LAZY})
