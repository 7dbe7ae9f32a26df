"""Is the gate still choosing, and are all experts alive? Said once, in words, with what to change."""

from collections.abc import Mapping, Sequence
from typing import Any

from gatewise.mixture.information import COLLAPSED, STILL

LIKELIHOODS = ("marginal", "evidence")
"""Objectives whose gradient is the marginal's, or close to it: to train the marginal is no advice for them."""
PERSISTENT = 3
"""Epochs in a row that a trouble must last before it is said."""


class CollapseMonitor:
    """Watches the training rows' gate statistics and says each kind of trouble once.

    A gate begins without a choice, and an expert that has few rows early on may still win some: the first epochs are
    not judged, and what lasts for fewer than `PERSISTENT` epochs is not said. What the last epochs leave is.

    Args:
        num_experts: K.
        epochs: that training may take.
        objective: its name, for the advice.
    """

    def __init__(self, num_experts: int, epochs: int, objective: str):
        self.num_experts = num_experts
        self.grace = min(max(5, epochs // 10), epochs - PERSISTENT)
        self.objective = objective
        self.said: dict[str, str] = {}  # the messages, by kind
        self.lasted = {"collapse": 0, "dead": 0, "still": 0}
        self.most_used = 0

    def state_dict(self) -> dict[str, Any]:
        """What was said, and how long each trouble has lasted."""
        return {"said": self.said, "lasted": self.lasted, "most_used": self.most_used}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take such a state; raises ValueError for other kinds of trouble."""
        if state["lasted"].keys() != self.lasted.keys():
            raise ValueError("its warnings are others")
        self.lasted, self.most_used = state["lasted"], state["most_used"]
        # older checkpoints have the kinds alone
        self.said = state["said"] if isinstance(state["said"], dict) else dict.fromkeys(state["said"], "")

    def check(self, metrics: dict[str, Any]) -> list[str]:
        """New warnings after an epoch, from its `train_` statistics."""
        if self.num_experts == 1:
            return []
        self.most_used = max(self.most_used, metrics["train_experts_used"])
        found = self._troubles(metrics)
        for kind in self.lasted:
            self.lasted[kind] = self.lasted[kind] + 1 if kind in found and metrics["epoch"] > self.grace else 0
        new = [kind for kind in found if self.lasted[kind] >= PERSISTENT and kind not in self.said]
        self.said |= {kind: found[kind] for kind in new}
        return [found[kind] for kind in new]

    def conclude(self, metrics: dict[str, Any], warnings: Sequence[str]) -> list[str]:
        """The warnings that stand at the end: without what the kept weights have overcome, with what was not said yet.

        Args:
            metrics: of the epoch whose weights were kept; its validation figures, which are of those weights and of no
                others, count where it has them.
            warnings: all that were given, of whatever kind.
        """
        own = {key: metrics.get(key.replace("train_", "validation_", 1), value) for key, value in metrics.items()}
        found = {} if self.num_experts == 1 else self._troubles(own)
        overcome = [message for kind, message in self.said.items() if kind not in found]
        stand = [message for message in warnings if message not in overcome]
        return stand + [message for kind, message in found.items() if kind not in self.said]

    def _troubles(self, metrics: dict[str, Any]) -> dict[str, str]:
        used, effective = metrics["train_experts_used"], metrics["train_effective_experts"]
        if effective < COLLAPSED:
            return {"collapse": self._collapse(metrics)}
        still = metrics["train_mutual_information"] < STILL
        found = {}
        # which expert a gate that gives all the same weight puts first says nothing of the others
        if used < self.num_experts and not (still and effective > self.num_experts - 0.5):
            found["dead"] = self._dead(metrics, used)
        if still:
            found["still"] = self._still(metrics)
        return found

    def _collapse(self, metrics: dict[str, Any]) -> str:
        return (
            f"the gate has collapsed in epoch {metrics['epoch']}: its choices are worth "
            f"{metrics['train_effective_experts']:.1f} of {self.num_experts} experts. {self._cure()}"
        )

    def _dead(self, metrics: dict[str, Any], used: int) -> str:
        dead = self.num_experts - used
        was = "died" if self.most_used > used else "never came alive"
        return (
            f"{dead} of {self.num_experts} experts {was} (epoch {metrics['epoch']}): the gate prefers "
            f"{'it' if dead == 1 else 'them'} on almost no row. {self._cure()}"
        )

    def _still(self, metrics: dict[str, Any]) -> str:
        return (
            f"the gate does not choose (epoch {metrics['epoch']}): I(z;x) = "
            f"{metrics['train_mutual_information']:.3f} nats, so all rows get the same mixture. Weaken the "
            "regularisers, add --regulariser mutual_information=0.1, or use fewer experts."
        )

    def _cure(self) -> str:
        cure = (
            "Strengthen the balance (by default importance=0.3 and load=0.3) and keep the gate open, such as by "
            "--regulariser load=1 --regulariser gate_entropy=0.1, which replace what was set, or balance it "
            "without a loss by --set balance_rate=0.05"
        )
        if self.objective not in LIKELIHOODS:
            return cure + ", or train the marginal: --objective marginal."
        return cure + ", or use fewer experts."
