"""Runs side by side: their figures and differences, what may be compared, and names that are text and nothing else."""

import json
import shutil

import pytest

from gatewise.errors import GatewiseError
from gatewise.reporting.schemas.run import parse_summary
from gatewise.reporting.side_by_side import Compared, Trained, render_runs, write_runs
from gatewise.wording import printable, short
from tests.reporting.run.test_page import Page, check, hostile
from tests.reporting.runs import make_history, make_metrics, make_summary


def trained(name: str = "a", config: dict | None = None, data: dict | None = None, **changes) -> Trained:
    summary = make_summary(**changes)
    summary["config"] |= config or {}
    summary["data"] |= {"test_hash": "7a" * 32, **(data or {})}
    return Trained(name, f"{len(name)}/report.html", parse_summary(summary, name), make_history(5))


def better(name: str = "b", **changes) -> Trained:
    return trained(name, test=make_metrics(8, 360, nll=0.125, accuracy=0.97), **changes)


def shown(*runs: Trained) -> Page:
    return check(render_runs(Compared(runs)), {run.href for run in runs})


def test_figures_stand_side_by_side_with_their_differences():
    page = shown(trained(), better(config={"objective": "marginal"}))
    for piece in (
        "2 runs on digits, by their figures on the test rows. They differ in objective.",
        "b has the lowest NLL: 0.1250 nats an example, and it is right on 97.0",
        "Next is a: 0.0400 nats above it",
        "accuracy 95.6 % 97.0 % +1.4 %",
        "NLL, nats 0.1650 0.1250 −0.0400",
        "objective jensen marginal",
        "No warnings.",
        "Each run is one training",
        "Few rows: 360 test rows",
    ):
        assert piece in page.text, piece
    titles = ["What could void it", "Figures", "Settings that differ", "Learning curves", "Warnings", "How to repeat"]
    places = [page.text.index(title) for title in titles]
    assert places == sorted(places)
    assert len(page.pictures()) == 5  # no run recorded the experts used
    assert "ends at" in page.pictures()[0]["aria-label"]


def test_other_data_are_told_and_nothing_is_ranked():
    page = shown(trained(), better(data={"hash": "00" * 32, "test_hash": "11" * 32}))
    assert "none is called better here" in page.text
    assert "The data differ (so do their hashes, below)" in page.text
    assert "lowest NLL" not in page.text
    assert "NLL, nats 0.1650 0.1250 NLL" in page.text  # without the difference


def test_the_same_test_rows_may_judge_runs_of_other_data():
    page = shown(trained(), better(data={"hash": "00" * 32}))
    assert "b has the lowest NLL" in page.text
    assert "but the same rows judge them" in page.text


@pytest.mark.parametrize("known", [True, False])
def test_another_split_is_told(known):
    hashes = ["22" * 32, "33" * 32] if known else [None, None]
    first, second = ({"test_hash": each} for each in hashes)
    page = shown(trained(data=first), better(data=second, config={"seed": 4}))
    assert "the luck of the split" in page.text
    assert "b has the lowest NLL" in page.text


def test_what_went_wrong_is_told():
    dead = make_metrics(8, 360, dead_experts=3, nll=0.2)
    fallen = make_metrics(8, 360, effective_experts=1.2, dead_experts=7, nll=0.3)
    still = make_metrics(8, 360, mutual_information=0.001, nll=0.4)
    page = shown(
        trained("one", test=dead, warnings=["an expert died. Add it."]),
        trained("two", test=fallen, interrupted=True),
        trained("three", test=still, gatewise="0.0.9", best_epoch=60),
    )
    for piece in (
        "The gate collapsed: two.",
        "The gate gives every row the same mixture: three.",
        "Experts are dead, first choice on hardly any row: one (3 of 8).",
        "An expert died. Add it.",
        "Interrupted before the end of training: two.",
        "The last epoch was still the best: three.",
        "different versions of gatewise: 0.0.9 and 0.1.0",
    ):
        assert piece in page.text, piece


def test_where_one_has_no_test_rows_the_validation_rows_judge_all():
    page = shown(trained(test=None), better(), trained("c", experts=1))
    assert "by their figures on the validation rows" in page.text
    assert "their figures flatter" in page.text


