"""The routing of a layer: which experts run for each token, with which weights, and what that costs or teaches.

A layer returns it and keeps nothing. So no tensor of a past step holds its graph alive, a forward pass that activation
checkpointing repeats leaves no second trace, and whoever wants statistics of several steps adds them up.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.mixture.information import entropy


@dataclass(frozen=True, eq=False)
class Routing:
    """The decision for N tokens (those that are not padding) among K experts.

    Attributes:
        logits: the router's scores, `[N, K]`, in float32 at least, with their graph.
        probs: p(z|x), `[N, K]`, with their graph; they sum to 1.
        index: the experts that run, distinct for a token, int64 `[N, r]`; -1, with weight 0, in the place of one that
            the router masks by a logit of -inf.
        weights: what their outputs are weighed with, `[N, r]`.
        chosen: the experts that were chosen, int64 `[N, k]`: those of `index`, -1 as there, but for routers that run
            all experts to learn about one.
        log_prob: log p of the expert drawn, `[N]`, where the router learns by `score_function_loss`; else None.
        shape: that of the tokens as the layer got them, such as `[B, T]`.
        position: where the N tokens stand in the flattened `shape`, int64 `[N]`; None if there was no padding.

    >>> import torch
    >>> import gatewise as gw
    >>> y, routing = gw.nn.MoELayer(64, experts=8, k=2)(torch.randn(10, 64))
    >>> routing.probs.shape, routing.index.shape, routing.weights.sum(-1).round(decimals=4).unique().tolist()
    (torch.Size([10, 8]), torch.Size([10, 2]), [1.0])
    """

    logits: Tensor
    probs: Tensor
    index: Tensor
    weights: Tensor
    chosen: Tensor
    log_prob: Tensor | None = None
    shape: tuple[int, ...] = ()
    position: Tensor | None = None

    @property
    def counts(self) -> Tensor:
        """How many tokens chose each expert, int64 `[K]`: one vector, to be added up or all-reduced."""
        # not bincount, which is slower on a GPU and refused there where determinism is asked for
        experts = torch.arange(self.probs.shape[1], device=self.chosen.device)
        return (self.chosen.unsqueeze(-1) == experts).sum((0, 1))

    @property
    def entropy(self) -> Tensor:
        """The mean of H(z|x) over the tokens in nats, a scalar without gradient; 0 if there are none."""
        return entropy(self.probs.detach()).sum() / max(len(self.probs), 1)

    def balance_loss(self, counts: Tensor | None = None) -> Tensor:
        """K Σ_k f_k p̄_k - 1: f the share of choices that fell on expert k, p̄ the mean of `probs`.

        0 where both are even, K - 1 where one expert takes all. The shares have no gradient, the probabilities have.

        Args:
            counts: `[K]`, what the shares are taken from; the default is this routing's `counts`. The sum over
                processes, or over micro-batches, balances the whole batch: as p̄ enters linearly, the mean of the
                processes' gradients is then that of the whole (for equally many tokens each).

        Reference: Fedus, Zoph and Shazeer 2021 (2101.03961); over the whole batch: Qiu et al. 2025 (2501.11873).
        """
        if len(self.probs) == 0:
            return self.probs.sum()
        counts = (self.counts if counts is None else counts).to(self.probs.dtype)
        share = counts / counts.sum().clamp_min(1)
        return self.probs.shape[1] * (share * self.probs.mean(0)).sum() - 1

    def z_loss(self) -> Tensor:
        """The mean of (logsumexp of the logits)², which keeps them near 0 (Zoph et al. 2022, 2202.08906)."""
        return self.logits.logsumexp(-1).square().sum() / max(len(self.logits), 1)

    def spread(self, values: Tensor, fill: float = 0) -> Tensor:
        """Values `[N, ...]` of the tokens as `[*shape, ...]`, with `fill` where there was padding.

        Raises:
            GatewiseError: for another number of values.
        """
        if len(values) != len(self.probs):
            raise GatewiseError(f"the routing is of {len(self.probs)} tokens, got {len(values)} values to spread")
        if self.position is not None:
            size = torch.Size(self.shape).numel()
            everywhere = values.new_full((size, *values.shape[1:]), fill)
            values = everywhere.index_put((self.position,), values)
        return values.view(*self.shape, *values.shape[1:])
