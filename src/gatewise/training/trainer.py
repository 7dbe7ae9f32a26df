"""One optimiser step at a time: schedules, micro-batches, mixed precision, clipping."""

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatewise.distributed import ALONE, Copies, Group, MicroBatch, micro_batches
from gatewise.errors import GatewiseError
from gatewise.mixture import BalanceBias, MixtureOfExperts, NoisyTopK
from gatewise.noise import SharedGenerator
from gatewise.objectives import Objective, Regulariser
from gatewise.training.config import LoopConfig
from gatewise.training.gate_statistics import GateStatistics
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


def batch_sizes(rows: int, batch_size: int) -> list[int]:
    """How many rows each batch of an epoch has."""
    bounds = (0, *batch_bounds(rows, batch_size), rows)
    return [end - start for start, end in itertools.pairwise(bounds)]


def batch_bounds(rows: int, batch_size: int) -> tuple[int, ...]:
    """Where an epoch's rows are cut into batches; a last batch of at most half the size joins the one before it."""
    return tuple(range(batch_size, rows - batch_size // 2, batch_size))


class Trainer:
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
        self.device = next(mixture.parameters()).device
        order, noise, self.dropout_seed = seeds(config.seed, 3)
        self.order = torch.Generator(self.device).manual_seed(order)
        self.order_before = self.order.get_state()
        source = torch.Generator if group.size == 1 else SharedGenerator
        self.generator = source(self.device).manual_seed(noise)
        self.parameters = [p for p in mixture.parameters() if p.requires_grad]
        groups = parameter_groups(mixture, objective, config)
        self.balances = self._balances()
        self.warm_start: WarmStart | None = None
        self.optimiser = torch.optim.AdamW(groups, lr=config.lr, fused=self.device.type != "mps")
        objective.hold_statistics(True)
        self.copies = self._copies()

    def _copies(self) -> Copies | None:
        """What puts the gradients of the processes together; None where there is one."""
        if self.group.size == 1:
            return None
        for estimator in self.objective.estimators():
            if estimator.whole_batch:
                raise GatewiseError(
                    f"estimator {estimator.name!r} with these options looks at a whole batch at once, which several "
                    "processes do not have; train with one process, or choose other options"
                )
        return Copies([self.mixture, self.objective], self.group)

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
        rows: int | None = None,
    ) -> Tensor:
        """One optimiser step on a batch; returns its loss and its objective `[2]`, detached.

        With an assignment `[B]` it is a step of the warm start. Rows may have weights `[B]`, by which their objective
        is multiplied before the mean; the gate's regularisers and statistics count rows, whatever they weigh.

        Where several processes train, the rows given are this one's, as `batches` gives them, `rows` is how many the
        whole batch has, and what is returned and gathered is of the whole batch.
        """
        self.set_progress()
        parts = micro_batches(len(y) if rows is None else rows, self.config.accumulate, self.group)
        self._seed_dropout()
        cut = [part.rows for part in parts]
        besides = ([None] * len(parts) if each is None else each.split(cut) for each in (assignment, weight))
        pieces = [_Piece(*each) for each in zip(parts, x.split(cut), y.split(cut), *besides, strict=True)]
        whole = self._looked_ahead(pieces) if len(pieces) > 1 else {}
        together = self.copies is not None
        gathered = self.new_statistics() if together or self.balances else statistics
        seen = torch.zeros(2, device=self.device)
        self.optimiser.zero_grad(set_to_none=True)
        for piece in pieces:
            seen += self._learn(piece, pieces, whole, gathered)
        if self.config.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        self.optimiser.step()
        if together:
            seen = self._summed(seen, gathered)
        self.objective.commit()
        for balance in self.balances:
            balance.update(gathered.load, self.config.balance_rate)
        if gathered is not statistics:
            statistics.add(gathered)
        self.step += 1
        return seen

    def _learn(
        self, piece: "_Piece", pieces: list["_Piece"], whole: dict[int, Tensor], statistics: GateStatistics
    ) -> Tensor:
        """Add the gradient of a micro-batch; returns what it adds to the loss and the objective `[2]`."""
        share = piece.part.rows / sum(each.part.total for each in pieces)
        seen: list[Tensor] = []

        def loss() -> Tensor:
            with self.autocast():
                loss, value, control = self._loss(piece, whole, statistics)
            seen.append(torch.stack([loss.detach(), value.detach()]) * share)
            return (loss if control is None else loss + control) * share

        if isinstance(self.generator, SharedGenerator):
            self.generator.first, self.generator.total = piece.part.first, piece.part.total
        if self.copies is None:
            loss().backward()
        else:
            self.copies.backward(loss, last=piece is pieces[-1])
        return seen[0]

    def _loss(
        self, piece: "_Piece", whole: dict[int, Tensor], statistics: GateStatistics
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The loss, the mean (weighted) objective in it, and the loss of learned baselines."""
        observed = self.mixture.observe(piece.x, piece.y)
        if piece.assignment is None or self.warm_start is None:
            estimate = self.objective(observed, self.generator)
        else:
            estimate = self.warm_start(observed, piece.assignment)
        statistics.update(observed.logits)
        value = (estimate.value if piece.weight is None else estimate.value * piece.weight).mean()
        loss = -value
        logits = observed.logits.float()
        if self.copies is not None and not whole:
            whole = self._whole([(piece, logits)])
        for i, regulariser in enumerate(self.regularisers):
            loss = loss + (regulariser.linearised(logits, whole[i]) if i in whole else regulariser(logits))
        return loss, value, estimate.control_loss

    @torch.no_grad()
    def _looked_ahead(self, pieces: list["_Piece"]) -> dict[int, Tensor]:
        """What `_whole` gives, from the gate run over all micro-batches before the first one is learned from."""
        if all(regulariser.linear for regulariser in self.regularisers):
            return {}
        with self.autocast():
            return self._whole([(piece, self.mixture.read(piece.x)[1].float()) for piece in pieces])

    @torch.no_grad()
    def _whole(self, pieces: list[tuple["_Piece", Tensor]]) -> dict[int, Tensor]:
        """The whole batch's gate statistics for regularisers that do not simply add up over its parts."""
        wanted = {i: regulariser for i, regulariser in enumerate(self.regularisers) if not regulariser.linear}
        rows = sum(piece.part.total for piece, _ in pieces)
        whole: dict[int, Tensor] = {}
        for piece, logits in pieces:
            for i, regulariser in wanted.items():
                term = regulariser.statistics(logits) * (piece.part.rows / rows)
                whole[i] = whole[i] + term if i in whole else term
        if self.copies is None or not whole:
            return whole
        flat = self.group.sum(torch.cat(list(whole.values())))
        return dict(zip(whole, flat.split([len(each) for each in whole.values()]), strict=True))

    def _seed_dropout(self) -> None:
        # each process draws its own; by the step, so that it is known wherever training goes on
        if self.copies is not None:
            torch.manual_seed((self.dropout_seed + self.step * self.group.size + self.group.rank) % 2**63)

    def _summed(self, seen: Tensor, gathered: GateStatistics) -> Tensor:
        """The loss and the objective over all processes; what was gathered, and what baselines hold, become of all."""
        names = ((module, name) for module in self.objective.modules() for name in getattr(module, "held_sums", ()))
        held = [getattr(module, name) for module, name in names]
        seen, *whole = gathered.reduce(self.group.sum, seen, *(each.reshape(1) for each in held))
        for each, value in zip(held, whole, strict=True):
            each.copy_(value[0])
        return seen

    def batches(self, *columns: Tensor, batch_size: int, skip: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """The rows in a new random order, without the first `skip` batches; of each batch those of this process.

        A last batch of at most half the size joins the one before it. `order_before` is what drew the order.
        """
        count = len(columns[0])
        self.order_before = self.order.get_state()
        order = torch.randperm(count, generator=self.order, device=self.device)
        for rows in order.tensor_split(batch_bounds(count, batch_size))[skip:]:
            own = rows
            if self.copies is not None:
                parts = micro_batches(len(rows), self.config.accumulate, self.group)
                own = torch.cat([rows[part.start : part.start + part.rows] for part in parts])
            yield tuple(column[own] for column in columns)


class _Piece(NamedTuple):
    """This process's part of a micro-batch, and its rows."""

    part: MicroBatch
    x: Tensor
    y: Tensor
    assignment: Tensor | None
    weight: Tensor | None
