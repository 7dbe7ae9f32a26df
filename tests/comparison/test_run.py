"""A comparison from names to numbers: what is trained, what is not trained again, what is refused."""

import json
import shlex
import shutil
from typing import ClassVar

import numpy as np
import pytest

from gatewise import GatewiseError
from gatewise.cli import main
from gatewise.comparison import cells, compare, default_folder
from gatewise.runs import Run

from .conftest import ESTIMATORS, quick

ASKED = {"estimators": ESTIMATORS, "objectives": ["jensen", "marginal"], "seeds": 2, "jobs": 1}


@pytest.fixture(autouse=True)
def plain_reports(monkeypatch):
    """Pictures take longer than such a training; `small` has them."""
    monkeypatch.setattr("gatewise.runs.folder.write_report", lambda run: (run / "report.html").write_text("report"))


@pytest.fixture
def copy(small, tmp_path):
    """The finished comparison, to be changed."""
    return shutil.copytree(small.folder, tmp_path / "copy")


@pytest.fixture
def trained(monkeypatch):
    """The folders' names of what is trained from here on; one named in `.failing` raises."""

    class Trained(list):
        failing: ClassVar[dict[str, Exception]] = {}

    names = Trained()
    train = cells.train

    def counted(config, out, **options):
        name = out.name.removeprefix(".").removesuffix(".part")
        names.append(name)
        if name in names.failing:
            (out / "metrics.jsonl").write_text("half of it")
            raise names.failing[name]
        return train(config, out, **options)

    monkeypatch.setattr(cells, "train", counted)
    return names


def figures(summary):
    return {(cell["combination"], cell["seed"]): cell["test"] for cell in summary["cells"]}


def test_what_the_json_holds(small):
    written = json.loads((small.folder / "comparison.json").read_text())
    assert written == small.summary
    assert {"gatewise", "command", "config", "data", "seeds", "judged", "confidence", "seconds", "threads"} < set(
        written
    )
    assert written["judged"] == "test"
    assert written["seeds"] == [0, 1]
    assert written["data"]["test_rows"] == 30
    assert {each["name"] for each in written["combinations"]} == {
        "marginal", "jensen enumeration", "jensen score-function:baseline=leave-one-out:samples=2",
    }  # fmt: skip
    assert len(written["cells"]) == 6
    for each in written["combinations"]:
        assert (each["seeds_done"], each["seeds_failed"], each["epochs"]) == (2, 0, 2)
        assert each["test"]["nll"].keys() == {"mean", "low", "high"}
        assert {"accuracy", "nll_top1", "accuracy_top1", "experts_used"} < each["test"].keys()
    assert (small.folder / "comparison.html").stat().st_size > 10_000
    assert not small.failed


def test_the_numbers_are_those_of_the_runs(small):
    for cell in small.summary["cells"]:
        run = Run.load(small.folder / cell["folder"])
        assert run.config.seed == cell["seed"]
        assert run.summary["test"] == cell["test"]
        assert (small.folder / cell["folder"] / "report.html").is_file()
        assert run.summary["command"].endswith(f"{cell['folder']}/config.toml")
    means = [
        np.mean([cell["test"]["nll"] for cell in small.summary["cells"] if cell["combination"] == each["name"]])
        for each in small.summary["combinations"]
    ]
    assert means == sorted(means)
    assert [each["test"]["nll"]["mean"] for each in small.summary["combinations"]] == pytest.approx(means)


def test_differences_are_taken_seed_by_seed(small):
    best, *others = small.summary["combinations"]
    assert best["difference"] is None
    nll = {key: value["nll"] for key, value in figures(small.summary).items()}
    for other in others:
        pairs = [nll[other["name"], seed] - nll[best["name"], seed] for seed in (0, 1)]
        half = 12.7062047 * np.std(pairs, ddof=1) / np.sqrt(2)  # t of 1 degree of freedom
        assert other["difference"]["seeds"] == 2
        assert other["difference"]["mean"] == pytest.approx(np.mean(pairs))
        assert other["difference"]["high"] - other["difference"]["mean"] == pytest.approx(half, rel=1e-6)


def test_resuming_trains_only_what_is_missing(small, copy, trained):
    shutil.rmtree(copy / "cells/marginal-seed1")
    (copy / "cells/jensen-enumeration-seed0/summary.json").unlink()  # half-written
    weights = copy / "cells/marginal-seed0/model/weights.safetensors"
    before = weights.stat().st_mtime_ns
    again = compare(quick(), copy, **ASKED)
    assert trained == ["jensen-enumeration-seed0", "marginal-seed1"]
    assert weights.stat().st_mtime_ns == before
    assert figures(again.summary) == figures(small.summary)
    assert [cell["trained_before"] for cell in again.summary["cells"]].count(True) == 4
    assert not list(copy.glob("cells/.*"))


def test_more_seeds_and_estimators_are_added_to_what_is_there(copy, trained):
    more = compare(quick(), copy, estimators=["enumeration", "rebar"], seeds=3, jobs=1)
    assert trained == ["jensen-rebar-seed0", "jensen-rebar-seed1", "jensen-enumeration-seed2", "jensen-rebar-seed2"]
    assert len(more.summary["cells"]) == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [({"epochs": 3}, "epochs 2, not 3"), ({"data": "wine"}, "other data"), ({"patience": 1}, "patience unset, not 1")],
)
def test_a_folder_of_something_else_is_refused_and_left_as_it_is(copy, trained, change, said):
    before = sorted(path.stat().st_mtime_ns for path in copy.rglob("*.safetensors"))
    with pytest.raises(GatewiseError, match=said):
        compare(quick(**change), copy, **ASKED)
    assert trained == []
    assert sorted(path.stat().st_mtime_ns for path in copy.rglob("*.safetensors")) == before


