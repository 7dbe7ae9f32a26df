"""Regularisers of the gate: small objects with a weight that can follow a schedule.

Each is a function of a mean over rows: `penalty(statistics(logits))`. The two halves are apart so that the
statistics of a whole batch can be gathered over micro-batches (or processes) before a penalty that is not linear in
them is taken.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.mixture.usage import entropy
from gatewise.schedules import Schedule, as_schedule
from gatewise.wording import instead


class Regulariser:
    """weight · penalty(statistics(logits)), a scalar to add to the loss.

    Args:
        weight: a number, a schedule, or its text form.

    Attributes:
        name: as in the configuration.
        linear: whether the penalty is linear in the statistics, so that micro-batches simply add up.
    """

    name: ClassVar[str]
    linear: ClassVar[bool] = False

    def __init__(self, weight: float | str | Schedule = 1.0):
        self.schedule = as_schedule(weight)
        self.set_progress(0.0)

    def set_progress(self, progress: float) -> None:
        """Set the weight from its schedule."""
        self.weight = self.schedule(progress)

    def statistics(self, logits: Tensor) -> Tensor:
        """Means over the rows of the gate's logits `[B, K]`: a vector."""
        raise TypeError(f"{type(self).__name__} does not define statistics")

    def penalty(self, statistics: Tensor) -> Tensor:
        """The scalar that the statistics are charged with, before the weight."""
        return statistics.squeeze(0)

    def __call__(self, logits: Tensor) -> Tensor:
        """The weighted penalty of one batch of logits `[B, K]`."""
        return self.weight * self.penalty(self.statistics(logits))

    def linearised(self, logits: Tensor, whole: Tensor) -> Tensor:
        """A scalar whose gradient, averaged over the micro-batches, is that of the whole batch's penalty.

        Args:
            logits: of one micro-batch, `[b, K]`.
            whole: the statistics of the whole batch.
        """
        with torch.enable_grad():
            at = whole.detach().requires_grad_()
            penalty = self.penalty(at)
            (slope,) = torch.autograd.grad(penalty, at)
        own = self.statistics(logits)
        return self.weight * (penalty.detach() + (slope * (own - own.detach())).sum())


class GateEntropy(Regulariser):
    """-mean H(z|x): a positive weight keeps the gate from deciding too early."""

    name = "gate_entropy"
    linear = True

    def statistics(self, logits: Tensor) -> Tensor:
        """-H(z|x), `[1]`."""
        return -entropy(logits.softmax(-1)).mean(0, keepdim=True)


class Importance(Regulariser):
    """The squared coefficient of variation of the mean gate, K Σ_k p̄_k² - 1 (Shazeer et al. 2017, 1701.06538)."""

    name = "importance"

    def statistics(self, logits: Tensor) -> Tensor:
        """The mean gate, `[K]`."""
        return logits.softmax(-1).mean(0)

    def penalty(self, statistics: Tensor) -> Tensor:
        """0 for a uniform mean gate, K - 1 for one that is all on one expert."""
        return len(statistics) * statistics.square().sum() - 1


class Load(Regulariser):
    """K Σ_k f_k p̄_k - 1, f the share of rows whose argmax is k (Switch: Fedus, Zoph and Shazeer 2021, 2101.03961).

    The shares have no gradient; the mean gate p̄ has.
    """

    name = "load"

    def statistics(self, logits: Tensor) -> Tensor:
        """Shares and mean gate, `[2 K]`."""
        probs = logits.softmax(-1)
        experts = torch.arange(logits.shape[-1], device=logits.device)
        shares = (logits.argmax(-1, keepdim=True) == experts).to(probs.dtype)
        return torch.cat([shares.mean(0), probs.mean(0)])

    def penalty(self, statistics: Tensor) -> Tensor:
        """0 for balanced shares, K - 1 when all rows go to one expert."""
        shares, mean = statistics.chunk(2)
        return len(mean) * (shares.detach() * mean).sum() - 1


class ZLoss(Regulariser):
    """mean (logsumexp logits)²: keeps the logits near 0 (Zoph et al. 2022, 2202.08906)."""

    name = "z_loss"
    linear = True

    def statistics(self, logits: Tensor) -> Tensor:
        """The squared log-normaliser, `[1]`."""
        return logits.logsumexp(-1).square().mean(0, keepdim=True)


class MutualInformation(Regulariser):
    """-I(z;x) = mean H(z|x) - H(mean gate): a positive weight asks for a gate that chooses, and uses all experts."""

    name = "mutual_information"

    def statistics(self, logits: Tensor) -> Tensor:
        """H(z|x) and the mean gate, `[1 + K]`."""
        probs = logits.softmax(-1)
        return torch.cat([entropy(probs).mean(0, keepdim=True), probs.mean(0)])

    def penalty(self, statistics: Tensor) -> Tensor:
        """-I(z;x), at least -log K."""
        return statistics[0] - entropy(statistics[1:])


REGULARISERS: dict[str, type[Regulariser]] = {
    kind.name: kind for kind in (GateEntropy, Importance, Load, ZLoss, MutualInformation)
}


def regularisers(weights: Mapping[str, float | str]) -> list[Regulariser]:
    """The regularisers named, with their weights; a weight of 0 leaves one out.

    Raises:
        GatewiseError: for an unknown name.
    """
    made = []
    for name, weight in weights.items():
        if name not in REGULARISERS:
            raise GatewiseError(f"unknown regulariser {name!r}{instead(name, REGULARISERS)}")
        if weight not in (0, "0"):
            made.append(REGULARISERS[name](weight))
    return made
