"""What a gate does with its experts: entropies, mutual information, how many are in use."""

import torch
from torch import Tensor

from gatewise.precision import widened

COLLAPSED = 1.5
"""Fewer effective experts than this is a collapse: one expert does nearly everything."""
STILL = 0.01
"""Less mutual information than this, in nats, and the gate does not choose."""


def entropy(probs: Tensor) -> Tensor:
    """-Σ_k p_k log p_k in nats, `[...]`, for probabilities `[..., K]`; exact zeros count 0, with a gradient of 0."""
    probs = widened(probs)
    positive = probs > 0
    log_probs = torch.where(positive, probs, 1.0).log()
    return -(torch.where(positive, probs, 0.0) * log_probs).sum(-1)


def mutual_information(mean_gate: Tensor, mean_entropy: Tensor) -> Tensor:
    """I(z;x) = H(mean gate) - mean H(z|x) in nats; 0 means that the gate does not look at x."""
    return (entropy(mean_gate) - mean_entropy).clamp_min(0.0)


def effective_experts(mean_gate: Tensor) -> Tensor:
    """The perplexity of the mean gate, from 1 (one expert takes all) to K."""
    return entropy(mean_gate).exp()


def experts_used(argmax_counts: Tensor) -> Tensor:
    """How many of K experts are the gate's argmax on at least 1/(10 K) of the rows; counts `[K]`."""
    return (argmax_counts * 10 * len(argmax_counts) >= argmax_counts.sum()).sum()
