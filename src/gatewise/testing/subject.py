"""The subject of a check, and the form of a check."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.estimators import GradientEstimator
from gatewise.expectation import Estimate, expect
from gatewise.testing.statistics import seeded
from gatewise.testing.toy import Toy, toy_logits, toy_weights

Outcomes = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""(logits `[K]` or `[L, K]`, S) -> every outcome of `draw_index`, `[S, N]` or `[S, N, L]`, and probabilities `[N]`."""


@dataclass(frozen=True)
class ToyEstimate:
    """An estimate of the toy, with everything that it was made from."""

    estimate: Estimate
    estimator: GradientEstimator
    toy: Toy
    logits: Tensor

    @property
    def value(self) -> Tensor:
        """The estimate of E f, `[*batch]`."""
        return self.estimate.value

    def gradients(self) -> tuple[Tensor, Tensor]:
        """The gradients of the summed value for the logits and for the toy's weights."""
        found = torch.autograd.grad(self.value.sum(), (self.logits, self.toy.weights), retain_graph=True)
        return found[0], found[1]

    def parts(self) -> dict[str, Tensor]:
        """The value and both gradients, by what they are called in messages."""
        logits, weights = self.gradients()
        return {"value": self.value, "logits' gradient": logits, "weights' gradient": weights}


