"""Checks of gradients: that they reach logits and parameters, and nothing else."""

import torch
from torch import Tensor

from gatewise.testing.statistics import seeded
from gatewise.testing.subject import Subject, ToyEstimate, check
from gatewise.testing.toy import Toy, toy_weights


@check
def no_grad_gives_the_value_alone(subject: Subject) -> None:
    """Under `torch.no_grad` the same value comes, without a graph, a control loss, or a trace in the state."""
    for event_dims in subject.event_dims():
        estimator = subject.make()
        with torch.no_grad():
            bare = subject.run(event_dims=event_dims, estimator=estimator).estimate
        free = not bare.value.requires_grad and bare.value.grad_fn is None
        subject.require(free, "the value under no_grad", "no graph", bare.value.grad_fn)
        subject.require(bare.control_loss is None, "control_loss under no_grad", None, bare.control_loss)
        with_graph = subject.run(event_dims=event_dims, estimator=estimator).value
        subject.require_equal(bare.value, with_graph, "the value under no_grad")


@check
def frozen_logits_leave_the_parameters(subject: Subject) -> None:
    """Logits that need no gradient change nothing for the parameters of f."""
    frozen = subject.run(logits=subject.logits().detach())
    (found,) = torch.autograd.grad(frozen.value.sum(), frozen.toy.weights)
    wanted = subject.run().gradients()[1]
    subject.require(found.norm() > 0, "the parameters' gradient with frozen logits", "not 0", found)
    subject.require_close(found, wanted, "the parameters' gradient with frozen logits")


@check
def total_derivative_of_an_f_with_logits(subject: Subject) -> None:
    """f(z) = ℓ_z + a log π_z: the gradient is the estimator's and that through f together, from the same draws."""
    for event_dims in subject.event_dims():

        def gradients(own: Tensor, inside: Tensor, event_dims: int = event_dims) -> list[Tensor]:
            toy = Toy(subject.weights(), (3,), event_dims, inside.log_softmax(-1))
            value = subject.expect(toy, own, generator=seeded(1), event_dims=event_dims).value
            wanted = [own] if own is inside else [own, inside]
            return list(torch.autograd.grad(value.sum(), wanted))

        own, inside = (subject.logits((3,), event_dims) for _ in range(2))
        apart, (total,) = gradients(own, inside), gradients(own, own)
        subject.require(apart[1].norm() > 0, "the gradient through the logits inside f", "not 0", apart[1])
        subject.require_close(total, apart[0] + apart[1], "the total derivative of an f that contains the logits")


@check
def values_are_used_linearly(subject: Subject) -> None:
    """A weighted sum of values has the weighted sum of their gradients; no example's gradient sees another's."""
    run = subject.run((4,))
    weight = torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64)
    (found,) = torch.autograd.grad(weight @ run.value, run.logits, retain_graph=True)
    wanted = weight.unsqueeze(-1) * run.gradients()[0]
    subject.require_close(found, wanted, "the gradient of a weighted sum of values")


@check
def control_loss_touches_its_own_alone(subject: Subject) -> None:
    """There is a control loss where there are parameters, it reaches them alone, and the value does not."""
    for event_dims in subject.event_dims():
        # trained a little: a control variate may start where its loss has no slope
        estimator = subject.warmed_up(event_dims)
        run = subject.run((64,), event_dims, estimator=estimator, context=subject.context((64,), torch.float64))
        own = [parameter for parameter in estimator.parameters() if parameter.requires_grad]
        loss = run.estimate.control_loss
        wanted = "a scalar, as there are parameters" if own else "None, as there are no parameters"
        subject.require((loss is not None) == bool(own), "control_loss", wanted, loss)
        if loss is None:
            continue
        subject.require_finite(loss, "control_loss")
        leaves = [run.logits, run.toy.weights, *own]
        slopes = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
        for what, slope in zip(("the logits", "the parameters of f"), slopes, strict=False):
            subject.require(slope is None, f"the gradient of control_loss for {what}", None, slope)
        moved = any(slope is not None and bool(slope.norm() > 0) for slope in slopes[2:])
        own_slopes = "the estimator's own parameters"
        subject.require(moved, f"the gradient of control_loss for {own_slopes}", "not 0", "0 everywhere")
        for slope in torch.autograd.grad(run.value.sum(), own, allow_unused=True, retain_graph=True):
            subject.require(slope is None, f"the gradient of the value for {own_slopes}", None, slope)


@check
def hard_logits_stay_finite(subject: Subject) -> None:
    """Logits of size 1e4 and masked ones keep all finite; a masked category is not drawn and has no gradient."""
    for kind, logits in hard_logits(subject.num_categories).items():
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            leaf = logits.to(dtype).requires_grad_()
            run = subject.run((6,), dtype=dtype, logits=leaf, num_samples=subject.counts(4)[-1])
            where = f"for {kind} logits in {dtype}"
            for what, tensor in run.parts().items():
                subject.require_finite(tensor, f"the {what} {where}")
            check_masked(subject, run, leaf.detach() == -torch.inf, where)


def check_masked(subject: Subject, run: ToyEstimate, masked: Tensor, where: str) -> None:
    """A masked category has no gradient, is not drawn and has no weight; with one category left f is certain."""
    info, slope = run.estimate.info, run.gradients()[0][masked]
    subject.require((slope == 0).all(), f"the gradient of masked logits {where}", 0, slope)
    if info.index is not None:  # an entry of -1 was not asked for
        drawn = masked.gather(-1, info.index.clamp_min(0).movedim(0, -1)) & (info.index >= 0).movedim(0, -1)
        subject.require(not drawn.any(), f"how many masked categories are drawn {where}", 0, int(drawn.sum()))
    if info.point is not None:
        weight = info.point[:, masked]
        subject.require((weight == 0).all(), f"the points' weight on masked categories {where}", 0, weight)
    alone = (~masked).sum(-1) == 1
    if bool(alone.all()):
        table = toy_weights(masked.shape[-1]).to(run.value.dtype)
        wanted = Toy(table, (len(masked),)).table()[~masked]
        close = 0.02 if run.value.dtype == torch.bfloat16 else 1e-5
        subject.require_close(run.value, wanted, f"the value {where}", close, close)


def hard_logits(num_categories: int) -> dict[str, Tensor]:
    """`[6, K]` each: large, large with one masked, all but one masked, and mild with some masked."""
    large, mild = torch.randn(2, 6, num_categories, generator=seeded(0))
    large = large * 1e4
    masked = large.clone()
    masked[:, num_categories // 2] = -torch.inf
    alone = torch.full_like(large, -torch.inf)
    alone[:, 1] = 3.0
    mild[:, 0] = -torch.inf
    if num_categories > 2:
        mild[:, -1] = -torch.inf
    return {"large": large, "large masked": masked, "all but one masked": alone, "mild masked": mild}
