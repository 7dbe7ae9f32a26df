"""Numbers in other clothes and rows without a target, from training to prediction: what is said, and what is equal."""

import json
import random
import re

import polars as pl
import pytest

from .conftest import QUICK

ROWS = 150


def european(number):
    return f"{number:,.2f}".replace(",", "_").replace(".", ",").replace("_", ".")


def shop(dressed):
    """A table of prices, plain or dressed, of which every tenth is missing; columns that tell them."""
    draw = random.Random(0)
    lines = ["area;share;city;price"]
    for i in range(ROWS):
        area, share = draw.randint(30_000, 400_000) / 100, draw.randint(1, 99)
        price = area * 1000 + share
        cells = [european(area), f"{share} %", european(price) + " €"] if dressed else [area, share, price]
        cells[2] = ["NA", "", "-"][i % 3] if i % 10 == 0 else cells[2]
        lines.append(f"{cells[0]};{cells[1]};{draw.choice(['DE', 'NA'])};{cells[2]}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clothes")
    (path / "plain.csv").write_text(shop(dressed=False))
    (path / "dressed.csv").write_text(shop(dressed=True))
    return path


def figures(done):
    assert done.status == 0, done.err
    return done.json


def test_a_european_table_of_prices_trains_as_a_plain_one(gatewise, folder):
    words = ["--target", "price", *QUICK, "--set", "separator=;"]
    done = gatewise("train", folder / "plain.csv", *words, "--out", folder / "plain")
    assert "Read as numbers" not in done.out
    refused = gatewise("train", folder / "dressed.csv", *words, "--out", folder / "none")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "decimal = ','" in refused.err
    done = gatewise("train", folder / "dressed.csv", *words, "--decimal", ",", "--out", folder / "dressed")
    assert "'area' (with '.' at thousands); 'share' (in %); 'price' (in €, with '.' at thousands)" in done.out
    assert "Left out 15 rows without a target (5 'NA', 5 empty, 5 '-')" in done.out.replace(
        "5 '-', 5 empty", "5 empty, 5 '-'"
    )
    one, two = (json.loads((folder / name / "summary.json").read_text()) for name in ("plain", "dressed"))
    assert one["test"] == two["test"]
    assert one["data"]["unlabelled"] == two["data"]["unlabelled"] == 15
    assert "Left out 15 rows" in (folder / "dressed" / "report.html").read_text()
    own = figures(gatewise("evaluate", folder / "dressed", "--json"))
    assert {name: own[name] for name in ("rmse", "nll", "rows")} == {n: two["test"][n] for n in ("rmse", "nll", "rows")}
    whole = figures(gatewise("evaluate", folder / "dressed", folder / "dressed.csv", "--json"))
    assert (whole["rows"], whole["unlabelled"]) == (135, 15)
    same = figures(gatewise("evaluate", folder / "plain", folder / "plain.csv", "--json"))
    assert whole["rmse"] == same["rmse"]
    said = gatewise("evaluate", folder / "dressed", folder / "dressed.csv").out
    assert "Left out 15 rows without a target" in said
    for name in ("plain", "dressed"):
        gatewise("predict", folder / name, folder / f"{name}.csv", "-o", folder / f"{name}.parquet")
    predicted = [pl.read_parquet(folder / f"{name}.parquet") for name in ("plain", "dressed")]
    assert len(predicted[0]) == ROWS  # every row is predicted
    assert predicted[0].equals(predicted[1])