@dataclass(frozen=True)
class Subject:
    """The estimator under test and how it is to be called; see `check_gradient_estimator` for the fields."""

    estimator: GradientEstimator
    outcomes: Outcomes | None = None
    num_categories: int = 5
    context_dim: int = 3

    @property
    def name(self) -> str:
        """The estimator's, to begin a message with."""
        return getattr(self.estimator, "name", type(self.estimator).__name__)

    def make(self) -> GradientEstimator:
        """A copy of the estimator, each time as it was given."""
        return copy.deepcopy(self.estimator)

    def counts(self, most: int) -> list[int]:
        """The sample counts up to `most` that it takes; the smallest one if that is larger."""
        taken = self.estimator.sample_counts
        return [count for count in range(1, most + 1) if count in taken] or [taken.start]

    def logits(self, batch: tuple[int, ...] = (3,), event_dims: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        """A leaf `[*batch, K]`, or `[*batch, 2, K]`, the same each time."""
        shape = (*batch, *[2] * event_dims, self.num_categories)
        noise = torch.randn(shape, generator=seeded(5), dtype=torch.float64)
        return (toy_logits(self.num_categories) + noise).to(dtype).requires_grad_()

    def weights(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """The toy's, a leaf `[K]`."""
        return toy_weights(self.num_categories).to(dtype).requires_grad_()

    def context(self, batch: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        """Features `[*batch, context_dim]`, different for each example."""
        generator = seeded(6)
        return torch.randn(*batch, self.context_dim, generator=generator, dtype=torch.float64).to(dtype)

    def expect(self, f: Any, logits: Tensor, estimator: GradientEstimator | None = None, **arguments: Any) -> Estimate:
        """`gatewise.expect` with a copy of the estimator, its smallest count and a context, where not given."""
        event_dims = arguments.get("event_dims", 0)
        batch = tuple(logits.shape[: logits.dim() - 1 - event_dims])
        arguments.setdefault("num_samples", self.counts(1)[0])
        arguments.setdefault("context", self.context(batch).to(logits.device))
        return expect(f, logits, self.make() if estimator is None else estimator, **arguments)

    def run(
        self,
        batch: tuple[int, ...] = (3,),
        event_dims: int = 0,
        dtype: torch.dtype = torch.float64,
        *,
        seed: int | None = 1,
        logits: Tensor | None = None,
        estimator: GradientEstimator | None = None,
        **arguments: Any,
    ) -> ToyEstimate:
        """An estimate of the toy; `seed=None` takes torch's own generator."""
        estimator = self.make() if estimator is None else estimator
        logits = self.logits(batch, event_dims, dtype) if logits is None else logits
        toy = Toy(self.weights(dtype).detach().to(logits.device).requires_grad_(), batch, event_dims)
        generator = None if seed is None else seeded(seed, logits.device)
        estimate = self.expect(toy, logits, estimator, generator=generator, event_dims=event_dims, **arguments)
        return ToyEstimate(estimate, estimator, toy, logits)

    def warmed_up(self, event_dims: int = 0, dtype: torch.dtype = torch.float64) -> GradientEstimator:
        """A copy after three steps of training, whose baselines and control variates are no longer 0."""
        estimator = self.make().to(dtype)
        own = [p for p in estimator.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(own, lr=0.05) if own else None
        for step in range(3):
            context = self.context((16,), dtype)
            run = self.run((16,), event_dims, dtype, seed=40 + step, estimator=estimator, context=context)
            run.gradients()
            if optimizer is not None and run.estimate.control_loss is not None:
                optimizer.zero_grad()
                run.estimate.control_loss.backward()
                optimizer.step()
        return estimator

    def is_deterministic(self) -> bool:
        """Whether it draws nothing: its `Info` then has neither an index nor a point."""
        with torch.no_grad():
            info = self.run().estimate.info
        return info.index is None and info.point is None

    def event_dims(self) -> list[int]:
        """The values of `event_dims` that it takes."""
        return [event_dims for event_dims in (0, 1) if event_dims in self.estimator.event_dims]

    def require(self, condition: Any, wrong: str, expected: Any, found: Any) -> None:
        """Raise an AssertionError that names the estimator unless `condition` holds."""
        if not condition:
            raise AssertionError(f"{self.name}: {wrong}: expected {shown(expected)}, found {shown(found)}")

    def require_equal(self, found: Tensor, expected: Tensor, wrong: str) -> None:
        """Raise an AssertionError unless the two agree to the bit."""
        self.require(torch.equal(found, expected), wrong, expected, found)

    def require_finite(self, found: Tensor, wrong: str) -> None:
        """Raise an AssertionError unless all numbers are finite."""
        self.require(found.isfinite().all(), wrong, "finite", found)

    def require_shape(self, found: Tensor, shape: Sequence[int], wrong: str) -> None:
        """Raise an AssertionError unless the tensor has the shape."""
        self.require(list(found.shape) == list(shape), f"the shape of {wrong}", list(shape), list(found.shape))

    def require_close(
        self, found: Tensor, expected: Tensor, wrong: str, atol: float = 1e-7, rtol: float = 1e-5
    ) -> None:
        """Raise an AssertionError unless the two agree, in shape and to the tolerance."""
        same = found.shape == expected.shape and torch.allclose(found, expected, atol=atol, rtol=rtol)
        self.require(same, wrong, expected, found)

    def require_refusal(self, call: Callable[[], Any], words: tuple[str, ...], what: str) -> None:
        """Raise an AssertionError unless `call` raises a one-line `GatewiseError` that contains all of `words`."""
        try:
            call()
        except GatewiseError as refusal:
            message = str(refusal)
            said = "\n" not in message and all(word in message for word in words)
            self.require(said, f"the refusal of {what} says too little", f"one line with {words}", message)
        else:
            self.require(False, f"{what} must be refused", "a GatewiseError", "no error")


def shown(thing: Any) -> str:
    """A value as it stands in a message: short, and numbers rather than a tensor's repr."""
    if not isinstance(thing, Tensor):
        return str(thing)
    numbers = [f"{number:.6g}" for number in thing.detach().double().flatten()[:8].tolist()]
    more = ", …" if thing.numel() > 8 else ""
    return f"[{', '.join(numbers)}{more}] of shape {list(thing.shape)}" if thing.dim() else numbers[0]


@dataclass(frozen=True)
class Check:
    """One part of the contract: call it with a `Subject`; it raises AssertionError, or returns at once if exempt.

    Attributes:
        function: the check itself; its docstring says what is promised.
        applies: whether it applies to a subject.
        only: to which subjects it applies, in words.
    """

    function: Callable[[Subject], None]
    applies: Callable[[Subject], bool]
    only: str

    def __str__(self) -> str:
        return self.function.__name__

    def __call__(self, subject: Subject) -> None:
        """Check `subject`, with torch's own CPU generator seeded, and put back afterwards."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            try:
                if self.applies(subject):
                    self.function(subject)
            except Exception as error:
                if isinstance(error, AssertionError) and str(error).startswith(f"{subject.name}: "):
                    raise
                raised = f"{type(error).__name__}: {error}"
                raise AssertionError(f"{subject.name}: {self} raised where it should not have: {raised}") from error


def check_only(only: str, applies: Callable[[Subject], bool]) -> Callable[[Callable[[Subject], None]], Check]:
    """Decorator: a check of those estimators that `applies` picks, in words `only`."""
    return lambda function: Check(function, applies, only)


check = check_only("every estimator", lambda _: True)
"""Decorator: a check of every estimator."""
