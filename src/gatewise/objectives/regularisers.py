"""Regularisers of the gate: small objects with a weight that can follow a schedule.

Each is a function of a mean over rows: `penalty(statistics(logits))`. The two halves are apart so that the
statistics of a whole batch can be gathered over micro-batches (or processes) before a penalty that is not linear in
them is taken.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from gatewise.errors import GatewiseError, check_choice, undefined
from gatewise.mixture.information import entropy
from gatewise.precision import widened
from gatewise.schedules import Schedule, as_schedule


class Regulariser:
    """weight · penalty(statistics(logits)), a scalar to add to the loss.

    Args:
        weight: a number, a schedule, or its text form.

    Attributes:
        name: as in the configuration.
        linear: whether the penalty is linear in the statistics, so that micro-batches simply add up.

    >>> import torch
    >>> import gatewise as gw
    >>> class Peak(gw.objectives.Regulariser):
    ...     name = "peak"
    ...     def statistics(self, logits):
    ...         return logits.softmax(-1).amax(-1).mean().unsqueeze(0)
    >>> Peak(weight=2.0)(torch.zeros(5, 4)).item()  # 2 · 1/4
    0.5
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
        undefined(self, "statistics")

    def penalty(self, statistics: Tensor) -> Tensor:
        """The scalar that the statistics are charged with, before the weight."""
        return statistics.squeeze(0)

    def __call__(self, logits: Tensor) -> Tensor:
        """The weighted penalty of one batch of logits `[B, K]`; of no rows 0."""
        if not len(logits):
            # still a function of the logits, so that backward has a graph to go through
            return logits.sum()
        return self.weight * self.penalty(self.statistics(logits))

    def linearised(self, logits: Tensor, whole: Tensor) -> Tensor:
        """A scalar whose gradient, averaged over the micro-batches, is that of the whole batch's penalty.

        Args:
            logits: of one micro-batch, `[b, K]`.
            whole: the statistics of the whole batch.
        """
        # a penalty that bends in the mean cannot be summed over parts: its slope at the whole batch's mean can
        with torch.enable_grad():
            at = whole.detach().requires_grad_()
            penalty = self.penalty(at)
            (slope,) = torch.autograd.grad(penalty, at)
        own = self.statistics(logits)
        # forward the whole batch's penalty, for every part alike; backward the part's share of its gradient
        return self.weight * (penalty.detach() + (slope * (own - own.detach())).sum())


def mean_of_rows(values: Tensor) -> Tensor:
    """The mean of `[B, N]` over the rows, `[N]`; of no rows 0, so that a part of a batch may have none."""
    return values.sum(0) / max(1, len(values))


class OfMeanGate(Regulariser):
    """A regulariser whose penalty is a function of the mean gate alone."""

    def statistics(self, logits: Tensor) -> Tensor:
        """The mean gate, `[K]`."""
        return mean_of_rows(widened(logits).softmax(-1))


class GateEntropy(Regulariser):
    """-mean H(z|x): a positive weight keeps the gate from deciding too early.

    >>> import torch
    >>> import gatewise as gw
    >>> round(gw.objectives.GateEntropy()(torch.zeros(5, 4)).item(), 4)  # -log 4
    -1.3863
    """

    name = "gate_entropy"
    linear = True

    def statistics(self, logits: Tensor) -> Tensor:
        """-H(z|x), `[1]`."""
        return -mean_of_rows(entropy(widened(logits).softmax(-1)).unsqueeze(1))


class Importance(OfMeanGate):
    """The squared coefficient of variation of the mean gate, K Σ_k p̄_k² - 1 (Shazeer et al. 2017, 1701.06538).

    >>> import torch
    >>> import gatewise as gw
    >>> one_expert_takes_all = torch.tensor([[9.0, -torch.inf, -torch.inf]])
    >>> gw.objectives.Importance()(one_expert_takes_all).item()
    2.0
    """

    name = "importance"

    def penalty(self, statistics: Tensor) -> Tensor:
        """0 for a uniform mean gate, K - 1 for one that is all on one expert."""
        return len(statistics) * statistics.square().sum() - 1


