"""The unordered set estimator: S categories drawn without replacement."""

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.estimators.base import GradientEstimator, gradient_only
from gatewise.estimators.registry import register
from gatewise.expectation import Estimate, Info, Integrand, as_categories, joint_log_probs
from gatewise.noise import without_replacement, working_dtype
from gatewise.wording import instead

BASELINES = ("built-in", "none")


@register
class UnorderedSet(GradientEstimator):
    """Σ_{s∈S} ∇π_s R(S,s) [f(s) - Σ_{s′∈S} π_s′ R(S∖s,s′) f(s′)], S drawn without replacement.

    R(S,s) = p(S∖s in the domain without s) / p(S), p the probability of drawing a set; the second ratio is the same in
    the domain without s, and 1 for s′ = s. The value is Σ_{s∈S} π_s R(S,s) f(s). Unbiased for the value, the logits
    and the parameters of f; exact at S = K. The inner sum is a baseline that comes for free; a single draw has none
    (with one it would be biased). Costs S evaluations an example.

    The probabilities of sets are integrals over one variable, computed in log space for any S, never a sum over
    subsets: O(S²) numbers an example at each of some 150 nodes. L latents are treated as one with K**L categories,
    refused beyond `gatewise.expectation.JOINT_LIMIT`.

    Args:
        baseline: "built-in", or "none" for the plain sum of ∇π_s R(S,s) f(s).

    Raises:
        GatewiseError: for another baseline.

    Reference: Kool, van Hoof and Welling 2020 (2002.06043).
    """

    name = "unordered-set"
    joint = True
    calls = frozenset({"index"})
    unbiased = frozenset({"value", "logits", "parameters"})
    reference = "Kool et al. 2020 (2002.06043)"

    def __init__(self, baseline: str = "built-in"):
        super().__init__()
        if baseline not in BASELINES:
            raise GatewiseError(
                f"estimator {self.name!r}: unknown baseline {baseline!r}{instead(str(baseline), BASELINES)}"
            )
        self.baseline = baseline

    def draw_index(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Different categories, int64 `[min(S, K), *batch]`; -1 where none is left."""
        return without_replacement(logits, num_samples, generator)

    def forward(
        self,
        integrand: Integrand,
        logits: Tensor,
        *,
        num_samples: int = 1,
        event_dims: int = 0,
        generator: torch.Generator | None = None,
        context: Tensor | None = None,
    ) -> Estimate:
        """The weighted sum over the set."""
        log_probs = joint_log_probs(logits.to(working_dtype(logits.dtype)), event_dims)
        outcome = self.draw_index(log_probs, num_samples, generator)
        index = as_categories(outcome, logits, event_dims)
        values = integrand.at_index(index)
        asked = outcome >= 0
        named = outcome.clamp_min(0).movedim(0, -1)
        log_prob = log_probs.gather(-1, named).movedim(-1, 0)
        log_ratio, inner = log_ratios(log_probs.detach(), named, asked, self.baseline == "built-in")
        weights = torch.where(asked, (log_prob.detach() + log_ratio).exp(), 0.0)
        seen = values.detach().to(weights.dtype)
        baseline = 0.0
        if inner is not None:
            shares = torch.where(asked, (log_prob.detach() + inner).exp(), 0.0)
            baseline = (shares * seen).sum(1)
        gradient = weights * (seen - baseline) * gradient_only(torch.where(asked, log_prob, 0.0))
        value = (weights.to(values.dtype) * values + gradient.to(values.dtype)).sum(0)
        return Estimate(value, None, Info(lambda: asked.sum(0), index=index))


def log_ratios(log_probs: Tensor, named: Tensor, asked: Tensor, second: bool) -> tuple[Tensor, Tensor | None]:
    """log R(S,s), `[S, *batch]`, and log R(S∖s,s′), `[S, S, *batch]` over (s, s′), None if not wanted or for S = 1.

    With A ⊂ S and a_s = π_s / π(rest), rest the categories outside of S, all are ratios of
    I(A) = ∫₀¹ Π_{s∈A} (1 - u^{a_s}) du, the probability that A comes before the rest: R(S,s) = I(S∖s) / I(S) and
    R(S∖s,s′) = I(S∖s,s′) / I(S∖s). An empty rest makes all of them 1.

    Args:
        log_probs: `[*batch, K]`, detached.
        named: the categories of the set, `[*batch, S]`.
        asked: false where an entry of the set is not there, `[S, *batch]`.
        second: whether the second ratios are wanted.
    """
    taken = torch.where(asked.movedim(0, -1), named, named[..., :1])
    rest = log_probs.scatter(-1, taken, -torch.inf).logsumexp(-1, keepdim=True)
    log_a = (log_probs.gather(-1, named) - rest).movedim(-1, 0)
    log_a = torch.where(asked, log_a, torch.inf)
    # u = exp(-e^y); the integrand falls off doubly exponentially to both sides, so that the trapezoid rule at this
    # step is exact to 1e-14, and below y = -38 lies less than 1e-16
    y = torch.arange(-38.0, 7.5, 0.3, dtype=log_a.dtype, device=log_a.device)
    y = y.view(-1, *[1] * (log_a.dim() - 1))
    measure = y - y.exp()
    factors = log_one_minus_exp(log_a.unsqueeze(1) + y)  # [S, nodes, *batch]
    size = len(factors)

    def log_integral(left_out: set[int]) -> Tensor:
        kept = [factors[s] for s in range(size) if s not in left_out]
        return (sum(kept, start=measure)).expand_as(factors[0]).logsumexp(0)

    whole = log_integral(set())
    without = [log_integral({s}) for s in range(size)]
    first = torch.stack(without) - whole
    if not second or size == 1:
        return first, None
    pairs = {(s, t): log_integral({s, t}) for s in range(size) for t in range(s)}
    nothing = torch.zeros_like(whole)
    rows = [
        torch.stack([nothing if s == t else pairs[max(s, t), min(s, t)] - without[s] for t in range(size)])
        for s in range(size)
    ]
    return first, torch.stack(rows)


def log_one_minus_exp(log_x: Tensor) -> Tensor:
    """log(1 - e^{-x}) from log x, also where x is too small or too large for 1 - e^{-x} to be told from 0 or 1."""
    x = log_x.clamp_max(80.0).exp()
    return torch.where(log_x < -15.0, log_x - x / 2, torch.log(-torch.expm1(-x.clamp_min(1e-30))))
