"""Gumbel-Rao: straight-through Gumbel-Softmax with the noise that the draw does not fix averaged out."""

import torch
from torch import Tensor

from gatewise.errors import check_interval
from gatewise.estimators.base import PointEstimator, one_hot
from gatewise.estimators.registry import register
from gatewise.estimators.surrogate import with_jacobians
from gatewise.noise import conditional_perturbed
from gatewise.precision import widened
from gatewise.schedules import Schedule


@register
class GumbelRao(PointEstimator):
    """D forward; backward the mean of the derivatives of softmax(x/λ) over M draws of the Gumbels x given argmax x = D.

    In expectation the gradient of straight-through Gumbel-Softmax, with less variance (Rao-Blackwell): unbiased for
    the value and the parameters of f, biased for the logits. Costs all K evaluations, once, whatever M is. The
    conditional Gumbels are not differentiated through: ∂x/∂θ is the identity, as for unconditional ones.

    Args:
        temperature: λ: a number, a schedule, or its text form.
        replicates: M.

    Raises:
        GatewiseError: for a temperature outside of 1e-4 to 1e4, or replicates below 1.

    >>> import torch
    >>> import gatewise as gw
    >>> logits = torch.zeros(3, requires_grad=True)
    >>> point = gw.sample(logits, gw.estimators.GumbelRao(temperature=0.5, replicates=100))
    >>> sorted(point.tolist()), point.requires_grad
    ([0.0, 0.0, 1.0], True)

    Reference: Paulus, Maddison and Krause 2021 (2010.04838).
    """

    name = "gumbel-rao"
    unbiased = frozenset({"value", "parameters"})
    reference = "Paulus et al. 2021 (2010.04838)"

    def __init__(self, temperature: float | str | Schedule = 1.0, replicates: int = 10):
        super().__init__(temperature)
        check_interval(replicates, "[1, inf)", f"estimator {self.name!r}: replicates", whole=True)
        self.replicates = replicates

    def draw(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """A one-hot point with the mean gradient, `[S, *logits.shape]`."""
        index = self.draw_index(logits, num_samples, generator)
        log_probs = widened(logits.detach()).log_softmax(-1)
        # detached: as a function of θ the conditional Gumbels would bring a derivative that is not the estimator's
        relaxed = conditional_softmax(log_probs, index, self.temperature, self.replicates, generator)
        return with_jacobians(one_hot(index, logits), logits, (1 / self.temperature, relaxed))


def conditional_softmax(
    log_probs: Tensor, index: Tensor, temperature: float, replicates: int, generator: torch.Generator | None
) -> Tensor:
    """M draws of softmax(x/λ), x ~ log_probs + Gumbels given that `index` came out highest: `[M, S, *batch, K]`.

    Args:
        log_probs: `[*batch, K]` or `[S, *batch, K]`, normalised.
        index: `[S, *batch]`.
        temperature: λ.
        replicates: M.
        generator: see `gatewise.expect`.
    """
    wide = log_probs.expand(*index.shape, log_probs.shape[-1])
    # its rows are counted by the dimension behind the S samples
    noisy = conditional_perturbed(wide, index.unsqueeze(0), replicates, generator, rows_dim=1)
    return (noisy / temperature).softmax(-1)
