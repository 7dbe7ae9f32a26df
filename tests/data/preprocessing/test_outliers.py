"""Numbers far outside those of most rows: what they become, in tables, arrays, rows on disk and folders of before."""

import json

import numpy as np
import polars as pl
import pytest

from gatewise.data import Records, StoredRows, fit_preprocessing, load_preprocessing
from gatewise.data.preprocessing.outliers import REACH, ROOM, UNSEEN, Squash
from gatewise.data.streaming.parquet_table import StoredTable


def drawn(rows=1001):
    """A column of each shape: even, normal, mostly 0 with a tail, 0 or 1 and rarely so, and one that never varies."""
    chance = np.random.default_rng(0)
    tail = np.where(chance.random(rows) < 0.9, 0.0, np.exp(chance.normal(size=rows)))
    rare = (np.arange(rows) % 100 == 0).astype(float)
    return {
        "even": np.linspace(0, 1, rows),
        "normal": chance.normal(5, 2, rows),
        "tail": tail,
        "rare": rare,
        "same": np.full(rows, 7.0),
    }


def table(frame):
    return Records(pl.DataFrame(frame), None, "name")


def test_the_formula():
    """Quartiles 1/4 and 3/4 of 0..1: nothing seen is far, and beyond 0 and 1 there is `UNSEEN` / 2, then `ROOM` / 2."""
    squash = Squash.of([np.linspace(0, 1, 5)])
    low, high, room = -UNSEEN / 2, 1 + UNSEEN / 2, ROOM / 2
    x = np.array([[low - 3], [low], [0.3], [high], [high + 1], [high + 3], [3e38], [-3e38], [np.nan]])
    right = [low - room * 3 / (room + 3), low, 0.3, high, high + room / (room + 1), high + room * 3 / (room + 3)]
    found = squash(x)[:, 0]
    np.testing.assert_allclose(found[:-1], [*right, high + room, low - room], rtol=1e-14)
    assert np.isnan(found[-1])
    assert (np.diff(squash(np.linspace(-50, 50, 999)[:, None])[:, 0]) > 0).all()
    inside = x[1:4]
    assert squash(inside) is inside
    with_one_far = Squash.of([np.array([*np.linspace(0, 1, 9), 1e6])])
    assert with_one_far.high[0] == pytest.approx(0.84375 + REACH * 0.5625)


@pytest.mark.parametrize("far", [1e4, -1e30, 3e38])
def test_one_number_far_out_moves_no_other_row(far):
    """Of 1001 rows one is far out: every other is what it is without it, and it lies within 7 deviations itself.

    What a column tells by a tenth or a hundredth of the rows is moved more by one of them, yet not out of sight.
    """
    frame = drawn()
    clean = fit_preprocessing(table(frame)).transform(table(frame))
    spoilt = {name: np.where(np.arange(1001) == 500, far, x) for name, x in frame.items() if name != "same"}
    both = table(spoilt | {"same": frame["same"]})
    found = fit_preprocessing(both).transform(both)
    others = np.arange(1001) != 500
    np.testing.assert_allclose(found[others, :2], clean[others, :2], rtol=0.03, atol=0.03)
    np.testing.assert_allclose(found[others, 2:], clean[others, 2:], rtol=0.4, atol=0.06)
    assert np.abs(found[500, :2]).max() < 7
    assert np.abs(found).max() < 30  # of columns that are mostly 0
    kept = fit_preprocessing(both, outliers="keep").transform(both)
    assert np.abs(kept[500, :3]).min() > 25


def test_what_is_far_out_at_prediction_alone():
    preprocessing = fit_preprocessing(table(drawn()))
    x = preprocessing.transform(table({name: [1e9, -1e9] for name in drawn()}))
    assert np.abs(x[:, :2]).max() < 7
    assert np.abs(x[:, 4]).max() == 0  # no row taught what to make of another value


def test_columns_without_anything_far_out_are_scaled_as_ever():
    frame = {name: x for name, x in drawn().items() if name in ("even", "rare", "same")}
    squashed, kept = (fit_preprocessing(table(frame), outliers=how) for how in ("squash", "keep"))
    np.testing.assert_array_equal(squashed.transform(table(frame)), kept.transform(table(frame)))


def test_tables_arrays_and_rows_on_disk_agree(tmp_path):
    frame = pl.DataFrame(drawn())
    spoilt = frame.with_columns(normal=pl.Series([1e6, *frame["normal"][1:]]))
    later = spoilt.with_columns(tail=pl.Series([-40.0] * len(spoilt)))
    spoilt.with_columns(y=pl.Series(["u", "v"] * 500 + ["u"])).write_parquet(tmp_path / "d.parquet")
    stored = StoredRows(StoredTable.open(tmp_path / "d.parquet", "y", ()))
    of_table, of_stored = (fit_preprocessing(rows) for rows in (table(spoilt), stored))
    of_array = fit_preprocessing(Records(spoilt.to_numpy(), None, "name"))
    for part in (spoilt, later):
        found = of_table.transform(table(part))
        np.testing.assert_allclose(of_stored.transform(table(part)), found, atol=1e-6)
        np.testing.assert_allclose(of_array.transform(Records(part.to_numpy(), None, "name")), found, atol=1e-6)


def test_the_sample_of_rows_on_disk_tells_what_is_far_out(tmp_path, monkeypatch):
    monkeypatch.setattr("gatewise.data.preprocessing.streamed.sample_rows", lambda columns: 400)
    chance = np.random.default_rng(1)
    x = np.where(np.arange(4000) == 7, 1e9, chance.normal(3, 2, 4000))
    pl.DataFrame({"x": x, "y": ["u", "v"] * 2000}).write_parquet(tmp_path / "d.parquet")
    stored = StoredRows(StoredTable.open(tmp_path / "d.parquet", "y", ()))
    found = fit_preprocessing(stored).transform(table({"x": [3.0, 5.0, 1e9]}))[:, 0]
    np.testing.assert_allclose(found[:2], [0, 1], atol=0.3)
    assert found[2] < 7


def test_ranks_need_no_squash():
    assert fit_preprocessing(table(drawn()), "quantile").squash is None


@pytest.mark.parametrize("as_table", [True, False])
def test_a_folder_of_before_reads_as_it_did(as_table, tmp_path):
    """A folder without the key is one of a version that left all numbers where they were."""
    given = pl.DataFrame(drawn())
    rows, far = (
        Records(frame if as_table else frame.to_numpy(), None, "name")
        for frame in (given, pl.DataFrame({n: [1e6] for n in drawn()}))
    )
    preprocessing = fit_preprocessing(rows, outliers="keep")
    preprocessing.save(tmp_path)
    file = tmp_path / "preprocessing.json"
    file.write_text(json.dumps({key: v for key, v in json.loads(file.read_text()).items() if key != "squash"}))
    np.testing.assert_array_equal(load_preprocessing(tmp_path).transform(far), preprocessing.transform(far))
    fit_preprocessing(rows).save(tmp_path)
    np.testing.assert_array_equal(load_preprocessing(tmp_path).transform(far), fit_preprocessing(rows).transform(far))


def test_another_word_is_refused(refused):
    with refused("outliers is 'clip'; give 'squash' or 'keep'"):
        fit_preprocessing(table(drawn()), outliers="clip")
