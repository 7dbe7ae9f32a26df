"""docs/answer.md: its Python runs as it stands, and a fresh audit finds its figures of the six-class case again."""

import re
from pathlib import Path

import pytest
import torch

import gatewise as gw
from gatewise.estimators import Baseline

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "answer.md").read_text(encoding="utf-8")

THETA = torch.tensor([-0.2, 0.0, 1.1, -0.3, 1.1, -0.1], dtype=torch.float64)
LOG_LIKELIHOODS = torch.tensor([-3.2, -2.2, -1.9, -2.3, -1.7, -3.0], dtype=torch.float64)
DRAWS = 300_000
SIGMAS = 6.0
"""Two measurements of one number are further apart than so many standard errors once in 5e8; below are 11 of them."""
COSINE_ERRORS = {2.0: 2.5, 1.0: 5.8, 0.5: 12.1}
"""Standard error of the proposal's cosine times 1000, with a million draws: from the spread of 60 times 200,000."""


class ExactMean(Baseline):
    def forward(self, values, context):
        return THETA.softmax(0) @ LOG_LIKELIHOODS


def page_table(name):
    """The lines of a marked table, column by column name."""
    head, _, *lines = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end of", PAGE, re.DOTALL)[1].splitlines()
    names, *rows = ([cell.strip() for cell in line.strip("| ").split(" | ")] for line in (head, *lines))
    return [dict(zip(names, row, strict=True)) for row in rows]


def interval(cell):
    """Of "0.5 (0.4 to 0.6)" the two ends."""
    return tuple(map(float, re.search(r"\((.*) to (.*)\)", cell).groups()))


@pytest.fixture(scope="module")
def fresh():
    """By (repaired, λ)."""
    repaired = ("selected-relaxation", {"baseline": ExactMean(), "scale": 2.0})
    found = gw.audit(
        lambda z: (z * LOG_LIKELIHOODS).sum(-1),
        THETA,
        ["selected-relaxation", repaired],
        num_samples=1,
        temperatures=(2.0, 1.0, 0.5, 0.02),
        repetitions=DRAWS,
        seed=1,
    )
    return {("baseline" in row.options, row.temperature): row for row in found.rows}


def test_the_code_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    scope: dict = {}
    for block in blocks:
        exec(block, scope)
    assert scope["done"].history[-1]["validation_effective_experts"] > 6
    assert scope["found"].recommended.estimator


@pytest.mark.parametrize("name", ["proposal", "repaired"])
def test_the_lengths_are_found_again(name, fresh):
    """Catches a length on the page that is off by .01 at λ = 2 and 1, by .03 at 0.5, and by .3 at 0.02."""
    checked = 0
    for line in page_table("proposal"):
        row = fresh.get((name == "repaired", float(line["λ"])))
        if row is None:
            continue
        length = float(line[f"{name}: length"].split()[0])
        low, high = interval(line[f"{name}: length"])
        errors = (high - low, row.relative_scale_high - row.relative_scale_low)
        error = sum((width / 3.92) ** 2 for width in errors) ** 0.5
        assert abs(1 + row.relative_scale - length) < SIGMAS * error + 0.0005
        checked += 1
    assert checked == 4


def test_the_cosines_are_found_again(fresh):
    """Catches one that is off by .07 at λ = 2, .15 at 1, .3 at 0.5: that it points away at 2 and 1 stands firm."""
    lines = {float(line["λ"]): line for line in page_table("proposal")}
    for temperature, error in COSINE_ERRORS.items():
        tolerance = SIGMAS * error / 1000 * (1e6 / DRAWS + 1) ** 0.5 + 0.005  # the page's are rounded
        found = fresh[False, temperature].cosine
        assert abs(found - float(lines[temperature]["proposal: cosine"])) < tolerance
    assert all(fresh[True, temperature].cosine > 0.99 for temperature in (2.0, 1.0, 0.5))


def test_the_page_shows_what_its_words_say():
    """These look at numbers on the page, not at draws: nothing is left to chance."""
    by_temperature = {float(line["λ"]): line for line in page_table("proposal")}
    for temperature, cosine in ((2.0, -0.68), (1.0, -0.46), (0.5, 0.57)):
        assert float(by_temperature[temperature]["proposal: cosine"]) == pytest.approx(cosine, abs=0.02)
    low, high = interval(by_temperature[0.02]["proposal: length"])
    assert low < 0.5 < high <= low + 0.06
    limit = {float(line["λ"]): interval(line["length"]) for line in page_table("limit")}
    assert sorted(limit) == [0.005, 0.01, 0.02]
    assert all(low < 0.5 < high for low, high in limit.values())  # "none of the three can be told from ½"
