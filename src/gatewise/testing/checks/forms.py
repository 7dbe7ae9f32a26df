"""The form of an estimate: stated facts, shapes, types, signs, refusals, and what decides the noise."""

import inspect
import itertools
import re

import torch

from gatewise.errors import GatewiseError
from gatewise.estimators import GradientEstimator
from gatewise.expectation import MANY, by_index
from gatewise.testing.statistics import seeded
from gatewise.testing.subject import Subject, check
from gatewise.testing.toy import Toy, toy_logits, toy_weights

BATCHES = ((), (3,), (2, 3))


@check
def states_its_facts(subject: Subject) -> None:
    """The class attributes of `GradientEstimator` are there and are of their kind."""
    estimator, require = subject.estimator, subject.require
    require(isinstance(estimator, GradientEstimator), "its class", "a GradientEstimator", type(estimator).__name__)
    require(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", estimator.name), "name", "kebab-case", estimator.name)
    calls, claims, counts = estimator.calls, estimator.unbiased, estimator.sample_counts
    require(calls and calls <= {"index", "all", "point"}, "calls", "some of index, all, point", set(calls))
    known = {"value", "logits", "parameters"}
    require(claims <= known, "unbiased", "a subset of value, logits, parameters", set(claims))
    require(isinstance(counts, range) and counts.start >= 1, "sample_counts", "a range from 1 or more", counts)
    require(estimator.event_dims in ((0,), (0, 1)), "event_dims", "(0,) or (0, 1)", estimator.event_dims)
    require(len(estimator.reference) > 8, "reference", "the paper, or who says so", estimator.reference)
    for count in subject.counts(4):
        bound = estimator.evaluations(count, subject.num_categories)
        require(bound >= 1, f"evaluations({count}, {subject.num_categories})", "at least 1", bound)
    if not getattr(estimator, "compiles", True):
        said = "compile" in (inspect.getdoc(type(estimator)) or "")
        require(said, "compiles is False", "a docstring that says what does not compile", "no such word")


@check
def shapes_follow_the_batch(subject: Subject) -> None:
    """The value and the evaluations are `[*batch]`, the control loss a scalar, index and point `[S, *...]`."""
    for batch, event_dims, num_samples in itertools.product(BATCHES, subject.event_dims(), subject.counts(4)[:2]):
        run = subject.run(batch, event_dims, num_samples=num_samples)
        info, shape = run.estimate.info, run.logits.shape
        # the first dimension of index may be shorter than S, clipped to the categories there are
        index = None if info.index is None else info.index[0]
        wanted = {
            "value": (run.value, batch),
            "info.evaluations": (info.evaluations, batch),
            "info.index[0]": (index, shape[:-1]),
            "info.point": (info.point, (num_samples, *shape)),
            "control_loss": (run.estimate.control_loss, ()),
            "the logits' gradient": (run.gradients()[0], shape),
        }
        for what, (tensor, right) in wanted.items():
            if tensor is not None:
                where = f"batch {list(batch)}, event_dims={event_dims}, num_samples={num_samples}"
                subject.require_shape(tensor, right, f"{what} for {where}")
        dtype = info.evaluations.dtype
        subject.require(dtype == torch.int64, "the type of info.evaluations", torch.int64, dtype)


@check
def types_follow_the_values(subject: Subject) -> None:
    """The value has the type of f's values, and all is finite in bfloat16, float16, float32 and float64."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        for event_dims in subject.event_dims():
            run = subject.run((2, 3), event_dims, dtype)
            for what, tensor in run.parts().items():
                subject.require(tensor.dtype == dtype, f"the type of the {what} for {dtype}", dtype, tensor.dtype)
                subject.require_finite(tensor, f"the {what} in {dtype}")


@check
def narrow_logits_take_wide_values(subject: Subject) -> None:
    """A mixture in bfloat16 may answer in float32, where its head widens: the value is then float32."""
    logits = subject.logits((3,), dtype=torch.bfloat16)
    value = subject.expect(Toy(toy_weights(subject.num_categories).float(), (3,)), logits).value
    wanted = torch.float32
    subject.require(value.dtype == wanted, "the type of the value of a float32 f of bfloat16", wanted, value.dtype)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    subject.require_finite(gradient, "the gradient of bfloat16 logits")


@check
def value_has_the_sign_of_f(subject: Subject) -> None:
    """The value of an f above 2.9 is above 2.9, that of its negative below -2.9; logits need no gradient."""
    weights = toy_weights(subject.num_categories).abs()
    logits = toy_logits(subject.num_categories).expand(64, -1)
    for sign in (1.0, -1.0):
        f = lambda point, sign=sign: sign * (3.0 + point @ weights)  # noqa: E731
        value = subject.expect(f, logits, generator=seeded(1)).value
        found = (sign * value).min()
        subject.require(found > 2.9, f"the value of an f of sign {sign:+.0f}, times that sign", "above 2.9", found)


@check
def constant_tables_are_enough(subject: Subject) -> None:
    """f need not be differentiable in anything of its own; the logits get a gradient all the same."""
    table, logits = toy_weights(subject.num_categories), subject.logits((64,))
    f = (lambda point: point @ table) if "point" in subject.estimator.calls else by_index(lambda index: table[index])
    (gradient,) = torch.autograd.grad(subject.expect(f, logits).value.sum(), logits)
    subject.require(gradient.norm() > 0, "the logits' gradient of a table without one", "not 0", gradient)


@check
def refused_counts_are_named(subject: Subject) -> None:
    """A sample count that is not taken raises a `GatewiseError` that names the estimator and the first taken."""
    counts = subject.estimator.sample_counts
    refused = {0, -1, counts.start - 1, counts.start - counts.step}
    if counts.step > 1:
        refused.add(counts.start + 1)
    if counts[-1] < MANY - counts.step:
        refused.add(counts[-1] + counts.step)
    for count in sorted(refused):
        words = (subject.name, f"from {counts.start}")
        subject.require_refusal(lambda count=count: subject.run(num_samples=count), words, f"num_samples={count}")


@check
def latents_are_taken_or_refused(subject: Subject) -> None:
    """`event_dims=1` works where it is stated, and else raises a `GatewiseError` that speaks of latents."""
    if 1 in subject.estimator.event_dims:
        subject.require_shape(subject.run((3,), 1).value, (3,), "the value of 2 latents")
    else:
        subject.require_refusal(lambda: subject.run((3,), 1), ("latent",), "event_dims=1")


@check
def empty_batches_pass(subject: Subject) -> None:
    """No examples give a value and a gradient of none, a control loss of 0, and leave the state as it was."""
    for batch, event_dims in itertools.product(((0,), (2, 0)), subject.event_dims()):
        estimator = subject.make()
        before = {name: tensor.detach().clone() for name, tensor in estimator.state_dict().items()}
        run = subject.run(batch, event_dims, estimator=estimator)
        value, logits, loss = run.value, run.logits, run.estimate.control_loss
        where = f"for a batch {list(batch)}, event_dims={event_dims}"
        subject.require_shape(value, batch, f"the value {where}")
        subject.require(value.dtype == logits.dtype, f"the type of the value {where}", logits.dtype, value.dtype)
        if loss is not None:
            subject.require(loss == 0, f"the control loss {where}", 0, loss)
        (value.sum() + (0 if loss is None else loss)).backward()
        leaves = {"the logits": logits, "the parameters": run.toy.weights, **dict(estimator.named_parameters())}
        for name, leaf in leaves.items():
            slope = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            subject.require((slope == 0).all(), f"the gradient for {name} {where}", 0, slope)
        for name, tensor in estimator.state_dict().items():
            subject.require_equal(tensor, before[name], f"{name} {where}")


@check
def one_category_is_certain(subject: Subject) -> None:
    """With K = 1 the value is f, the logits' gradient 0 and one evaluation made; learned parts may refuse it."""
    for event_dims in subject.event_dims():
        logits = torch.full((4, *[2] * event_dims, 1), 2.0, dtype=torch.float64, requires_grad=True)
        toy = Toy(toy_weights(1), (4,), event_dims)
        try:
            estimate = subject.expect(toy, logits, event_dims=event_dims)
        except GatewiseError:
            # a network made for K categories cannot take another number, and says so
            subject.require(list(subject.estimator.parameters()), "K = 1", "an estimate", "a refusal")
            return
        (gradient,) = torch.autograd.grad(estimate.value.sum(), logits)
        subject.require_close(estimate.value, toy.table()[..., 0], "the value of the only category")
        subject.require((gradient == 0).all(), "the logits' gradient of the only category", 0, gradient)
        made = estimate.info.evaluations
        subject.require((made == 1).all(), "info.evaluations of the only category", 1, made)
