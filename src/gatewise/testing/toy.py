"""A function f to estimate, and its exact expectation and gradient, written out."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.outcomes import joint_outcomes

LOGITS = (0.3, -0.5, 1.1, 0.0, 0.4)
WEIGHTS = (-1.2, 0.3, 0.9, 2.0, -0.4)


def toy_logits(num_categories: int) -> Tensor:
    """Logits `[K]` in float64 that are neither equal nor extreme."""
    return torch.tensor([LOGITS[k % 5] - 0.2 * (k // 5) for k in range(num_categories)], dtype=torch.float64)


def toy_weights(num_categories: int) -> Tensor:
    """The weights w `[K]` of `Toy`, in float64."""
    return torch.tensor([WEIGHTS[k % 5] + 0.15 * (k // 5) for k in range(num_categories)], dtype=torch.float64)


class Toy:
    """f(p) = sin h + h² / 2 with h = ⟨p, w⟩, summed over latents: smooth, not linear, and not additive over latents.

    With `log_probs` it is ℓ_z + a log π_z: f then contains the logits as well. It is an `Integrand`, and records what
    it is asked, in `calls` and `asked`.

    Args:
        weights: w, `[K]` or `[*batch, K]`.
        batch: the batch shape.
        event_dims: see `gatewise.expect`.
        log_probs: log π, shaped as the logits or their last dimensions, for the second term.
        latents: L, with `event_dims=1`.
    """

    def __init__(
        self,
        weights: Tensor,
        batch: tuple[int, ...] = (),
        event_dims: int = 0,
        log_probs: Tensor | None = None,
        latents: int = 2,
    ):
        self.weights, self.batch, self.event_dims, self.latents = weights, batch, event_dims, latents
        # a masked category has p = 0, and 0 · -inf would be a NaN
        self.log_probs = None if log_probs is None else torch.where(log_probs > -torch.inf, log_probs, 0.0)
        self.num_categories = weights.shape[-1]
        self.calls: set[str] = set()
        self.asked: list[Tensor] = []

    def at_point(self, point: Tensor) -> Tensor:
        """Values at points."""
        self.calls.add("point")
        return self._values(point)

    def at_index(self, index: Tensor) -> Tensor:
        """Values at categories; 0 where the index is -1."""
        self.calls.add("index")
        self.asked.append(index)
        asked = (index >= 0).all(-1) if self.event_dims else index >= 0
        return torch.where(asked, self._values(self._corner(index.clamp_min(0))), 0.0)

    def at_all(self) -> Tensor:
        """Values at every outcome."""
        self.calls.add("all")
        return self.table()

    def table(self) -> Tensor:
        """Values at every outcome, `[*batch, K]` or `[*batch, K**L]`, not recorded."""
        device = self.weights.device
        event = (self.latents,) if self.event_dims else ()
        outcomes = joint_outcomes(self.latents if event else 1, self.num_categories, device)
        spread = outcomes.view(len(outcomes), *[1] * len(self.batch), *event)
        return self._values(self._corner(spread.expand(len(outcomes), *self.batch, *event))).movedim(0, -1)

    def _corner(self, index: Tensor) -> Tensor:
        return F.one_hot(index, self.num_categories).to(self.weights.dtype)

    def _values(self, point: Tensor) -> Tensor:
        weights = self.weights
        if self.event_dims and weights.dim() > 1:
            weights = weights.unsqueeze(-2)
        h = (point * weights).sum(-1)
        if self.event_dims:
            h = h.sum(-1)
        value = h.sin() + h.square() / 2
        if self.log_probs is not None:
            direct = 0.7 * (point * self.log_probs).sum(-1)
            value = value + (direct.sum(-1) if self.event_dims else direct)
        return value


def joint_probs(logits: Tensor, event_dims: int = 0) -> Tensor:
    """The probability of every outcome, `[*batch, K]` or `[*batch, K**L]`, written out."""
    probs = logits.softmax(-1)
    if not event_dims:
        return probs
    outcomes = joint_outcomes(logits.shape[-2], logits.shape[-1])
    product = torch.ones(*logits.shape[:-2], len(outcomes), dtype=logits.dtype)
    for latent in range(logits.shape[-2]):
        product = product * probs[..., latent, :][..., outcomes[:, latent]]
    return product


def exact(logits: Tensor, event_dims: int = 0, contains_logits: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """E f of the toy, its gradient for `logits` `[K]` or `[L, K]`, and for the weights, by autograd of the sum."""
    logits = logits.detach().requires_grad_()
    weights = toy_weights(logits.shape[-1]).to(logits.dtype).requires_grad_()
    log_probs = logits.log_softmax(-1) if contains_logits else None
    latents = logits.shape[0] if event_dims else 1
    table = Toy(weights, (), event_dims, log_probs, latents).table()
    value = (joint_probs(logits, event_dims) * table).sum()
    gradients = torch.autograd.grad(value, (logits, weights))
    return value.detach(), gradients[0], gradients[1]


def independent_draws(logits: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """Every outcome of S independent draws, `[S, N]` or `[S, N, L]`, and its probability `[N]`.

    An `outcomes` for `gatewise.testing.check_gradient_estimator`: what the `draw_index` of an estimator such as
    'score-function' can return for logits `[K]` or `[L, K]`.
    """
    latents = logits.shape[0] if logits.dim() == 2 else 1
    listed = joint_outcomes(num_samples * latents, logits.shape[-1]).view(-1, num_samples, latents)
    probs = logits.softmax(-1).expand(latents, -1)
    probability = probs[torch.arange(latents), listed].prod(-1).prod(-1)
    index = listed.transpose(0, 1)
    return (index if logits.dim() == 2 else index.squeeze(-1)), probability
