"""The S-sample bound, between the Jensen bound and the marginal."""

import math

import torch
from torch import Tensor

from gatewise.errors import GatewiseError, check_interval
from gatewise.estimators import GradientEstimator
from gatewise.expectation import Estimate, Info, expect
from gatewise.mixture import Observed
from gatewise.objectives.base import EstimatedObjective
from gatewise.objectives.registry import register
from gatewise.objectives.vimco import VIMCO, check_draws
from gatewise.outcomes import JOINT_LIMIT, first_asked, joint_outcomes
from gatewise.precision import widened
from gatewise.registry import Registry

# not in the public registry: any other integrand has one value a set, and no weights of single draws to replace
OWN_ESTIMATORS: Registry[GradientEstimator] = Registry("estimator")
OWN_ESTIMATORS.register(VIMCO)


@register
class MultiSample(EstimatedObjective):
    """E_{z_1..z_S ~ π} log (1/S) Σ_s e^{ℓ_{z_s}} ≤ log p(y|x): S = 1 is the Jensen bound, S → ∞ the marginal.

    An ordinary expectation over S independent choices with one joint value, a lower bound in expectation that rises
    with S. It takes `vimco`, which is its own, and every estimator that takes `event_dims=1`: those of draws run only
    the experts drawn, at most S a set; `enumeration`, `sum-and-sample` and `unordered-set` look at all K**S outcomes
    and are refused beyond `gatewise.outcomes.JOINT_LIMIT`. Estimators of points see log (1/S) Σ_s e^{⟨point_s, ℓ⟩}:
    the relaxation that agrees with the bound at the corners and, for S = 1, with the Jensen bound everywhere (that of
    ⟨point_s, e^ℓ⟩ agrees at the corners alone); they run all K experts.

    Args:
        estimator: a name, or an estimator; None takes `vimco` for S >= 2, and `enumeration` for S = 1.
        num_samples: S.
        repeats: how many sets of S draws the estimator is given, its own `num_samples`; None takes the fewest that it
            takes (2 for leave-one-out, which compares whole sets). Costs as many times S experts.

    Raises:
        GatewiseError: for an unknown estimator, one that takes a single choice an example, or counts that cannot work.

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> observed = mixture.observe(torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1]))
    >>> objective = gw.objectives.MultiSample(num_samples=2)
    >>> objective.estimator.name, objective(observed).value.shape
    ('vimco', torch.Size([5]))

    Reference: Burda, Grosse and Salakhutdinov 2016 (1509.00519); Mnih and Rezende 2016 (1602.06725).
    """

    name = "multi-sample"
    reference = "Burda et al. 2016 (1509.00519); Mnih & Rezende 2016 (1602.06725)"
    own_estimators = OWN_ESTIMATORS

    def __init__(
        self, estimator: str | GradientEstimator | None = None, num_samples: int = 2, repeats: int | None = None
    ):
        check_interval(num_samples, "[1, inf)", "objective 'multi-sample': num_samples", whole=True)
        made = self.made(self.default_estimator(num_samples) if estimator is None else estimator)
        if 1 not in made.event_dims:
            raise GatewiseError(f"estimator {made.name!r} takes one choice an example; for multi-sample use 'vimco'")
        check_draws(made, num_samples)
        # what the estimator draws are whole sets: its count, which the base class checks, is not S
        super().__init__(made, made.sample_counts.start if repeats is None else repeats)
        # to those outside S is the number of samples, as in the formula
        self.repeats, self.num_samples = self.num_samples, num_samples

    @classmethod
    def default_estimator(cls, num_samples: int) -> str:
        """VIMCO from two draws on."""
        return VIMCO.name if num_samples > 1 else "enumeration"

    def check_experts(self, num_experts: int) -> None:
        """Refuse an estimator of all joint outcomes where there are too many.

        Raises:
            GatewiseError: if K**S is beyond `gatewise.outcomes.JOINT_LIMIT`.
        """
        # in words of draws and experts, where the estimator would speak of latents and categories
        if self.estimator.joint and num_experts**self.num_samples > JOINT_LIMIT:
            raise GatewiseError(
                f"estimator {self.estimator.name!r} looks at all {num_experts}**{self.num_samples} outcomes of "
                f"{self.num_samples} draws from {num_experts} experts, more than {JOINT_LIMIT}; use vimco, or "
                "fewer samples"
            )

    def evaluations(self, num_experts: int) -> int:
        """S for each set that the estimator asks for, at most K."""
        return min(num_experts, self.num_samples * self.estimator.evaluations(self.repeats, num_experts))

    def forward(self, observed: Observed, generator: torch.Generator | None = None) -> Estimate:
        """The bound's estimate, `[B]`."""
        self.check_experts(observed.mixture.num_experts)
        rows, num_experts = observed.logits.shape
        average = LogMean(observed, self.num_samples)  # [B, S] choices, one value a row
        logits = observed.logits.unsqueeze(1).expand(rows, self.num_samples, num_experts)  # S latents that are alike
        estimate = expect(average, logits, self.estimator, self.repeats, generator, 1, observed.context)
        # the estimator counts sets; what costs is experts, and those of different sets may be the same
        info = Info(average.evaluations, index=estimate.info.index, point=estimate.info.point)
        return Estimate(estimate.value, estimate.control_loss, info)


