"""Streamed predictions are those of the whole table, complete or absent, in memory that does not grow with the rows."""

import datetime
import threading
import time
import tracemalloc

import numpy as np
import polars as pl
import pyarrow.parquet
import pytest
import torch

from gatewise import GatewiseError
from gatewise.config import load_config
from gatewise.data import writers
from gatewise.data.readers.parquet import stream_parquet
from gatewise.models import Predictions
from gatewise.models.predictions import predictions
from gatewise.runs import Run, train
from gatewise.training.input.batching import prefetched, rebatched

ROWS = 300


def table(rows=ROWS):
    draw = np.random.default_rng(0)
    number = draw.normal(size=rows)
    return pl.DataFrame(
        {
            "unused": ["x"] * rows,
            "number": [None if i % 13 == 0 else number[i] for i in range(rows)],
            "count": pl.Series([None if i < 60 else int(number[i] * 9) for i in range(rows)], dtype=pl.Int64),
            "code": [str(i % 3) if i < 250 else "late" for i in range(rows)],
            "kind": [["a", "b", None, "NA"][i % 4] for i in range(rows)],
            "y": [["low", "mid", "high"][int(abs(value) * 2) % 3] for value in number],
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    table().write_parquet(folder / "data.parquet")
    keys = {"data": str(folder / "data.parquet"), "target": "y", "epochs": 2, "experts": 3, "expert_hidden": [8]}
    return train(load_config(keys), folder / "run")


@pytest.fixture
def sources(tmp_path):
    table().write_csv(tmp_path / "d.csv")
    table().write_parquet(tmp_path / "d.parquet", row_group_size=70)
    (tmp_path / "d").mkdir()
    for i, start in enumerate(range(0, ROWS, 110)):
        table()[start : start + 110].write_parquet(tmp_path / "d" / f"{i}.parquet", row_group_size=33)
    return [tmp_path / "d.csv", tmp_path / "d.parquet", tmp_path / "d"]


@pytest.mark.parametrize(("route", "k"), [("mixture", 2), ("top1", 2), ("topk", 2)])
def test_streams_give_the_numbers_of_the_whole_to_the_bit(run, sources, monkeypatch, route, k):
    for source in sources:
        whole = predictions(run.model, run.read(str(source), require_target=False), route=route, k=k, batch_size=64)
        assert len(whole) == ROWS
        for values in (30, 1000, 2**20):  # of a part: from some rows to all of them
            monkeypatch.setattr("gatewise.data.readers.csv_stream.stream_csv.__defaults__", (values,))
            monkeypatch.setattr("gatewise.data.readers.parquet.stream_parquet.__defaults__", (values,))
            found = run.predict(str(source), route=route, k=k, batch_size=64)
            tables = list(found)
            assert [len(each) for each in tables] == [64] * 4 + [44]
            assert pl.concat(tables).equals(whole, null_equal=True)


def test_other_batch_sizes_choose_the_same(run, sources):
    whole = predictions(run.model, run.read(str(sources[0]), require_target=False), route="top1")
    for size in (1, 7, ROWS):
        found = run.predict(str(sources[0]), route="top1", batch_size=size).frame()
        assert found.select("label", "expert").equals(whole.select("label", "expert"))
        np.testing.assert_allclose(found.select("^p_.*$"), whole.select("^p_.*$"), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_what_is_written_reads_back(run, sources, tmp_path, monkeypatch, ending):
    monkeypatch.setattr(writers, "GROUP", 3000)  # several row groups
    whole = run.predict(str(sources[1]), batch_size=50).frame()
    assert run.predict(str(sources[1]), batch_size=50).write(tmp_path / f"out{ending}") == ROWS
    if ending == ".csv":
        assert (tmp_path / "out.csv").read_text() == whole.write_csv()
    else:
        assert pl.read_parquet(tmp_path / "out.parquet").equals(whole)
        assert 1 < pyarrow.parquet.ParquetFile(tmp_path / "out.parquet").num_row_groups < 6
    assert not list(tmp_path.glob(".*"))


def test_predictions_can_be_asked_for_again_and_left_early(run, sources):
    found = run.predict(str(sources[2]), batch_size=50)
    assert isinstance(found, Predictions)
    first = next(iter(found))
    assert found.frame()[:50].equals(first)
    assert not [thread for thread in threading.enumerate() if thread.name == "gatewise-reader"]


def test_evaluation_of_a_stream_is_that_of_the_whole(run, sources):
    for source in sources:
        whole = run.evaluate(run.read(str(source), require_target=True))
        assert run.evaluate(run.stream(str(source), require_target=True)) == whole


def test_a_run_loaded_from_arrays_predicts_an_npz_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(80, 5))
    np.savez(tmp_path / "d.npz", x=x, y=(x[:, 0] > 0).astype(int))
    keys = {"data": str(tmp_path / "d.npz"), "epochs": 1, "experts": 2, "expert_hidden": [4]}
    trained = train(load_config(keys), tmp_path / "run")
    found = Run.load(tmp_path / "run").predict(str(tmp_path / "d.npz"), batch_size=30).frame()
    whole = predictions(trained.model, trained.read(str(tmp_path / "d.npz"), require_target=False), batch_size=30)
    assert found.equals(whole)
    table().write_parquet(tmp_path / "t.parquet")
    with pytest.raises(GatewiseError, match="a table, but the model was trained on arrays"):
        trained.predict(str(tmp_path / "t.parquet")).frame()


def test_the_memory_of_a_stream_does_not_grow_with_the_rows(run, tmp_path, monkeypatch):
    """Peak of what Python and numpy hold; four times the rows may take a fifth more, kept rows take four times.

    Of each size the lesser of two peaks: on a busy machine the thread that reads ahead may hold a part more in one.
    """
    monkeypatch.setattr("gatewise.data.readers.parquet.stream_parquet.__defaults__", (4000,))
    monkeypatch.setattr(writers, "GROUP", 20_000)
    peaks = {20: [], 80: []}
    for copies in (20, 20, 20, 80, 80):  # the first pays for what is made once
        pl.concat([table()] * copies).write_parquet(tmp_path / "d.parquet")
        tracemalloc.start()
        run.predict(str(tmp_path / "d.parquet"), batch_size=500).write(tmp_path / "out.parquet")
        peaks[copies].append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert min(peaks[80]) < 1.2 * min(peaks[20])


def test_rebatched_keeps_rows_in_order():
    x, y = torch.arange(34.0).view(17, 2), torch.arange(17)
    parts = [(x[a:b], y[a:b]) for a, b in [(0, 3), (3, 3), (3, 12), (12, 17)]]
    found = list(rebatched(parts, 4))
    assert [len(each) for _, each in found] == [4, 4, 4, 4, 1]
    assert torch.equal(torch.cat([a for a, _ in found]), x)
    assert torch.equal(torch.cat([b for _, b in found]), y)
    assert not list(rebatched([], 4))


def test_prefetched_is_a_few_ahead_and_no_more():
    made = []
    items = prefetched((made.append(i) or i for i in range(50)), ahead=2)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 4  # the one in use, two that wait, and the one that has no place yet
    assert list(items) == list(range(1, 50))


def test_prefetched_raises_what_was_raised_and_closes_what_it_reads():
    closed = []

    def source(bad):
        try:
            yield 1
            if bad:
                raise KeyError("bad")
            yield from range(100)
        finally:
            closed.append(bad)

    items = prefetched(source(True))
    assert next(items) == 1
    with pytest.raises(KeyError, match="bad"):
        next(items)
    items = prefetched(source(False))
    next(items)
    items.close()
    assert closed == [True, False]


def test_bad_rows_late_in_a_stream_leave_no_file_and_keep_the_old_one(run, tmp_path):
    bad = table().with_columns(pl.Series("number", [float("inf") if i == 290 else 0.5 for i in range(ROWS)]))
    bad.write_parquet(tmp_path / "d.parquet", row_group_size=10)
    for name in ("out.csv", "out.parquet"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(GatewiseError, match=r"d.parquet, row 291: column 'number' holds inf"):
            run.predict(str(tmp_path / "d.parquet"), batch_size=10).write(tmp_path / name)
        assert (tmp_path / name).read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.parquet", "out.csv", "out.parquet"]


def test_columns_are_read_only_where_they_are_used(run, sources):
    part = next(iter(run.stream(str(sources[1]), require_target=False)))
    assert part.columns == run.model.preprocessing.column_names
    assert "unused" not in next(iter(stream_parquet(sources[1], None, (), False, ["number"]))).columns


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_columns_are_kept_beside_the_predictions_of_their_rows(run, sources, monkeypatch, kind):
    monkeypatch.setattr("gatewise.data.readers.csv_stream.stream_csv.__defaults__", (300,))
    monkeypatch.setattr("gatewise.data.readers.parquet.stream_parquet.__defaults__", (300,))
    source = str(sources[kind])
    plain = run.predict(source).frame()
    found = run.predict(source, keep=["unused", "code", "y"], batch_size=37).frame()
    assert found.columns == ["unused", "code", "y", *plain.columns]
    assert found["code"].cast(pl.String).to_list() == table()["code"].to_list()
    assert found["y"].to_list() == table()["y"].to_list()
    assert found["label"].to_list() == plain["label"].to_list()
    with pytest.raises(GatewiseError, match="no column 'cod' to keep; did you mean 'code'"):
        run.predict(source, keep=["cod"]).frame()


def test_a_kept_column_is_not_taken_for_a_prediction(run, tmp_path):
    table().with_columns(label=pl.lit("mine")).write_csv(tmp_path / "more.csv")
    with pytest.raises(GatewiseError, match="a column 'label' of their own"):
        run.predict(str(tmp_path / "more.csv"), keep=["label"]).frame()


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_durations_are_kept_and_a_column_named_twice_stands_there_once(run, tmp_path, ending):
    lengths = pl.Series([datetime.timedelta(hours=i) for i in range(len(table()))])
    table().with_columns(took=lengths).write_parquet(tmp_path / "d.parquet")
    predicted = run.predict(str(tmp_path / "d.parquet"), keep=["took", "took"])
    predicted.write(tmp_path / f"out{ending}")
    found = pl.read_csv(tmp_path / "out.csv") if ending == ".csv" else pl.read_parquet(tmp_path / "out.parquet")
    assert found.columns[:2] == ["took", "label"]
    assert found["took"][2] == ("PT2H" if ending == ".csv" else datetime.timedelta(hours=2))


def test_durations_where_categories_were_are_named(run, tmp_path):
    took = pl.Series([datetime.timedelta(hours=1)] * len(table()))
    table().with_columns(code=took).write_parquet(tmp_path / "d.parquet")
    predicted = run.predict(str(tmp_path / "d.parquet"))
    assert len(predicted.frame()) == len(took)
    assert "'PT1H' in" in predicted.unknown.said()
