"""The evidence bound, with the exact posterior (EM) or a learned one (amortised inference)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gatewise.errors import GatewiseError, check_choice
from gatewise.estimators import GradientEstimator
from gatewise.expectation import Estimate, expect
from gatewise.mixture import Observed, mlp
from gatewise.objectives.base import EstimatedObjective, of_all_experts, weighted
from gatewise.objectives.registry import register

POSTERIORS = ("exact", "amortised")


@register
class Evidence(EstimatedObjective):
    """Σ_z q_z (ℓ_z + log π_z - log q_z) ≤ log p(y|x), a lower bound for any q(z|x,y).

    With the exact posterior, q_z ∝ π_z e^{ℓ_z} held fixed, the bound is tight: its value and its gradient, which is
    EM's, are the marginal's. That takes no estimator and costs all K experts.

    Amortised, q is a network of the features of x and of y, trained with the rest, whose parameters are the
    objective's own. The bound is then an expectation under q of f(z) = ℓ_z + log π_z - log q_z, by any estimator of
    `gatewise.estimators`; one of draws runs only the experts that q drew. Estimators of points see ⟨point, f⟩. A lower
    bound in expectation. The gate is trained to agree with q, so unlike the Jensen bound nothing draws it to a vertex.
    Where the gate's probability is 0, so is q's.

    Args:
        posterior: "exact" or "amortised".
        estimator: for "amortised": a name of `gatewise.estimators`, or an estimator.
        num_samples: for "amortised": S, see `gatewise.expect`.
        inference: for "amortised": a module, called with the detached features that the experts see `[B, ...]` and y
            `[B]`, which puts out q's logits `[B, K]`. None makes an `InferenceNetwork` of the three numbers below.
        num_experts: K.
        context_dim: features of a row, flattened.
        num_classes: C.

    Raises:
        GatewiseError: for an unknown posterior or estimator, or an amortised one with nothing to make q from.

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> observed = mixture.observe(torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1]))
    >>> exact = gw.objectives.Evidence()(observed).value
    >>> learned = gw.objectives.Evidence("amortised", num_experts=3, context_dim=4, num_classes=2)(observed).value
    >>> bool((learned <= exact + 1e-6).all())  # the exact posterior makes the bound tight
    True

    Reference: Neal and Hinton 1998; amortised: Kingma and Welling 2014 (1312.6114), Mnih and Gregor 2014 (1402.0030).
    """

    name = "evidence"
    reference = "Neal & Hinton 1998; Kingma & Welling 2014 (1312.6114); Mnih & Gregor 2014 (1402.0030)"
    refusal = "is exact with the exact posterior and takes no {}; leave it out, or choose posterior = 'amortised'"

    def __init__(
        self,
        posterior: str = "exact",
        estimator: str | GradientEstimator = "enumeration",
        num_samples: int = 1,
        inference: nn.Module | None = None,
        num_experts: int | None = None,
        context_dim: int | None = None,
        num_classes: int | None = None,
    ):
        check_choice(posterior, POSTERIORS, "posterior", "objective 'evidence'")
        super().__init__(estimator, num_samples)
        self.posterior = posterior
        self.inference = inference
        if posterior == "exact":
            if inference is not None or estimator != "enumeration" or num_samples != 1:
                raise GatewiseError(
                    "objective 'evidence': the exact posterior takes no estimator, samples or inference network; "
                    "choose posterior='amortised'"
                )
            del self.estimator  # nobody is to count it among those at work
        elif inference is None:
            if num_experts is None or context_dim is None or num_classes is None:
                raise GatewiseError(
                    "objective 'evidence': posterior='amortised' needs an inference network, or num_experts, "
                    "context_dim and num_classes to make one"
                )
            # a part of the objective, so that whoever trains the objective's parameters trains q
            self.inference = InferenceNetwork(num_experts, context_dim, num_classes)

    @classmethod
    def takes_estimator(cls, **options: Any) -> bool:
        """With an amortised posterior."""
        return options.get("posterior") == "amortised"

    def evaluations(self, num_experts: int) -> int:
        """K with the exact posterior, else what the estimator asks for."""
        return num_experts if self.posterior == "exact" else super().evaluations(num_experts)

    def forward(self, observed: Observed, generator: torch.Generator | None = None) -> Estimate:
        """The bound, or its estimate, `[B]`."""
        if self.inference is None:
            # held fixed, which changes no gradient: the bound is at its highest in q there, so its slope for q is 0
            joint, log_q = observed.log_joint(), observed.log_posterior().detach()
            return of_all_experts(weighted(log_q.exp(), joint - log_q), observed)
        logits = self.posterior_logits(observed)
        # f has log q in it: what q gets is the estimator's gradient and, through f, its own
        ratio = LogRatio(observed, logits.log_softmax(-1))
        return expect(ratio, logits, self.estimator, self.num_samples, generator, context=observed.context)

    def posterior_logits(self, observed: Observed) -> Tensor:
        """The logits of q, `[B, K]`, in float32 at least; -inf where the gate's are.

        Raises:
            GatewiseError: if the network puts out another shape.
        """
        assert self.inference is not None
        # q reads the features and does not shape them: they are the gate's and the experts'
        logits = self.inference(observed.features.detach(), observed.y)
        if logits.shape != observed.logits.shape:
            raise GatewiseError(
                f"the inference network put out shape {list(logits.shape)}; it must be {list(observed.logits.shape)}"
            )
        wide = logits if logits.dtype.itemsize >= 4 else logits.float()
        # where π is 0 a q above 0 would make the bound -∞
        return torch.where(observed.logits > -torch.inf, wide, -torch.inf)


class LogRatio:
    """The integrand f(z) = ℓ_z + log π_z - log q_z; where q is 0 it is ℓ_z, and nothing asks for it.

    Args:
        observed: the mixture at x and y, which answers ℓ and π.
        log_q: `[B, K]`.
    """

    def __init__(self, observed: Observed, log_q: Tensor):
        self.observed = observed
        possible = log_q > -torch.inf
        # 0 where q has no mass: -∞ less -∞ would be a NaN, which reaches the gradient even unasked
        log_prob = torch.where(possible, observed.logits.log_softmax(-1), 0.0)
        self.prior = log_prob - torch.where(possible, log_q, 0.0)
        self.leaves_out = True

    def at_index(self, index: Tensor) -> Tensor:
        """Values `[S, B]` at the experts `[S, B]`; -1 gives 0."""
        prior = torch.where(index >= 0, self.prior.T.gather(0, index.clamp_min(0)), 0.0)
        return self.observed.at_index(index) + prior

    def at_all(self) -> Tensor:
        """Values `[B, K]`."""
        return self.observed.at_all() + self.prior

    def at_point(self, point: Tensor) -> Tensor:
        """⟨point, f⟩ for points `[S, B, K]`."""
        # the one extension that is linear in the point, and so agrees with f at every corner
        return (point * self.at_all()).sum(-1)


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
