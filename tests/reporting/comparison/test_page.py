"""The page of a comparison: its numbers, its pictures, its links, and names that are text and nothing else."""

import json
import shutil

import pytest

from gatewise.errors import GatewiseError
from gatewise.reporting.comparison import render_comparison, write_comparison
from tests.reporting.run.test_page import check, hostile

from .made_up import make_comparison, make_histories
from .test_verdict import fail


def shown(comparison, histories=None):
    links = {f"{cell['folder']}/report.html" for cell in comparison["cells"]}
    return check(render_comparison(comparison, make_histories(comparison) if histories is None else histories), links)


def test_the_page_has_the_numbers_in_its_order():
    page = shown(make_comparison())
    titles = [
        "Best is jensen enumeration",
        "What could void it",
        "How to repeat it",
        "Results",
        "Seeds and",
        "Every training",
    ]
    places = [page.text.index(title) for title in titles]
    assert places == sorted(places)
    for piece in (
        "gatewise compare digits --estimators enumeration,rebar --seeds 3",
        "0.2000 ± 0.0321", "0.2333 ± 0.0321", "0.9123 ± 0.0321", "0.8765 ± 0.0321", "0.0500 ± 0.0200",
        "7.4 of 8", "8 of 8", "12.3", "42", "This page loads nothing.",
    ):  # fmt: skip
        assert piece in page.text, piece
    assert len(page.pictures()) == 4
    assert page.text.index("0.2000 ± 0.0321") < page.text.index("0.2500 ± 0.0321")


def test_every_cell_leads_to_its_own_report():
    page = shown(make_comparison())
    found = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert found == [f"cells/{index}-seed{seed}/report.html" for index in range(3) for seed in range(3)]


def test_names_are_text_and_nothing_else():
    comparison = make_comparison([hostile(1), hostile(2)], seeds=2, command=hostile(3))
    comparison["data"]["name"] = hostile(4)
    fail(comparison, hostile(2), 1, reason=hostile(5))
    for number, cell in enumerate(comparison["cells"]):
        cell["folder"] = f'cells/"><script>alert({number})</script>'
    histories = make_histories(comparison)
    quoted = {f"cells/%22%3E%3Cscript%3Ealert%28{number}%29%3C/script%3E/report.html" for number in range(4)}
    page = check(render_comparison(comparison, histories), quoted)
    assert page.text.count("<script>alert(") >= 8
    assert "\x00" not in page.text


CASES = {
    "one seed": make_comparison(seeds=1),
    "one combination": make_comparison(["marginal"]),
    "more than there are colours": make_comparison([f"jensen number-{n}" for n in range(19)], seeds=5),
    "nothing measured": make_comparison(["marginal"], combinations=[
        {"name": "marginal", "experts": 8, "seeds_done": 0, "seeds_failed": 3}
    ]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("epochs", [0, 1, 300])
def test_every_kind_of_comparison_has_a_page(case, epochs):
    page = shown(CASES[case], make_histories(CASES[case], epochs))
    assert page.text.startswith("digits: gatewise comparison")
    measured = case != "nothing measured"
    assert len(page.pictures()) == (4 if measured and epochs else 1 if measured else 0)


def test_numbers_that_are_none_and_epochs_without_them():
    comparison = make_comparison()
    comparison["combinations"][1]["test"]["nll"] = {"mean": float("nan"), "low": None, "high": "?"}
    comparison["cells"][3]["test"]["nll"] = None
    histories = {
        cell["folder"]: [{"epoch": 1, "validation_nll": "?", "seconds": 10**400}] for cell in comparison["cells"]
    }
    page = shown(comparison, histories)
    assert "–" in page.text
    assert len(page.pictures()) == 1


def test_it_is_written_from_the_files(tmp_path):
    comparison = make_comparison(["marginal"], seeds=2)
    for folder, history in make_histories(comparison, 3).items():
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in history))
    (tmp_path / "comparison.json").write_text(json.dumps(comparison))
    written = write_comparison(tmp_path)
    assert written == tmp_path / "comparison.html"
    assert written.read_text() == render_comparison(comparison, make_histories(comparison, 3))
    shutil.rmtree(tmp_path / "cells")
    with pytest.raises(GatewiseError, match=r"metrics\.jsonl does not exist"):
        write_comparison(tmp_path)
    (tmp_path / "comparison.json").write_text("{")
    with pytest.raises(GatewiseError, match=r"comparison\.json is not valid JSON"):
        write_comparison(tmp_path)


def remove(key):
    comparison = make_comparison()
    del comparison[key]
    return comparison


@pytest.mark.parametrize(
    ("comparison", "where"),
    [
        ([], "the whole"),
        (remove("command"), "command"),
        (remove("seeds"), "seeds"),
        (make_comparison(combinations=[]), "combinations"),
        (make_comparison(judged="train"), "judged"),
        (make_comparison(cells=[{"combination": "other", "seed": 0, "folder": "x", "status": "done"}]), "name one of"),
    ],
)
def test_contents_that_do_not_fit_are_refused_by_name(comparison, where):
    with pytest.raises(GatewiseError, match=f"^comparison: .*{where}.*; restore the file") as caught:
        render_comparison(comparison, {})
    assert "\n" not in str(caught.value)
