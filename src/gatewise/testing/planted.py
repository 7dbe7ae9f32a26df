"""An estimator of known bias and noise, for tests of audits."""

import torch
from torch import Tensor

from gatewise.errors import check_choice
from gatewise.estimators import GradientEstimator
from gatewise.estimators.base import info_of_all, with_gradient
from gatewise.expectation import Estimate, Integrand

NOISES = ("isotropic", "anisotropic", "rank-one")


class Planted(GradientEstimator):
    """g + ‖g‖ (bias · u + noise · n/√S): the exact gradient of all examples, with a bias and noise of known size.

    u is a fixed direction of length 1, and E n = 0, E ‖n‖² = 1. The first dimension of the batch are repetitions, as an
    audit has them, all others examples. Costs all K evaluations. Not registered: it only serves to test an audit.

    Args:
        bias: ‖E ĝ - g‖/‖g‖.
        noise: √(tr Cov ĝ)/‖g‖ of one sample.
        kind: "isotropic": alike in all directions; "anisotropic": the standard deviation falls by a tenth from one
            number to the next; "rank-one": along one fixed direction across u.
        along: let u be the direction of "rank-one" noise.
        seed: of the directions.

    Raises:
        GatewiseError: for an unknown kind.
    """

    name = "planted"
    calls = frozenset({"all"})
    reference = "made for tests"

    def __init__(self, bias: float, noise: float, kind: str = "isotropic", along: bool = False, seed: int = 0):
        super().__init__()
        check_choice(kind, NOISES, "kind of noise")
        self.bias, self.noise, self.kind, self.along, self.seed = bias, noise, kind, along, seed

    @property
    def unbiased(self) -> frozenset[str]:  # pyrefly: ignore[bad-override]
        """All where no bias was planted."""
        return frozenset({"value", "parameters"} if self.bias else {"value", "parameters", "logits"})

    def forward(
        self,
        integrand: Integrand,
        logits: Tensor,
        *,
        num_samples: int = 1,
        event_dims: int = 0,
        generator: torch.Generator | None = None,
        context: Tensor | None = None,
    ) -> Estimate:
        """The exact value, with the gradient described above, for logits `[R, *batch, K]`."""
        probs, values = logits.detach().softmax(-1), integrand.at_all()
        value = (probs * values).sum(-1)
        exact = probs * (values - value.unsqueeze(-1))
        size = logits.shape[1:].numel()
        length = exact.reshape(-1, size).norm(dim=1)
        bias, direction = self.directions(size, exact)
        drawn = torch.randn(len(length), size, generator=generator, dtype=exact.dtype, device=exact.device)
        noise = drawn[:, :1] * direction if self.kind == "rank-one" else drawn * direction
        away = self.bias * bias + self.noise * noise / num_samples**0.5
        gradient = exact + (length.unsqueeze(-1) * away).view_as(exact)
        return Estimate(with_gradient(value, logits, gradient), None, info_of_all(value, logits))

    def directions(self, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """u, and the direction or the standard deviations of the noise; both of length 1, `[D]`."""
        generator = torch.Generator().manual_seed(self.seed + 2**31)  # not that of anybody's f
        bias, noise = torch.randn(2, size, generator=generator, dtype=torch.float64)
        noise -= (noise @ bias) / (bias @ bias) * bias
        if self.kind == "isotropic":
            noise = torch.ones(size, dtype=torch.float64)
        elif self.kind == "anisotropic":
            noise = 0.9 ** torch.arange(size, dtype=torch.float64)
        if self.along:
            bias = noise
        return (bias / bias.norm()).to(like), (noise / noise.norm()).to(like)
