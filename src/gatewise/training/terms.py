"""The loss of a batch, term by term."""

from dataclasses import dataclass

from torch import Tensor

from gatewise.mixture import Observed


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
