"""A small convolutional network for images, as an expert or as a gate's network."""

from typing import ClassVar

from torch import Tensor, nn

from gatewise.errors import GatewiseError


class ConvNet(nn.Module):
    """Two convolutions with pooling, then a linear layer: images `[B, H, W]` or `[B, C, H, W]` to `[B, O]`.

    Args:
        input_shape: `(H, W)` or `(C, H, W)`.
        out_features: O.
        channels: of the first convolution; the second has twice as many.
        dropout: before the linear layer.

    Raises:
        GatewiseError: for an input that is not an image.

    >>> import torch
    >>> import gatewise as gw
    >>> network = gw.mixture.ConvNet((3, 16, 16), out_features=10)
    >>> network(torch.zeros(2, 3, 16, 16)).shape
    torch.Size([2, 10])
    """

    role: ClassVar[str] = "network"
    advice: ClassVar[str] = "use mlp"

    def __init__(self, input_shape: tuple[int, ...], out_features: int, channels: int = 8, dropout: float = 0.0):
        super().__init__()
        if len(input_shape) not in (2, 3) or min(input_shape[-2:]) < 4:
            raise GatewiseError(
                f"a convolutional {self.role} needs images [H, W] or [C, H, W] of at least 4 × 4, got rows of shape "
                f"{list(input_shape)}; {self.advice}"
            )
        in_channels = 1 if len(input_shape) == 2 else input_shape[0]
        height, width = input_shape[-2:]
        self.input_shape = (in_channels, height, width)
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * channels * (height // 4) * (width // 4), out_features),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `[B, O]`."""
        return self.layers(x.reshape(len(x), *self.input_shape))


class ConvExpert(ConvNet):
    """A `ConvNet` as an expert: its outputs are the logits of O classes.

    >>> import torch
    >>> import gatewise as gw
    >>> gw.mixture.ConvExpert((16, 16), out_features=10)(torch.zeros(2, 16, 16)).shape
    torch.Size([2, 10])
    """

    role = "expert"
    advice = "use expert = 'mlp'"


class ConvGate(ConvNet):
    """A `ConvNet` as a gate, or as the network of a `Gate`: its outputs are the scores of O experts.

    >>> import torch
    >>> import gatewise as gw
    >>> gate = gw.mixture.ConvGate((16, 16), out_features=4)
    >>> experts = [gw.mixture.ConvExpert((16, 16), out_features=10) for _ in range(4)]
    >>> gw.MixtureOfExperts(gate, experts).predict_proba(torch.zeros(2, 16, 16)).shape
    torch.Size([2, 10])
    """

    role = "gate"
    advice = "use gate = 'mlp'"
