"""Finished runs side by side, and how far they may be compared."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

from gatewise.reporting.plots.learning_curves import History
from gatewise.reporting.schemas.run import Metrics, Summary
from gatewise.wording import NONE, setting

SPLIT = ("seed", "test", "test_size", "validation_size")
"""Keys of a configuration that decide which rows judge a run on given data."""

KINDS = {"categorical": "class", "poisson": "count", "bernoulli": "labels"}
"""What the NLL of a head is of; the others' is of a density."""


@dataclass(frozen=True)
class Trained:
    """One finished run: what the page calls it, where its own report lies, and what it holds."""

    name: str
    href: str
    summary: Summary
    history: History


@dataclass(frozen=True)
class Compared:
    """Runs in the order given; differences are taken from the first."""

    runs: Sequence[Trained]

    @property
    def first(self) -> Trained:
        """The run that the others are compared with."""
        return self.runs[0]

    @property
    def judged(self) -> str:
        """The part of the data that all runs have figures of: test, else validation."""
        return "test" if all(run.summary.test is not None for run in self.runs) else "validation"

    def metrics(self, run: Trained) -> Metrics:
        """The figures of a run on that part."""
        test = run.summary.test
        return test if self.judged == "test" and test is not None else run.summary.validation

    @cached_property
    def same_data(self) -> bool:
        """Whether all runs read the same rows."""
        return len({run.summary.data.hash for run in self.runs}) == 1

    @cached_property
    def same_rows(self) -> bool:
        """Whether the same rows judge all runs."""
        return len({self._judging(run.summary) for run in self.runs}) == 1

    @cached_property
    def same_kind(self) -> bool:
        """Whether all NLLs are of the same kind: of the probability of a class, a count or labels, or of a density."""
        return len({KINDS.get(run.summary.model.head, "density") for run in self.runs}) == 1

    @property
    def comparable(self) -> bool:
        """Whether a lower NLL of one run says anything: on rows of the same data, if not on the same rows."""
        return self.same_kind and (self.same_data or self.same_rows)

    @cached_property
    def differing(self) -> dict[str, list[str]]:
        """The settings that are not the same in all runs: for each key what each run has."""
        keys = dict.fromkeys(key for run in self.runs for key in run.summary.config)
        values = {key: [_value(run.summary, key) for run in self.runs] for key in keys}
        return {key: told for key, told in values.items() if len(set(told)) > 1}

    def _judging(self, summary: Summary) -> Hashable:
        if self.judged == "test" and summary.data.test_hash is not None:
            return summary.data.test_hash
        return summary.data.hash, *(_value(summary, key) for key in SPLIT)


def _value(summary: Summary, key: str) -> str:
    return setting(summary.config[key]) if key in summary.config else NONE
