"""What a head changes in the configuration of a run."""

from gatewise.config.run import RunConfig
from gatewise.errors import GatewiseError
from gatewise.models.task import KINDS


def with_head(config: RunConfig, head: str) -> RunConfig:
    """The configuration for a head, with its own defaults for what is not set: see docs/heads.md.

    Raises:
        GatewiseError: for what needs classes.
    """
    if head not in KINDS:
        return config.model_copy(update={"head": head})
    kind = KINDS[head]
    if config.class_weight is not None:
        raise GatewiseError(f"class_weight is for classes, and the head {head} predicts {kind.name}; leave it out")
    if config.objective_options.get("posterior") == "amortised":
        raise GatewiseError(f"posterior = 'amortised' guesses from classes, and the head {head} has none; leave it out")
    return config.model_copy(update={"head": head, **kind.defaults(config)})