def test_how_classes_are_ranked_stands_beside():
    ranked = make_metrics(8, 360, auc=0.75, average_precision=0.5)
    page = shown(trained(test=ranked), trained("b", test=ranked))
    assert "AUC 0.7500 0.7500" in page.text
    assert "average precision 0.5000 0.5000" in page.text


def test_figures_that_are_missing_are_left_out():
    none = {"rows": 0}
    page = shown(trained(test=none, validation=none), trained("b", test=none, validation=none, seconds=None))
    assert "Fewer than two runs have a finite NLL" in page.text


def test_names_are_text_and_nothing_else():
    runs = [trained(hostile(n), {hostile(4): hostile(n)}, {"name": hostile(5)}, command=hostile(6)) for n in (1, 2)]
    page = shown(*(Trained(printable(run.name), "x", run.summary, run.history) for run in runs))
    assert page.text.count("<script>alert(") >= 8


def test_many_runs_are_a_small_page():
    runs = [Trained(f"run {n}", f"{n}", trained().summary, make_history(300)) for n in range(32)]
    assert len(shown(*runs).text) > 1000


@pytest.fixture
def folders(write_run, tmp_path):
    write_run()
    found = [tmp_path / "here" / name for name in ("one", "two")]
    for folder in found:
        folder.mkdir(parents=True)
        for name in ("summary.json", "metrics.jsonl"):
            shutil.copy(tmp_path / name, folder)
    return found


def test_the_page_is_written_and_leads_to_each_report(folders, tmp_path):
    page = tmp_path / "elsewhere" / "page.html"
    page.parent.mkdir()
    links = ["../here/one/report.html", "../here/two/report.html"]
    found = check(write_runs(folders, page).read_text(encoding="utf-8"), links)
    assert [attrs["href"] for tag, attrs in found.tags if tag == "a"] == links
    assert "one and two have the same NLL" in found.text


def test_folders_of_the_same_name_are_told_apart(folders, tmp_path):
    other = tmp_path / "one"
    shutil.copytree(folders[0], other)
    text = write_runs([folders[0], other], tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"{short(str(other), 60)} have the same NLL" in text


def test_what_cannot_be_shown_is_refused_in_one_line(folders, tmp_path):
    page = tmp_path / "page.html"
    for runs, said in (
        (folders[:1], "from 2 to 32 runs side by side, got 1"),
        ([folders[0]] * 33, "got 33"),
        ([folders[0], folders[0] / "../one"], "is given twice"),
        ([folders[0], tmp_path / "none"], "there is no run folder"),
        ([folders[0], tmp_path / "here"], "does not exist"),
    ):
        with pytest.raises(GatewiseError, match=said) as caught:
            write_runs(runs, page)
        assert "\n" not in str(caught.value)
    summary = json.loads((folders[1] / "summary.json").read_text(encoding="utf-8"))
    del summary["data"]["hash"]
    (folders[1] / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(GatewiseError, match=r"two/summary\.json: it has no data\.hash"):
        write_runs(folders, page)
    assert not page.exists()


def test_runs_of_numbers_show_their_errors_and_are_not_ranked_against_classes():
    numbers = make_metrics(
        8, 360, accuracy=None, ece=None, brier=None, rmse=2.5, mae=1.75, r2=0.5, crps=1.25, coverage_90=0.9
    )
    numbers["accuracy_top1"] = None
    changes = {"test": numbers, "details": None, "typical": None, "data": {"classes": []}}
    runs = []
    for name, head in (("g", "gaussian"), ("t", "student-t"), ("p", "poisson")):
        model = make_summary()["model"] | {"head": head}
        runs.append(trained(name, model=model, **changes))
    page = shown(*runs[:2])
    assert "RMSE 2.5000 2.5000" in page.text
    assert "R² 0.5000 0.5000" in page.text
    assert "ECE –" not in page.text  # what no run has is no row
    assert "accuracy –" not in page.text
    assert "have the same NLL" in page.text
    for others in (trained(), runs[2]):
        page = shown(runs[0], others)
        assert "They predict different things, so none is called better here." in page.text
        assert "the NLL of one says nothing about that of another" in page.text
