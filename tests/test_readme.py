"""The README's Python runs as it stands, and its table of estimators is the registry's."""

import re
from pathlib import Path

import gatewise as gw
from tests.estimators.cases import needed

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_code_runs_and_learns(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 4
    scope: dict = {}
    for block in blocks:
        exec(block, scope)
    printed = capsys.readouterr().out.splitlines()
    assert float(printed[0].split(":")[1]) > 0.95
    assert float(printed[-1].split(":")[1]) > 0.85
    assert scope["logits"].grad.abs().sum() > 0


def test_the_table_of_estimators_states_the_facts():
    rows = dict(re.findall(r"^\| `([a-z-]+)`[^|]*\| (.*)\|$", README, re.MULTILINE))
    assert sorted(rows) == gw.estimators.names()
    for name, row in rows.items():
        estimator = gw.estimators.get(name, **needed(name))
        claimed = row.split(" | ")[1]
        assert set(claimed.split(", ")) == (estimator.unbiased or {"nothing"})
        asked = {
            "all categories": {"all"},
            "the categories drawn": {"index"},
            "points": {"point"},
            "points and the categories drawn": {"index", "point"},
        }[row.split(" | ")[0]]
        assert estimator.calls == asked
        assert row.split(" | ")[2].strip() == ("K" if estimator.evaluations(1, 5) == 5 else "S")