class Load(Regulariser):
    """K Σ_k f_k p̄_k - 1, f the share of rows whose argmax is k (Switch: Fedus, Zoph and Shazeer 2021, 2101.03961).

    The shares have no gradient; the mean gate p̄ has.

    >>> import torch
    >>> import gatewise as gw
    >>> one_expert_takes_all = torch.tensor([[9.0, -torch.inf, -torch.inf]])
    >>> gw.objectives.Load(weight=0.5)(one_expert_takes_all).item()
    1.0
    """

    name = "load"

    def statistics(self, logits: Tensor) -> Tensor:
        """Shares and mean gate, `[2 K]`."""
        probs = widened(logits).softmax(-1)
        experts = torch.arange(logits.shape[-1], device=logits.device)
        # an argmax has no derivative: Switch lets p̄ carry the gradient, with the shares as its weights
        shares = (logits.argmax(-1, keepdim=True) == experts).to(probs.dtype)
        return mean_of_rows(torch.cat([shares, probs], 1))

    def penalty(self, statistics: Tensor) -> Tensor:
        """0 for balanced shares, K - 1 when all rows go to one expert."""
        shares, mean = statistics.chunk(2)
        return len(mean) * (shares.detach() * mean).sum() - 1


class ZLoss(Regulariser):
    """mean (logsumexp logits)²: keeps the logits near 0 (Zoph et al. 2022, 2202.08906).

    >>> import torch
    >>> import gatewise as gw
    >>> round(gw.objectives.ZLoss()(torch.zeros(5, 4)).item(), 4)  # (log 4)²
    1.9218
    """

    name = "z_loss"
    linear = True

    def statistics(self, logits: Tensor) -> Tensor:
        """The squared log-normaliser, `[1]`."""
        return mean_of_rows(widened(logits).logsumexp(-1).square().unsqueeze(1))


class MutualInformation(Regulariser):
    """-I(z;x) = mean H(z|x) - H(mean gate): a positive weight asks for a gate that chooses, and uses all experts.

    >>> import torch
    >>> import gatewise as gw
    >>> sure = torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]])  # each of two rows has an expert of its own
    >>> round(gw.objectives.MutualInformation()(sure).item(), 4)  # -log 2
    -0.6931
    """

    name = "mutual_information"

    def statistics(self, logits: Tensor) -> Tensor:
        """H(z|x) and the mean gate, `[1 + K]`."""
        probs = widened(logits).softmax(-1)
        return mean_of_rows(torch.cat([entropy(probs).unsqueeze(1), probs], 1))

    def penalty(self, statistics: Tensor) -> Tensor:
        """-I(z;x), at least -log K."""
        return statistics[0] - entropy(statistics[1:])


class Dirichlet(OfMeanGate):
    """-(1/K) Σ_k log p̄_k - log K, p̄ the mean gate: the negative log density of a symmetric Dirichlet prior on it.

    Up to a constant: with concentration α and N training rows, a weight of (α - 1) K / N is the penalty of maximum a
    posteriori EM for mixing weights. It is KL(uniform ‖ p̄): 0 for a uniform mean gate, and it grows without end as any
    one expert dies, where `importance` and `load` are content with most of them. Finite at exact zeros, where p̄_k
    is taken as the smallest normal number; an expert with no probability on any row gets no gradient back from it.

    >>> import torch
    >>> import gatewise as gw
    >>> gate = torch.tensor([[0.9, 0.1]]).log()
    >>> round(gw.objectives.Dirichlet()(gate).item(), 4), gw.objectives.Dirichlet()(torch.zeros(1, 2)).item()
    (0.5108, 0.0)

    Reference: Ormoneit and Tresp 1995 ("Improved Gaussian mixture density estimates using Bayesian penalty terms").
    """

    name = "dirichlet"

    def penalty(self, statistics: Tensor) -> Tensor:
        """From 0."""
        # below it no gradient comes back, where 1 / p̄ would be infinite
        mean = statistics.clamp_min(torch.finfo(statistics.dtype).tiny)
        return -mean.log().mean() - math.log(len(mean))


