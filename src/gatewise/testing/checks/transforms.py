"""Checks under `torch.compile` and `vmap`, and on another device."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from gatewise.estimators import GradientEstimator, PointEstimator
from gatewise.expectation import expect
from gatewise.testing.subject import Subject, check_only
from gatewise.testing.toy import toy_logits, toy_weights


@check_only("estimators that compile", lambda subject: getattr(subject.estimator, "compiles", True))
def compiles_without_a_break(subject: Subject) -> None:
    """Compiled as one graph, it gives the eager value, gradient and state, also after the schedules moved."""
    eager, compiled = subject.make(), subject.make()
    weights, context = toy_weights(subject.num_categories).float(), subject.context((6,))
    num_samples = subject.counts(1)[0]

    def step(logits: Tensor, estimator: GradientEstimator) -> Tensor:
        # without a generator: torch.compile cannot trace one
        return expect(lambda point: (point @ weights).square(), logits, estimator, num_samples, context=context).value

    def at(progress: float, function: Callable, estimator: GradientEstimator) -> tuple[Tensor, Tensor]:
        estimator.set_progress(progress)
        torch.default_generator.manual_seed(4)
        logits = subject.logits((6,), dtype=torch.float32)
        value = function(logits, estimator)
        return value.detach(), torch.autograd.grad(value.sum(), logits)[0]

    torch.compiler.reset()
    graph = torch.compile(step, fullgraph=True, backend="aot_eager")
    for progress in (0.0, 0.5, 1.0):
        right = at(progress, step, eager)
        with warnings.catch_warnings():
            # what the compiler warns of is its own affair, such as how it calls an autograd.Function
            warnings.simplefilter("ignore")
            found = at(progress, graph, compiled)
        for what, one, other in zip(("value", "gradient"), right, found, strict=True):
            subject.require_close(other, one, f"the compiled {what} at progress {progress}", 1e-5, 1.3e-6)
    for name, tensor in eager.state_dict().items():
        subject.require_close(compiled.state_dict()[name], tensor, f"{name} after compiled calls", 1e-5, 1.3e-6)


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
        subject.require_shape(found, wanted, f"the mapped {what}")
        subject.require_finite(found, f"the mapped {what}")
        different = found.unique(dim=0).shape[0]
        subject.require(different > 1, f"how many of {examples} mapped {what} differ", "2 or more", different)


@check_only("machines with CUDA", lambda subject: torch.cuda.is_available())
def stays_on_the_device(subject: Subject) -> None:
    """With everything on a CUDA device the estimate and its gradient are there too."""
    for event_dims in subject.event_dims():
        logits = subject.logits((64,), event_dims, torch.float32).detach().cuda().requires_grad_()
        estimator = subject.make().cuda()
        run = subject.run((64,), event_dims, torch.float32, logits=logits, estimator=estimator)
        info, parts = run.estimate.info, run.parts()
        made = {"evaluations": info.evaluations, "index": info.index, "point": info.point}
        for what, tensor in (parts | made | {"control loss": run.estimate.control_loss}).items():
            if tensor is not None:
                subject.require(tensor.is_cuda, f"the device of the {what}", logits.device, tensor.device)
        subject.require_finite(parts["logits' gradient"], "the logits' gradient on CUDA")
        again = subject.run((64,), event_dims, torch.float32, logits=logits, estimator=subject.make().cuda())
        subject.require_close(again.value, run.value, "the value of the same seed on CUDA")
        # noise drawn on the device from torch's own generator there, put back afterwards
        with torch.no_grad(), torch.random.fork_rng(devices=[torch.cuda.current_device()]):
            drawn = subject.run((64,), event_dims, torch.float32, logits=logits, estimator=estimator, seed=None)
        subject.require(drawn.value.is_cuda, "the device of the value", logits.device, drawn.value.device)
