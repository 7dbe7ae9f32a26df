"""A bank of perceptrons whose experts are spread over processes: rows travel to them, and their answers back."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from gatewise.distributed.all_to_all import Arrivals, exchange
from gatewise.distributed.dtensor import local
from gatewise.distributed.group import lost_process_errors
from gatewise.distributed.mesh import DATA, EXPERTS, check_mesh, experts_per_process
from gatewise.mixture import Experts, MLPBank
from gatewise.mixture.eval_mode import is_frozen
from gatewise.mixture.grouped.buffers import BufferPool
from gatewise.mixture.grouped.strategies import every, run, types
from gatewise.mixture.masks import attached, blind, unmasked


class ShardedBank(Experts):
    """The K experts of an `MLPBank`, each held and run by one process of an axis of a mesh. Made by `shard_experts`.

    Its parameters have the names and the shapes `[K, ...]` of the bank's, as DTensors with `Shard(0)`: experts have
    the same numbers on all processes. A process may hold none of them, and have no rows for some.

    Every process gives rows of its own. All processes along the axis run the experts together, in the same order and
    equally often, forward and backward; the gradient of an expert is then the sum over the rows of all processes along
    that axis. What is left to sum is that of processes along the data axis, which hold the same experts.

    Args:
        bank: whose weights on the first process are taken.
        mesh: made by `expert_mesh`.

    Raises:
        GatewiseError: for a mesh of other axes.
    """

    collective = True

    def __init__(self, bank: MLPBank, mesh: DeviceMesh):
        super().__init__()
        check_mesh(mesh)
        self.num_experts, self.dropout, self.strategy = bank.num_experts, bank.dropout, bank.strategy
        self.mesh = mesh
        self.held = experts_per_process(bank.num_experts, mesh.size(1))
        self.weights, self.biases = (
            nn.ParameterList(nn.Parameter(_shard(each, mesh), each.requires_grad) for each in layers)
            for layers in (bank.weights, bank.biases)
        )
        self._pool = BufferPool()
        self.train(bank.training)

    @property
    def handle(self) -> dist.ProcessGroup:
        """The processes that the experts are spread over."""
        return self.mesh.get_group(EXPERTS)

    @property
    def replicas(self) -> dist.ProcessGroup:
        """The processes that hold the same experts as this one."""
        return self.mesh.get_group(DATA)

    def where(self, possible: Tensor, x: Tensor) -> Tensor:
        """Outputs `[B, K, O]` as of `Experts.where`; if one process masks, all send rows as `grouped` does."""
        if blind(possible):
            return unmasked(possible, self(x))
        told = self._exchange_counts([[len(x), int(not bool(possible.all()))]] * len(self.held), 2, x.device)
        if any(masks for _, masks in told):
            return self.only_where(possible, x)
        return self._of_all(x.flatten(1), [count for count, _ in told])

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `[B, K, O]` of every expert on every row of x `[B, ...]`; B may differ from process to process."""
        told = self._exchange_counts([[len(x)]] * len(self.held), 1, x.device)
        return self._of_all(x.flatten(1), [count for (count,) in told])

    def _of_all(self, x: Tensor, rows: list[int]) -> Tensor:
        """The same of flat rows, where each process has so many."""
        holders = [int(count > 0) for count in self.held]
        # each process that holds experts gets all rows, once
        sent = [len(x) * holds for holds in holders]
        received = [count * holders[self.mesh.get_local_rank(EXPERTS)] for count in rows]
        here = exchange(x.repeat(sum(holders), 1), sent, received, self.handle)
        weights, biases = self._own()
        own = len(weights[0])
        out = every(here, weights, biases, dropout=self._dropout) if own else self._no_outputs(here).unsqueeze(1)
        # expert by expert, so that what comes from all processes is [K, B, O]
        parts = [part.transpose(0, 1).flatten(0, 1) for part in out.split(received)] if own else [out.flatten(0, 1)]
        back = [len(x) * count for count in self.held]
        answers = exchange(torch.cat(parts), [count * own for count in received], back, self.handle)
        return answers.view(self.num_experts, len(x), answers.shape[1]).transpose(0, 1)

    def grouped(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Outputs `[N, O]` for rows x `[N, ...]` sorted by expert: counts[k] consecutive rows for expert k."""
        x = x.flatten(1)
        mine = iter(counts)
        asked = [[next(mine) for _ in range(count)] for count in self.held]
        weights, biases = self._own()
        arrived = Arrivals(self._exchange_counts(asked, len(weights[0]), x.device))
        sent = [sum(part) for part in asked]
        here = arrived.sort(exchange(x, sent, arrived.of_processes, self.handle))
        if len(here):
            counted = arrived.of_experts
            out = run(here, weights, biases, counted, dropout=self._dropout, strategy=self.strategy, pool=self._pool)
        else:
            out = self._no_outputs(here)
        return exchange(arrived.unsort(out), arrived.of_processes, sent, self.handle)

    def train(self, mode: bool = True) -> "ShardedBank":
        """Set the mode; memory kept for the next training step is given back when training ends."""
        if not mode:
            self._pool.release()
        return super().train(mode)

    @property
    def _dropout(self) -> float:
        return self.dropout if self.dropout and self.training and not is_frozen(self) else 0.0

    def _own(self) -> tuple[list[Tensor], list[Tensor]]:
        """The weights and biases of the experts here."""
        return [local(weight) for weight in self.weights], [local(bias) for bias in self.biases]

    def _exchange_counts(self, numbers: list[list[int]], count: int, device: torch.device) -> list[list[int]]:
        """What each process tells this one, `count` numbers each, where this one tells them `numbers`."""
        sent = [len(part) for part in numbers]
        flat = torch.tensor([number for part in numbers for number in part], dtype=torch.int64, device=device)
        found = flat.new_empty(len(sent) * count)
        with lost_process_errors():
            dist.all_to_all_single(found, flat, [count] * len(sent), sent, group=self.handle)
        return [found[i * count : (i + 1) * count].tolist() for i in range(len(sent))]

    def _no_outputs(self, x: Tensor) -> Tensor:
        """Outputs `[0, O]` for no rows, with x and the parameters in their graph.

        A process without rows, or without experts, takes part in the way back of the gradients all the same.
        """
        out = types(x, self.weights[0])[1]
        return attached(x[:, :1].expand(0, self.biases[-1].shape[1]).to(out), map(local, self.parameters()))

    def extra_repr(self) -> str:
        """Shape, for `print`."""
        widths = [self.weights[0].shape[1], *(bias.shape[1] for bias in self.biases)]
        shape = f"{self.num_experts} × {' → '.join(map(str, widths))}"
        return f"{shape}, dropout={self.dropout}, spread as {' + '.join(map(str, self.held))}"


def _shard(whole: Tensor, mesh: DeviceMesh) -> DTensor:
    """A tensor `[K, ...]` of the first process as one of which each process along the axis of experts has its own."""
    with lost_process_errors():
        own = distribute_tensor(whole.detach(), mesh, [Replicate(), Shard(0)]).to_local().contiguous()
    return DTensor.from_local(own, mesh[EXPERTS], [Shard(0)], run_check=False, shape=whole.shape, stride=whole.stride())
