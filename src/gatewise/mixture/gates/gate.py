"""Gates: a network's scores, a temperature, and a map from scores to the logits of p(z|x)."""

import math

from torch import Tensor, nn

from gatewise.errors import GatewiseError, check_interval
from gatewise.mixture.gates.balance import BalanceBias
from gatewise.mixture.gates.last_layer import is_sparse, remove_row, share_row, split_row
from gatewise.mixture.gates.sparse import SPARSE_GATES
from gatewise.mixture.gates.top_k import NoisyTopK, check_top_k
from gatewise.precision import widened
from gatewise.wording import instead

GATE_MAPS: dict[str, type[nn.Module]] = {"softmax": nn.Identity, **SPARSE_GATES}
"""Modules from scores to logits, by the names that configurations use: the scores are the logits of their softmax."""


def check_temperature(value: object) -> float:
    """The temperature as a number.

    Raises:
        GatewiseError: where it is not a positive one.
    """
    check_interval(value, "(0, inf)", "the gate's temperature")
    return float(value)  # pyrefly: ignore[bad-argument-type]


class Gate(nn.Module):
    """The logits of p(z|x) = map((network(x) + noise) / T + b).

    Any module that puts out logits `[B, K]` is a gate; this one puts together what such a module is mostly made of:

        gate = gw.mixture.Gate(gw.mixture.mlp(64, [32], 8), 8, top_k=2, noise_features=64, balance=True)

    Args:
        network: scores `[B, K]` of the rows x `[B, ...]`: `mlp(D, [], K)` for a perceptron without hidden layers,
            `mlp(D, [64], K)`, `ConvNet(shape, K)` for images, or any module.
        num_experts: K.
        map: "softmax"; or "sparsemax" or "entmax15", which give most experts a probability of exactly 0.
        temperature: T, a positive number.
        top_k: keep the k highest scores of a row, in training and in prediction; see `NoisyTopK`. None keeps all.
        noise_features: numbers in a row of x, flattened, for the noise of top-k in training; None for no noise.
        balance: add a `BalanceBias` b, for a training loop to move.

    Raises:
        GatewiseError: for an unknown map, a temperature outside of 1e-4 to 1e4, k = 1 or above K, a sparse map with
            top-k, noise without it; when called, for scores of another shape.

    >>> import torch
    >>> import gatewise as gw
    >>> gate = gw.mixture.Gate(gw.mixture.mlp(64, [32], 8), 8, top_k=2)
    >>> (gate(torch.randn(5, 64)).softmax(-1) > 0).sum(-1).tolist()
    [2, 2, 2, 2, 2]
    """

    def __init__(
        self,
        network: nn.Module,
        num_experts: int,
        *,
        map: str = "softmax",
        temperature: float = 1.0,
        top_k: int | None = None,
        noise_features: int | None = None,
        balance: bool = False,
    ):
        super().__init__()
        check_map(map, top_k)
        if noise_features is not None and top_k is None:
            raise GatewiseError("noise_features is for the noise of top-k; give top_k as well, or leave it out")
        self.network = network
        self.num_experts = num_experts
        self.top_k = None if top_k is None else NoisyTopK(top_k, num_experts, noise_features)
        self.temperature = check_temperature(temperature)
        self.balance = BalanceBias(num_experts) if balance else None
        self.map = GATE_MAPS[map]()

    def add_expert(self, donor: int) -> None:
        """Append expert K, which shares the donor's probability; in place, see `gatewise.mixture.add_expert`.

        Behind a sparse map or the top k this holds where the donor has the probability 0 or 1, and nearly elsewhere.

        Raises:
            GatewiseError: for a network whose scores are not those of a last linear layer.
        """
        split_row(self.network, self.num_experts, donor, self._lost())
        self._take([*range(self.num_experts), donor])

    def remove_expert(self, index: int) -> None:
        """Take an expert away, in place: the others' probabilities are renormalised.

        Raises:
            GatewiseError: for a network whose scores are not those of a last linear layer, or fewer experts than top_k.
        """
        if self.top_k is not None:
            check_top_k(self.top_k.k, self.num_experts - 1)
        remove_row(self.network, self.num_experts, index)
        self._take([k for k in range(self.num_experts) if k != index])

    def share_expert(self, index: int, donor: int) -> list[Tensor]:
        """Give expert `index` half of the donor's probability and nothing of its own, in place.

        Returns:
            The parameters whose rows `index` and `donor` were written.

        Raises:
            GatewiseError: for a network whose scores are not those of a last linear layer with a bias.
        """
        written = share_row(self.network, self.num_experts, index, donor, self._lost())
        if self.balance is not None:
            self.balance.bias[index] = self.balance.bias[donor]
        return written

    def _lost(self) -> float:
        """What two experts lose of their scores to share one's probability: log 2 behind the temperature."""
        return 0.0 if is_sparse(self) else math.log(2) * self.temperature

    def _take(self, experts: list[int]) -> None:
        """Let what is kept for each expert beside the network follow its new list of experts."""
        self.num_experts = len(experts)
        if self.balance is not None:
            self.balance.bias = self.balance.bias[experts]
        if self.top_k is not None and self.top_k.noise_weight is not None:
            weight = self.top_k.noise_weight
            self.top_k.noise_weight = nn.Parameter(weight.detach()[:, experts], requires_grad=weight.requires_grad)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, K]`, in float32 at least; -inf outside of the support of a sparse map and of the top k."""
        scores = widened(self.network(x))
        if scores.shape != (len(x), self.num_experts):
            raise GatewiseError(
                f"the gate's network put out shape {list(scores.shape)} for {len(x)} rows; it must be "
                f"[{len(x)}, {self.num_experts}]"
            )
        if self.top_k is not None:
            scores = self.top_k.perturb(scores, x)
        scores = scores if self.temperature == 1.0 else scores / self.temperature
        if self.balance is not None:
            scores = self.balance(scores)
        return self.map(scores if self.top_k is None else self.top_k(scores))


def check_map(name: str, top_k: int | None) -> None:
    """Refuse an unknown map, and a sparse one together with top-k.

    Raises:
        GatewiseError: with what would work.
    """
    if name not in GATE_MAPS:
        raise GatewiseError(f"unknown map {name!r} of the gate{instead(str(name), GATE_MAPS)}")
    if top_k is not None and name != "softmax":
        raise GatewiseError(
            f"the map {name!r} chooses by itself which experts get a probability of 0; leave top-k out, or take the "
            "map 'softmax'"
        )
