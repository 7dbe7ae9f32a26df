"""What an audit measures on: one batch, f at every category, the exact gradient, and a real step to time."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.diagnostics.clock import expert_seconds
from gatewise.errors import GatewiseError
from gatewise.estimators import GradientEstimator
from gatewise.estimators.enumeration import Enumeration
from gatewise.expectation import EVERY_CALL, JOINT_LIMIT, Estimate, as_integrand, expect
from gatewise.mixture import MixtureOfExperts

Step = Callable[[GradientEstimator, int, torch.Generator | None], None]
Pull = Callable[[Tensor], Tensor]


@dataclass
class Problem:
    """E f(z), z ~ softmax(logits), with f known at every category.

    Attributes:
        logits: `[*batch, K]`, `[*batch, L, K]` with `event_dims=1`; detached.
        event_dims: see `gatewise.expect`.
        table: f at every outcome, `[*batch, N]`; detached.
        at_point: f at points `[S, *batch, (L,) K]`; None where it has no value between categories.
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
        self.asked: Tensor | None = None

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


def of_mixture(
    mixture: MixtureOfExperts, data: Sequence[Any], level: str, costs: Sequence[float] | Tensor | None
) -> Problem:
    """The Jensen bound of a mixture on rows: data is x and y, and the gate's own input where it has one.

    The caller keeps the mixture in inference mode for as long as the problem is used.

    Raises:
        GatewiseError: for data that are not rows and targets.
    """
    x, y, gate_x = _rows(mixture, data)
    with torch.enable_grad():
        observed = mixture.observe(x, y, gate_x=gate_x)
    # in float64, so that rounding is not taken for a bias where the experts hardly differ
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    with torch.no_grad():
        table = observed.at_all().to(wide)
    trained = [p for p in mixture.parameters() if p.requires_grad]
    gate = [p for p in mixture.gate.parameters() if p.requires_grad]
    if level == "parameters" and not gate:
        raise GatewiseError("the gate has no parameters that train, so there is no gradient to audit at that level")

    def step(estimator: GradientEstimator, num_samples: int, generator: torch.Generator | None) -> None:
        seen = mixture.observe(x, y, gate_x=gate_x)
        estimate = expect(seen, seen.logits, estimator, num_samples, generator, context=seen.context)
        _differentiate(estimate, trained)

    return Problem(
        logits=observed.logits.detach().to(wide),
        event_dims=0,
        table=table,
        at_point=lambda point: (point * table).sum(-1),
        context=observed.context,
        step=step,
        pull=_pull(observed.logits, gate) if level == "parameters" else None,
        costs=_shares(expert_seconds(mixture, observed.features) if costs is None else costs, mixture.num_experts),
        mixture=True,
        notes=[
            "The gradient is that of the Jensen bound Σ_z p(z|x) log p(y|z,x); another objective has another gradient.",
            *_resting(mixture),
        ],
    )


