"""Checks of categories that cannot be chosen."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gatewise.expectation import IndexFunction, by_index
from gatewise.testing.statistics import seeded
from gatewise.testing.subject import Subject, check
from gatewise.testing.toy import toy_logits

BATCH = 64


@check
def masked_categories_are_not_asked(subject: Subject) -> None:
    """f(z) = log ⟨z, θ⟩ with θ₀ = 0 where category 0 is masked: it is never asked, and θ's gradient is finite.

    What is asked anywhere is a point without weight on it, or no index of it; -1 says that nothing is asked.
    """
    for event_dims in subject.event_dims():
        for kind, logits in masked_logits(subject.num_categories, event_dims):
            theta = torch.linspace(0, 2, subject.num_categories, dtype=torch.float64).requires_grad_()
            for name, f, asked in _functions(theta, event_dims):
                if name == "by_index" and "point" in subject.estimator.calls:
                    continue
                leaf, count = logits.clone().requires_grad_(), subject.counts(8)[-1]
                value = subject.expect(f, leaf, num_samples=count, event_dims=event_dims, generator=seeded(2)).value
                gradients = torch.autograd.grad(value.sum(), (leaf, theta))
                where = (
                    f"of f(z) = log ⟨z, θ⟩, {name}, θ₀ = 0 where category 0 is masked, {kind}, {1 + event_dims} latents"
                )
                weight = max(map(float, asked))
                subject.require(weight == 0, f"the weight that is put on category 0 {where}", 0, weight)
                for what, found in zip(
                    ("value", "logits' gradient", "gradient for θ"), (value, *gradients), strict=True
                ):
                    subject.require(found.isfinite().all(), f"the {what} {where}", "finite", found)


def masked_logits(num_categories: int, event_dims: int) -> Iterator[tuple[str, Tensor]]:
    """What is masked, and logits `[BATCH, K]` or `[BATCH, 2, K]`."""
    shape = (BATCH, *[2] * event_dims, num_categories)
    logits = toy_logits(num_categories) + torch.randn(shape, generator=seeded(1), dtype=torch.float64)
    logits[..., 0] = -torch.inf
    yield "alone", logits
    far = logits.clone()
    far[..., 0] = -1e5  # which is a probability of 0 too
    yield "by a logit of -1e5", far
    logits = logits.clone()
    logits[..., 2:] = -torch.inf
    yield "with all others but one", logits


def _functions(theta: Tensor, event_dims: int) -> Iterator[tuple[str, Callable | IndexFunction, list[Tensor]]]:
    """f on points and on categories, each with the list of weights that it was given on category 0."""
    asked: list[Tensor] = []

    def of_point(point: Tensor) -> Tensor:
        asked.append(point.detach()[..., 0].amax())
        values = (point @ theta.to(point.dtype)).log()
        return values.sum(-1) if event_dims else values

    yield "a callable on points", of_point, asked
    named: list[Tensor] = []

    def of_index(index: Tensor) -> Tensor:
        named.append((index == 0).any())
        # as its documentation says; 1 stands in where all is unasked
        values = theta[torch.where(index < 0, index.amax(0), index).clamp_min(1)].log()
        return values.sum(-1) if event_dims else values

    yield "by_index", by_index(of_index), named