class LogMean:
    """The integrand f(z_1..z_S) = log (1/S) Σ_s e^{ℓ_{z_s}}, which remembers what experts it asked for.

    Args:
        observed: the mixture at x and y, which answers ℓ.
        num_draws: S.
    """

    def __init__(self, observed: Observed, num_draws: int):
        self.observed, self.num_draws, self.leaves_out = observed, num_draws, True
        self.asked: list[Tensor] = []

    def of(self, log_weights: Tensor) -> Tensor:
        """log (1/S) Σ_s w_s over the last dimension."""
        # never by the weights themselves: in float32 e^ℓ is 0 for ℓ below -104
        return widened(log_weights).logsumexp(-1) - math.log(self.num_draws)

    def log_weights(self, index: Tensor) -> Tensor:
        """ℓ of every single draw `[M, B, S]`, 0 for those of a set that is not asked for."""
        # as M · S single draws `[S M, B]`: an expert that stands in several places of a row is run once for it
        draws = torch.where((index >= 0).all(-1, keepdim=True), index, -1).movedim(-1, 0).flatten(0, 1)
        self.asked.append(draws)
        return self.observed.at_index(draws).view(self.num_draws, *index.shape[:-1]).movedim(0, -1)

    def at_index(self, index: Tensor) -> Tensor:
        """Values `[M, B]` at sets of draws `[M, B, S]`; -1 gives 0."""
        return torch.where((index >= 0).all(-1), self.of(self.log_weights(index)), 0.0)

    def at_all(self) -> Tensor:
        """Values `[B, K**S]` at every set."""
        every = self._every()  # [B, K]
        # [B, K**S, S] before the mean
        return self.of(every[:, joint_outcomes(self.num_draws, every.shape[-1], every.device)])

    def at_point(self, point: Tensor) -> Tensor:
        """Values `[M, B]` at points `[M, B, S, K]`: log (1/S) Σ_s e^{⟨point_s, ℓ⟩}."""
        return self.of((point * self._every().unsqueeze(1)).sum(-1))  # [M, B, S, K] · [B, 1, K]

    def _every(self) -> Tensor:
        logits = self.observed.logits
        experts = torch.arange(logits.shape[-1], device=logits.device)
        self.asked.append(torch.where(logits > -torch.inf, experts, -1).T)
        return self.observed.at_all()

    def evaluations(self) -> Tensor:
        """Distinct experts asked for, `[B]`."""
        return first_asked(torch.cat(self.asked))[0].sum(0)
