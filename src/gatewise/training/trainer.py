"""One optimiser step at a time: schedules, micro-batches, mixed precision, clipping."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.mixture import BalanceBias, MixtureOfExperts, NoisyTopK, Observed
from gatewise.objectives import Objective, Regulariser
from gatewise.training.config import LoopConfig
from gatewise.training.finite import Before, NotFinite, trace
from gatewise.training.gate_statistics import GateStatistics, Reduce, alone
from gatewise.training.parameter_groups import parameter_groups, rate_at
from gatewise.training.warm_start import WarmStart

Rows = tuple[Tensor, Tensor]
"""x `[N, ...]` and classes y int64 `[N]`."""


def seeds(seed: int, count: int) -> list[int]:
    """Seeds of streams that have nothing to do with each other, from one."""
    return torch.randint(2**62, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def default_batch_size(rows: int) -> int:
    """A twentieth of the rows, as a power of two from 64 to 256.

    Not fewer, as the balance of a smaller batch is mostly chance: a gate that is sure and balanced over all rows has an
    expected importance of about (K - 1) / B in a batch of B, and is pressed to choose less.
    """
    return 2 ** round(math.log2(min(max(rows / 20, 64), 256)))


def default_epochs(steps_per_epoch: int) -> int:
    """As many as make 2000 steps, from 15 to 300."""
    return min(max(round(2000 / steps_per_epoch), 15), 300)


def default_patience(epochs: int) -> int:
    """A quarter of the epochs, at least 5."""
    return max(5, epochs // 4)


def batch_bounds(rows: int, batch_size: int) -> tuple[int, ...]:
    """Where an epoch's rows are cut into batches; a last batch of at most half the size joins the one before it."""
    return tuple(range(batch_size, rows - batch_size // 2, batch_size))


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


class Trainer:
    """One training: the optimiser, the order of rows and the noise, one step at a time.

    Args:
        mixture: the model, on its device.
        objective: what is maximised.
        regularisers: of the gate.
        config: see `LoopConfig`.
        steps: optimiser steps in all, for the schedules.
        reduce: sums a tensor over the processes that train together.

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
        reduce: Reduce = alone,
    ):
        self.mixture, self.objective, self.regularisers = mixture, objective, regularisers
        self.config, self.steps, self.step, self.reduce = config, steps, 0, reduce
        self.passed_over = 0
        self.device = next(mixture.parameters()).device
        order, noise, self.dropout_seed = seeds(config.seed, 3)
        self.order = torch.Generator(self.device).manual_seed(order)
        self.order_before = self.order.get_state()
        self.generator = torch.Generator(self.device).manual_seed(noise)
        self.parameters = [p for p in mixture.parameters() if p.requires_grad]
        self.own = [p for p in objective.parameters() if p.requires_grad]
        self.buffers = [*mixture.buffers(), *objective.buffers()]
        groups = parameter_groups(mixture, objective, config)
        self.balances = self._balances()
        self.warm_start: WarmStart | None = None
        self.optimiser = torch.optim.AdamW(groups, lr=config.lr, fused=self.device.type != "mps")
        objective.hold_statistics(True)

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
        selected = any(isinstance(module, NoisyTopK) for module in self.mixture.gate.modules())
        return GateStatistics(self.mixture.num_experts, self.device, selected)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Mixed precision where it was asked for, or by default on CUDA."""
        precision = self.config.precision
        if precision == "auto":
            precision = "bfloat16" if self.device.type == "cuda" else "float32"
        if precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def set_progress(self) -> None:
        """Move learning rate, temperature and weights to where training is."""
        progress = self.step / max(self.steps, 1)
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
    ) -> Tensor:
        """One optimiser step on a batch; returns its loss and its objective `[2]`, detached.

        With an assignment `[B]` it is a step of the warm start. Rows may have weights `[B]`, by which their objective
        is multiplied before the mean; the gate's regularisers and statistics count rows, whatever they weigh.

        Raises:
            NotFinite: if the loss or a gradient is not finite. No step was taken then, and everything is as it was.
        """
        self.set_progress()
        before, count = Before(self), self.config.accumulate
        columns = [x.chunk(count), y.chunk(count)]
        columns += [[None] * len(columns[0]) if each is None else each.chunk(count) for each in (assignment, weight)]
        pieces = list(zip(*columns, strict=True))
        self.optimiser.zero_grad(set_to_none=True)
        seen, gates = self._backward(pieces, len(y))
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        own = torch.nn.utils.get_total_norm([p.grad for p in self.own if p.grad is not None])
        if not math.isfinite(float(seen.sum() + norm + own)):  # the one moment of a step that waits for the device
            before.put_back()
            said = trace(self, pieces)
            before.put_back()
            raise NotFinite(said)
        if self.config.clip:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.config.clip, norm)
        self.optimiser.step()
        self.objective.commit()
        self._count(gates, statistics)
        self.step += 1
        return seen

    def _backward(self, pieces: Sequence[Sequence[Any]], rows: int) -> tuple[Tensor, list[Tensor]]:
        """Gather the gradient over micro-batches; returns the loss and the objective `[2]`, and the gate's logits."""
        whole = self.whole_statistics([x for x, *_ in pieces])
        seen, gates = torch.zeros(2, device=self.device), []
        for x, y, *besides in pieces:
            with self.autocast():
                terms = self.terms(x, y, whole, *besides)
                loss = terms.loss
            share = len(y) / rows
            ((loss if terms.control is None else loss + terms.control) * share).backward()
            seen += torch.stack([loss.detach(), terms.value.detach()]) * share
            gates.append(terms.observed.logits.detach())
        return seen, gates

    def _count(self, gates: Sequence[Tensor], statistics: GateStatistics) -> None:
        """Add a step's logits to the statistics, and move the gate's biases by them."""
        load_before = statistics.load.clone() if self.balances else None
        for logits in gates:
            statistics.update(logits)
        if load_before is not None:
            load = self.reduce(statistics.load - load_before)
            for balance in self.balances:
                balance.update(load, self.config.balance_rate)

    def terms(
        self,
        x: Tensor,
        y: Tensor,
        whole: dict[int, Tensor],
        assignment: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Terms:
        """What the loss of a micro-batch is made of; `whole` as `whole_statistics` gives it."""
        observed = self.mixture.observe(x, y)
        if assignment is None or self.warm_start is None:
            estimate = self.objective(observed, self.generator)
        else:
            estimate = self.warm_start(observed, assignment)
        value = (estimate.value if weight is None else estimate.value * weight).mean()
        logits = observed.logits.float()
        penalties = [
            regulariser.linearised(logits, whole[i]) if i in whole else regulariser(logits)
            for i, regulariser in enumerate(self.regularisers)
        ]
        return Terms(observed, value, penalties, estimate.control_loss)

    @torch.no_grad()
    def whole_statistics(self, parts: list[Tensor]) -> dict[int, Tensor]:
        """For regularisers that do not add up over several micro-batches: the whole batch's gate statistics."""
        wanted = {i: r for i, r in enumerate(self.regularisers) if not r.linear}
        if not wanted or len(parts) == 1:
            return {}
        rows = sum(map(len, parts))
        whole: dict[int, Tensor] = {}
        for part in parts:
            with self.autocast():
                logits = self.mixture.read(part)[1].float()
            for i, regulariser in wanted.items():
                term = regulariser.statistics(logits) * (len(part) / rows)
                whole[i] = whole[i] + term if i in whole else term
        return whole

    def batches(self, *columns: Tensor, batch_size: int, skip: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """The rows in a new random order, without the first `skip` batches.

        A last batch of at most half the size joins the one before it. `order_before` is what drew the order.
        """
        count = len(columns[0])
        self.order_before = self.order.get_state()
        order = torch.randperm(count, generator=self.order, device=self.device)
        for rows in order.tensor_split(batch_bounds(count, batch_size))[skip:]:
            yield tuple(column[rows] for column in columns)
