"""A mixture of experts as a layer: `[..., D] -> [..., O]`, running for each token the experts its router asks for."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError, check_interval, check_kind
from gatewise.mixture.eval_mode import FrozenInEval
from gatewise.mixture.experts import ExpertList, Experts
from gatewise.mixture.mlp import MLPBank
from gatewise.nn import routers
from gatewise.nn.routers import Router
from gatewise.nn.routing import Routing


class MoELayer(FrozenInEval):
    """A router and K experts: y = Σ_z w_z E_z(x) over the experts z that the router chose for a token.

        layer = MoELayer(64, experts=8, hidden=128, k=2)
        y, routing = layer(x)
        loss = task_loss(y) + 0.01 * routing.balance_loss() + 0.001 * routing.z_loss()

    No token is dropped, however uneven the choice. An expert that nobody chose is not run. Scores and weights are in
    float32 at least, also under autocast; the output has the experts' type.

    The layer returns its `Routing` and stores nothing of a forward pass: that is why it returns two things. A loss
    stored in the layer would keep the step's graph alive until the next one, would be lost in a region under
    `torch.utils.checkpoint`, and running counts would count a repeated forward pass twice. Under checkpointing pass
    `use_reentrant=False`, or make the losses of a routing within the region: the other form cuts the graph of what is
    not a bare tensor. Statistics over micro-batches and processes are sums of `routing.counts`:

        counts = sum(routing.counts for routing in routings)   # of this layer, over the step
        torch.distributed.all_reduce(counts)                   # where there are several processes
        layer.update_balance(counts)                           # router="sigmoid": once, after optimiser.step()

    Args:
        in_features: D.
        experts: K, for an `MLPBank` of perceptrons with one hidden layer or more; or any `Experts`, or a list of
            modules `[N, D] -> [N, O]`.
        hidden: width of the bank's hidden layer, or widths of several; 4 D by default.
        out_features: O of the bank; D by default.
        dropout: of the bank, after hidden layers.
        router: a name of `gw.nn.routers.names()`, or a `Router`.
        k: experts for a token, where `router` is a name; 1 by default.
        shared: a module `[N, D] -> [N, O]` that runs for every token and is added to the mixture; kept in inference
            mode, as an expert is, while all of its parameters are frozen.

    Raises:
        GatewiseError: for an unknown router, a k that it does not take, sizes that do not fit each other, or options
            of the bank together with experts that are given.

    >>> import torch
    >>> import gatewise as gw
    >>> layer = gw.nn.MoELayer(64, experts=8, hidden=128, k=2)
    >>> y, routing = layer(torch.randn(2, 5, 64))
    >>> y.shape, routing.counts.sum().item()  # 2 of 8 experts for each of 10 tokens
    (torch.Size([2, 5, 64]), 20)
    """

    def __init__(
        self,
        in_features: int,
        experts: int | Experts | Iterable[nn.Module],
        *,
        hidden: int | Sequence[int] | None = None,
        out_features: int | None = None,
        dropout: float | None = None,
        router: str | Router = "softmax",
        k: int | None = None,
        shared: nn.Module | None = None,
    ):
        super().__init__()
        check_interval(in_features, "[1, inf)", "in_features", "it is the last size of x", whole=True)
        if k is not None:
            check_interval(k, "[1, inf)", "k", "say how many experts a token has", whole=True)
        self.in_features = in_features
        if isinstance(experts, int):
            widths = _widths(4 * in_features if hidden is None else hidden)
            if out_features is not None:
                check_interval(out_features, "[1, inf)", "out_features", "the last size of the output", whole=True)
            experts = MLPBank(experts, in_features, widths, out_features or in_features, dropout or 0.0)
        else:
            _refuse("experts that are given", hidden=hidden, out_features=out_features, dropout=dropout)
        self.experts = experts if isinstance(experts, Experts) else ExpertList(experts)
        self.router = _router(router, in_features, self.num_experts, k)
        if shared is not None:
            check_kind(shared, nn.Module, "shared", "it runs for every token")
        self.shared = shared
        self.set_frozen_to_eval()

    def freezable(self) -> Iterable[nn.Module]:
        """The shared module; experts see to themselves, and a router that is frozen goes on to draw."""
        return () if self.shared is None else (self.shared,)

    @property
    def num_experts(self) -> int:
        """K."""
        return self.experts.num_experts

    def forward(self, x: Tensor, padding: Tensor | None = None) -> tuple[Tensor, Routing]:
        """The output, and what the router decided.

        Args:
            x: tokens, `[..., D]`.
            padding: bool `[...]`, true where there is no token, as in `key_padding_mask`: nothing runs there, nothing
                counts, and the output is 0.

        Returns:
            y: `[..., O]`.
            routing: see `Routing`; its N tokens are those of x, flattened, without padding.

        Raises:
            GatewiseError: for another number of features, or a padding of another shape or type.
        """
        self.set_frozen_to_eval()
        shape = x.shape[:-1]
        self._check(x, padding)
        tokens = x.reshape(math.prod(shape), self.in_features)
        position = None
        if padding is not None:
            position = padding.reshape(-1).logical_not().nonzero().squeeze(1)
            tokens = tokens[position]
        routing = replace(_without_masked(self.router(tokens)), shape=tuple(shape), position=position)
        y = self._mix(tokens, routing)
        if self.shared is not None:
            y = y + self.shared(tokens)
        return routing.spread(y), routing

    def score_function_loss(self, routing: Routing, cost: Tensor) -> Tensor:
        """For router "score-function": see `gatewise.nn.routers.ScoreFunctionRouter.score_function_loss`."""
        return self.router.score_function_loss(routing, cost)

    def update_balance(self, counts: Tensor) -> None:
        """For router "sigmoid", once a step: see `gatewise.nn.routers.SigmoidRouter.update_balance`."""
        self.router.update_balance(counts)

    def _mix(self, tokens: Tensor, routing: Routing) -> Tensor:
        """Σ_z w_z E_z(x), `[N, O]`."""
        index, weights = routing.index, routing.weights
        # where the router masks an expert it is not run, whatever it would answer; see `Experts.where`
        whole = index.shape[1] == self.num_experts and (
            self.experts.collective or torch.compiler.is_compiling() or bool((index >= 0).all())
        )
        if whole or (len(tokens) == 0 and not self.experts.collective):
            # no tokens pass all experts, too: the parameters of a bank then have a gradient of 0; without one,
            # DistributedDataParallel would fail where one process has no tokens
            outputs = self.experts.where(routing.logits > -torch.inf, tokens)
            # what is masked is added to the first expert, and is 0
            weights = weights.new_zeros(len(tokens), self.num_experts).scatter_add(1, index.clamp_min(0), weights)
        else:
            # the draws of the dispatch are the r experts of a token
            plan = self.experts.plan(index.T, tokens, distinct=True)
            # each output has a place of its own, so that adding up is in the same order always, on a GPU as well
            outputs = plan.spread(plan.run(self.experts.grouped, tokens)).transpose(0, 1)
        return (weights.unsqueeze(-1) * outputs).sum(1).to(outputs.dtype)

    def _check(self, x: Tensor, padding: Tensor | None) -> None:
        check_kind(x, Tensor, "x", "make one with torch.as_tensor")
        if x.dim() == 0 or x.shape[-1] != self.in_features:
            raise GatewiseError(f"this layer takes x of shape [..., {self.in_features}], got {list(x.shape)}")
        if padding is not None:
            check_kind(padding, Tensor, "padding", "true where there is no token")
        if padding is not None and (padding.dtype != torch.bool or padding.shape != x.shape[:-1]):
            raise GatewiseError(
                f"padding must be bool and of shape {list(x.shape[:-1])}, true where there is no token; "
                f"got {padding.dtype} {list(padding.shape)}"
            )


def _without_masked(routing: Routing) -> Routing:
    """The routing, with -1 in the place of experts whose logits are -inf, as where k are more than are not masked."""

    def unmasked(index: Tensor) -> Tensor:
        return torch.where(routing.logits.detach().gather(1, index) > -torch.inf, index, -1)

    index = unmasked(routing.index)
    weights = torch.where(index >= 0, routing.weights, 0.0)
    return replace(routing, index=index, weights=weights, chosen=unmasked(routing.chosen))


def _widths(hidden: int | Sequence[int]) -> list[int]:
    """The widths of the bank's hidden layers."""
    widths = list(hidden) if isinstance(hidden, Sequence) else [hidden]
    for width in widths:
        check_interval(width, "[1, inf)", "hidden", "give a width, or a list of widths", whole=True)
    return widths


def _refuse(reason: str, **options: object) -> None:
    """Refuse options that have no meaning here."""
    for name, value in options.items():
        if value is not None:
            raise GatewiseError(f"{name}={value} has no effect on {reason}; leave it out")


def _router(router: str | Router, in_features: int, num_experts: int, k: int | None) -> Router:
    """The router named, or the one given, if it fits."""
    if isinstance(router, str):
        options = routers.options(router)
        if "k" not in options and k not in (None, 1):
            raise GatewiseError(f"router {router!r} chooses one expert a token, got k={k}; leave k out")
        chosen = {"k": k} if k is not None and "k" in options else {}
        return routers.get(router, in_features=in_features, num_experts=num_experts, **chosen)
    check_kind(router, Router, "router", f"or one of the names {', '.join(routers.names())}")
    _refuse("a router that is given", k=k)
    got, wanted = (router.in_features, router.num_experts), (in_features, num_experts)
    if got != wanted:
        raise GatewiseError(
            f"the router was made for {got[0]} features and {got[1]} experts, the layer has {wanted[0]} and {wanted[1]}"
        )
    return router
