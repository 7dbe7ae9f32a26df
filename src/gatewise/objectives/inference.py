"""An inference network q(z|x,y): which expert answered, guessed from the example and its class."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gatewise.errors import GatewiseError
from gatewise.mixture import mlp


class InferenceNetwork(nn.Module):
    """The logits of q(z|x,y): a perceptron of the features of x and the class y as a one-hot vector.

    Args:
        num_experts: K.
        context_dim: features of a row, flattened.
        num_classes: C.
        hidden: widths of the hidden layers.

    Raises:
        GatewiseError: when called, for classes that it was not made for, or numbers in their place.

    >>> import torch
    >>> import gatewise as gw
    >>> network = gw.objectives.InferenceNetwork(num_experts=3, context_dim=4, num_classes=2)
    >>> network(torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1])).shape
    torch.Size([5, 3])
    """

    def __init__(self, num_experts: int, context_dim: int, num_classes: int, hidden: tuple[int, ...] = (64,)):
        super().__init__()
        self.num_classes = num_classes
        self.network = mlp(context_dim + num_classes, hidden, num_experts)

    def forward(self, features: Tensor, y: Tensor) -> Tensor:
        """Logits `[B, K]` from features `[B, ...]` and classes y int64 `[B]`."""
        if y.is_floating_point():
            raise GatewiseError(
                "q(z|x,y) was made for classes, and y holds numbers; pass an inference network of your own"
            )
        # to look at y on an accelerator would wait for it at every step
        if y.device.type == "cpu" and y.numel() and int(y.max()) >= self.num_classes:
            raise GatewiseError(f"q(z|x,y) was made for {self.num_classes} classes, and y holds {int(y.max())}")
        flat = features.flatten(1) if features.dim() > 1 else features.unsqueeze(1)
        # a mixture in bfloat16 may train a network in float32
        flat = flat.to(next(self.network.parameters()).dtype)
        return self.network(torch.cat([flat, F.one_hot(y.long(), self.num_classes).to(flat.dtype)], -1))
