"""Baselines b for estimators that weigh a direction by (f(z) - b).

A baseline must not depend on the draw that it is subtracted from; each here says why its does not.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError, check_choice, check_interval, undefined
from gatewise.expectation import MANY
from gatewise.precision import WideState


class Baseline(WideState):
    """Base of all baselines: `forward` gives b; `observe` sees f once the gradient that b was used in has been taken.

    Attributes:
        name: as estimators take it.
        sample_counts: the values of `num_samples` that it serves.
        held_sums: names of buffers that hold sums over rows until `commit`, where processes that train together add
            them up.

    >>> import torch
    >>> import gatewise as gw
    >>> class Half(gw.estimators.Baseline):
    ...     name = "half"
    ...     def forward(self, values, context=None):
    ...         return torch.full_like(values, 0.5)
    >>> gw.estimators.ScoreFunction(baseline=Half()).baseline.name
    'half'
    """

    name: ClassVar[str]
    sample_counts: range = range(1, MANY)
    held_sums: ClassVar[tuple[str, ...]] = ()

    def forward(self, values: Tensor, context: Tensor | None) -> Tensor:
        """b, broadcastable to the detached values `[S, *batch]` of f."""
        undefined(self, "forward")

    def loss(self, values: Tensor, baseline: Tensor) -> Tensor | None:
        """A scalar that trains the baseline; None where nothing is learned."""
        return None

    def observe(self, values: Tensor) -> None:
        """See the detached values `[S, *batch]`."""

    def commit(self) -> None:
        """Fold in what was observed since the last time."""

    def update(self, values: Tensor, hold: bool) -> None:
        """`observe`, and unless `hold` is set `commit`: see `gatewise.estimators.statistics` for when."""
        self.observe(values)
        if not hold:
            self.commit()

    @property
    def learns(self) -> bool:
        """Whether anything is observed."""
        return type(self).observe is not Baseline.observe or type(self).update is not Baseline.update


class NoBaseline(Baseline):
    """b = 0.

    >>> import torch
    >>> import gatewise as gw
    >>> gw.estimators.NoBaseline()(torch.tensor([[1.0, 2.0]]), context=None).tolist()
    0.0
    """

    name = "none"

    def forward(self, values: Tensor, context: Tensor | None) -> Tensor:
        """Zero."""
        return torch.zeros((), dtype=values.dtype, device=values.device)


class RunningMean(Baseline):
    """An exponential mean of f over the batches seen before this one, so independent of its draws.

    The mean is corrected for its start at 0; before the first batch b = 0. A batch with a value that is not finite does
    not move it.

    Args:
        decay: the weight of the past, in [0, 1).

    >>> import torch
    >>> import gatewise as gw
    >>> baseline = gw.estimators.RunningMean(decay=0.9)
    >>> baseline.update(torch.tensor([[1.0, 3.0]]), hold=False)  # as an estimator does once a gradient is taken
    >>> baseline(torch.tensor([[5.0, 5.0]]), context=None).tolist()
    2.0
    """

    name = "running-mean"
    held_sums = ("held_sum", "held_count")

    mean: Tensor
    weight: Tensor
    held_sum: Tensor
    held_count: Tensor

    def __init__(self, decay: float = 0.9):
        super().__init__()
        check_interval(decay, "[0, 1)", "the decay of a running-mean baseline")
        self.decay = decay
        # the sums are buffers, so that processes that train together find and add them
        for name in ("mean", "weight", "held_sum", "held_count"):
            self.register_buffer(name, torch.zeros(()))

    def forward(self, values: Tensor, context: Tensor | None) -> Tensor:
        """The mean so far."""
        # divided by the weight seen so far, as Adam divides its moments; before the first batch it is 0 / 1e-12
        return (self.mean / self.weight.clamp_min(1e-12)).to(values.dtype)

    def observe(self, values: Tensor) -> None:
        """Hold the batch's sum until `commit`."""
        self.held_sum.add_(values.sum())
        self.held_count.add_(values.numel())

    def commit(self) -> None:
        """Fold in the batches held, as one."""
        self.fold((self.held_count > 0) * (1 - self.decay))

    def update(self, values: Tensor, hold: bool) -> None:
        """Both; that something is held needs no operation to find out, unless the batch is empty."""
        if hold or values.numel() == 0:
            super().update(values, hold)
        else:
            self.observe(values)
            self.fold(1 - self.decay)

    def fold(self, step: float | Tensor) -> None:
        """Move the mean, and its weight, by `step` towards the batches held; those that are not finite are left out.

        A loop that scales its loss for float16 skips the step in which f is infinite: the mean must outlive it, too.
        """
        level = self.held_sum / self.held_count.clamp_min(1)
        known = level.isfinite()
        self.mean.lerp_(torch.where(known, level, self.mean), step)
        self.weight.lerp_(torch.where(known, 1.0, self.weight), step)
        self.held_sum.zero_()
        self.held_count.zero_()


