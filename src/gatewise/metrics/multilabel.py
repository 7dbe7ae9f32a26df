"""Metrics of several labels at once: the likelihood, what is right of each label and of whole rows."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gatewise.metrics.base import Seen, TargetTally, head_of
from gatewise.metrics.classification import known
from gatewise.metrics.ranking import Ranking
from gatewise.mixture import MixtureOfExperts

EVEN = 0.5
"""The probability from which on a label is predicted to be there."""


class LabelTally(TargetTally):
    """The figures of a mixture of labels.

    Args:
        mixture: run in the mode that it is in.
        costly: tell of each label too.
        names: of the L labels; without them they are y0, y1, ….
    """

    def __init__(self, mixture: MixtureOfExperts, costly: bool = True, names: Sequence[str] = ()):
        super().__init__(mixture, costly)
        self.names = names
        self.ranking: Ranking | None = None

    def terms(self, seen: Seen) -> dict[str, Any]:
        """What is right, and the squares of what is off; counted by label besides."""
        means = head_of(self.mixture).mean(seen.outputs)  # [B, K, L]
        probs = (seen.gate.unsqueeze(-1) * means).sum(1)
        first = means.gather(1, seen.first.unsqueeze(-1).expand(-1, 1, means.shape[-1])).squeeze(1)
        there, told = seen.y > EVEN, probs > EVEN
        right, squares = (told == there).cpu().double(), (probs - seen.y).cpu().double() ** 2
        self._count(seen, there, told, squares)
        if self.costly:
            self.ranking = self.ranking or Ranking(probs.shape[-1])
            self.ranking.update(probs, there)
        return {
            "accuracy": right.mean(-1),
            "accuracy_top1": ((first > EVEN) == there).cpu().double().mean(-1),
            "exact_match": right.amin(-1),
            "brier": squares.mean(-1),
        }

    def _count(self, seen: Seen, there: Tensor, told: Tensor, squares: Tensor) -> None:
        """Add up, for each label, the rows that have it, are told to, or both, the squares, and their gates."""
        terms = {"there": there, "told": told, "both": there & told, "right": there == told, "squares": squares}
        sums = {name: term.cpu().double().sum(0) for name, term in terms.items()}
        sums["gate"] = there.cpu().double().T @ seen.gate.cpu().double()
        self.counts = {name: self.counts[name] + each for name, each in sums.items()} if self.counts else sums

    def result(self) -> dict[str, Any]:
        """The figures of all rows so far.

        Keys: `nll` (of all labels of a row together), `nll_top1`, `jensen`, `bound_gap`; `accuracy` (of single labels:
        1 - `hamming_loss`), `accuracy_top1`, `exact_match` (rows with all labels right), `f1_micro`, `f1_macro` (0 for
        a label that is neither there nor predicted, as scikit-learn has it), `brier` (mean square of what a label's
        probability is off, 0..1); those of the gate as in `gatewise.metrics.Evaluation`, and `rows`. Where it is
        wanted `labels`: of each label its `name`, its `share` of the rows, `accuracy`, `f1`, `brier`, `auc`
        and `average_precision` (None where it is on all rows, or none), whose means are `auc` and `average_precision`.

        Raises:
            GatewiseError: if there were no rows.
        """
        found, counts = super().result(), self.counts
        each = _f1(counts["both"], counts["there"], counts["told"])
        micro = _f1(*(counts[name].sum() for name in ("both", "there", "told")))
        found |= {"hamming_loss": 1 - found["accuracy"], "f1_micro": float(micro), "f1_macro": float(each.mean())}
        if self.ranking is None:
            return found
        auc, precision = self.ranking.result()
        means = {"auc": known(auc.nanmean()), "average_precision": known(precision.nanmean())}
        found |= {name: value for name, value in means.items() if value is not None}
        return found | {"labels": self._by_label(each, auc, precision)}

    def _by_label(self, f1: Tensor, auc: Tensor, precision: Tensor) -> list[dict[str, Any]]:
        share, right, off = (self.counts[name] / self.rows for name in ("there", "right", "squares"))
        names = self.names or [f"y{i}" for i in range(len(f1))]
        keys = ("share", "accuracy", "f1", "brier", "auc", "average_precision")
        columns = zip(share, right, f1, off, auc, precision, strict=True)
        figures = [dict(zip(keys, map(known, each), strict=True)) for each in columns]
        return [{"name": name, **each} for name, each in zip(names, figures, strict=True)]

    def details(self) -> dict[str, Any]:
        """With the mean gate of the rows that have each label, None where none has it."""
        rows = zip(self.counts["gate"].tolist(), self.counts["there"].tolist(), strict=True)
        by_label = [[part / count if count else None for part in gate] for gate, count in rows]
        return super().details() | {"gate_by_class": by_label}


def _f1(both: Tensor, there: Tensor, told: Tensor) -> Tensor:
    """2 TP / (2 TP + FP + FN), 0 where that has no value."""
    most = there + told
    return torch.where(most > 0, 2 * both / most.clamp_min(1), 0.0)
