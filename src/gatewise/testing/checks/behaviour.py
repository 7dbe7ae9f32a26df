"""Checks of what lasts between calls: noise, state, schedules; and that it compiles, maps and moves."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from gatewise.estimators import GradientEstimator, PointEstimator
from gatewise.expectation import expect
from gatewise.testing.subject import Subject, check, check_only
from gatewise.testing.toy import toy_logits, toy_weights


@check
def a_seed_decides_everything(subject: Subject) -> None:
    """The same seed gives the same value and gradient, another seed others, but where nothing is drawn."""
    for event_dims in subject.event_dims():
        first, again, other = (subject.run((64,), event_dims, seed=seed) for seed in (1, 1, 2))
        info = first.estimate.info
        fixed = info.index is None and info.point is None
        found = zip(
            ("value", "gradient"),
            (first.value, first.gradients()[0]),
            (again.value, again.gradients()[0]),
            (other.value, other.gradients()[0]),
            strict=True,
        )
        for what, one, same, differs in found:
            subject.require(torch.equal(one, same), f"the {what} of the same seed", one, same)
            wanted = "the same, as info has no index and no point" if fixed else "another one"
            subject.require(torch.equal(one, differs) == fixed, f"the {what} of another seed", wanted, differs)


@check
def a_generator_is_the_only_source(subject: Subject) -> None:
    """With a generator given, torch's own stands where it was."""
    before = torch.get_rng_state()
    subject.run(seed=3)
    untouched = torch.equal(before, torch.get_rng_state())
    subject.require(untouched, "torch's own generator, with another given", "untouched", "moved on")


@check
def torchs_generator_is_used_without_one(subject: Subject) -> None:
    """Without a generator `torch.manual_seed` decides."""
    torch.default_generator.manual_seed(11)
    first = subject.run((64,), seed=None).value
    torch.default_generator.manual_seed(11)
    again, other = (subject.run((64,), seed=None).value for _ in range(2))
    subject.require(torch.equal(first, again), "the value of the same torch.manual_seed", first, again)
    same = torch.equal(first, other) == subject.is_deterministic()
    subject.require(same, "the value drawn next from torch's own generator", "another one", other)


@check
def state_is_saved_and_restored(subject: Subject) -> None:
    """What was learned is in the state dict: loaded into a copy, it gives the same gradient."""
    first, second = subject.warmed_up(dtype=torch.float32), subject.make()
    second.load_state_dict(first.state_dict())
    found = [subject.run(estimator=estimator).gradients()[0] for estimator in (first, second)]
    same = torch.equal(found[0], found[1])
    subject.require(same, "the gradient after load_state_dict", found[0], found[1])


@check
def schedules_and_statistics_move(subject: Subject) -> None:
    """Every estimator takes `set_progress` and `commit`."""
    estimator = subject.make()
    for progress in (0.0, 0.5, 1.0):
        estimator.set_progress(progress)
        estimator.commit()
    value = subject.run(estimator=estimator).value
    subject.require(value.isfinite().all(), "the value at the end of the schedule", "finite", value)


@check_only("estimators that compile", lambda subject: getattr(subject.estimator, "compiles", True))
def compiles_without_a_break(subject: Subject) -> None:
    """Compiled as one graph, it gives the eager value, gradient and state, also after the schedules moved."""
    eager, compiled = subject.make(), subject.make()
    weights, context = toy_weights(subject.num_categories).float(), subject.context((6,))
    num_samples = subject.counts(1)[0]

    def step(logits: Tensor, estimator: GradientEstimator) -> Tensor:
        # without a generator: torch.compile cannot trace one
        return expect(lambda point: (point @ weights).square(), logits, estimator, num_samples, context=context).value

    torch.compiler.reset()
    graph = torch.compile(step, fullgraph=True, backend="aot_eager")
    for progress in (0.0, 0.5, 1.0):
        right = _at(progress, step, eager, subject)
        with warnings.catch_warnings():
            # what the compiler warns of is its own affair, such as how it calls an autograd.Function
            warnings.simplefilter("ignore")
            found = _at(progress, graph, compiled, subject)
        for what, one, other in zip(("value", "gradient"), right, found, strict=True):
            subject.require_close(other, one, f"the compiled {what} at progress {progress}", 1e-5, 1.3e-6)
    for name, tensor in eager.state_dict().items():
        subject.require_close(compiled.state_dict()[name], tensor, f"{name} after compiled calls", 1e-5, 1.3e-6)


def _at(progress: float, function: Callable, estimator: GradientEstimator, subject: Subject) -> tuple[Tensor, Tensor]:
    estimator.set_progress(progress)
    torch.default_generator.manual_seed(4)
    logits = subject.logits((6,), dtype=torch.float32)
    value = function(logits, estimator)
    return value.detach(), torch.autograd.grad(value.sum(), logits)[0]


@check_only("subclasses of PointEstimator", lambda subject: isinstance(subject.estimator, PointEstimator))
def maps_over_examples(subject: Subject) -> None:
    """`torch.func.vmap`, and `grad` within it, draw for each example."""
    estimator, count, examples = subject.make(), subject.num_categories, 50
    num_samples, context = subject.counts(1)[0], subject.context(())

    def one(logits: Tensor, weights: Tensor) -> Tensor:
        return expect(lambda point: (point @ weights).square(), logits, estimator, num_samples, context=context).value

    logits, weights = (tensor.expand(examples, count) for tensor in (toy_logits(count), toy_weights(count)))
    values = torch.func.vmap(one, randomness="different")(logits, weights)
    slopes = torch.func.vmap(torch.func.grad(one), randomness="different")(logits, weights)
    for what, found, wanted in (("values", values, (examples,)), ("gradients", slopes, (examples, count))):
        subject.require(found.shape == wanted, f"the shape of the mapped {what}", list(wanted), list(found.shape))
        subject.require(found.isfinite().all(), f"the mapped {what}", "finite", found)
        different = found.unique(dim=0).shape[0]
        subject.require(different > 1, f"how many of {examples} mapped {what} differ", "2 or more", different)


@check_only("machines with CUDA", lambda subject: torch.cuda.is_available())
def stays_on_the_device(subject: Subject) -> None:
    """With everything on a CUDA device the estimate and its gradient are there too."""
    for event_dims in subject.event_dims():
        logits = subject.logits((64,), event_dims, torch.float32).detach().cuda().requires_grad_()
        estimator = subject.make().cuda()
        run = subject.run((64,), event_dims, torch.float32, logits=logits, estimator=estimator)
        info, gradients = run.estimate.info, run.gradients()
        found = {"value": run.value, "evaluations": info.evaluations, "index": info.index, "point": info.point}
        found |= {"control loss": run.estimate.control_loss, "logits' gradient": gradients[0]}
        for what, tensor in found.items():
            if tensor is not None:
                subject.require(tensor.is_cuda, f"the device of the {what}", logits.device, tensor.device)
        subject.require(gradients[0].isfinite().all(), "the logits' gradient on CUDA", "finite", gradients[0])
        again = subject.run((64,), event_dims, torch.float32, logits=logits, estimator=subject.make().cuda())
        subject.require_close(again.value, run.value, "the value of the same seed on CUDA")
        # noise drawn on the device from torch's own generator there, put back afterwards
        with torch.no_grad(), torch.random.fork_rng(devices=[torch.cuda.current_device()]):
            drawn = subject.run((64,), event_dims, torch.float32, logits=logits, estimator=estimator, seed=None)
        subject.require(drawn.value.is_cuda, "the device of the value", logits.device, drawn.value.device)
