"""The statistical tests of `gatewise.testing`, under the name that the suite uses."""

from gatewise.testing.statistics import (
    ALPHA,
    FALSE_ALARM,
    POWER,
    SampleMoments,
    chi_square_p,
    frequency_p,
    mean_p,
    noncentrality,
    seeded,
    smallest_caught,
)

__all__ = [
    "ALPHA",
    "FALSE_ALARM",
    "POWER",
    "SampleMoments",
    "chi_square_p",
    "frequency_p",
    "mean_p",
    "noncentrality",
    "seeded",
    "smallest_caught",
]
