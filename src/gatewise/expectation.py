"""The one abstraction: the estimator pulls, the model answers.

A model with a discrete, unobserved choice z is an `Integrand`: a function f(z) that can be asked for its value
at one category, at all of them, or at a point of the simplex between them. An `Estimator` decides what to ask,
and returns an `Estimate` of E_{z ~ softmax(logits)} f(z) whose gradient is its estimate of the gradient.
Nothing else in the code decides which categories, and so which experts, are run.

Shapes: S samples, `*batch` examples, L latents (with `event_dims=1`), K categories.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from gatewise.errors import GatewiseError, check_kind
from gatewise.outcomes import first_asked, joint_outcomes, outcome_probs
from gatewise.precision import working_dtype

EVERY_CALL = frozenset({"index", "all", "point"})


@runtime_checkable
class Integrand(Protocol):
    """f(z), with one categorical z per example (or L of them that share one value).

    No category of probability 0 is to be asked: behind a mask f may have no value, or one whose gradient is NaN even
    where nothing comes back to it. An integrand that knows its logits leaves such categories out of `at_all`, and says
    so by an attribute `leaves_out = True`; any other is asked by `at_index` where there are some.

    >>> import torch
    >>> import gatewise as gw
    >>> class Table:  # f(z) of each example, listed
    ...     def __init__(self, values): self.values = values
    ...     def at_all(self): return self.values
    ...     def at_index(self, index): return self.values.T.gather(0, index)
    ...     def at_point(self, point): return (point * self.values).sum(-1)
    >>> f = Table(torch.tensor([[0.0, 4.0]]))
    >>> gw.expect(f, torch.zeros(1, 2), gw.estimators.get("enumeration")).value.tolist()
    [2.0]
    """

    def at_index(self, index: Tensor) -> Tensor:
        """Values `[S, *batch]` at the categories `[S, *batch]` (int64; `[S, *batch, L]` for L latents).

        Only what is named is run, each distinct (example, category) pair once. An entry of -1 is not asked
        for, and its value is 0.
        """
        ...

    def at_all(self) -> Tensor:
        """Values `[*batch, K]` at every category (`[*batch, K**L]` for L latents, the first varying slowest).

        Where the probability is 0 the value does not matter; 0 where nothing was asked.
        """
        ...

    def at_point(self, point: Tensor) -> Tensor:
        """Values `[S, *batch]` at points `[S, *batch, K]` of the simplex, differentiable in `point`."""
        ...


class Info:
    """What an estimator drew and what that cost.

    Attributes:
        index: the categories drawn, `[S, *batch]` or `[S, *batch, L]`, where there are any.
        point: the points drawn, `[S, *batch, K]` or `[S, *batch, L, K]`, where there are any.

    Args:
        evaluations: see below; or a function that counts them, called when they are first asked for.
        index: see above.
        point: see above.

    >>> import torch
    >>> import gatewise as gw
    >>> f, logits = gw.by_index(lambda z: z.float()), torch.tensor([[0.0, -torch.inf], [0.0, 0.0]])
    >>> info = gw.expect(f, logits, gw.estimators.get("score-function"), num_samples=2).info
    >>> info.index.shape, info.evaluations[0].item()  # both draws of the first example are its only category
    (torch.Size([2, 2]), 1)
    """

    def __init__(
        self, evaluations: Tensor | Callable[[], Tensor], index: Tensor | None = None, point: Tensor | None = None
    ):
        self._evaluations = evaluations  # counting takes a sort of the draws, and many never ask
        self.index, self.point = index, point

    @property
    def evaluations(self) -> Tensor:
        """Distinct categories evaluated for each example, int64 `[*batch]`."""
        if not isinstance(self._evaluations, Tensor):
            self._evaluations = self._evaluations()
        return self._evaluations


@dataclass(frozen=True)
class Estimate:
    """An estimate of E f and, through `backward`, of its gradient.

    Attributes:
        value: `[*batch]`. Forward: the estimate of E f, with E f's own sign. Backward: the estimator's gradient,
            for the logits and for the parameters of f alike. Use it linearly (a mean, a weighted sum); second
            derivatives through it are not promised.
        control_loss: a scalar that trains learned baselines and control variates and touches nothing else;
            None where there is nothing to train.
        info: what was drawn, and the evaluations made.

    >>> import torch
    >>> import gatewise as gw
    >>> logits = torch.zeros(2, 3, requires_grad=True)
    >>> estimator = gw.estimators.get("score-function", baseline="learned")
    >>> estimate = gw.expect(gw.by_index(lambda z: z.float()), logits, estimator)
    >>> (estimate.value.mean() + estimate.control_loss).backward()  # the model and the baseline, in one pass
    >>> estimate.value.shape, logits.grad.shape
    (torch.Size([2]), torch.Size([2, 3]))
    """

    value: Tensor
    control_loss: Tensor | None
    info: Info


class Estimator(Protocol):
    """A way of estimating E f and its gradient, which states facts about itself.

    >>> import gatewise as gw
    >>> estimator: gw.Estimator = gw.estimators.get("gumbel-softmax")
    >>> sorted(estimator.calls), sorted(estimator.unbiased), estimator.evaluations(1, 8)
    (['point'], [], 8)
    """

    name: ClassVar[str]
    calls: frozenset[str]
    reference: ClassVar[str]

    @property
    def unbiased(self) -> frozenset[str]:
        """Which of "value", "logits" and "parameters" the estimate is unbiased for."""
        ...

    @property
    def sample_counts(self) -> range:
        """The values of `num_samples` it takes."""
        ...

    def evaluations(self, num_samples: int, num_categories: int) -> int:
        """At most so many evaluations of f an example."""
        ...

    def __call__(
        self,
        integrand: Integrand,
        logits: Tensor,
        *,
        num_samples: int = 1,
        event_dims: int = 0,
        generator: torch.Generator | None = None,
        context: Tensor | None = None,
    ) -> Estimate:
        """Estimate E f under softmax(logits)."""
        ...


def expect(
    f: "Integrand | IndexFunction | Callable[[Tensor], Tensor]",
    logits: Tensor,
    estimator: Estimator,
    num_samples: int = 1,
    generator: torch.Generator | None = None,
    event_dims: int = 0,
    context: Tensor | None = None,
) -> Estimate:
    """Estimate E f(z), z ~ softmax(logits), with a gradient for the logits and for what f is made of.

    Args:
        f: an `Integrand`; or a callable on points, `[S, *batch, K] -> [S, *batch]` (`[S, *batch, L, K]` with
            `event_dims=1`); or `by_index(function)` for a black box on categories.
        logits: `[*batch, K]`, or `[*batch, L, K]` with `event_dims=1`; unnormalised; -inf masks a category.
        estimator: see `gatewise.estimators`.
        num_samples: for an index estimator the evaluations an example pays for, for a points estimator the
            number of points.
        generator: the source of all noise; None takes torch's own, which alone is what `torch.utils.checkpoint` puts
            back before it repeats a forward pass: with another one, made outside, it draws anew.
        event_dims: 1 makes the last batch dimension of `logits` L independent latents with one joint value.
        context: `[*batch, D]`, what a learned baseline sees of the example.

    Raises:
        GatewiseError: for arguments that cannot work together; the message says what would.

    >>> import torch
    >>> import gatewise as gw
    >>> logits = torch.tensor([[0.0, 0.0]], requires_grad=True)
    >>> estimate = gw.expect(lambda point: point[..., 1] * 4, logits, gw.estimators.get("enumeration"))
    >>> estimate.value.sum().backward()
    >>> estimate.value.tolist(), logits.grad.tolist()  # 4 π₁ = 2, and 4 π₁ (1 - π₁) = 1
    ([2.0], [[-1.0, 1.0]])
    """
    check_arguments(logits, estimator, num_samples, event_dims)
    integrand = as_integrand(f, logits, event_dims)
    # an integrand answers all three unless it says otherwise, as the adapter of a black box does
    missing = estimator.calls - getattr(integrand, "provides", EVERY_CALL)
    if missing:
        raise GatewiseError(
            f"estimator {estimator.name!r} asks f for its value at a {', '.join(sorted(missing))}, which a function "
            "made by by_index cannot answer; use one that draws categories, such as 'score-function'"
        )
    return estimator(
        integrand, logits, num_samples=num_samples, event_dims=event_dims, generator=generator, context=context
    )


def sample(
    logits: Tensor,
    estimator: Estimator,
    num_samples: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw points whose gradient is the estimator's surrogate: the place of `F.gumbel_softmax`.

    Args:
        logits: `[*batch, K]`.
        estimator: one that draws points (`.calls` contains "point" and it has a `.draw`).
        num_samples: None for one point of the logits' own shape; S for `[S, *batch, K]`.
        generator: the source of all noise; None takes torch's own.

    Raises:
        GatewiseError: if the estimator is not a way of drawing points.

    >>> import torch
    >>> import gatewise as gw
    >>> estimator = gw.estimators.get("gumbel-softmax", temperature=0.5)
    >>> gw.sample(torch.zeros(2, 3), estimator).shape, gw.sample(torch.zeros(2, 3), estimator, num_samples=5).shape
    (torch.Size([2, 3]), torch.Size([5, 2, 3]))
    """
    count = 1 if num_samples is None else num_samples
    check_arguments(logits, estimator, count, event_dims=0)
    draw = getattr(estimator, "draw", None)
    if draw is None:
        raise GatewiseError(
            f"estimator {estimator.name!r} gives a gradient, not a point to go on computing with; "
            "sample takes one that draws points, such as 'gumbel-softmax', or use expect"
        )
    point: Tensor = draw(logits, count, generator)
    return point.squeeze(0) if num_samples is None else point


