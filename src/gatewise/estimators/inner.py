"""Inner derivatives of f, for the estimators that take one."""

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.estimators.base import info_of_all, mean_of_samples
from gatewise.expectation import Estimate, Integrand
from gatewise.precision import working_dtype


def value_alone(integrand: Integrand, index: Tensor, logits: Tensor) -> Estimate:
    """The mean of f over the draws: the estimate where no gradient is wanted."""
    value = mean_of_samples(integrand.at_index(index))
    return Estimate(value, None, info_of_all(value, logits, index))


def value_and_slope(integrand: Integrand, point: Tensor) -> tuple[Tensor, Tensor]:
    """f at points `[S, *batch, K]` and its derivative there, both detached; of the points' type or wider."""
    leaf = point.detach()
    if torch._C._are_functorch_transforms_active():  # within which no tensor can be made a leaf
        values, pull, *_ = torch.func.vjp(integrand.at_point, leaf)
        slope = pull(torch.ones_like(values))[0].detach()
    else:
        leaf.requires_grad_()
        values = integrand.at_point(leaf)
        slope = derivative(values, leaf)
    wide = working_dtype(point.dtype)
    return values.detach().to(wide), slope.to(wide)


def derivative(values: Tensor, point: Tensor, again: bool = False) -> Tensor:
    """The derivative of the summed values for the point; `again` if it is to be differentiated itself.

    Raises:
        GatewiseError: if the values do not depend on the point.
    """
    slope = None
    if values.requires_grad:
        ones = torch.ones_like(values)
        # of the sum over examples: each value depends on its own point alone, so the rows do not mix
        (slope,) = torch.autograd.grad(values, point, ones, create_graph=again, retain_graph=again, allow_unused=True)
    if slope is None:
        raise GatewiseError(
            "f has no derivative for the point it is given (an argmax, a detach or a constant lies between); make it "
            "differentiable, or use an estimator that needs no derivative, such as 'score-function'"
        )
    return slope


def sum_categories(per_category: Tensor, event_dims: int) -> Tensor:
    """The sum over categories, and latents: `[S, *batch]`."""
    return per_category.flatten(-1 - event_dims).sum(-1)


def unsqueezed_to(values: Tensor, per_category: Tensor) -> Tensor:
    """Values `[S, *batch]` with dimensions of 1 added to stand against `[S, *batch, (L,) K]`."""
    return values.view(*values.shape, *[1] * (per_category.dim() - values.dim()))


def jacobian(probs: Tensor, direction: Tensor) -> Tensor:
    """J(probs) · direction."""
    return probs * (direction - (probs * direction).sum(-1, keepdim=True))
