"""Accumulators over the rows of a mixture whose head is a distribution, whatever its targets are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.mixture import DistributionHead, MixtureOfExperts
from gatewise.mixture.information import effective_experts, entropy, experts_used, mutual_information

BATCH = 1024


@dataclass(frozen=True)
class Seen:
    """A batch as the mixture sees it.

    Attributes:
        x: rows, `[B, ...]`.
        y: targets, `[B]` or `[B, L]`.
        outputs: of all experts, `[B, K, O]`.
        gate: p(z|x), `[B, K]`.
        first: the gate's argmax, `[B, 1]`.
    """

    x: Tensor
    y: Tensor
    outputs: Tensor
    gate: Tensor
    first: Tensor


class TargetTally(ABC):
    """Sums over rows, batch by batch, from which the figures of a mixture are made; no row is kept.

    Args:
        mixture: run in the mode that it is in.
        costly: measure what takes longer too.

    Attributes:
        counts: what a subclass adds up besides, float64.
    """

    def __init__(self, mixture: MixtureOfExperts, costly: bool = True):
        self.mixture, self.costly, self.rows = mixture, costly, 0
        self.sums: dict[str, float] = {}
        self.gate = torch.zeros(mixture.num_experts, dtype=torch.float64)
        self.argmax_counts = torch.zeros(mixture.num_experts, dtype=torch.int64)
        self.counts: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, x: Tensor, y: Tensor) -> None:
        """Add rows x `[B, ...]` with targets y, `[B]` or `[B, L]`."""
        device = next(self.mixture.parameters()).device
        for rows, targets in zip(x.split(BATCH), y.split(BATCH), strict=True):
            sums = self._measured(rows.to(device), targets.to(device))
            self.sums = {name: self.sums.get(name, 0.0) + float(term.sum()) for name, term in sums.items()}
            self.rows += len(rows)

    def all_of(self, batches: Iterable[Sequence[Tensor]]) -> Self:
        """Add pairs of x and y."""
        for x, y in batches:
            self.update(x, y)
        return self

    def reduce(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Make this the tally of the rows of all processes, each of which has added some.

        Args:
            reduce: a tensor to its sum over the processes; called once.
        """
        sums = torch.tensor([self.rows, *self.sums.values()], dtype=torch.float64)
        held = [sums, self.gate, self.argmax_counts, *self.counts.values()]
        whole = reduce(torch.cat([each.double().flatten() for each in held])).split([each.numel() for each in held])
        self.rows, self.sums = int(whole[0][0]), dict(zip(self.sums, whole[0][1:].tolist(), strict=True))
        self.gate, self.argmax_counts = whole[1], whole[2].long()
        counts = zip(self.counts.items(), whole[3:], strict=True)
        self.counts = {name: part.view(before.shape) for (name, before), part in counts}

    @abstractmethod
    def terms(self, seen: Seen) -> Mapping[str, Any]:
        """What is summed besides the likelihood: by name the numbers of each row, `[B]`."""

    def _measured(self, x: Tensor, y: Tensor) -> dict[str, Any]:
        head, (features, logits) = head_of(self.mixture), self.mixture.read(x)
        outputs, log_gate = self.mixture.outputs(features, logits), logits.log_softmax(-1)
        of_experts = head.log_prob(outputs, y.unsqueeze(1).expand(*outputs.shape[:2], *y.shape[1:]))
        of_experts = torch.where(log_gate > -torch.inf, of_experts, 0.0)
        gate, first = log_gate.exp(), log_gate.argmax(-1, keepdim=True)
        self.gate += gate.cpu().double().sum(0)
        self.argmax_counts += torch.bincount(first.squeeze(1).cpu(), minlength=len(self.argmax_counts))
        terms = {
            "nll": -(log_gate + of_experts).logsumexp(-1),
            "nll_top1": -of_experts.gather(1, first),
            "jensen": torch.where(gate > 0, gate * of_experts, 0.0).sum(-1),
            "gate_entropy": entropy(gate),
        }
        own = self.terms(Seen(x, y, outputs, gate, first))
        return {**own} | {name: term.cpu().double() for name, term in terms.items()}

    def result(self) -> dict[str, Any]:
        """The figures of all rows so far: of the likelihood, of the gate as in `gatewise.metrics.Evaluation`.

        Raises:
            GatewiseError: if there were no rows.
        """
        if not self.rows:
            raise GatewiseError("there are no rows to evaluate; give data with at least one row")
        means: dict[str, float | int] = {name: total / self.rows for name, total in self.sums.items()}
        mean_gate, used = self.gate / self.rows, int(experts_used(self.argmax_counts))
        return means | {
            "bound_gap": max(0.0, -means["nll"] - means["jensen"]),
            "mutual_information": float(mutual_information(mean_gate, torch.as_tensor(means["gate_entropy"]))),
            "effective_experts": float(effective_experts(mean_gate)),
            "experts_used": used,
            "dead_experts": self.mixture.num_experts - used,
            "rows": self.rows,
        }

    def details(self) -> dict[str, Any]:
        """What a report draws of them, as in `gatewise.metrics.classification.Details`."""
        share = self.argmax_counts.double() / self.rows
        return {"expert_share": share.tolist(), "mean_gate": (self.gate / self.rows).tolist()}


def head_of(mixture: MixtureOfExperts) -> DistributionHead:
    """The head of a mixture that predicts numbers or labels."""
    assert isinstance(mixture.head, DistributionHead)
    return mixture.head
