"""What the gate did over the training rows of an epoch."""

import torch
from torch import Tensor

from gatewise.mixture.usage import effective_experts, entropy, experts_used, mutual_information


class GateStatistics:
    """The gate's statistics over the training rows of an epoch, gathered without a synchronisation."""

    def __init__(self, num_experts: int, device: torch.device):
        self.rows = 0
        self.entropy = torch.zeros((), device=device)
        self.gate = torch.zeros(num_experts, device=device)
        self.argmax = torch.zeros(num_experts, device=device)
        self.experts = torch.arange(num_experts, device=device)

    @torch.no_grad()
    def update(self, logits: Tensor) -> None:
        """Add the rows of detached logits `[B, K]`."""
        probs = logits.detach().float().softmax(-1)
        self.rows += len(probs)
        self.entropy += entropy(probs).sum()
        self.gate += probs.sum(0)
        self.argmax += (probs.argmax(-1, keepdim=True) == self.experts).sum(0)

    def metrics(self) -> dict[str, float | int]:
        """The epoch's figures, with the prefix of `metrics.jsonl`."""
        mean_gate, mean_entropy = self.gate / self.rows, self.entropy / self.rows
        return {
            "train_gate_entropy": float(mean_entropy),
            "train_mutual_information": float(mutual_information(mean_gate, mean_entropy)),
            "train_effective_experts": float(effective_experts(mean_gate)),
            "train_experts_used": int(experts_used(self.argmax)),
        }
