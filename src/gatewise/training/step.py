"""One optimiser step at a time: schedules, micro-batches, mixed precision, clipping."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gatewise.config.run import LoopConfig
from gatewise.distributed import ALONE, Group, micro_batches
from gatewise.distributed.dtensor import clip, total_norm
from gatewise.errors import GatewiseError
from gatewise.metrics.gate import GateStatistics
from gatewise.mixture import BalanceBias, MixtureOfExperts, NoisyTopK, Observed
from gatewise.objectives import Objective, Regulariser
from gatewise.training.collapse.warm_start import WarmStart
from gatewise.training.data_parallel import Piece, gradient_sync, over_all, pieces_of
from gatewise.training.input.batching import Shares, batch_bounds, own_rows
from gatewise.training.input.datasets import RowStream
from gatewise.training.optim import parameter_groups, rate_at
from gatewise.training.seeding import (
    noise_source,
    point_at,
    random_states,
    seed_dropout,
    seeds,
    set_random_states,
)
from gatewise.training.stateful import forms, part, prefixed


@dataclass(frozen=True)
class Terms:
    """What the loss of a batch is made of.

    Attributes:
        observed: the mixture at the batch.
        value: the mean (weighted) objective, a scalar.
        penalties: of the regularisers, scalars.
        control: the loss of what the estimator learns, a scalar, or None.
    """

    observed: Observed
    value: Tensor
    penalties: list[Tensor]
    control: Tensor | None

    @property
    def loss(self) -> Tensor:
        """The mean loss of the mixture, without that of the estimator."""
        loss = -self.value
        for penalty in self.penalties:
            loss = loss + penalty
        return loss


class NonFiniteBatch(GatewiseError):
    """A batch whose loss or gradient is not finite: no step was taken.

    Attributes:
        pieces: its micro-batches, by which `gatewise.training.nonfinite.trace` finds where the numbers arise.
    """

    def __init__(self, pieces: Sequence[Piece]):
        super().__init__("the loss of a batch, or its gradient, is not finite; lower lr or check the data")
        self.pieces = pieces


class Snapshot:
    """What a batch moves besides the weights, as it was before: random states, and buffers such as running means.

    Args:
        train_step: about to take a step.
    """

    def __init__(self, train_step: "TrainStep"):
        self.train_step = train_step
        self.noise, self.random = train_step.generator.get_state(), random_states(train_step.device)
        self.buffers = [buffer.clone() for buffer in train_step.buffers]

    def put_back(self) -> None:
        """Leave the training step as if the batch had not been seen."""
        self.train_step.generator.set_state(self.noise)
        set_random_states(self.random, self.train_step.device)
        for buffer, before in zip(self.train_step.buffers, self.buffers, strict=True):
            buffer.copy_(before)
        self.train_step.optimiser.zero_grad(set_to_none=True)


class TrainStep:
    """One training: the optimiser, the order of rows and the noise, one step at a time.

    Args:
        mixture: the model, on its device.
        objective: what is maximised.
        regularisers: of the gate.
        config: see `LoopConfig`.
        steps: optimiser steps in all, for the schedules.
        group: the processes that train together, each on its part of every batch.

    Raises:
        GatewiseError: if nothing is left to train, or a balance bias is to be moved that the gate does not have.
    """

    def __init__(
        self,
        mixture: MixtureOfExperts,
        objective: Objective,
        regularisers: Sequence[Regulariser],
        config: LoopConfig,
        steps: int,
        group: Group = ALONE,
    ):
        self.mixture, self.objective, self.regularisers = mixture, objective, regularisers
        self.config, self.steps, self.step, self.group = config, steps, 0, group
        self.passed_over = 0
        self.progress = 0.0
        self.device = next(mixture.parameters()).device
        order, noise, self.dropout_seed = seeds(config.seed, 3)
        self.order = torch.Generator(self.device).manual_seed(order)
        self.order_before = self.order.get_state()
        self.generator = noise_source(noise, self.device, group)
        self.parameters = [p for p in mixture.parameters() if p.requires_grad]
        self.own = [p for p in objective.parameters() if p.requires_grad]
        self.buffers = [*mixture.buffers(), *objective.buffers()]
        groups = parameter_groups(mixture, objective, config)
        self.balances = self._balances()
        self.selected = any(isinstance(module, NoisyTopK) for module in mixture.gate.modules())
        self.warm_start: WarmStart | None = None
        self.optimiser = torch.optim.AdamW(groups, lr=config.lr, fused=self.device.type != "mps")
        objective.hold_statistics(True)
        self.copies = gradient_sync(mixture, objective, group)

    def state_dict(self) -> dict[str, Any]:
        """Weights, moments, random states and the place in the schedules."""
        moments = self.optimiser.state_dict()["state"]
        return {
            **prefixed("mixture", self.mixture.state_dict()),
            **prefixed("objective", self.objective.state_dict()),
            **prefixed("optimiser", {f"{i}.{name}": value for i, of in moments.items() for name, value in of.items()}),
            **prefixed("random", random_states(self.device)),
            "order": self.order_before,
            "noise": self.generator.get_state(),
            "step": self.step,
            "passed_over": self.passed_over,
            # of the last step: what an epoch is told of, and audited with, is as its last step had it
            "progress": self.progress,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take such a state.

        Raises:
            ValueError: if it is of another model, objective or optimiser.
        """
        mixture, objective, moments = (part(prefix, state) for prefix in ("mixture", "objective", "optimiser"))
        if forms(mixture) != forms(self.mixture.state_dict()):
            raise ValueError("its weights have other names, shapes or types")
        if forms(objective) != forms(self.objective.state_dict()):
            raise ValueError("the state of its objective has other names, shapes or types")
        by_parameter: dict[int, dict[str, Tensor]] = {}
        for name, value in moments.items():
            index, _, what = name.partition(".")
            like = self._optimised[int(index)] if what != "step" else torch.zeros(())
            if (value.shape, value.dtype) != (like.shape, like.dtype):
                raise ValueError(f"the optimiser's {name} has another shape or type")
            by_parameter.setdefault(int(index), {})[what] = value
        self.mixture.load_state_dict(mixture)
        self.objective.load_state_dict(objective)
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": by_parameter, "param_groups": groups})
        self.order.set_state(state["order"])
        self.generator.set_state(state["noise"])
        self.step, self.passed_over = state["step"], state["passed_over"]
        # older checkpoints do not tell it
        self.set_progress(state.get("progress", max(self.step - 1, 0) / max(self.steps, 1)))
        set_random_states(part("random", state), self.device)

    @property
    def _optimised(self) -> list[Tensor]:
        """The parameters in the order of the optimiser, which numbers their moments."""
        return [parameter for group in self.optimiser.param_groups for parameter in group["params"]]

    def parameter_of(self, name: str) -> Tensor | None:
        """The parameter whose weights, best weights or moments are the tensor of this name in a checkpoint."""
        prefix, _, rest = name.removeprefix("best_start.").partition(".")
        if prefix in ("mixture", "best"):
            return dict(self.mixture.named_parameters()).get(rest)
        index, _, what = rest.partition(".")
        if prefix != "optimiser" or what == "step" or not index.isdecimal():
            return None
        return self._optimised[int(index)] if int(index) < len(self._optimised) else None

    def reseed(self, seed: int) -> None:
        """Go on with another order of rows and other noise."""
        order, noise, rest = seeds(seed, 3)
        self.order.manual_seed(order)
        self.generator.manual_seed(noise)
        torch.manual_seed(rest)

    def _balances(self) -> list[BalanceBias]:
        """The biases that each step moves."""
        if not self.config.balance_rate:
            return []
        found = [module for module in self.mixture.gate.modules() if isinstance(module, BalanceBias)]
        if not found:
            raise GatewiseError(
                "balance_rate moves a bias of the gate, and this gate has none; make it by gw.mixture.Gate(…, "
                "balance=True), put a gw.mixture.BalanceBias into your own, or leave balance_rate at 0"
            )
        return found

    def new_statistics(self) -> GateStatistics:
        """Statistics for `take_step` to gather, with nothing in them yet."""
        return GateStatistics(self.mixture.num_experts, self.device, self.selected)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Mixed precision where it was asked for, or by default on CUDA."""
        precision = self.config.precision
        if precision == "auto":
            precision = "bfloat16" if self.device.type == "cuda" else "float32"
        if precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def set_progress(self, progress: float) -> None:
        """Move learning rate, temperature and weights to where training is, in [0, 1]."""
        self.progress = progress
        self.objective.set_progress(progress)
        for regulariser in self.regularisers:
            regulariser.set_progress(progress)
        rate = self.config.lr
        if self.config.lr_schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * progress))
        for group in self.optimiser.param_groups:
            group["lr"] = rate * rate_at(group["rate"], progress, self.config.gate_warmup)

    def take_step(
        self,
        x: Tensor,
        y: Tensor,
        statistics: GateStatistics,
        assignment: Tensor | None = None,
        weight: Tensor | None = None,
        rows: int | None = None,
    ) -> Tensor:
        """One optimiser step on a batch; returns its loss and its objective `[2]`, detached.

        With an assignment `[B]` it is a step of the warm start. Rows may have weights `[B]`, by which their objective
        is multiplied before the mean; the gate's regularisers and statistics count rows, whatever they weigh.

        Where several processes train, the rows given are this one's, as `batches` gives them, `rows` is how many the
        whole batch has, and what is returned and gathered is of the whole batch.

        Raises:
            NonFiniteBatch: if the loss or a gradient is not finite, of any process on all. No step was taken then, and
                everything is as it was.
        """
        self.set_progress(self.step / max(self.steps, 1))
        parts = micro_batches(len(y) if rows is None else rows, self.config.accumulate, self.group)
        pieces = pieces_of((x, y, assignment, weight), parts)
        seed_dropout(self.dropout_seed, self.step, self.group)
        before = Snapshot(self)
        self.optimiser.zero_grad(set_to_none=True)
        seen, gates = self._backward(pieces)
        of_step = self.new_statistics()
        for logits in gates:
            of_step.update(logits)
        if self.copies is not None:
            seen = over_all(self.copies, seen, of_step, self.objective)
        norm = total_norm(p.grad for p in self.parameters if p.grad is not None)
        own = total_norm(p.grad for p in self.own if p.grad is not None)
        # the one moment of a step that waits for the device; what is looked at is the same on all processes
        if not math.isfinite(float(seen.sum() + norm + own)):
            before.put_back()
            raise NonFiniteBatch(pieces)
        if self.config.clip:
            clip(self.parameters, self.config.clip, norm)
        self.optimiser.step()
        for balance in self.balances:
            balance.update(of_step.load, self.config.balance_rate)
        statistics.add(of_step)
        self.objective.commit()
        self.step += 1
        return seen

    def _backward(self, pieces: Sequence[Piece]) -> tuple[Tensor, list[Tensor]]:
        """Gather the gradient over micro-batches; returns the loss and the objective `[2]`, and the gate's logits."""
        whole = self.whole_statistics(pieces)() if len(pieces) > 1 else None
        total = sum(piece.part.total for piece in pieces)
        seen, gates = torch.zeros(2, device=self.device), []
        for piece in pieces:
            share = piece.part.rows / total
            with self.autocast():
                terms = self.terms(piece, whole)
                loss = terms.loss
            ((loss if terms.control is None else loss + terms.control) * share).backward()
            seen += torch.stack([loss.detach(), terms.value.detach()]) * share
            gates.append(terms.observed.logits.detach())
        return seen, gates

    def terms(self, piece: Piece, whole: dict[int, Tensor] | None) -> Terms:
        """What the loss of a micro-batch is made of; `whole` as `whole_statistics` gives it, None asks for it."""
        point_at(self.generator, piece.part)
        observed = self.mixture.observe(piece.x, piece.y)
        logits = observed.logits.float()
        # other processes' gates are asked for before the experts run, so that nobody waits for them meanwhile
        known = self.whole_statistics([piece], [logits]) if whole is None else lambda: whole
        if piece.assignment is None or self.warm_start is None:
            estimate = self.objective(observed, self.generator)
        else:
            estimate = self.warm_start(observed, piece.assignment)
        value = (estimate.value if piece.weight is None else estimate.value * piece.weight).mean()
        of_batch = known()
        penalties = [
            regulariser.linearised(logits, of_batch[i]) if i in of_batch else regulariser(logits)
            for i, regulariser in enumerate(self.regularisers)
        ]
        return Terms(observed, value, penalties, estimate.control_loss)

    @torch.no_grad()
    def whole_statistics(
        self, pieces: Sequence[Piece], gates: Sequence[Tensor] = ()
    ) -> Callable[[], dict[int, Tensor]]:
        """For regularisers that do not add up over several parts of a batch: the whole batch's gate statistics.

        The gate's logits may be given, where they are known. All processes call this together; what is returned waits
        for what the others have.
        """
        wanted = {i: r for i, r in enumerate(self.regularisers) if not r.linear}
        if not wanted or (len(pieces) == 1 and self.group.size == 1):
            return dict
        total = sum(piece.part.total for piece in pieces)
        whole: dict[int, Tensor] = {}
        for index, piece in enumerate(pieces):
            with self.autocast():
                logits = gates[index] if gates else self.mixture.read(piece.x)[1].float()
            for i, regulariser in wanted.items():
                term = regulariser.statistics(logits) * (piece.part.rows / total)
                whole[i] = whole[i] + term if i in whole else term
        sizes, summed = [len(each) for each in whole.values()], self.group.start_sum(torch.cat(list(whole.values())))
        return lambda: dict(zip(whole, summed().split(sizes), strict=True))

    def batches(self, *columns: Tensor, batch_size: int, skip: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """The rows in a new random order, without the first `skip` batches; of each batch those of this process.

        A last batch of at most half the size joins the one before it. `order_before` is what drew the order.
        """
        count = len(columns[0])
        self.order_before = self.order.get_state()
        order = torch.randperm(count, generator=self.order, device=self.device)
        for rows in order.tensor_split(batch_bounds(count, batch_size))[skip:]:
            own = own_rows(rows, self.config.accumulate, self.group)
            yield tuple(column[own] for column in columns)

    def streamed(self, rows: RowStream, sizes: Sequence[int], skip: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """As `batches`, of rows that are read as they are needed, in batches of these sizes."""
        self.order_before = self.order.get_state()
        seed = int(torch.randint(2**62, (), generator=self.order, device=self.device))
        for batch in rows.shuffled(seed, Shares(sizes, self.config.accumulate, self.group), skip):
            yield tuple(column.to(self.device) for column in batch)
