"""What a target of numbers changes in a run: its defaults, and the scale that the experts count in."""

from typing import Any

from gatewise.data import Records
from gatewise.data.targets import target_numbers
from gatewise.errors import GatewiseError
from gatewise.training.config import RunConfig


def with_head(config: RunConfig, head: str) -> RunConfig:
    """The configuration for a head; for numbers with another gate where it is not set: see docs/heads.md.

    Raises:
        GatewiseError: for what needs classes.
    """
    update: dict[str, Any] = {"head": head}
    if head == "categorical":
        return config.model_copy(update=update)
    if config.class_weight is not None:
        raise GatewiseError(f"class_weight is for classes, and the head {head} predicts numbers; leave it out")
    if config.objective_options.get("posterior") == "amortised":
        raise GatewiseError(f"posterior = 'amortised' guesses from classes, and the head {head} has none; leave it out")
    # a gate that is sure before the experts have found their numbers gives all rows to one of them
    if config.gate_lr is None:
        update["gate_lr"] = config.lr
    if "regulariser" not in config.model_fields_set:
        update["regulariser"] = {"importance": 0.1, "load": 0.1}
    return config.model_copy(update=update)


def scaling_of(train: Records, head: str) -> tuple[float, float]:
    """Where the experts begin and what they count in: mean and standard deviation, or for counts 0 and the mean."""
    numbers = target_numbers(train.known_labels(), head, train.place)
    location, spread = float(numbers.mean()), float(numbers.std())
    return (0.0, location or 1.0) if head == "poisson" else (location, spread or 1.0)