class Prior(OfMeanGate):
    """KL(p̄ ‖ p(z)) = Σ_k p̄_k log (p̄_k / p(z=k)), p̄ the mean gate: how many rows each expert is expected to take.

    Of the mean gate, so that single rows may still be decided: with a uniform prior it is log K - H(p̄). KL(p(z|x) ‖
    uniform) of each row is log K - H(z|x), which `gate_entropy` charges.

    Args:
        weight: a number, a schedule, or its text form.
        prior: p(z), K positive numbers that sum to 1 (`expert_prior` in a configuration); None is uniform.

    Raises:
        GatewiseError: for a prior that is none; when called, for one of another number of experts.

    >>> import torch
    >>> import gatewise as gw
    >>> gate = torch.tensor([[0.9, 0.1]]).log()
    >>> uniform, expected = gw.objectives.Prior(), gw.objectives.Prior(prior=[0.9, 0.1])
    >>> round(uniform(gate).item(), 4), abs(round(expected(gate).item(), 4))
    (0.3681, 0.0)

    Reference: Gomes, Krause and Perona 2010 (regularised information maximisation, its prior of class proportions);
    Hu et al. 2017 (1702.08720).
    """

    name = "prior"

    def __init__(self, weight: float | str | Schedule = 1.0, prior: Sequence[float] | None = None):
        super().__init__(weight)
        self.prior = None if prior is None else check_prior(prior)

    def penalty(self, statistics: Tensor) -> Tensor:
        """From 0 to -log of the least of the prior."""
        if self.prior is None:
            return math.log(len(statistics)) - entropy(statistics)
        # checked again now that K is known
        log_prior = statistics.new_tensor(check_prior(self.prior, len(statistics))).log()
        return -entropy(statistics) - (statistics * log_prior).sum()


def check_prior(prior: Sequence[float], num_experts: int | None = None) -> list[float]:
    """The prior, summing to 1 exactly.

    Raises:
        GatewiseError: where it is not positive, is far from summing to 1, or is for another number of experts.
    """
    try:
        numbers = [float(p) for p in prior]
    except (TypeError, ValueError):
        numbers = []
    if num_experts not in (None, len(numbers)):
        raise GatewiseError(f"expert_prior has {len(numbers)} probabilities for {num_experts} experts; give one each")
    if not numbers or not all(0 < p <= 1 for p in numbers) or abs(sum(numbers) - 1) > 1e-3:
        raise GatewiseError(
            f"expert_prior must be positive probabilities that sum to 1, one for each expert, got {numbers or prior}"
        )
    # what is typed in decimals, such as three times 0.333, need not sum to 1 to the last digit
    return [p / sum(numbers) for p in numbers]


REGULARISERS: dict[str, type[Regulariser]] = {
    kind.name: kind for kind in (GateEntropy, Importance, Load, ZLoss, MutualInformation, Dirichlet, Prior)
}
"""The regularisers by the name that the command line takes."""


def regularisers(
    weights: Mapping[str, float | str], *, expert_prior: Sequence[float] | None = None
) -> list[Regulariser]:
    """The regularisers named, with their weights; a weight of 0 leaves one out.

    Args:
        weights: name to weight.
        expert_prior: p(z) of `Prior`; None is uniform.

    Raises:
        GatewiseError: for an unknown name, a bad prior, or a prior that no regulariser reads.

    >>> import torch
    >>> import gatewise as gw
    >>> made = gw.objectives.regularisers({"gate_entropy": 0.1, "load": "linear:1:0", "z_loss": 0})
    >>> [(regulariser.name, regulariser.weight) for regulariser in made]
    [('gate_entropy', 0.1), ('load', 1.0)]
    """
    if expert_prior is not None and Prior.name not in weights:
        raise GatewiseError("expert_prior is read by the regulariser prior alone; add --regulariser prior=0.1")
    made: list[Regulariser] = []
    for name, weight in weights.items():
        check_choice(name, REGULARISERS, "regulariser")
        # a schedule that passes through 0 stays
        if weight not in (0, "0"):
            kind = REGULARISERS[name]
            made.append(kind(weight, expert_prior) if issubclass(kind, Prior) else kind(weight))
    return made
