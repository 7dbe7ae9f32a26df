"""The problem of an audit: one batch, f at every category, the exact gradient, and a real step to time."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError
from gatewise.estimators import GradientEstimator
from gatewise.expectation import EVERY_CALL

DOUBLE = torch.finfo(torch.float64).eps

Step = Callable[[GradientEstimator, int], None]
Pull = Callable[[Tensor], Tensor]


@dataclass
class Problem:
    """E f(z), z ~ softmax(logits), with f known at every category.

    Attributes:
        logits: `[*batch, K]`, `[*batch, L, K]` with `event_dims=1`; detached, in float64, so that rounding is not taken
            for a bias.
        event_dims: see `gatewise.expect`.
        table: f at every outcome, `[*batch, N]`; detached.
        at_point: f at points `[S, *batch, (L,) K]`; None where it has no value between categories.
        device: where the real thing runs.
        provides: which of "index", "all" and "point" f answers.
        context: `[*batch, D]`, or None.
        step: a forward and backward pass of the real thing, for the clock.
        pull: logits' gradients `[R, *batch, (L,) K]` to the parameters' `[R, P]`; None for the logits themselves.
        table_eps: the relative distance of two numbers of the type that f was computed in.
        point_eps: that of the type of `at_point`, and of the slope taken through it.
        pull_eps: that of the parameters.
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
    table_eps: float = DOUBLE
    point_eps: float = DOUBLE
    pull_eps: float = DOUBLE
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


class Repeated:
    """The integrand of R copies of a problem: batch `[R, *batch]`, values from its table where that has them.

    A function of the user's is asked for points as more samples of the batch that it knows.

    Args:
        problem: what is copied.
        table: other values of f; None for the problem's.
        asked: how many copies asked for each outcome, `[*batch, N]`: it is counted there.
    """

    def __init__(self, problem: Problem, table: Tensor | None = None, asked: Tensor | None = None):
        self.problem, self.asked = problem, asked
        self.table = problem.table if table is None else table
        self.provides = problem.provides
        self.leaves_out = True  # nothing is asked anew

    def at_index(self, index: Tensor) -> Tensor:
        """Values `[S, R, *batch]`, from the table."""
        self.count(index)
        number, named = self.numbered(index)
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
        # a corner is a category
        self.count(torch.where(point.detach().amax(-1) == 1, point.detach().argmax(-1), -1))
        return f(point.flatten(0, 1)).view(*point.shape[:2], *self.problem.table.shape[:-1])

    def numbered(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The outcomes' numbers `[S, R, *batch]`, and which of them are asked for."""
        if not self.problem.event_dims:
            return index, index >= 0
        number = index[..., 0]
        for latent in index.unbind(-1)[1:]:
            number = number * self.problem.num_categories + latent
        return number, (index >= 0).all(-1)

    def count(self, index: Tensor) -> None:
        """Count the copies that ask for each outcome."""
        if self.asked is not None:
            number, named = self.numbered(index)
            number = torch.where(named, number, self.table.shape[-1])  # one column more takes what is not asked for
            seen = number.new_zeros((*number.shape[1:], self.table.shape[-1] + 1), dtype=torch.bool)
            self.asked += seen.scatter_(-1, number.movedim(0, -1), True)[..., :-1].sum(0)


def resting_notes(module: nn.Module) -> list[str]:
    """What inference mode switches off."""
    modules = list(module.modules())
    rates = [getattr(m, "p", 0.0) for m in modules if isinstance(m, nn.modules.dropout._DropoutNd)]
    rates += [m.dropout for m in modules if isinstance(getattr(m, "dropout", None), float)]
    said = ["dropout is off"] if any(rates) else []
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in modules):
        said.append("batch normalisation uses its running statistics")
    if not said:
        return []
    return [f"The model is in inference mode: {' and '.join(said)}. Training adds noise of its own to what is shown."]
