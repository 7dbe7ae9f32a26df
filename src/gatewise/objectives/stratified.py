"""The stratified bound: the likely experts exactly, draws for the rest."""

import math

import torch
from torch import Tensor

from gatewise.errors import check_interval
from gatewise.estimators.base import gradient_only, info_of_draws
from gatewise.expectation import Estimate
from gatewise.mixture import Observed
from gatewise.noise import categorical
from gatewise.objectives.base import Objective
from gatewise.objectives.registry import register
from gatewise.objectives.vimco import replaced_in_turn


@register
class Stratified(Objective):
    """E_{z_1..z_m ~ π outside C} log( Σ_{z∈C} π_z e^{ℓ_z} + (1 - π(C)) (1/m) Σ_j e^{ℓ_{z_j}} ), C = the top k of π.

    What is inside is unbiased for p(y|x), so its logarithm is a lower bound **in expectation** (a single draw can
    exceed the marginal); exact at k = K, and wherever C has all of the mass. C is held constant, so the bound jumps
    where the top k change.

    It takes no estimator; its own gradient is unbiased for the bound, for gate and experts alike: that of the logarithm
    with the draws held fixed, and Σ_j (L - L₋ⱼ) ∇log (π_{z_j} / (1 - π(C))) for their distribution. L₋ⱼ has the mean
    weight of C, Σ_{z∈C} π_z e^{ℓ_z} / π(C), in the place of e^{ℓ_{z_j}}, so it does not depend on z_j.

    Costs k + m experts an example, fewer where draws repeat; k is clipped to K, and an empty rest is not drawn from.

    Args:
        top: k.
        num_samples: m.

    Raises:
        GatewiseError: for counts below 1.

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> observed = mixture.observe(torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1]))
    >>> estimate = gw.objectives.Stratified(top=1, num_samples=1)(observed)
    >>> estimate.value.shape, bool((estimate.info.evaluations <= 2).all())
    (torch.Size([5]), True)

    Reference: the sum inside: Liu, Regier, Tripuraneni, Jordan and McAuliffe 2019 (1810.04777); the logarithm of an
    unbiased estimate as a bound: Burda, Grosse and Salakhutdinov 2016 (1509.00519).
    """

    name = "stratified"
    reference = "Liu et al. 2019 (1810.04777); Burda et al. 2016 (1509.00519)"
    refusal = "has a gradient of its own and takes no {}; leave it out, or choose an objective such as multi-sample"

    def __init__(self, top: int = 1, num_samples: int = 1):
        super().__init__()
        for what, count in (("top", top), ("num_samples", num_samples)):
            advice = "for draws alone use multi-sample"
            check_interval(count, "[1, inf)", f"objective 'stratified': {what}", advice, whole=True)
        self.top, self.num_samples = top, num_samples

    def evaluations(self, num_experts: int) -> int:
        """k + m, at most K."""
        return min(num_experts, self.top + self.num_samples)

    def draw_index(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """m independent draws from the rest, whose logits `[B, K]` are -inf in C: int64 `[m, B]`."""
        return categorical(logits, num_samples, generator)

    def forward(self, observed: Observed, generator: torch.Generator | None = None) -> Estimate:
        """The bound's estimate, `[B]`."""
        log_probs = observed.logits.log_softmax(-1)
        # stably, so that among equally likely experts C is the same at every call
        order = log_probs.detach().sort(dim=-1, descending=True, stable=True).indices[:, : self.top]
        likely = torch.where(log_probs.detach().gather(-1, order) > -torch.inf, order, -1)
        rest = log_probs.scatter(-1, order, -torch.inf)
        empty = (rest.detach() == -torch.inf).all(-1)
        # the softmax of nothing but -∞ is a NaN; where nothing is drawn any logits serve
        rest = torch.where(empty.unsqueeze(-1), 0.0, rest)
        drawn = torch.where(empty, -1, self.draw_index(rest.detach(), self.num_samples, generator))
        index, rest = torch.cat([likely.T, drawn]), rest.logsumexp(-1)  # [k + m, B], and log (1 - π(C)) `[B]`
        asked, top = index >= 0, len(index) - self.num_samples
        log_prob = torch.where(asked, log_probs.T.gather(0, index.clamp_min(0)), 0.0)
        share = (rest - math.log(self.num_samples)).expand(self.num_samples, -1)  # (1 - π(C)) / m
        masses = torch.cat([log_prob[:top], share])  # π_z for C, an equal share of the rest for each draw
        terms = torch.where(asked, masses + observed.at_index(index), -torch.inf)
        value = terms.logsumexp(0)
        # what weighs the score is held constant, as in VIMCO
        with torch.no_grad():
            summed = terms[:top].logsumexp(0)  # log Σ_{z∈C} π_z e^{ℓ_z}
            mean_weight = summed - torch.where(asked[:top], log_prob[:top], -torch.inf).logsumexp(0)
            without = torch.logaddexp(summed, replaced_in_turn(terms[top:], share + mean_weight))  # L₋ⱼ, [m, B]
            signal = torch.where(asked[top:], value - without, 0.0)
        # the draws follow π renormalised outside of C, so its score has log (1 - π(C)) in it
        value = value + (signal * gradient_only(log_prob[top:] - rest)).sum(0)
        return Estimate(value, None, info_of_draws(index))
