"""Gate statistics over training rows: of an epoch, of a step, over micro-batches and processes."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gatewise.mixture.information import effective_experts, entropy, experts_used, mutual_information

Reduce = Callable[[Tensor], Tensor]
"""A tensor to its sum over all processes, the same on each."""


class GateStatistics:
    """Sums over rows of the gate's logits, gathered without a synchronisation.

    Args:
        num_experts: K.
        device: where the logits are.
        selected: whether an expert's load counts the rows that give it any probability, as the top k do of a gate that
            keeps only those; else the rows whose argmax it is.

    Attributes:
        rows: how many.
        argmax: rows whose argmax is expert k, `[K]`.
        load: rows that chose expert k, `[K]`; see `selected`.
    """

    def __init__(self, num_experts: int, device: torch.device, selected: bool = False):
        self.rows = 0
        self.selected = selected
        self.experts = torch.arange(num_experts, device=device)
        # float32 would count no further than to 16 million rows
        wide = torch.float32 if device.type == "mps" else torch.float64
        self._hold(torch.zeros(1 + (3 if selected else 2) * num_experts, dtype=wide, device=device))

    def _hold(self, sums: Tensor) -> None:
        """Name the parts of the one tensor that there is to reduce."""
        self.sums, count = sums, len(self.experts)
        self.entropy = sums[0]
        self.gate, self.argmax = sums[1 : 1 + count], sums[1 + count : 1 + 2 * count]
        self.load = sums[1 + 2 * count :] if self.selected else self.argmax

    def state_dict(self) -> dict[str, Any]:
        """The sums, and of how many rows they are."""
        return {"statistics": self.sums, "rows": self.rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take such a state; raises ValueError for one of other experts."""
        sums = state["statistics"]
        if (sums.shape, sums.dtype) != (self.sums.shape, self.sums.dtype):
            raise ValueError("its gate statistics have another shape")
        self.rows = state["rows"]
        self._hold(sums.to(self.sums))

    @torch.no_grad()
    def update(self, logits: Tensor) -> None:
        """Add the rows of detached logits `[B, K]`."""
        probs = logits.detach().float().softmax(-1)
        self.rows += len(probs)
        self.entropy += entropy(probs).sum()
        self.gate += probs.sum(0)
        self.argmax += (probs.argmax(-1, keepdim=True) == self.experts).sum(0)
        if self.selected:
            self.load += (logits > -torch.inf).sum(0)

    def add(self, more: "GateStatistics") -> None:
        """Add the rows of another one, of the same experts."""
        self.rows += more.rows
        self.sums += more.sums

    def reduce(self, reduce: Reduce, *besides: Tensor) -> list[Tensor]:
        """Make these the statistics of all processes.

        Args:
            reduce: is called once, with one tensor of all sums, the number of rows, and what is given besides.
            besides: vectors to sum along with them.

        Returns:
            The vectors over all processes.
        """
        parts = [self.sums, self.sums.new_tensor([self.rows]), *(each.to(self.sums) for each in besides)]
        sums, rows, *summed = reduce(torch.cat(parts)).split([len(part) for part in parts])
        self.rows = int(rows)
        self._hold(sums)
        return summed

    def metrics(self) -> dict[str, float | int]:
        """The epoch's figures, with the prefix of `metrics.jsonl`."""
        mean_gate, mean_entropy = self.gate / self.rows, self.entropy / self.rows
        return {
            "train_gate_entropy": float(mean_entropy),
            "train_mutual_information": float(mutual_information(mean_gate, mean_entropy)),
            "train_effective_experts": float(effective_experts(mean_gate)),
            "train_experts_used": int(experts_used(self.argmax)),
        }
