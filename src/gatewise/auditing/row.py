"""One row of an audit."""

from dataclasses import asdict, dataclass
from typing import Any

from gatewise.estimators import estimator_text

NOTHING = 1e-6
"""Of the gradient's length: a mean that is shorter is 0."""


@dataclass(frozen=True)
class Row:
    """What was measured of one estimator at one setting. Lengths are relative to that of the exact gradient g.

    Attributes:
        estimator: its name.
        num_samples: S.
        temperature: λ, or None.
        options: those that differ from its defaults.
        unbiased: whether it claims to be unbiased for the logits.
        relative_bias: ‖E ĝ - g‖/‖g‖, from the unbiased estimate of its square, 0 where that is negative.
        relative_bias_low: lower end of the 95 % interval.
        relative_bias_high: upper end.
        biased: the 99 % lower limit lies above 0.
        relative_scale: ⟨E ĝ, g⟩/‖g‖² - 1: below 0 too short, below -1 it points away.
        relative_scale_low: lower end of the 95 % interval.
        relative_scale_high: upper end.
        cosine: of E ĝ and g.
        relative_std: √(tr Cov ĝ)/‖g‖.
        relative_mse: E ‖ĝ - g‖²/‖g‖², of one estimate.
        relative_mse_low: lower end of the 95 % interval.
        relative_mse_high: upper end.
        relative_mse_rescaled: the same, at the best factor on ĝ: what is left when the step length is tuned; 1: nothing
            is gained by following ĝ.
        relative_mse_rescaled_low: lower end of the 95 % interval.
        relative_mse_rescaled_high: upper end.
        relative_mse_equal_evaluations: of the mean of so many estimates as cost what all K categories cost.
        relative_mse_equal_time: of the mean of so many as take the time of one exact gradient.
        evaluations: distinct categories evaluated an example, on average.
        evaluations_at_most: the most that an example can come to.
        cost: what these cost, in units of an average category.
        seconds: forward and backward of one batch.
        repetitions: R.
        own: it is the estimator that the model was trained with.
        weighed: rare categories were drawn more often than they come, and weighed accordingly.
        unseen_probability: of the category that matters most among those that no draw chose; 0 where there is none.
        caution: what the draws cannot tell, or None.
    """

    estimator: str
    num_samples: int
    temperature: float | None
    options: dict[str, Any]
    unbiased: bool
    relative_bias: float
    relative_bias_low: float
    relative_bias_high: float
    biased: bool
    relative_scale: float
    relative_scale_low: float
    relative_scale_high: float
    cosine: float
    relative_std: float
    relative_mse: float
    relative_mse_low: float
    relative_mse_high: float
    relative_mse_rescaled: float
    relative_mse_rescaled_low: float
    relative_mse_rescaled_high: float
    relative_mse_equal_evaluations: float
    relative_mse_equal_time: float
    evaluations: float
    evaluations_at_most: int
    cost: float
    seconds: float
    repetitions: int
    own: bool = False
    weighed: bool = False
    unseen_probability: float = 0.0
    caution: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"label": self.label, "usable": self.usable}

    @property
    def trusted(self) -> bool:
        """It is unbiased by what it says of itself and by what was found."""
        return self.unbiased and not self.biased

    @property
    def usable(self) -> bool:
        """Its mean points the gradient's way: beyond doubt, unless it is trusted."""
        return (self.relative_scale_high if self.trusted else self.relative_scale_low) > -1 + NOTHING

    @property
    def label(self) -> str:
        """The estimator with its options, the temperature left out, as the command line takes it."""
        return estimator_text(
            self.estimator, {key: value for key, value in self.options.items() if key != "temperature"}
        )