class LeaveOneOut(Baseline):
    """For each draw the mean of f over the other S - 1 draws of the same example (RLOO), independent of it.

    >>> import torch
    >>> import gatewise as gw
    >>> draws = torch.tensor([[1.0], [2.0], [6.0]])  # [S, *batch]: three draws of one example
    >>> gw.estimators.LeaveOneOut()(draws, context=None).flatten().tolist()
    [4.0, 3.5, 1.5]
    """

    name = "leave-one-out"

    sample_counts = range(2, MANY)

    def forward(self, values: Tensor, context: Tensor | None) -> Tensor:
        """(Σ_s f_s - f) / (S - 1)."""
        return (values.sum(0, keepdim=True) - values) / (values.shape[0] - 1)


class Learned(Baseline):
    """b(x), a running mean and on top of it a small network of the context, fitted by least squares.

    It sees the example and not the draw. The mean takes the size of f, so that the network learns the rest at once
    (NVIL: Mnih and Gregor 2014, 1402.0030).

    Args:
        context_dim: features of the `context` given to `expect`; None learns one number for all examples.
        hidden: width of the network's one hidden layer.
        decay: of the running mean.

    >>> import torch
    >>> import gatewise as gw
    >>> baseline = gw.estimators.Learned(context_dim=4)
    >>> values, context = torch.ones(2, 3), torch.zeros(3, 4)
    >>> level = baseline(values, context)
    >>> level.shape, baseline.loss(values, level).shape
    (torch.Size([3]), torch.Size([]))
    """

    name = "learned"

    def __init__(self, context_dim: int | None = None, hidden: int = 64, decay: float = 0.9):
        super().__init__()
        self.context_dim = context_dim
        self.mean = RunningMean(decay)
        self.constant = nn.Parameter(torch.zeros(()))
        self.network = None
        if context_dim is not None:
            self.network = nn.Sequential(nn.Linear(context_dim, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, values: Tensor, context: Tensor | None) -> Tensor:
        """b(x), `[*batch]`, or one number; differentiable in the baseline's own parameters alone."""
        level = self.mean(values, context) + self.constant
        if self.network is None or self.context_dim is None:
            return level.to(values.dtype)
        features = checked_context(context, self.context_dim, "the learned baseline").to(self.constant.dtype)
        return (level + self.network(features).squeeze(-1)).to(values.dtype)

    def loss(self, values: Tensor, baseline: Tensor) -> Tensor:
        """The mean squared error of b."""
        return (values - baseline).square().sum() / max(1, values.numel())  # of no values 0, where a mean is NaN

    def observe(self, values: Tensor) -> None:
        """Hold the batch's sum for the mean."""
        self.mean.observe(values)

    def commit(self) -> None:
        """Move the mean."""
        self.mean.commit()

    def update(self, values: Tensor, hold: bool) -> None:
        """Both, for the mean."""
        self.mean.update(values, hold)


def checked_context(context: Tensor | None, context_dim: int, what: str) -> Tensor:
    """The context, detached, if it has so many features.

    Raises:
        GatewiseError: if it is not there or has another number.
    """
    if context is None or context.shape[-1] != context_dim:
        got = "none" if context is None else f"{context.shape[-1]} features"
        raise GatewiseError(
            f"{what} was made for a context of {context_dim} features and got {got}; "
            "pass expect(..., context=x), or make it with context_dim=None"
        )
    # the loss of a baseline is to train the baseline, and not what made the features
    return context.detach()


def make_baseline(baseline: str | Baseline, context_dim: int | None, decay: float) -> Baseline:
    """The baseline named "none", "running-mean", "leave-one-out" or "learned", or the one given.

    Raises:
        GatewiseError: for another name.
    """
    if isinstance(baseline, Baseline):
        return baseline
    kinds = {
        NoBaseline.name: NoBaseline,
        RunningMean.name: lambda: RunningMean(decay),
        LeaveOneOut.name: LeaveOneOut,
        Learned.name: lambda: Learned(context_dim, decay=decay),
    }
    check_choice(baseline, kinds, "baseline")
    return kinds[baseline]()