def test_threads_and_the_place_of_the_data_do_not_matter_but_the_rows_do(tmp_path, trained):
    rows = [f"{i % 7},{i % 5},{'no' if i % 2 else 'yes'}" for i in range(60)]
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("a,b,y\n" + "\n".join(rows) + "\n")

    def run(name, **keys):
        keys = {"data": str(tmp_path / name), "target": "y", **keys}
        return compare(quick(**keys), tmp_path / "out", estimators=["enumeration"], seeds=1)

    run("a.csv", test=str(tmp_path / "b.csv"))
    run("b.csv", test=str(tmp_path / "a.csv"), threads=2)
    assert trained == ["jensen-enumeration-seed0"]
    (tmp_path / "b.csv").write_text("a,b,y\n" + "\n".join(rows[:40]) + "\n")
    with pytest.raises(GatewiseError, match="other data"):
        run("a.csv", test=str(tmp_path / "b.csv"))
    with pytest.raises(GatewiseError, match="test rows from elsewhere"):
        run("a.csv")


def test_a_cell_that_fails_does_not_lose_the_others(small, tmp_path, trained):
    trained.failing = {
        "jensen-enumeration-seed0": GatewiseError("training diverged:\nthe loss is nan"),
        "marginal-seed1": RuntimeError("out of memory\nat 0x0"),
    }
    found = compare(quick(), tmp_path / "out", **ASKED)
    reasons = {f"{cell['combination']} {cell['seed']}": cell["reason"] for cell in found.failed}
    assert reasons == {
        "jensen enumeration 0": "training diverged: the loss is nan",
        "marginal 1": "RuntimeError: out of memory (traceback: cells/marginal-seed1.error.txt)",
    }
    assert "at 0x0" in (tmp_path / "out/cells/marginal-seed1.error.txt").read_text()
    kept = {key: value for key, value in figures(found.summary).items() if value is not None}
    assert kept == {key: figures(small.summary)[key] for key in kept}
    assert len(kept) == 4
    assert {each["name"]: each["seeds_failed"] for each in found.summary["combinations"]}["marginal"] == 1
    marginal = next(each for each in found.summary["combinations"] if each["name"] == "marginal")
    assert marginal["test"]["nll"]["low"] is None  # one seed is left
    trained.failing = {}
    trained.clear()
    assert not compare(quick(), tmp_path / "out", **ASKED).failed
    assert trained == ["jensen-enumeration-seed0", "marginal-seed1"]
    assert not list(tmp_path.glob("out/cells/*.txt"))


def test_a_comparison_in_which_all_failed_has_a_page_that_says_so(tmp_path, trained):
    trained.failing = {"jensen-enumeration-seed0": GatewiseError("no")}
    found = compare(quick(), tmp_path / "out", estimators=["enumeration"], seeds=1)
    assert [cell["reason"] for cell in found.failed] == ["no"]
    assert "No cell was finished" in (tmp_path / "out/comparison.html").read_text()


def test_without_test_rows_the_validation_rows_decide(tmp_path):
    found = compare(quick(test_size=0.0), tmp_path / "out", estimators=["enumeration"], seeds=1)
    assert found.summary["judged"] == "validation"
    assert found.summary["combinations"][0]["test"] is None
    assert found.summary["combinations"][0]["validation"]["nll"]["mean"] > 0


def test_the_command_it_gives_repeats_it(small, tmp_path, capsys):
    _, _, *words = shlex.split(small.summary["command"])
    assert small.summary["command"].startswith("gatewise compare iris --objectives jensen,marginal --estimators ")
    with pytest.raises(SystemExit) as stopped:
        main(["compare", *words])
    assert not stopped.value.code
    assert "6 cells, 6 of them done before: 0 to train" in capsys.readouterr().err


REFUSED = {
    "no seeds": ({"seeds": 0}, {}, "seeds must be a whole number of at least 1, got 0"),
    "no jobs": ({"jobs": 0}, {}, "jobs must be at least 1, or -1 for one on each core"),
    "a seed too large": ({}, {"seed": 2**32 - 1}, "begin with a smaller seed"),
    "a model that cannot be": ({}, {"expert": "conv"}, "images"),
    "unknown regulariser": ({}, {"regulariser": {"entropy": 1.0}}, "unknown regulariser"),
    "no such data": ({}, {"data": "digit"}, "did you mean 'digits'"),
    "an estimator that is none": ({"estimators": ["armm"]}, {}, "did you mean 'arsm'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_before_anything_is_made(tmp_path, trained, case):
    asked, base, said = REFUSED[case]
    with pytest.raises(GatewiseError, match=said):
        compare(quick(**base), tmp_path / "out", **{**ASKED, **asked})
    assert trained == []
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_comparison_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(GatewiseError, match="is there already and is no comparison"):
        compare(quick(), tmp_path, **ASKED)
    with pytest.raises(GatewiseError, match="is a file"):
        compare(quick(), tmp_path / "mine.txt", **ASKED)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_two_comparisons_do_not_work_in_one_folder(copy):
    fcntl = pytest.importorskip("fcntl")
    with (copy / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(GatewiseError, match="another comparison is at work"):
            compare(quick(), copy, **ASKED)
    assert compare(quick(), copy, **ASKED).summary["cells"]


def test_the_default_folder_is_the_same_each_time():
    assert default_folder("some/where/sales.csv") == default_folder("sales.csv")
    assert str(default_folder("iris")) == "runs/compare-iris"
