"""Subjects of an audit: a mixture on rows, or any f under logits."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.auditing.problem import DOUBLE, Problem, Pull, resting_notes
from gatewise.auditing.timing import expert_seconds
from gatewise.errors import GatewiseError
from gatewise.estimators import GradientEstimator
from gatewise.expectation import EVERY_CALL, Estimate, as_integrand, expect
from gatewise.mixture import MixtureOfExperts
from gatewise.outcomes import JOINT_LIMIT

NO_ROWS = "there are no rows to audit on; give at least one"


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
    with torch.no_grad():
        found = observed.at_all()
    table = _wide(found)
    trained = [p for p in mixture.parameters() if p.requires_grad]
    gate = [p for p in mixture.gate.parameters() if p.requires_grad]
    if not trained:
        raise GatewiseError("every parameter of the mixture is frozen, so there is no gradient; let the gate train")
    if level == "parameters" and not gate:
        raise GatewiseError("the gate has no parameters that train, so there is no gradient to audit at that level")

    def step(estimator: GradientEstimator, num_samples: int) -> None:
        with torch.enable_grad():
            seen = mixture.observe(x, y, gate_x=gate_x)
            _differentiate(expect(seen, seen.logits, estimator, num_samples, context=seen.context), trained)

    return Problem(
        logits=_wide(observed.logits.detach()),
        event_dims=0,
        table=table,
        at_point=lambda point: (point * table).sum(-1),
        context=observed.context.to(table.device),
        step=step,
        device=x.device,
        pull=_pull(observed.logits, gate) if level == "parameters" else None,
        table_eps=_eps(found),
        pull_eps=_eps(observed.logits),
        costs=_shares(expert_seconds(mixture, observed.features) if costs is None else costs, mixture.num_experts),
        mixture=True,
        notes=[
            "The gradient is that of the Jensen bound Σ_z p(z|x) log p(y|z,x); another objective has another gradient.",
            *resting_notes(mixture),
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
    if event_dims and logits.shape[-1] ** latents > JOINT_LIMIT:
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

    def step(estimator: GradientEstimator, num_samples: int) -> None:
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            estimate = expect(f, leaf, estimator, num_samples, event_dims=event_dims, context=context)
            _differentiate(estimate, [leaf, *trained])

    def at_point(point: Tensor) -> Tensor:
        return integrand.at_point(point.to(logits)).to(wide)

    provides = getattr(integrand, "provides", EVERY_CALL)
    wide = _wide(logits)
    return Problem(
        logits=wide,
        event_dims=event_dims,
        table=_wide(table),
        at_point=at_point if "point" in provides else None,
        provides=provides,
        context=None if context is None else context.to(wide.device),
        step=step,
        device=logits.device,
        pull=_pull(logits, given) if level == "parameters" else None,
        table_eps=_eps(table),
        point_eps=_eps(logits),
        pull_eps=_eps(logits),
        costs=_shares(costs, logits.shape[-1]),
        notes=[*(resting_notes(f) if isinstance(f, nn.Module) else []), *_own_logits(integrand, logits)],
    )


def _rows(mixture: MixtureOfExperts, data: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor | None]:
    if isinstance(data, Tensor) or not isinstance(data, Sequence) or len(data) not in (2, 3):
        raise GatewiseError("for a mixture, data is (x, y): rows and their targets, or (x, y, gate_x)")
    device = next(mixture.parameters()).device
    x, y, gate_x = (*data, None)[:3]
    try:
        x, y = torch.as_tensor(x).to(device), torch.as_tensor(y).to(device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GatewiseError(f"data is (x, y), tensors or arrays of numbers: {error}") from None
    if not x.dim() or not len(x):
        raise GatewiseError(NO_ROWS)
    return x, y, None if gate_x is None else torch.as_tensor(gate_x).to(device)


def _differentiate(estimate: Estimate, wanted: Sequence[Tensor]) -> None:
    """One backward pass, to nobody's `.grad`."""
    # f may hold a graph of its caller's
    torch.autograd.grad(estimate.value.sum(), wanted, allow_unused=True, retain_graph=True)


def _pull(logits: Tensor, parameters: Sequence[Tensor]) -> Pull:
    """The transpose of the logits' Jacobian for the parameters, for many directions at once."""

    def of_one(gradient: Tensor) -> Tensor:
        found = torch.autograd.grad(logits, parameters, gradient, retain_graph=True, allow_unused=True)
        return torch.cat([part.flatten() for part in found if part is not None])

    def pull(gradients: Tensor) -> Tensor:
        gradients = gradients.to(logits)
        try:
            found = torch.autograd.grad(
                logits, parameters, gradients, retain_graph=True, is_grads_batched=True, allow_unused=True
            )
        except RuntimeError:  # an operation of the gate that cannot be batched
            return torch.stack([of_one(gradient) for gradient in gradients])
        return torch.cat([part.reshape(len(gradients), -1) for part in found if part is not None], 1)

    return pull


def _wide(tensor: Tensor) -> Tensor:
    """In float64; on the CPU where the device has none."""
    return tensor.detach().to("cpu" if tensor.is_mps else tensor.device).double()


def _eps(tensor: Tensor) -> float:
    """The relative distance of two numbers of the tensor's type."""
    return torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else DOUBLE


def _shares(costs: Sequence[float] | Tensor | None, count: int) -> Tensor | None:
    if costs is None:
        return None
    try:
        shares = torch.as_tensor(costs, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        shares = torch.empty(0)
    if shares.shape != (count,) or not bool((shares > 0).all()) or not bool(shares.isfinite().all()):
        raise GatewiseError(f"costs must be {count} positive numbers, one a category, got {costs!r}")
    return shares / shares.mean()


def _own_logits(integrand: Any, logits: Tensor) -> list[str]:
    """A warning where f depends on the logits besides the choice."""
    if not logits.requires_grad:
        return []
    with torch.enable_grad():
        values = integrand.at_all()
        if not values.requires_grad:
            return []
        (found,) = torch.autograd.grad(values.sum(), logits, allow_unused=True, retain_graph=True)
    if found is None:
        return []
    return [
        "f depends on the logits itself. What is audited is the gradient through the choice, with f held fixed; every "
        "estimator that is unbiased for the parameters of f gets the other part right in expectation."
    ]
