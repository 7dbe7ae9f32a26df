"""Tables that stay on disk: which rows are for what, every row once and in an order of chance, and what is fitted."""

import functools

import numpy as np
import polars as pl
import pyarrow
import pyarrow.parquet
import pytest

from gatewise.data import MISSING, StoredRows, fit_preprocessing, read
from gatewise.data.preprocessing.one_pass import Different
from gatewise.data.streaming.parquet_table import StoredTable, values_in
from gatewise.data.streaming.records import SplitByPlace, drawn
from gatewise.data.targets import MOST_LABELS, label_counts

ROWS = 1000
SPLIT = SplitByPlace(test_size=0.2, validation_size=0.25, seed=3)
PARTS = ("train", "validation", "test")


def mixed(rows=ROWS):
    """Columns of every kind; `id` marks its row."""
    draw = np.random.default_rng(0)
    far = 1e6 + draw.normal(size=rows)
    return pl.DataFrame(
        {
            "id": np.arange(rows),
            "name": [f"n{i}" for i in range(rows)],
            "far": np.where(draw.random(rows) < 0.2, np.nan, far),
            "whole": pl.Series(draw.integers(0, 9, rows), dtype=pl.Int16),
            "constant": np.full(rows, 7.1),
            "never": pl.Series([None] * rows, dtype=pl.Float64),
            "text": [["red", " red", "blue", None, "NA", "1.0"][i] for i in draw.integers(0, 6, rows)],
            "rare": [f"r{min(i, 30)}" for i in draw.geometric(0.2, rows)],
            "kind": pl.Series([["p", "q"][i // (rows // 2)] for i in range(rows)], dtype=pl.Categorical),
            "flag": draw.random(rows) < 0.3,
            "y": [["no", "yes", "maybe"][i] for i in draw.integers(0, 3, rows)],
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "table"
    path.mkdir()
    cuts = (0, 8, 9, 700, ROWS)
    for i in range(4):
        mixed()[cuts[i] : cuts[i + 1]].write_parquet(path / f"{i}.parquet", row_group_size=100)
    mixed().clear().write_parquet(path / "4.parquet")
    return path


@pytest.fixture
def rows(folder):
    table = StoredTable.open(folder, "y", MISSING)
    return lambda part=None: StoredRows(table, SPLIT, part) if part else StoredRows(table)


def ids(parts):
    return np.concatenate([part.features["id"].to_numpy() for part in parts])


def test_a_part_is_told_by_the_place_however_rows_are_cut():
    whole = {part: SPLIT.of(part, 0, 20_000) for part in PARTS}
    assert (sum(each.astype(int) for each in whole.values()) == 1).all()
    assert [round(float(each.mean()), 2) for each in whole.values()] == [0.6, 0.2, 0.2]
    for part, expected in whole.items():
        cut = [SPLIT.of(part, start, 777) for start in range(0, 19_425, 777)]
        assert np.array_equal(np.concatenate(cut), expected[:19_425])
    other = SplitByPlace(0.2, 0.25, seed=4).of("test", 0, 20_000)
    assert 0.02 < (other & whole["test"]).mean() < 0.06
    assert not np.array_equal(drawn((3, 0), 0, 9), drawn((3, 1), 0, 9))


def test_the_rows_are_those_of_the_whole(folder, rows):
    whole = read(folder, "y").records
    assert len(rows()) == len(whole) == ROWS
    assert values_in(folder) == ROWS * 11
    found = {part: ids(rows(part)).tolist() for part in PARTS}
    assert sorted(np.concatenate([*found.values()])) == list(range(ROWS))
    for part in PARTS:
        assert found[part] == np.flatnonzero(SPLIT.of(part, 0, ROWS)).tolist()
        assert len(rows(part)) == len(found[part])
    for part in rows("test").records(["kind", "id"], values=50):
        assert part.columns == ["kind", "id"]
        assert part.labels.tolist() == whole.labels[part.features["id"].to_numpy()].tolist()
        assert part.place(0) == f"{folder}, row {part.features['id'][0] + 1}"
    shares = [ids(rows().records(["id"], share=(i, 3))) for i in range(3)]
    assert sorted(np.concatenate(shares)) == list(range(ROWS))
    assert rows().label_counts == ({label: (whole.labels == label).sum() for label in ("no", "yes", "maybe")}, False)


def test_an_epoch_has_every_row_once_in_an_order_of_chance(rows):
    train, own = rows("train"), np.flatnonzero(SPLIT.of("train", 0, ROWS))
    epoch = functools.partial(train.shuffled, buffer=150, columns=["id"])
    first = ids(epoch(1))
    assert sorted(first) == own.tolist()
    assert np.array_equal(ids(epoch(1)), first)
    other = ids(epoch(2))
    assert sorted(other) == own.tolist()
    assert (other == first).mean() < 0.05
    assert np.abs(np.corrcoef(np.arange(len(first)), first)[0, 1]) < 0.5
    # a buffer of all rows mixes them all
    assert np.abs(np.corrcoef(np.arange(len(own)), ids(epoch(3, buffer=ROWS)))[0, 1]) < 0.1
    for skip in (0, 1, 149, 150, 301, len(own) - 1):
        assert np.array_equal(ids(epoch(1, skip=skip)), first[skip:])
    halves = [epoch(1, own=lambda turns, i=i: turns // 7 % 2 == i) for i in range(2)]
    turns = np.arange(len(own)) // 7 % 2
    for i, half in enumerate(halves):
        assert np.array_equal(ids(half), first[turns == i])


def test_what_is_skipped_is_not_read(rows, monkeypatch):
    read_of, counts = StoredTable.read, []

    def counted(self, block, columns, wanted, *rest):
        counts.append(int(wanted.sum()))
        return read_of(self, block, columns, wanted, *rest)

    train = rows("train")
    left = len(train) - 450
    assert train.readings == {}
    monkeypatch.setattr(StoredTable, "read", counted)
    assert len(ids(train.shuffled(1, 150, ["id"], skip=460))) == left - 10
    assert sum(counts) == left


def test_a_sample_has_each_row_with_the_same_probability(rows):
    assert len(rows("train").sample(10**6)) == len(rows("train"))
    few = rows().sample(300)
    assert 240 < len(few) < 360
    assert set(few.features["id"]) != set(StoredRows(rows().table, seed=1).sample(300).features["id"])
    assert abs(few.features["id"].mean() - ROWS / 2) < 60


@pytest.mark.parametrize("keys", [{}, {"keep": ["id", "rare"]}, {"drop": ["far", "text"]}, {"numeric": "quantile"}])
def test_what_one_pass_fits_is_what_scikit_learn_fits_to_all_rows(folder, rows, keys):
    train = rows("train")
    held = read(folder, "y").records.take(np.flatnonzero(SPLIT.of("train", 0, ROWS)))
    expected, found = fit_preprocessing(held, **keys), fit_preprocessing(train, **keys)
    assert found.columns == expected.columns
    assert found.identifiers == expected.identifiers
    assert ("id" in found.identifiers) == ("keep" not in keys)
    assert found.feature_names == expected.feature_names
    assert found.used(train) == expected.used(held)
    other = read(folder, "y").records
    np.testing.assert_allclose(found.transform(other), expected.transform(other), rtol=0, atol=1e-6)
    steps = [each.transformer.named_transformers_["number"].steps for each in (found, expected)]
    for (_, one), (_, two) in zip(*steps, strict=True):
        for name in ("statistics_", "mean_", "var_", "scale_", "quantiles_"):
            if hasattr(two, name):
                np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-10, atol=1e-20, err_msg=name)


def test_medians_of_a_sample_are_near(rows, monkeypatch):
    monkeypatch.setattr("gatewise.data.preprocessing.streamed.sample_rows", lambda columns: 200)
    median = fit_preprocessing(rows()).transformer.named_transformers_["number"][0].statistics_[0]
    assert 0 < abs(median - np.nanmedian(mixed()["far"])) < 0.4


def test_the_share_of_different_values_is_told_from_a_slice_of_them():
    draw = np.random.default_rng(0)
    values = draw.integers(0, 400_000, 200_000)
    different = Different(len(values))
    for part in np.split(values, 10):
        different.add(pl.Series(part))
    assert different.looked_at < 20_000
    assert different.share == pytest.approx(len(np.unique(values)) / len(values), abs=0.01)


def test_labels_beyond_a_limit_are_not_counted(rows, monkeypatch):
    monkeypatch.setattr("gatewise.data.targets.MOST_LABELS", 2)
    assert MOST_LABELS > 2
    counts, more = label_counts(rows().labels())
    assert len(counts) == 2
    assert more


def test_bad_values_are_named_by_their_place(folder, tmp_path, refused):
    frame = mixed(30).with_columns(far=pl.Series([1e39 if i == 20 else 0.5 for i in range(30)]))
    frame.write_parquet(tmp_path / "d.parquet", row_group_size=7)
    stored = StoredRows(StoredTable.open(tmp_path / "d.parquet", "y", ()))
    with refused(f"{tmp_path / 'd.parquet'}, row 21: column 'far' holds 1e+39"):
        fit_preprocessing(stored)
    with refused("keep names 'fra', which is no column", "did you mean 'far'"):
        fit_preprocessing(stored, keep=["fra"])
    with refused("no column that can be used"):
        fit_preprocessing(stored, drop=[name for name in stored.columns if name != "never"])
    mixed(40).write_parquet(tmp_path / "d.parquet")
    with refused("d.parquet has changed while it was used"):
        list(stored)
    with refused("no column 'z' to take the labels from"):
        StoredTable.open(folder, "z", ())


def test_a_table_of_many_blocks_is_not_gathered_in_memory(tmp_path):
    pl.DataFrame({f"x{i}": np.arange(50_000.0) for i in range(8)} | {"y": ["u", "v"] * 25_000}).write_parquet(
        tmp_path / "d.parquet", row_group_size=1000
    )
    stored = StoredRows(StoredTable.open(tmp_path / "d.parquet", "y", ()))
    before, held = pyarrow.total_allocated_bytes(), []
    for part in stored.shuffled(0, 2000, ["x0", "x7"]):
        held.append(pyarrow.total_allocated_bytes() - before)
        del part
    assert len(held) == 25
    assert max(held) < 8 * 9 * 10_000


def test_a_large_row_group_is_not_gathered_in_memory(tmp_path):
    draw = np.random.default_rng(0)
    frame = pl.DataFrame({"x": draw.normal(size=200_000), "y": draw.normal(size=200_000)})
    pyarrow.parquet.write_table(frame.to_arrow(), tmp_path / "d.parquet", data_page_size=2**14, use_dictionary=False)
    stored = StoredRows(StoredTable.open(tmp_path / "d.parquet", "y", ()))
    assert len(stored.table.row_groups) == 1
    before, held = pyarrow.total_allocated_bytes(), []
    for part in stored.records(values=2**14):
        held.append(pyarrow.total_allocated_bytes() - before)
        del part
    assert len(held) == 25
    assert max(held) < 8 * 2 * 200_000 / 4