def by_index(f: Callable[[Tensor], Tensor]) -> "IndexFunction":
    """Adapt a black box on categories, which need not be differentiable, for `expect`.

    `f` takes int64 `[S, *batch]` (`[S, *batch, L]` with `event_dims=1`) and returns `[S, *batch]`. An entry of -1
    is not asked for (a category this example already named, or one of probability 0): skip it; what is returned there
    is not used. A function of tensors may ask again for one that is: `index = torch.where(index < 0, index.amax(0),
    index)`. (Category 0 would not do, as it may be masked.)

    >>> import torch
    >>> import gatewise as gw
    >>> prices = torch.tensor([1.0, 5.0, 3.0])
    >>> f = gw.by_index(lambda z: prices[z])  # [S, *batch] -> [S, *batch]
    >>> gw.expect(f, torch.tensor([[0.0, 0.0, 0.0]]), gw.estimators.get("enumeration")).value.tolist()
    [3.0]
    """
    return IndexFunction(f)


@dataclass(frozen=True)
class IndexFunction:
    """A function of categories, not yet told how many there are; made by `by_index`."""

    f: Callable[[Tensor], Tensor]


def check_arguments(logits: Tensor, estimator: Any, num_samples: int, event_dims: int) -> None:
    """Raise `GatewiseError` for arguments of `expect` that cannot work."""
    if isinstance(estimator, str):
        raise GatewiseError(
            f"estimator is the string {estimator!r}; make it once with gw.estimators.get({estimator!r}) and "
            "pass it on, so that its baselines keep what they learn"
        )
    # before all that reads its facts: those of a class may be properties, which say nothing
    check_estimator(estimator)
    check_kind(logits, Tensor, "logits", "the order is gw.expect(f, logits, estimator), with a tensor [*batch, K]")
    if not logits.is_floating_point():
        raise GatewiseError(f"logits must be floating point, got {logits.dtype}; convert them with .float()")
    if event_dims not in (0, 1):
        raise GatewiseError(f"event_dims must be 0 or 1, got {event_dims}")
    if logits.dim() < 1 + event_dims or logits.shape[-1] == 0:
        wanted = "[*batch, L, K]" if event_dims else "[*batch, K]"
        raise GatewiseError(f"logits must have shape {wanted} with K >= 1, got {list(logits.shape)}")
    if event_dims not in getattr(estimator, "event_dims", (0, 1)):
        takes = "one latent an example, event_dims=0" if event_dims else "several latents, event_dims=1"
        raise GatewiseError(f"estimator {estimator.name!r} takes {takes}; here use one such as 'score-function'")
    check_num_samples(estimator, num_samples)


