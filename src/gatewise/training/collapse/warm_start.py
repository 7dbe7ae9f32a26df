"""Warm starts: for the first epochs each row's expert is given, by clusters or by the user, and not inferred."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from gatewise.config.run import LoopConfig
from gatewise.errors import GatewiseError
from gatewise.expectation import Estimate, Info
from gatewise.mixture import MixtureOfExperts, Observed
from gatewise.mixture.gates.last_layer import is_sparse

SMOOTHING = 0.1
"""The share of the gate's target that is spread over all experts."""


class WarmStart:
    """log p(y, z=a|x) = ℓ_a + log π_a, with the expert a of each row held fixed: EM's M-step, given the E-step.

    Only the assigned expert runs. The gate's target is smoothed, (1 - s) 1{z = a} + s/K with s = 0.1: its optimum has
    finite logits, so that the objective that follows can still move rows. Regularisers stay.

    The optimiser's moments are carried on to the objective that follows: with new ones its first steps would be of
    full size for every weight, and undo part of what the experts were taught.

    Args:
        assignment: the expert of each training row, int64 `[N]`; None where rows are streamed.
        epochs: that it lasts; the chosen objective has the others.
        assign: tells the experts of rows `[B, ...]` that are streamed, int64 `[B]`.
    """

    def __init__(self, assignment: Tensor | None, epochs: int, assign: Callable[[Tensor], Tensor] | None = None):
        self.assignment, self.epochs, self.assign = assignment, epochs, assign

    def __call__(self, observed: Observed, assignment: Tensor) -> Estimate:
        """The objective of each row, `[B]`, for the experts `[B]`."""
        log_gate = observed.logits.log_softmax(-1)
        target = F.one_hot(assignment, log_gate.shape[-1]).to(log_gate)
        target = (1 - SMOOTHING) * target + SMOOTHING / log_gate.shape[-1]
        value = observed.at_index(assignment.unsqueeze(0))[0] + (target * log_gate).sum(-1)
        return Estimate(value, None, Info(torch.ones_like(value, dtype=torch.int64)))


def warm_start(
    config: LoopConfig,
    mixture: MixtureOfExperts,
    x: Tensor,
    epochs: int,
    assignment: Tensor | None,
    seed: int,
    streamed: bool = False,
) -> WarmStart | None:
    """The warm start that a configuration asks for, or one of a given assignment; None for none.

    Args:
        config: with `warm_start` and `warm_start_epochs`.
        mixture: with K experts.
        x: all training rows, `[N, ...]`, or a sample of them.
        epochs: of the training in all.
        assignment: the user's own, int64 `[N]`, or None.
        seed: of clusters.
        streamed: whether x is a sample, and rows get their experts as they come.

    Raises:
        GatewiseError: for both an assignment and a way to make one, an assignment that does not fit, fewer rows than
            clusters, no epoch left for the objective, a sparse gate, or an assignment of rows that are streamed.
    """
    kind, experts = config.warm_start, mixture.num_experts
    if assignment is None and kind == "none":
        return None
    if assignment is not None and kind != "none":
        raise GatewiseError(f"give an assignment or warm_start = {kind!r}, not both")
    if streamed and kind != "kmeans":
        raise GatewiseError(
            "an assignment keeps the expert of every training row, and streamed rows are not kept; take "
            "warm_start = 'kmeans', or set stream = false"
        )
    lasts = config.warm_start_epochs or max(1, epochs // 10)
    if lasts >= epochs:
        raise GatewiseError(
            f"warm_start_epochs is {lasts} and epochs {epochs}, which leaves none for the objective; set fewer"
        )
    if is_sparse(mixture.gate):
        raise GatewiseError(
            "a sparse gate cannot be taught an assignment: the logarithm of its probability is infinite for most "
            "experts; take a softmax gate, or warm_start = 'none'"
        )
    if streamed:
        return WarmStart(None, lasts, assign=nearest_cluster(x, experts, seed))
    assignment = clusters(x, experts, seed) if assignment is None else _checked(assignment, len(x), experts)
    return WarmStart(assignment.to(x.device), lasts)


def clusters(x: Tensor, num_clusters: int, seed: int) -> Tensor:
    """The k-means cluster of each row of x `[N, ...]`, int64 `[N]`.

    Raises:
        GatewiseError: for fewer rows than clusters.
    """
    return nearest_cluster(x, num_clusters, seed)(x)


def nearest_cluster(x: Tensor, num_clusters: int, seed: int) -> Callable[[Tensor], Tensor]:
    """What tells of rows `[B, ...]` their cluster among those of x `[N, ...]`, int64 `[B]`.

    Raises:
        GatewiseError: for fewer rows than clusters.
    """
    if len(x) < num_clusters:
        raise GatewiseError(
            f"warm_start = 'kmeans' needs a row for each of the {num_clusters} experts, got {len(x)}; take fewer "
            "experts, or warm_start = 'none'"
        )
    means = MiniBatchKMeans(num_clusters, random_state=seed % 2**32, n_init=3, compute_labels=False).fit(_as_table(x))
    return lambda rows: torch.from_numpy(means.predict(_as_table(rows))).long().to(rows.device)


def _as_table(x: Tensor) -> np.ndarray:
    return x.detach().flatten(1).double().cpu().numpy()


def _checked(assignment: Tensor, rows: int, experts: int) -> Tensor:
    """The user's own assignment, if it fits."""
    whole = not assignment.is_floating_point() and assignment.dtype != torch.bool
    if not whole or assignment.shape != (rows,) or not 0 <= int(assignment.min()) <= int(assignment.max()) < experts:
        raise GatewiseError(
            f"assignment must hold the expert of each of the {rows} training rows, as integers from 0 to "
            f"{experts - 1} of shape [{rows}]"
        )
    return assignment.long()
