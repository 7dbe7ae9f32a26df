"""What an audit measures on: one batch, f at every category, the exact gradient, and a real step to time."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.estimators import GradientEstimator
from gatewise.estimators.enumeration import Enumeration
from gatewise.expectation import EVERY_CALL

Step = Callable[[GradientEstimator, int], None]
Pull = Callable[[Tensor], Tensor]


@dataclass
class Problem:
    """E f(z), z ~ softmax(logits), with f known at every category.

    Attributes:
        logits: `[*batch, K]`, `[*batch, L, K]` with `event_dims=1`; detached.
        event_dims: see `gatewise.expect`.
        table: f at every outcome, `[*batch, N]`; detached.
        at_point: f at points `[S, *batch, (L,) K]`; None where it has no value between categories.
        device: where the real thing runs.
        provides: which of "index", "all" and "point" f answers.
        context: `[*batch, D]`, or None.
        step: a forward and backward pass of the real thing, for the clock.
        pull: logits' gradients `[R, *batch, (L,) K]` to the parameters' `[R, P]`; None for the logits themselves.
        costs: what each category costs, `[K]`, 1 on average; None where all cost the same.
        mixture: f is the Jensen bound of a mixture.
        notes: what a reader should know.
    """

    logits: Tensor
    event_dims: int
    table: Tensor
    at_point: Callable[[Tensor], Tensor] | None
    context: Tensor | None
    step: Step
    device: torch.device
    provides: frozenset[str] = EVERY_CALL
    pull: Pull | None = None
    costs: Tensor | None = None
    mixture: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def num_categories(self) -> int:
        """K."""
        return self.logits.shape[-1]

    @property
    def examples(self) -> int:
        """How many."""
        return max(1, self.table[..., 0].numel())

    def pulled(self, gradients: Tensor) -> Tensor:
        """Gradients for the logits `[R, *logits.shape]` as vectors `[R, D]` of the level that is audited."""
        return gradients.flatten(1) if self.pull is None else self.pull(gradients)

    def exact(self) -> Tensor:
        """The exact gradient as a vector `[D]`, by enumeration in float64.

        Raises:
            GatewiseError: if it is 0 or not finite, so that nothing can be told relative to it.
        """
        leaf = self.logits.double().requires_grad_()
        with torch.enable_grad():
            whole = Repeated(self, self.table.double())
            value = Enumeration()(whole, leaf.unsqueeze(0), event_dims=self.event_dims).value
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        found = self.pulled(gradient.unsqueeze(0))[0].double()
        if not bool(found.isfinite().all()):
            raise GatewiseError("the exact gradient is not finite: f or the logits hold infinities or NaN")
        if float(found.abs().max()) == 0:
            raise GatewiseError(
                "the exact gradient is 0 (f is the same for every category, or the choice is certain), so no estimator "
                "can be compared with it; audit other data, or a gate that still chooses"
            )
        return found


class Repeated:
    """The integrand of R copies of a problem: batch `[R, *batch]`, values from its table where that has them.

    A function of the user's is asked for points as more samples of the batch that it knows.
    """

    def __init__(self, problem: Problem, table: Tensor | None = None):
        self.problem = problem
        self.table = problem.table if table is None else table
        self.provides = problem.provides
        self.leaves_out = True  # nothing is asked anew

    def at_index(self, index: Tensor) -> Tensor:
        """Values `[S, R, *batch]`, from the table."""
        number = index
        named = index >= 0
        if self.problem.event_dims:
            named = named.all(-1)
            number = index[..., 0]
            for latent in index.unbind(-1)[1:]:
                number = number * self.problem.num_categories + latent
        table = self.table.expand(*number.shape, self.table.shape[-1])
        values = table.gather(-1, number.clamp_min(0).unsqueeze(-1)).squeeze(-1)
        return torch.where(named, values, 0.0)

    def at_all(self) -> Tensor:
        """Values `[1, *batch, N]`, which all copies share."""
        return self.table.unsqueeze(0)

    def at_point(self, point: Tensor) -> Tensor:
        """Values `[S, R, *batch]`."""
        f = self.problem.at_point
        if f is None:
            raise GatewiseError("f has no value between categories")
        return f(point.flatten(0, 1)).view(*point.shape[:2], *self.problem.table.shape[:-1])