def check_estimator(estimator: Any) -> None:
    """Raise `GatewiseError` for what is no estimator, or does not say what it asks."""
    if isinstance(estimator, type):
        raise GatewiseError(f"estimator {estimator.__name__} is a class; make one of it, as in {estimator.__name__}()")
    if not isinstance(getattr(estimator, "calls", None), Set):
        raise GatewiseError(
            f"estimator {type(estimator).__name__} does not state its `calls`: a gradient estimator says which of "
            "'index', 'all' and 'point' it asks, as docs/extending.md has it"
        )


def check_num_samples(estimator: Any, num_samples: int) -> None:
    """Raise `GatewiseError` for a number of samples that the estimator does not take."""
    counts = estimator.sample_counts
    if isinstance(num_samples, Integral) and num_samples in counts:  # what is no number is sought one by one in a range
        return
    what = "an even number of samples" if counts.step == 2 else "a number of samples"
    # the last of an open range of steps of 2 is one below that of steps of 1
    upper = "" if counts[-1] >= MANY - 2 else f" to {counts[-1]}"
    raise GatewiseError(f"estimator {estimator.name!r} takes {what} from {counts.start}{upper}, got {num_samples}")


MANY = 2**31
"""The open end of a `sample_counts` range."""


def as_integrand(f: Any, logits: Tensor, event_dims: int) -> Integrand:
    """`f` itself if it is an `Integrand`, else the adapter that makes it one."""
    if isinstance(f, IndexFunction):
        return _OfIndex(f.f, logits, event_dims)
    if hasattr(f, "at_index") and hasattr(f, "at_all") and hasattr(f, "at_point"):  # isinstance takes 10 times as long
        return f
    if callable(f):
        return _OfPoint(f, logits, event_dims)
    raise GatewiseError(f"f must be an Integrand, a callable on points or by_index(callable), got {type(f).__name__}")


