"""A bias that balances the experts without a loss."""

import torch
from torch import Tensor

from gatewise.precision import WideState


class BalanceBias(WideState):
    """Adds a bias b to the scores, which moves after each optimiser step by b += rate · sign(mean load - load).

    It is a buffer, not a parameter: it has no gradient, and is saved with the weights. Nothing moves it but `update`,
    which a training loop calls once at the end of a step (`balance_rate` of `gatewise train` and `LoopConfig`); passing
    rows through never does, so that evaluation, audits and micro-batches leave it as it is.

    Here b is part of p(z|x), in training and in prediction alike: the model that is trained is the model that predicts.
    In DeepSeek's layers it only selects the experts, and the weights of their outputs do without it.

    `Gate(…, balance=True)` has one. A gate of your own may hold one anywhere: the training loop finds it.

    Args:
        num_experts: K.

    Attributes:
        bias: b, `[K]`, in float32 whatever the gate is cast to: in bfloat16 small steps would be lost.

    >>> import torch
    >>> import gatewise as gw
    >>> balance = gw.mixture.BalanceBias(3)
    >>> balance.update(torch.tensor([9, 0, 0]), rate=0.5)  # rows that each expert got in a step
    >>> balance(torch.zeros(1, 3)).tolist()
    [[-0.5, 0.5, 0.5]]

    Reference: Wang et al. 2024 (2408.15664).
    """

    bias: Tensor

    def __init__(self, num_experts: int):
        super().__init__()
        self.register_buffer("bias", torch.zeros(num_experts))

    def forward(self, scores: Tensor) -> Tensor:
        """Scores `[*batch, K]` with the bias added."""
        return scores + self.bias

    @torch.no_grad()
    def update(self, load: Tensor, rate: float) -> None:
        """Raise the bias of the experts that had less than the mean load in a step, and lower that of the others.

        Args:
            load: rows that chose each expert, `[K]`, over all micro-batches and processes.
            rate: the size of the move, in the units of the scores: nats under a softmax.
        """
        counts = load.to(self.bias)
        self.bias += rate * (counts.mean() - counts).sign()
