"""The joint outcomes of several categoricals: enumerated, numbered, and their probabilities."""

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.precision import widened

JOINT_LIMIT = 4096
"""The most joint outcomes K**L that `at_all` enumerates."""


def joint_outcomes(num_latents: int, num_categories: int, device: torch.device | None = None) -> Tensor:
    """Every outcome of L categoricals, int64 `[K**L, L]`, the first latent varying slowest.

    Raises:
        GatewiseError: beyond `JOINT_LIMIT` outcomes.
    """
    if num_categories**num_latents > JOINT_LIMIT:
        raise GatewiseError(
            f"{num_latents} latents of {num_categories} categories have {num_categories}**{num_latents} joint "
            f"outcomes, more than the {JOINT_LIMIT} that are enumerated; draw instead, with 'score-function'"
        )
    grid = torch.cartesian_prod(*[torch.arange(num_categories, device=device)] * num_latents)
    return grid.reshape(-1, num_latents)


def joint_log_probs(logits: Tensor, event_dims: int) -> Tensor:
    """log π of every outcome, `[*batch, K]`, or `[*batch, K**L]` in the order of `joint_outcomes`; in the working type.

    Where π is too small for that type it is 0, and its logarithm -inf, so that nothing asks for it.

    Raises:
        GatewiseError: beyond `JOINT_LIMIT` outcomes.
    """
    log_probs = widened(logits).log_softmax(-1)
    if event_dims:
        latents, categories = logits.shape[-2:]
        outcomes = joint_outcomes(latents, categories, logits.device)
        # [*batch, K**L, L] before the sum
        log_probs = log_probs[..., torch.arange(latents, device=logits.device), outcomes].sum(-1)
    return torch.where(log_probs.detach().exp() == 0, -torch.inf, log_probs)


def outcome_probs(logits: Tensor, event_dims: int) -> Tensor:
    """π of every outcome, as `joint_log_probs`.

    Raises:
        GatewiseError: beyond `JOINT_LIMIT` outcomes.
    """
    return joint_log_probs(logits, event_dims).exp() if event_dims else widened(logits).softmax(-1)


def as_categories(outcome: Tensor, logits: Tensor, event_dims: int) -> Tensor:
    """The categories `[S, *batch]`, or `[S, *batch, L]`, of outcomes `[S, *batch]` numbered as in `joint_log_probs`.

    -1 (not asked) stays -1.
    """
    if not event_dims:
        return outcome
    latents, categories = logits.shape[-2:]
    table = joint_outcomes(latents, categories, logits.device)
    return torch.where(outcome.unsqueeze(-1) < 0, -1, table[outcome.clamp_min(0)])


def first_asked(index: Tensor, event_dims: int = 0) -> tuple[Tensor, Tensor]:
    """Which draws name a category that no earlier draw of the same example named.

    Args:
        index: int64 `[S, *batch]`, or `[S, *batch, L]` with `event_dims=1`; -1 is not asked.
        event_dims: see `expect`.

    Returns:
        asked: bool `[S, *batch]`, true where the pair (example, category) stands for the first time.
        source: int64 `[S, *batch]`, the draw in which the same category stood first.
    """
    named = (index >= 0).all(-1) if event_dims else index >= 0
    if len(index) == 1:
        return named, torch.zeros_like(named, dtype=torch.int64)
    if event_dims:
        index = _numbered(index)
    draws = torch.arange(len(index), device=index.device).view(-1, *[1] * (index.dim() - 1))
    # sorted stably, equal categories stand together with the first draw in front
    ordered, draw = index.sort(dim=0, stable=True)
    front = torch.where(_starts(ordered), draws.expand_as(index), 0).cummax(0).values
    # back from the sorted order, in memory that is linear in S: comparing all pairs would take S²
    source = torch.empty_like(index).scatter(0, draw, draw.gather(0, front))
    return (source == draws) & named, source


def _numbered(index: Tensor) -> Tensor:
    """Numbers `[S, *batch]` that are equal for draws `[S, *batch, L]` of an example that agree in every latent."""
    numbers = index[..., 0]
    # numbered anew after each latent: the number stays below that of draws, where K**L would outgrow int64
    for latent in index.unbind(-1)[1:]:
        ordered, draw = (numbers * 2**31 + latent).sort(dim=0)
        numbers = torch.empty_like(draw).scatter(0, draw, _starts(ordered).cumsum(0))
    return numbers


def _starts(ordered: Tensor) -> Tensor:
    """Where, along a sorted first dimension, another value begins."""
    return torch.cat([torch.ones_like(ordered[:1], dtype=torch.bool), ordered[1:] != ordered[:-1]])
