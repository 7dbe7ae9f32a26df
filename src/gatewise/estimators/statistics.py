"""Running statistics of estimators and losses, which move at the end of the backward pass that takes a gradient.

An evaluation is one call of an estimator, or of a router's loss. Its statistics could move as it is made. But then a
forward pass that is thrown away would move them, and one that activation checkpointing repeats twice, the second time
from a state that the first has changed: the gradient would be measured against itself. So:

- The state moves once for an evaluation whose gradient is taken, however often it is taken.
- It moves when the whole backward pass is over, in the order of the evaluations. What is repeated within the pass
  sees the state that was first seen.
- A pass that fails moves nothing, and neither does an evaluation under `no_grad`, in inference mode or thrown away.
- What moves is the state that was seen: under `torch.func.functional_call` the tensors that were given to it.

In `checkpoint(use_reentrant=False)` the gradient flows through the first pass's graph, and the evaluations of the
second are dropped; in the reentrant form the first pass has no graph, and the gradient flows through the second's. So
neither form needs to be recognised: an evaluation is learned from where its gradient flows.

One case is left: where the reentrant form's second pass comes in another backward pass than the first one's step (of
overlapping micro-batches), it sees the state as it is then. `hold_statistics` keeps it still. And what a compiled graph
holds several evaluations of moves in the order of its backward pass.
"""

import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError


