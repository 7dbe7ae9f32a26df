"""Keys of a configuration that cannot work together: refused before the data are read."""

from collections.abc import Callable

from gatewise.config.run import RunConfig
from gatewise.errors import GatewiseError
from gatewise.mixture.gates.gate import check_map, check_temperature
from gatewise.mixture.gates.top_k import check_top_k
from gatewise.objectives.regularisers import check_prior

AUDITED = "jensen"
"""The objective whose gradient is audited."""


def check_gate(config: RunConfig) -> None:
    """Refuse keys of the gate that cannot work, alone or together.

    Raises:
        GatewiseError: naming the key, and what works.
    """
    top_k = config.gate_top_k or None
    if config.gate == "conv" and config.trunk_hidden:
        raise GatewiseError("gate = 'conv' needs the image itself; leave trunk_hidden empty, or use gate = 'mlp'")
    if config.gate == "conv" and config.gate_hidden:
        raise GatewiseError("gate = 'conv' has layers of its own; leave gate_hidden empty, or use gate = 'mlp'")
    _named("gate_map", lambda: check_map(config.gate_map, top_k))
    _named("gate_temperature", lambda: check_temperature(config.gate_temperature))
    if top_k is not None:
        _named("gate_top_k", lambda: check_top_k(top_k, config.num_experts))
    if config.expert_prior is not None:
        check_prior(config.expert_prior, config.num_experts)


def _named(key: str, check: Callable[[], object]) -> None:
    try:
        check()
    except GatewiseError as error:
        raise GatewiseError(f"{key}: {error}") from None


def keeps_few(config: RunConfig) -> bool:
    """Whether the gate gives some experts a probability of exactly 0, so that these need not run."""
    return config.gate_top_k > 0 or config.gate_map != "softmax"


def check_audit_every(config: RunConfig) -> None:
    """Refuse `audit_every` where there is nothing to audit.

    Raises:
        GatewiseError: for an objective whose gradient is not that of the Jensen bound.
    """
    if config.audit_every and config.objective != AUDITED:
        raise GatewiseError(
            f"audit_every: what is audited is the gradient of the Jensen bound, and the {config.objective} objective "
            f"has another; leave it out, or choose the objective {AUDITED}"
        )