class _Adapter:
    """What both adapters know: the categorical they were called with."""

    def __init__(self, f: Callable[[Tensor], Tensor], logits: Tensor, event_dims: int):
        # read when they are wanted: this is made anew at every call
        self.f, self.logits, self.event_dims = f, logits, event_dims

    leaves_out = True

    @property
    def mode(self) -> Tensor:
        """The likeliest category of each example (and latent): what stands in where nothing is asked.

        f then has a value and a gradient there, which it may not have behind a mask, or at a point of all zeros.
        """
        return self.logits.detach().argmax(-1)

    def at_all(self) -> Tensor:
        possible = (outcome_probs(self.logits.detach(), self.event_dims) > 0).movedim(-1, 0)  # [N, *batch]
        # [*batch, K or K**L]
        return torch.where(possible, self.at_each(self.every_index(possible)), 0.0).movedim(0, -1)

    def at_each(self, index: Tensor) -> Tensor:
        return self.call(index, "indices of shape")

    def every_index(self, possible: Tensor) -> Tensor:
        """All outcomes for all examples, `[K, *batch]` or `[K**L, *batch, L]`; the mode where one is not possible."""
        *batch_and_event, categories = self.logits.shape
        if self.event_dims:
            outcomes = joint_outcomes(batch_and_event[-1], categories, self.logits.device)
            possible = possible.unsqueeze(-1)
        else:
            outcomes = torch.arange(categories, device=self.logits.device)
        spread = outcomes.view(len(outcomes), *[1] * (len(batch_and_event) - self.event_dims), *outcomes.shape[1:])
        return torch.where(possible, spread, self.mode)

    def call(self, argument: Tensor, described: str) -> Tensor:
        values = self.f(argument)
        # a value that broadcasts, such as one number, would pass unseen and give every example the same
        wanted = (argument.shape[0], *self.logits.shape[: -1 - self.event_dims])
        if not isinstance(values, Tensor) or values.shape != wanted:
            got = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise GatewiseError(f"f returned {got} for {described} {list(argument.shape)}; expected {list(wanted)}")
        # whole numbers have no gradient for the estimate to carry
        return values if values.is_floating_point() else values.to(working_dtype(self.logits.dtype))


class _OfPoint(_Adapter):
    """An integrand from a callable on points."""

    def at_point(self, point: Tensor) -> Tensor:
        return self.call(point, "points of shape")

    def at_index(self, index: Tensor) -> Tensor:
        asked = (index >= 0).all(-1) if self.event_dims else index >= 0
        # both are needed: f is asked somewhere that it has a value, and what it says there does not count
        return torch.where(asked, self.at_each(torch.where(index < 0, self.mode, index)), 0.0)

    def at_each(self, index: Tensor) -> Tensor:
        return self.at_point(self.corner(index))

    def corner(self, index: Tensor) -> Tensor:
        # in the logits' type, as a point of a relaxation is
        zeros = self.logits.new_zeros((*index.shape, self.logits.shape[-1]))
        return zeros.scatter_(-1, index.unsqueeze(-1), 1.0)


class _OfIndex(_Adapter):
    """An integrand from a black box on categories."""

    provides = frozenset({"index", "all"})

    def at_index(self, index: Tensor) -> Tensor:
        # f may be dear: a category that an example drew before is not run again, its first value is read
        asked, source = first_asked(index, self.event_dims)
        asked_of_f = asked.unsqueeze(-1) if self.event_dims else asked
        index = torch.where(asked_of_f, index, -1)
        try:
            values = self.at_each(index)
        except (IndexError, RuntimeError) as error:
            # an error with nothing left out is f's own
            if bool(asked.all()):
                raise
            raise GatewiseError(
                "the function given to by_index failed on an index of -1, which marks an entry that is not asked for "
                "(a repeated draw, or a masked category); skip those, or start it with index = index.clamp(min=0), or, "
                f"where category 0 may be masked, index = torch.where(index < 0, index.amax(0), index): {error}"
            ) from error
        return torch.where(asked, values, 0.0).gather(0, source)

    def at_point(self, point: Tensor) -> Tensor:
        raise GatewiseError("a function made by by_index has no value between categories")
