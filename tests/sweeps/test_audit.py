"""The sweep in its short form: few audits of the smallest problem."""

import pytest

from tests.sweeps.audit import counted


@pytest.mark.parametrize("rarity", [1e-2, 1e-6])
def test_what_is_unbiased_is_not_called_biased_at_a_rare_category(rarity):
    """At a rate of 1 % more than 4 of 45 have a probability of 1e-5; before, more than half were."""
    counts = counted(rarity, range(5), sizes=((2, 1),))
    labels = {label for label, _ in counts} - {"stretched:baseline=none"}
    assert sum(counts[label, "audits"] for label in labels) == 45
    assert sum(counts[label, "biased"] for label in labels) <= 4
