"""Dead experts start again in the middle of a training, as noisy copies of the one that does most."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.mixture import MixtureOfExperts
from gatewise.mixture.gates.last_layer import last_layer, own_method
from gatewise.mixture.surgery import can_reseed, reseed_expert

NOISE = 0.1
"""Of the copy, in units of each weight's root mean square: enough for the two to part, little for the likelihood."""
MOMENTS = ("exp_avg", "exp_avg_sq")


class Reseeding:
    """Counts for how many epochs in a row each expert has been dead, and re-seeds those that stay so.

    An expert is dead in an epoch where it was the gate's argmax on less than 1/(10 K) of the training rows, as
    `train_experts_used` counts. The donor is the expert with the greatest load (the argmax on most rows): its half
    is the largest share that a newcomer can be given, and the load is counted anyway; a summed loss would draw rows
    to experts that are bad because their rows are noise. Donor and newcomer share the donor's probability, so that
    log p(y|x) changes only by the noise and by what little probability the dead expert had.

    In the last third of the epochs none is re-seeded: a newcomer would have no time to learn. Nor is one that is
    frozen, shares weights with another, or is of another kind than every donor.

    Args:
        mixture: K experts, changed in place.
        optimiser: AdamW, whose moments of what was written over become 0.
        after: epochs in a row; 0: never.
        epochs: of the training in all.
        seed: of the noise.

    Raises:
        GatewiseError: for a gate in which experts cannot share a probability, where `after` is not 0.
    """

    def __init__(self, mixture: MixtureOfExperts, optimiser: torch.optim.Optimizer, after: int, epochs: int, seed: int):
        self.mixture, self.optimiser = mixture, optimiser
        self.after = after if mixture.num_experts > 1 else 0
        self.last_epoch = epochs - -(-epochs // 3)
        self.generator = torch.Generator().manual_seed(seed)
        self.dead_for = [0] * mixture.num_experts
        if self.after and own_method(mixture.gate, "share_expert") is None:
            refuse_without_bias(mixture)

    def state_dict(self) -> dict[str, Any]:
        """How long each expert has been dead, and where the noise is."""
        return {"dead_for": self.dead_for, "reseeding": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take such a state; raises ValueError for one of another number of experts."""
        if len(state["dead_for"]) != len(self.dead_for):
            raise ValueError(f"it has {len(state['dead_for'])} experts")
        self.dead_for = state["dead_for"]
        self.generator.set_state(state["reseeding"])

    def after_epoch(self, epoch: int, argmax_counts: Tensor) -> list[dict[str, Any]]:
        """Re-seed what has been dead for long enough.

        Args:
            epoch: from 1.
            argmax_counts: training rows on which each expert was the gate's argmax, `[K]`.

        Returns:
            One {"epoch", "expert", "donor"} for each re-seeded expert.
        """
        if not self.after:
            return []
        load = [float(count) for count in argmax_counts]
        threshold = sum(load) / (10 * len(load))
        self.dead_for = [past + 1 if count < threshold else 0 for past, count in zip(self.dead_for, load, strict=True)]
        if epoch > self.last_epoch:
            return []
        done = []
        for expert in [k for k, past in enumerate(self.dead_for) if past >= self.after]:
            donors = [k for k, count in enumerate(load) if count >= threshold and can_reseed(self.mixture, expert, k)]
            if not donors:
                continue
            donor = max(donors, key=load.__getitem__)
            self._reseed(expert, donor)
            load[donor] = load[expert] = load[donor] / 2
            self.dead_for[expert] = 0
            done.append({"epoch": epoch, "expert": expert, "donor": donor})
        return done

    @torch.no_grad()
    def _reseed(self, expert: int, donor: int) -> None:
        written = reseed_expert(self.mixture, expert, donor, noise=NOISE, generator=self.generator)
        for parameter, index in written:
            state = self.optimiser.state.get(parameter, {})
            for name in MOMENTS:
                if name in state:
                    (state[name] if index is None else state[name][index]).zero_()


def refuse_without_bias(mixture: MixtureOfExperts) -> None:
    """Refuse, before training, a gate in which experts cannot share a probability.

    Raises:
        GatewiseError: with what to do.
    """
    if last_layer(mixture.gate, mixture.num_experts).bias is None:
        raise GatewiseError("reseed_after needs a gate whose last linear layer has a bias; add one, or set it to 0")


def in_words(reseeded: dict[str, Any]) -> str:
    """What is said of one re-seeded expert."""
    return (
        f"expert {reseeded['expert']} was dead and is re-seeded after epoch {reseeded['epoch']}: a noisy copy of "
        f"expert {reseeded['donor']}, whose probability the two share"
    )
