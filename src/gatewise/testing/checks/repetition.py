"""Checks under activation checkpointing and `functional_call`, and of passes that are thrown away."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gatewise.estimators import GradientEstimator
from gatewise.testing.subject import Subject, check
from gatewise.testing.toy import Toy

STEPS = 3

Form = Callable[..., Any]
"""(function, logits) -> what the function returns for the logits, called in one way or another."""

FORMS: dict[str, Form] = {
    "a plain call": lambda function, logits: function(logits),
    "checkpoint(use_reentrant=False)": lambda function, logits: checkpoint(function, logits, use_reentrant=False),
    "checkpoint(use_reentrant=True)": lambda function, logits: checkpoint(function, logits, use_reentrant=True),
    "a checkpoint in a checkpoint": lambda function, logits: checkpoint(
        lambda inner: checkpoint(function, inner, use_reentrant=True), logits, use_reentrant=True
    ),
}


@check
def repeated_passes_leave_no_trace(subject: Subject) -> None:
    """Activation checkpointing and `functional_call` change no value, no gradient, and no state, over several steps."""
    for event_dims in subject.event_dims():
        plain = FORMS["a plain call"]
        right = _steps(subject, event_dims, plain)
        for what, form in FORMS.items():
            _compare(subject, _steps(subject, event_dims, form), right, f"under {what}")
        _compare(subject, _steps(subject, event_dims, plain, functional=True), right, "under functional_call")


@check
def calls_thrown_away_leave_no_trace(subject: Subject) -> None:
    """A call whose gradient is never taken changes no state, under a checkpoint or not, and none is held for later."""
    for event_dims in subject.event_dims():
        call, alone = (_Call(subject, event_dims) for _ in range(2))
        before = _state(call.estimator)
        for form in FORMS.values():
            form(call, subject.logits((3,), event_dims))
            with torch.no_grad():
                call(subject.logits((3,), event_dims))
        _compare(subject, _state(call.estimator), before, "after calls that were thrown away")
        for each in (call, alone):
            torch.default_generator.manual_seed(0)
            each(subject.logits((3,), event_dims))[0].sum().backward()
        _compare(subject, _state(call.estimator), _state(alone.estimator), "of a step after such calls")


class _Call(nn.Module):
    """From logits to the value and the control loss, by torch's own generator, which a checkpoint puts back."""

    def __init__(self, subject: Subject, event_dims: int):
        super().__init__()
        self.subject, self.event_dims = subject, event_dims
        self.estimator = subject.make().double()
        self.toy = Toy(subject.weights(), (3,), event_dims)

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        context = self.subject.context((3,), torch.float64)
        named = {"event_dims": self.event_dims, "context": context}
        estimate = self.subject.expect(self.toy, logits, self.estimator, **named)
        return estimate.value, estimate.control_loss


def _steps(subject: Subject, event_dims: int, form: Form, functional: bool = False) -> dict[str, Tensor]:
    """All that two calls a step bring about, and the state that they leave."""
    call, found = _Call(subject, event_dims), dict[str, Tensor]()
    estimator, weights = call.estimator, call.toy.weights
    untouched, given = _state(estimator), _state(estimator) if functional else {}
    for step in range(STEPS):
        logits, loss = subject.logits((3,), event_dims), torch.zeros((), dtype=torch.float64)
        for part in range(2):
            torch.default_generator.manual_seed(2 * step + part)
            in_place = {f"estimator.{name}": tensor for name, tensor in given.items()}
            called = functools.partial(torch.func.functional_call, call, in_place) if functional else call
            value, control = form(called, (1 + part) * logits)
            found[f"value {part} of step {step}"] = value.detach()
            loss = loss + (1 + part) * value.sum() + (0 if control is None else control)
        learned = given if functional else dict(estimator.named_parameters())
        leaves = {"the logits": logits, "the parameters": weights, **learned}
        loss.backward()
        for name, leaf in leaves.items():
            if leaf.grad is not None:
                found[f"the gradient of step {step} for {name}"] = leaf.grad
                leaf.grad = None
        with torch.no_grad():  # a step down the gradient, so that learned parts are not what they were
            for name, parameter in learned.items():
                if (slope := found.get(f"the gradient of step {step} for {name}")) is not None:
                    parameter -= 0.05 * slope
    if functional:
        _compare(subject, _state(estimator), untouched, "of the module itself under functional_call")
    return found | {f"the state's {name}": tensor for name, tensor in (given or _state(estimator)).items()}


def _state(estimator: GradientEstimator) -> dict[str, Tensor]:
    """Copies of the parameters and of all buffers, also those that are not saved."""
    own = [*estimator.named_parameters(), *estimator.named_buffers()]
    return {name: tensor.detach().clone().requires_grad_(tensor.requires_grad) for name, tensor in own}


def _compare(subject: Subject, found: dict[str, Tensor], right: dict[str, Tensor], where: str) -> None:
    for name, tensor in right.items():
        subject.require_close(found[name].detach(), tensor.detach(), f"{name} {where}", 1e-12, 1e-12)
