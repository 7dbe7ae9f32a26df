"""Classes too rare to split: all of them named at once, left out, or made one class."""

import json

import numpy as np
import polars as pl
import pytest

from gatewise import GatewiseError
from gatewise.cli import main
from gatewise.data import Records
from gatewise.data.rare_classes import MERGED, like_trained, without_rare


def records(**counts):
    labels = np.array([name for name, count in counts.items() for _ in range(count)], dtype=object)
    return Records(pl.DataFrame({"a": np.arange(len(labels), dtype=float)}), labels, "pets.csv")


def test_all_rare_classes_are_named_at_once():
    said = r"2 of the classes have fewer than 3 rows: 'eel' \(2 rows\), 'owl' \(1 row\)"
    with pytest.raises(GatewiseError, match=said) as found:
        without_rare(records(cat=20, owl=1, dog=20, eel=2), "error", 3)
    assert "rare_classes=drop" in str(found.value)
    assert "rare_classes=merge" in str(found.value)
    many = records(cat=20, **{f"c{i:02}": 1 for i in range(30)})
    with pytest.raises(GatewiseError, match=r"… \(30 in all\)"):
        without_rare(many, "error", 2)


def test_they_are_left_out_or_merged():
    rows = records(cat=20, owl=1, dog=20, eel=2)
    dropped, said = without_rare(rows, "drop", 3)
    assert sorted(set(dropped.labels)) == ["cat", "dog"]
    assert "left out" in said
    merged, said = without_rare(rows, "merge", 3)
    assert (merged.labels == MERGED).sum() == 3
    assert merged.features.equals(rows.features)
    assert "one class, 'other'" in said
    with pytest.raises(GatewiseError, match="merged they are 1, still too few"):
        without_rare(records(cat=20, owl=1), "merge", 3)
    assert without_rare(records(cat=20, dog=3), "error", 3)[1] is None


@pytest.mark.parametrize(("rule", "classes"), [("drop", ["cat", "dog"]), ("merge", ["cat", "dog", "other"])])
@pytest.mark.parametrize("own_test", [False, True])
def test_a_run_trains_and_is_judged_by_the_classes_that_are_left(tmp_path, capsys, rule, classes, own_test):
    draw = np.random.default_rng(0)
    names = ["cat"] * 40 + ["dog"] * 40 + ["owl", "eel", "ape"]
    pets = pl.DataFrame({"a": draw.normal(size=len(names)), "pet": names})
    pets.write_csv(tmp_path / "pets.csv")
    words = ["train", str(tmp_path / "pets.csv"), "--target", "pet", "-o", str(tmp_path / "run"), "--epochs", "1"]
    with pytest.raises(SystemExit) as stopped:
        main([*words, *(["--test", str(tmp_path / "pets.csv")] if own_test else []), "--rare-classes", rule])
    assert not stopped.value.code, capsys.readouterr().err
    assert "3 of the classes have fewer than" in capsys.readouterr().out.replace("\n", " ")
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["data"]["classes"] == classes
    if own_test:
        assert summary["test"]["rows"] == (83 if rule == "merge" else 80)
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", str(tmp_path / "run"), str(tmp_path / "pets.csv"), "--json"])
    said = capsys.readouterr()
    if rule == "merge":
        assert json.loads(said.out)["rows"] == 83
    else:
        assert stopped.value.code == 2
        assert "'owl'" in said.err


@pytest.mark.parametrize("rule", ["drop", "merge"])
def test_further_rows_are_known_by_what_their_labels_mean(rule):
    """A run on 0 and 1 and rare others, judged on a column of floats."""
    labels = np.array(["0.0", "1.0", "7.0", "1"], dtype=object)
    rows = Records(pl.DataFrame({"a": np.arange(4.0)}), labels, "pets.parquet")
    found = like_trained(rows, ["0", "1", MERGED], rule)
    assert found.labels.tolist() == (["0.0", "1.0", MERGED, "1"] if rule == "merge" else ["0.0", "1.0", "1"])


def test_where_no_class_was_rare_a_new_one_is_named_as_it_is(tmp_path, capsys):
    names = ["cat", "dog"] * 40
    pl.DataFrame({"a": np.arange(80.0) % 7, "pet": names}).write_csv(tmp_path / "pets.csv")
    pl.DataFrame({"a": [1.0], "pet": ["owl"]}).write_csv(tmp_path / "new.csv")
    words = ["train", str(tmp_path / "pets.csv"), "--target", "pet", "-o", str(tmp_path / "run"), "--epochs", "1"]
    for line in ([*words, "--rare-classes", "merge"], ["evaluate", str(tmp_path / "run"), str(tmp_path / "new.csv")]):
        with pytest.raises(SystemExit) as stopped:
            main(line)
    assert stopped.value.code == 2
    assert "the label 'owl' is none of the classes known ('cat', 'dog')" in capsys.readouterr().err