def test_streamed_rows_are_those_in_memory(gatewise, folder):
    """The same numbers, categories and rows from texts in Parquet; only the split is another."""
    table = pl.read_csv(folder / "dressed.csv", separator=";", infer_schema=False)
    table.write_parquet(folder / "texts.parquet", row_group_size=40)
    words = ["train", folder / "texts.parquet", "--target", "price", *QUICK, "--set", "decimal=,"]
    found = {}
    for stream in ("false", "true"):
        done = gatewise(*words, "--set", f"stream={stream}", "--out", folder / f"stream-{stream}")
        assert done.status == 0, done.err
        summary = json.loads((folder / f"stream-{stream}/summary.json").read_text())["data"]
        found[stream] = [summary[name] for name in ("readings", "unlabelled", "left_out", "used", "rows")]
        written = json.loads((folder / f"stream-{stream}/model/preprocessing.json").read_text())
        found[stream] += [written["columns"], written["missing"], written["missing_numbers"]]
        evaluated = figures(gatewise("evaluate", folder / f"stream-{stream}", folder / "texts.parquet", "--json"))
        assert (evaluated["rows"], evaluated["unlabelled"]) == (135, 15)
    assert found["true"] == found["false"]


def test_classes(gatewise, tmp_path):
    path = tmp_path / "t.csv"
    labels = [["yes", "no", "NA", "", "None"][i % 5] for i in range(ROWS)]
    path.write_text("x,y\n" + "".join(f"{i % 7},{label}\n" for i, label in enumerate(labels)))
    words = ["train", path, "--target", "y", *QUICK]
    done = gatewise(*words, "--out", tmp_path / "run")
    assert (
        "Left out 60 rows without a target (30 'NA', 30 empty); --set missing_target=error refuses them; " in done.out
    )
    assert "Taken for a class of 'y': 'None' in 30 rows" in done.out
    (setting,) = re.findall(r"train with --set '(missing=.*?)'", done.out)
    for settings, names in (
        ([setting], ["no", "yes"]),
        (["missing_target=class"], ["NA", "None", "no", "yes"]),
        ([], ["None", "no", "yes"]),
    ):
        run = tmp_path / "-".join(["run", *names])
        given = [word for each in settings for word in ("--set", each)]
        assert gatewise(*words, *given, "--out", run).status == 0
        assert json.loads((run / "summary.json").read_text())["data"]["classes"] == names
        missing = ROWS - sum(label in names for label in labels)
        evaluated = figures(gatewise("evaluate", run, path, "--json"))
        assert (evaluated["rows"], evaluated["unlabelled"]) == (ROWS - missing, missing)
    refused = gatewise(*words, "--set", "missing_target=error", "--out", tmp_path / "none")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "60 of 150 rows have no target (30 'NA', 30 empty), line 4, line 5, line 9, …" in refused.err


def test_a_run_of_an_older_version_reads_as_it_did(gatewise, tmp_path):
    """Its NA was a class, $3.50 a category and none of its keys were there."""
    path = tmp_path / "t.csv"
    rows = [f"{i % 7},${i % 3}.50,{['DE', 'NA', ''][i % 3]},{['yes', 'NA'][i % 2]}" for i in range(ROWS)]
    path.write_text("x,price,city,y\n" + "\n".join(rows) + "\n")
    older = ['missing=["", "?", "NA"]', "missing_numbers=[]", "missing_target=class", "reading=1", "outliers=keep"]
    words = ["train", path, "--target", "y", *QUICK, "--out", tmp_path / "run"]
    assert gatewise(*words, *(word for each in older for word in ("--set", each))).status == 0
    before = figures(gatewise("evaluate", tmp_path / "run", "--json"))
    config = tmp_path / "run/config.toml"
    new = re.compile(r"(missing_numbers|missing_target|as_numbers|reading|outliers) = .*")
    config.write_text("\n".join(line for line in config.read_text().split("\n") if not new.match(line)))
    described = tmp_path / "run/model/preprocessing.json"
    kept = json.loads(described.read_text())
    assert [column["levels"] for column in kept["columns"]][1:] == [["$0.50", "$1.50", "$2.50"], ["(missing)", "DE"]]
    del kept["missing_numbers"]
    described.write_text(json.dumps(kept))
    assert figures(gatewise("evaluate", tmp_path / "run", "--json")) == before
    done = gatewise("predict", tmp_path / "run", path, "-o", tmp_path / "out.csv")
    assert "counted as other" not in done.err
    assert pl.read_csv(tmp_path / "out.csv").columns[:3] == ["label", "p_NA", "p_yes"]