def updated_after_backward(
    learner: Any, seen: Tensor, hold: bool, value: Tensor, control_loss: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """The value and the control loss, unchanged; the first gradient taken of either lets `learner` see the values.

    Args:
        learner: a module with `update(seen, hold)`, which moves its buffers.
        seen: what it learns from, detached.
        hold: whether it is to wait for a `commit`.
        value: of any shape.
        control_loss: see `gatewise.Estimate`.

    Raises:
        GatewiseError: within a transform of `torch.func` that does not let the learner's buffers move.
    """
    if torch.compiler.is_compiling():  # a compiled graph has no passes within passes, and its backward pass is one step
        return _Compiled.apply(value, seen, learner, hold) if value.requires_grad else value, control_loss
    if not torch.is_grad_enabled():
        note_repetition()
        return value, control_loss
    if torch._C._are_functorch_transforms_active():
        # at once: a transform such as `torch.func.grad` takes the gradient of what it calls
        try:
            learner.update(seen, hold)
        except RuntimeError as error:  # buffers that are none of the transform's arguments it keeps as they are
            raise GatewiseError(
                "within this transform of torch.func the running statistics cannot move; give them to functional_call "
                "as an argument of the function that is transformed, call .eval(), or take an estimator without them, "
                "such as baseline='none'"
            ) from error
        return value, control_loss
    evaluation = _Evaluation(learner, seen, hold)
    if control_loss is not None and control_loss.requires_grad:
        control_loss = _Watched.apply(control_loss, evaluation)
    return _Watched.apply(value, evaluation) if value.requires_grad else value, control_loss


def note_repetition() -> None:
    """Note the backward pass that this is called in, if any: for an evaluation under `no_grad` as well.

    There it is the first pass of a checkpoint within a checkpoint, whose second pass runs in a backward pass within.
    """
    if not torch.compiler.is_compiling() and torch._C._current_graph_task_id() >= 0:
        _Pass.current()


def scaled_gradient(direction: Tensor, seen: Tensor, level: Tensor) -> Tensor:
    """0 forward, and (seen - level) times the gradient of `direction` backward.

    The level is that of the first pass, also where activation checkpointing (`use_reentrant=False`) repeats it after
    the state has moved.
    """
    if torch.compiler.is_compiling():
        # sorting one number: of all operations that leave it as it is, one that no compiler repeats to save memory
        level = level.unsqueeze(0).sort(0).values.squeeze(0)
    elif not torch._C._are_functorch_transforms_active():
        return _ScaledGradient.apply(direction, seen, level)
    return (seen - level) * (direction - direction.detach())


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, direction: Tensor, seen: Tensor, level: Tensor) -> Tensor:
        ctx.save_for_backward(seen)
        # what is saved for backward a checkpoint takes from the second pass
        ctx.level, ctx.dtype = level, direction.dtype
        return torch.zeros_like(direction, dtype=torch.promote_types(direction.dtype, seen.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (seen,) = ctx.saved_tensors
        return (gradients[0] * (seen - ctx.level)).to(ctx.dtype), None, None


class _Watched(torch.autograd.Function):
    """A tensor, whose backward pass tells of an evaluation."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, evaluation: "_Evaluation") -> Tensor:
        ctx.evaluation = evaluation
        return part.view_as(part)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ctx.evaluation.take()
        return gradients[0], None


class _Compiled(torch.autograd.Function):
    """A tensor, whose backward pass moves the state at once.

    A compiler takes the state for what it was in the forward pass, and would begin to move it there. Other calls may
    move it in between: so all of it is made to depend on the gradient.
    """

    @staticmethod
    def forward(ctx: Any, part: Tensor, seen: Tensor, learner: Any, hold: bool) -> Tensor:
        ctx.seen, ctx.learner, ctx.hold = seen, learner, hold
        return part.view_as(part)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        nothing = gradients[0].isnan().any() & False
        for buffer in ctx.learner.buffers():
            buffer.add_(nothing)
        ctx.learner.update(ctx.seen, ctx.hold)
        return gradients[0], None, None, None


class _Evaluation:
    """What there is to learn from an evaluation, and the state that it saw."""

    def __init__(self, learner: Any, seen: Tensor, hold: bool):
        self.learner, self.seen, self.hold = learner, seen, hold
        self.state = dict(learner.named_buffers())
        # a forward pass within a backward pass is one that a checkpoint repeats; outside of any the id is -1
        self.repeats = torch._C._current_graph_task_id() >= 0
        note_repetition()
        self.taken = False

    def take(self) -> None:
        """Its gradient is taken: learn from it when the pass is over."""
        if not self.taken:
            self.taken = True
            # a repeated call is taken in a pass within the pass, and waits for the outermost: what is repeated after it
            # is to see the same state
            own, outermost = _Pass.current()
            (outermost if self.repeats else own).moves.append(self.move)

    @torch.no_grad()
    def move(self) -> None:
        if all(now is self.state.get(name) for name, now in self.learner.named_buffers()):
            self.learner.update(self.seen, self.hold)
        else:
            state = {f"learner.{name}": buffer for name, buffer in self.state.items()}
            torch.func.functional_call(_Update(self.learner), state, (self.seen, self.hold))


class _Update(nn.Module):
    """`update` as what a module does when it is called."""

    def __init__(self, learner: Any):
        super().__init__()
        self.learner = learner

    def forward(self, seen: Tensor, hold: bool) -> None:
        self.learner.update(seen, hold)


class _Pass:
    """A backward pass that is under way: called by autograd when it is over.

    The checkpoint's reentrant form runs passes within passes, in one thread; the state moves after the outermost.

    Attributes:
        moves: what is to be done then, in the order of the backward pass, which is the reverse of the forward's.
    """

    def __init__(self, task: int):
        self.task, self.moves, self.over = task, list[Callable[[], None]](), False

    @classmethod
    def current(cls) -> tuple["_Pass", "_Pass"]:
        """The pass that this is called in, and the outermost that is known to be around it."""
        # autograd alone holds a pass: one that failed is gone, with all that it was to move
        known = (ref() for ref in getattr(_UNDER_WAY, "passes", ()))
        open_passes = [each for each in known if each is not None and not each.over]
        task = torch._C._current_graph_task_id()
        own = next((each for each in open_passes if each.task == task), None)
        if own is None:
            own = cls(task)
            torch.autograd.Variable._execution_engine.queue_callback(own)
            open_passes.append(own)
        _UNDER_WAY.passes = [weakref.ref(each) for each in open_passes]
        return own, open_passes[0]

    def __call__(self) -> None:
        """Autograd is through with it."""
        self.over = True
        while self.moves:
            self.moves.pop()()


_UNDER_WAY = threading.local()
"""`passes`: weak references to the backward passes of a thread, the outermost first."""