def of_function(
    f: Any,
    logits: Tensor,
    level: str,
    event_dims: int,
    context: Tensor | None,
    parameters: Iterable[Tensor] | None,
    costs: Sequence[float] | Tensor | None,
) -> Problem:
    """Any f under `softmax(logits)`; f may be whatever `gatewise.expect` takes.

    Raises:
        GatewiseError: for too many joint outcomes, an f that answers differently each time, or a level that has no
            parameters.
    """
    latents = logits.shape[-2] if event_dims else 1
    if logits.shape[-1] ** latents > JOINT_LIMIT:
        raise GatewiseError(
            f"the exact gradient sums over {logits.shape[-1]}**{latents} joint outcomes, more than {JOINT_LIMIT}; "
            "audit fewer latents: a slice of the logits, with the others fixed inside f"
        )
    integrand = as_integrand(f, logits, event_dims)
    with torch.no_grad():
        table, again = (integrand.at_all().detach() for _ in range(2))
    if not torch.equal(table.nan_to_num(), again.nan_to_num()):
        raise GatewiseError(
            "f gives other values when it is asked again, so there is no one gradient to compare with; put its modules "
            "in inference mode with .eval(), and fix what else it draws"
        )
    trained = [p for p in f.parameters() if p.requires_grad] if isinstance(f, nn.Module) else []
    given = [p for p in parameters or () if p.requires_grad]
    if level == "parameters" and not (given and logits.requires_grad):
        raise GatewiseError(
            "level='parameters' needs logits that were computed from the parameters, with a graph, and "
            "parameters=gate.parameters()"
        )

    def step(estimator: GradientEstimator, num_samples: int, generator: torch.Generator | None) -> None:
        leaf = logits.detach().requires_grad_()
        _differentiate(expect(f, leaf, estimator, num_samples, generator, event_dims, context), [leaf, *trained])

    provides = getattr(integrand, "provides", EVERY_CALL)
    return Problem(
        logits=logits.detach(),
        event_dims=event_dims,
        table=table,
        at_point=integrand.at_point if "point" in provides else None,
        provides=provides,
        context=context,
        step=step,
        pull=_pull(logits, given) if level == "parameters" else None,
        costs=_shares(costs, logits.shape[-1]),
        notes=[*(_resting(f) if isinstance(f, nn.Module) else []), *_own_logits(integrand, logits)],
    )


@contextlib.contextmanager
def resting(module: Any) -> Iterator[None]:
    """While this is open a module and all in it are in inference mode; each is then as it was."""
    modules = list(module.modules()) if isinstance(module, nn.Module) else []
    before = [each.training for each in modules]
    if modules:
        module.eval()
    try:
        yield
    finally:
        for each, mode in zip(modules, before, strict=True):
            each.training = mode


def _rows(mixture: MixtureOfExperts, data: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor | None]:
    if isinstance(data, Tensor) or not isinstance(data, Sequence) or len(data) not in (2, 3):
        raise GatewiseError("for a mixture, data is (x, y): rows and their targets, or (x, y, gate_x)")
    device = next(mixture.parameters()).device
    x, y, gate_x = (*data, None)[:3]
    x, y = torch.as_tensor(x).to(device), torch.as_tensor(y).to(device)
    if not len(x):
        raise GatewiseError("there are no rows to audit on; give at least one")
    return x, y, None if gate_x is None else torch.as_tensor(gate_x).to(device)


def _differentiate(estimate: Estimate, wanted: Sequence[Tensor]) -> None:
    """One backward pass, to nobody's `.grad`."""
    torch.autograd.grad(estimate.value.sum(), wanted, allow_unused=True)


def _pull(logits: Tensor, parameters: Sequence[Tensor]) -> Pull:
    """The transpose of the logits' Jacobian for the parameters, for many directions at once."""

    def pull(gradients: Tensor) -> Tensor:
        found = torch.autograd.grad(
            logits, parameters, gradients.to(logits.dtype), retain_graph=True, is_grads_batched=True, allow_unused=True
        )
        return torch.cat([part.flatten(1) for part in found if part is not None], 1)

    return pull


def _shares(costs: Sequence[float] | Tensor | None, count: int) -> Tensor | None:
    if costs is None:
        return None
    shares = torch.as_tensor(costs, dtype=torch.float64)
    if shares.shape != (count,) or not bool((shares > 0).all()) or not bool(shares.isfinite().all()):
        raise GatewiseError(f"costs must be {count} positive numbers, one a category, got {costs!r}")
    return shares / shares.mean()


def _resting(module: nn.Module) -> list[str]:
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


def _own_logits(integrand: Any, logits: Tensor) -> list[str]:
    """A warning where f depends on the logits besides the choice."""
    if not logits.requires_grad:
        return []
    with torch.enable_grad():
        values = integrand.at_all()
        if not values.requires_grad:
            return []
        (found,) = torch.autograd.grad(values.sum(), logits, allow_unused=True)
    if found is None:
        return []
    return [
        "f depends on the logits itself. What is audited is the gradient through the choice, with f held fixed; every "
        "estimator that is unbiased for the parameters of f gets the other part right in expectation."
    ]
