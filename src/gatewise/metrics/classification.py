"""Classification metrics, of the whole mixture and of its best expert alone, and of what its gate does."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError
from gatewise.metrics.ranking import Ranking
from gatewise.metrics.risk_coverage import Selective
from gatewise.mixture import MixtureOfExperts
from gatewise.mixture.information import effective_experts, entropy, experts_used, mutual_information
from gatewise.mixture.masks import unmasked

BINS = 15
"""Equal-width bins of confidence, for the expected calibration error and the reliability diagram."""
GAPS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Where the bins of the bound gap of a row end, in nats; the last bin has no end."""


@dataclass(frozen=True)
class Evaluation:
    """Figures of one mixture on one set of rows. "top1" is the gate's argmax expert alone.

    Attributes:
        accuracy: share of rows whose most probable class is right.
        nll: mean -log p(y|x) of the mixture, in nats, >= 0.
        accuracy_top1: accuracy of the one expert.
        nll_top1: mean -log p(y|z,x) of the one expert, in nats.
        jensen: mean Σ_z π_z log p(y|z,x), a log-likelihood, <= 0.
        bound_gap: -nll - jensen, >= 0: what the Jensen bound gives away.
        gate_entropy: mean H(z|x), in nats.
        mutual_information: I(z;x) = H(mean gate) - mean H(z|x), in nats; 0: the gate does not choose.
        effective_experts: perplexity of the mean gate, 1..K.
        experts_used: experts that are the gate's argmax on at least 1/(10 K) of the rows.
        dead_experts: K - experts_used.
        ece: expected calibration error of the mixture's most probable class, 15 equal bins.
        brier: mean squared distance of the mixture's probabilities from the one-hot class, 0..2.
        rows: how many rows.
        auc: area under the ROC curve, 0..1: of the second of two classes; of more the mean over the classes, each
            against all others. None where it was not measured, or one class has all rows or none.
        average_precision: area under the precision-recall curve, likewise.
    """

    accuracy: float
    nll: float
    accuracy_top1: float
    nll_top1: float
    jensen: float
    bound_gap: float
    gate_entropy: float
    mutual_information: float
    effective_experts: float
    experts_used: int
    dead_experts: int
    ece: float
    brier: float
    rows: int
    auc: float | None = None
    average_precision: float | None = None

    def to_dict(self) -> dict[str, float | int]:
        """The figures by name, for JSON; what was not measured is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Details:
    """What a report draws: lists that JSON takes, None where there were no rows.

    Attributes:
        expert_share: share of rows whose gate argmax is expert k, K numbers.
        mean_gate: mean of p(z|x), K numbers.
        gate_by_class: mean of p(z|x) over the rows of each class, C lists of K.
        reliability: mean confidence, accuracy and count in each bin.
        confusion: counts, true class by predicted class.
        bound_gap: log Σ_z π_z p(y|z,x) - Σ_z π_z log p(y|z,x) of single rows, in bins: `edges` between them in nats,
            and of each bin the `count` of rows and their `total` nats (None where it is not finite).
        selective: accuracy of the rows that are kept when the least sure are left out: see `Selective.table`.
    """

    expert_share: list[float]
    mean_gate: list[float]
    gate_by_class: list[list[float | None]]
    reliability: dict[str, list[float | None]]
    confusion: list[list[int]]
    bound_gap: dict[str, list[float | None]]
    selective: list[dict[str, float | None]]


class Tally:
    """Sums over rows, batch by batch, from which an `Evaluation` and its `Details` are made.

    Args:
        num_experts: K.
        num_classes: C.
        device: where the batches are.
        temperatures: what the log-probabilities of the mixture and of top-1 are divided by before they are judged; the
            bound and its gap are of the mixture as it is.
        costly: rank the rows too, for AUC and average precision; such a tally is of one process.
    """

    def __init__(
        self,
        num_experts: int,
        num_classes: int,
        device: torch.device | str = "cpu",
        temperatures: tuple[float, float] = (1.0, 1.0),
        costly: bool = True,
    ):
        wide = torch.float32 if torch.device(device).type == "mps" else torch.float64

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=wide, device=device)

        self.num_experts, self.num_classes, self.temperatures = num_experts, num_classes, temperatures
        self.rows = 0
        self.sums = zeros(8)
        self.gate_by_class = zeros(num_classes, num_experts)
        self.argmax_counts = zeros(num_experts)
        self.confusion = zeros(num_classes, num_classes)
        self.bins = zeros(3, BINS)
        self.gap_edges = torch.tensor(GAPS, dtype=wide, device=device)
        self.gaps = zeros(2, len(GAPS) + 1)
        self.selective = Selective(num_classes, device)
        self.ranking = Ranking(1 if num_classes == 2 else num_classes) if costly else None

    def update(self, log_gate: Tensor, log_experts: Tensor, y: Tensor) -> None:
        """Add rows: log p(z|x) `[B, K]`, log p(y|z,x) for every class `[B, K, C]`, classes y int64 `[B]`."""
        wide = self.sums.dtype
        log_gate = log_gate.to(log_experts.dtype)
        gate, log_experts = log_gate.exp(), unmasked(log_gate > -torch.inf, log_experts)
        own = (log_gate.unsqueeze(-1) + log_experts).logsumexp(1)
        chosen = log_gate.argmax(-1)
        rows = torch.arange(len(y), device=y.device)
        log_mixture = tempered(own, self.temperatures[0])
        log_top1 = tempered(log_experts[rows, chosen], self.temperatures[1])
        likelihoods = log_experts[rows, :, y]
        probs = log_mixture.exp()
        confidence, predicted = probs.max(-1)
        right = predicted == y
        jensen = torch.where(gate > 0, gate * likelihoods, 0.0).sum(-1)
        self.rows += len(y)
        terms = (
            right,
            -log_mixture[rows, y],
            log_top1.argmax(-1) == y,
            -log_top1[rows, y],
            jensen,
            entropy(gate),
            probs.square().sum(-1) - 2 * probs[rows, y] + 1,
            own[rows, y],
        )
        self.sums += torch.stack([term.to(wide).sum() for term in terms])
        self.gate_by_class.index_add_(0, y, gate.to(wide))
        self.argmax_counts += torch.bincount(chosen, minlength=self.num_experts)
        pairs = torch.bincount(y * self.num_classes + predicted, minlength=self.num_classes**2)
        self.confusion += pairs.view_as(self.confusion)
        bins = (confidence * BINS).long().clamp(0, BINS - 1)
        for row, weights in enumerate((torch.ones_like(confidence), confidence, right)):
            self.bins[row].index_add_(0, bins, weights.to(wide))
        gap = (own[rows, y] - jensen).clamp_min(0.0).to(wide)
        for row, weights in enumerate((torch.ones_like(gap), gap)):
            self.gaps[row].index_add_(0, torch.bucketize(gap, self.gap_edges, right=True), weights)
        self.selective.update(probs, right)
        if self.ranking is not None:
            truth = nn.functional.one_hot(y, self.num_classes).bool()
            # of two classes the second stands for both, as in scikit-learn
            self.ranking.update(*((probs[:, 1:], truth[:, 1:]) if self.num_classes == 2 else (probs, truth)))

    def reduce(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Make this the tally of the rows of all processes.

        Args:
            reduce: a tensor to its sum over the processes; called once.
        """
        kept = (self.sums, self.gate_by_class, self.argmax_counts, self.confusion, self.bins, self.gaps)
        held = (*kept, self.selective.counts)
        rows = self.sums.new_tensor([self.rows])
        whole = reduce(torch.cat([each.flatten().to(self.sums.dtype) for each in held] + [rows]))
        for each, part in zip(held, whole[:-1].split([each.numel() for each in held]), strict=True):
            each.copy_(part.view_as(each))
        self.rows = int(whole[-1])

    def result(self) -> Evaluation:
        """The figures of all rows so far.

        Raises:
            GatewiseError: if there were none.
        """
        if not self.rows:
            raise GatewiseError("there are no rows to evaluate; give data with at least one row")
        accuracy, nll, accuracy_top1, nll_top1, jensen, gate_entropy, brier, own = (self.sums / self.rows).tolist()
        mean_gate = self.gate_by_class.sum(0) / self.rows
        used = int(experts_used(self.argmax_counts))
        count, confidence, right = self.bins
        auc, precision = self._ranked()
        return Evaluation(
            accuracy=accuracy,
            nll=nll,
            accuracy_top1=accuracy_top1,
            nll_top1=nll_top1,
            jensen=jensen,
            bound_gap=max(0.0, own - jensen),
            gate_entropy=gate_entropy,
            mutual_information=float(mutual_information(mean_gate, torch.as_tensor(gate_entropy))),
            effective_experts=float(effective_experts(mean_gate)),
            experts_used=used,
            dead_experts=self.num_experts - used,
            ece=float((confidence - right).abs().sum() / count.sum()),
            brier=brier,
            rows=self.rows,
            auc=known(auc.mean()),
            average_precision=known(precision.mean()),
        )

    def by_class(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Of each class its `name`, its `rows`, `recall`, `precision`, `f1`, `auc` and `average_precision`.

        None stands for what has no value: the recall of a class without rows, the precision of one never predicted.

        Args:
            names: of the C classes.
        """
        rows, told, right = self.confusion.sum(1), self.confusion.sum(0), self.confusion.diagonal()
        auc, precision = self._ranked()
        if self.num_classes == 2:  # to tell the one is to tell the other, but precision is of the second alone
            auc, precision = auc.expand(2), torch.cat([torch.full_like(precision, torch.nan), precision])
        columns = (right / rows, right / told, 2 * right / (rows + told), auc, precision)
        keys = ("recall", "precision", "f1", "auc", "average_precision")
        figures = [dict(zip(keys, map(known, each), strict=True)) for each in zip(*columns, strict=True)]
        return [
            {"name": name, "rows": int(count), **each}
            for name, count, each in zip(names, rows.tolist(), figures, strict=True)
        ]

    def _ranked(self) -> tuple[Tensor, Tensor]:
        """AUC and average precision of what is ranked; NaN where nothing is."""
        nothing = torch.full((1 if self.num_classes == 2 else self.num_classes,), torch.nan)
        return (nothing, nothing) if self.ranking is None else self.ranking.result()

    def details(self) -> Details:
        """What a report draws of all rows so far."""
        per_class = self.confusion.sum(1)
        count, confidence, right = self.bins
        return Details(
            expert_share=(self.argmax_counts / self.rows).tolist(),
            mean_gate=(self.gate_by_class.sum(0) / self.rows).tolist(),
            gate_by_class=[_ratio(gate, n) for gate, n in zip(self.gate_by_class, per_class, strict=True)],
            reliability={
                "confidence": _ratio(confidence, count),
                "accuracy": _ratio(right, count),
                "count": count.long().tolist(),
            },
            confusion=self.confusion.long().tolist(),
            bound_gap={
                "edges": list(GAPS),
                "count": self.gaps[0].long().tolist(),
                "total": [total if math.isfinite(total) else None for total in self.gaps[1].tolist()],
            },
            selective=self.selective.table(),
        )


def known(value: Tensor) -> float | None:
    """A number, or None where it is none."""
    return float(value) if bool(value.isfinite()) else None


def tempered(log_probs: Tensor, temperature: float) -> Tensor:
    """log softmax(log p / T), `[..., C]`; at T = 1 the numbers themselves."""
    return log_probs if temperature == 1.0 else (log_probs / temperature).log_softmax(-1)


def _ratio(numbers: Tensor, counts: Tensor) -> list[float | None]:
    counts = counts.expand_as(numbers)
    pairs = zip(numbers.tolist(), counts.tolist(), strict=True)
    return [number / count if count else None for number, count in pairs]


def evaluate(
    mixture: MixtureOfExperts,
    x: Tensor,
    y: Tensor,
    num_classes: int,
    batch_size: int = 4096,
    temperatures: tuple[float, float] = (1.0, 1.0),
) -> Tally:
    """Run a mixture over rows x `[N, ...]` with classes y `[N]`, in inference mode, and tally what it does."""
    starts = range(0, len(x), batch_size)
    batches = ((x[start : start + batch_size], y[start : start + batch_size]) for start in starts)
    return evaluate_batches(mixture, batches, num_classes, temperatures)


@torch.no_grad()
def evaluate_batches(
    mixture: MixtureOfExperts,
    batches: Iterable[Sequence[Tensor]],
    num_classes: int,
    temperatures: tuple[float, float] = (1.0, 1.0),
    costly: bool = True,
) -> Tally:
    """As `evaluate`, over pairs of x `[B, ...]` and y `[B]`, none of which is kept; `costly` as in `Tally`."""
    device = next(mixture.parameters()).device
    tally = Tally(mixture.num_experts, num_classes, device, temperatures, costly)
    was_training = mixture.training
    mixture.eval()
    try:
        for x, y in batches:
            log_gate, log_experts = mixture.expert_log_probs(x.to(device))
            tally.update(log_gate, log_experts, y.to(device))
    finally:
        mixture.train(was_training)
    return tally
