"""Parameter groups of the optimiser: which learn how fast, and which of them decay."""

import itertools
from collections.abc import Iterator
from typing import Any

from torch import nn

from gatewise.config.run import LoopConfig
from gatewise.distributed.dtensor import is_sharded
from gatewise.errors import GatewiseError
from gatewise.mixture import MixtureOfExperts
from gatewise.objectives import Objective

REACH = 1600.0
"""Adam moves every weight by about the learning rate a step, so the score of an expert moves by that times the number
of inputs. A linear gate learns as fast as if it had this many: see docs/defaults.md."""
FASTEST = 100.0


def gate_rate(gate: nn.Module, config: LoopConfig) -> float:
    """The gate's learning rate, in units of the others'.

    `gate_lr` where it is set. Else, for a gate that is one linear layer of D inputs, 1600 / D, from 1 to 100: with few
    inputs it would be too slow to become sure of its choice before training ends; other gates learn as everything does.
    """
    if config.gate_lr is not None:
        return config.gate_lr / config.lr
    layers = [module for module in gate.modules() if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)]
    if len(layers) != 1 or not isinstance(layers[0], nn.Linear):
        return 1.0
    return min(max(REACH / layers[0].in_features, 1.0), FASTEST)


def rate_at(rate: float, progress: float, warmup: float) -> float:
    """A group's learning rate in units of the others', at a share `progress` of the steps.

    A rate above 1 is reached after a share `warmup` of them: a gate that decides before the experts differ decides by
    chance, and may let one expert serve two regions for good.
    """
    if rate <= 1 or progress >= warmup:
        return rate
    return 1 + (rate - 1) * progress / warmup


def parameter_groups(mixture: MixtureOfExperts, objective: Objective, config: LoopConfig) -> list[dict[str, Any]]:
    """Groups for AdamW, each with its `rate`: its learning rate in units of `config.lr`.

    The mixture's parameters decay; the gate's by as much as the others', though it may learn faster. The estimator's
    own do not decay.

    Raises:
        GatewiseError: if every parameter of the mixture is frozen.
    """
    trained = [p for p in mixture.parameters() if p.requires_grad]
    if not trained:
        raise GatewiseError("every parameter of the mixture is frozen; leave at least the gate trainable")
    of_gate = {id(p) for p in mixture.gate.parameters()}
    groups = [
        {
            "params": [p for p in trained if (id(p) in of_gate) == gate],
            "rate": rate,
            "weight_decay": config.weight_decay / rate,
        }
        for gate, rate in ((False, 1.0), (True, gate_rate(mixture.gate, config)))
    ]
    groups.append({"params": list(objective.parameters()), "rate": 1.0, "weight_decay": 0.0})
    return [part for group in groups for part in _alike(group)]


def _alike(group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The group, cut where parameters that are spread over processes meet others: no optimiser takes both at once."""
    for _, params in itertools.groupby(group["params"], is_sharded):
        yield {**group, "params": list(params)}
