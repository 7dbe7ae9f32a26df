"""A hard draw of one expert, taught by a cost that the layer is told afterwards."""

import math

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.estimators.baselines import Baseline, make_baseline
from gatewise.estimators.statistics import scaled_gradient, updated_after_backward
from gatewise.nn.routers.base import Router
from gatewise.nn.routers.registry import register
from gatewise.nn.routing import Routing
from gatewise.precision import widened


@register
class ScoreFunctionRouter(Router):
    """z ~ π in training, argmax π after; y = E_z(x), with weight 1. Costs 1 expert.

    The output has no gradient for the router: a layer cannot know the loss. So the loss is brought back to it:

        y, routing = layer(x)                                  # x [B, T, D]
        cost = cross_entropy(head(y), target, reduction="none")  # [B] an example, or [B, T] a token
        loss = cost.mean() + layer.score_function_loss(routing, cost)

    which is 0 forward, and (cost - b) ∇log π_z backward. Unbiased for the router, the experts and all else, if a cost
    holds all that its tokens' choices change. A cost a token leaves out what the choice does to other tokens, through
    attention above; a cost an example does not, and has more variance the longer the example is.

    Args:
        in_features: D.
        num_experts: K.
        baseline: b: "running-mean" of past costs, "none", or a `gw.estimators.Baseline` that needs no context.
        decay: of the running mean.

    Raises:
        GatewiseError: for a baseline that is unknown, or needs two draws or a context.

    >>> import torch
    >>> import gatewise as gw
    >>> layer, x = gw.nn.MoELayer(64, experts=8, router="score-function"), torch.randn(5, 64)
    >>> y, routing = layer(x)
    >>> cost = (y - x).square().mean(-1)  # [N], one a token
    >>> (cost.mean() + layer.score_function_loss(routing, cost)).backward()
    >>> layer.router.weight.grad.shape
    torch.Size([8, 64])

    Reference: Williams 1992; as a router: Clark et al. 2022 (2202.01169).
    """

    name = "score-function"
    reference = "Williams 1992; Clark et al. 2022 (2202.01169)"

    def __init__(
        self, in_features: int, num_experts: int, baseline: str | Baseline = "running-mean", decay: float = 0.9
    ):
        super().__init__(in_features, num_experts)
        self.baseline = make_baseline(baseline, None, decay)
        if 1 not in self.baseline.sample_counts or self.baseline.name == "learned":
            raise GatewiseError(
                f"router 'score-function' draws once and knows no context, so baseline {self.baseline.name!r} cannot "
                "serve; take 'running-mean' or 'none'"
            )

    def forward(self, x: Tensor) -> Routing:
        """Route tokens x `[N, D]`."""
        logits = self.scores(x)
        index = (self.draw_index(logits) if self.training else logits.argmax(-1)).unsqueeze(-1)
        log_prob = logits.log_softmax(-1).gather(-1, index).squeeze(-1) if self.training else None
        weights = torch.ones_like(index, dtype=logits.dtype)
        return Routing(logits, logits.softmax(-1), index, weights, chosen=index, log_prob=log_prob)

    def commit(self) -> None:
        """Fold the costs held back into the baseline."""
        self.baseline.commit()

    def score_function_loss(self, routing: Routing, cost: Tensor) -> Tensor:
        """0 forward; backward the gradient of E mean(cost) for the router, after which the running mean sees the cost.

        Args:
            routing: what the layer returned.
            cost: of every token, with the tokens' shape, such as `[B, T]`; or with the first dimensions of it alone,
                such as `[B]`: then it is charged to all tokens of the example. Costs whose tokens are all padding do
                not count.

        Raises:
            GatewiseError: for a routing without draws (of inference) or without a graph, or a cost of another shape.
        """
        if routing.log_prob is None:
            raise GatewiseError("this routing was made in inference mode, where nothing is drawn; call layer.train()")
        if torch.is_grad_enabled() and self.weight.requires_grad and not routing.log_prob.requires_grad:
            raise GatewiseError(
                "this routing has no graph, so its router would learn nothing: it was made under no_grad, or left a "
                "region under checkpoint(use_reentrant=True); make this loss in the region, or pass use_reentrant=False"
            )
        lead = tuple(cost.shape)
        if lead != routing.shape[: len(lead)] or not lead:
            raise GatewiseError(
                f"the cost must have the tokens' shape {list(routing.shape)} or the first dimensions of it, "
                f"got {list(lead)}; pass one cost a token or an example, not their mean"
            )
        each = *lead, math.prod(routing.shape[len(lead) :])  # tokens that a cost is charged to
        log_prob = routing.spread(routing.log_prob).reshape(each).sum(-1)
        real = routing.spread(torch.ones_like(routing.log_prob)).reshape(each).sum(-1) > 0
        seen, log_prob = widened(cost.detach())[real], log_prob[real]
        level = self.baseline(seen.unsqueeze(0), None).detach()
        loss = scaled_gradient(log_prob, seen, level).sum() / max(len(seen), 1)
        if self.training and self.baseline.learns:
            loss, _ = updated_after_backward(self.baseline, seen.unsqueeze(0), self.hold_statistics, loss)
        return loss
