"""Trainings whose rows stay on disk: of every target, the same to the bit where they go on; what cannot is refused."""

import itertools
import json

import numpy as np
import polars as pl
import pytest
import torch

from gatewise import GatewiseError
from gatewise.comparison.run import compare
from gatewise.config import LoopConfig, RunConfig
from gatewise.data import Records, StoredRows
from gatewise.data.streaming.parquet_table import StoredTable
from gatewise.distributed import ALONE, Group
from gatewise.metrics import evaluate
from gatewise.objectives import regularisers
from gatewise.runs import Run, resume, train
from gatewise.runs.audit import audit_data, audit_run
from gatewise.runs.data import MOST_VALUES, is_streamed, read_parts
from gatewise.runs.prepare import prepare, weighted
from gatewise.training import fit
from gatewise.training.checkpoints.folder import Checkpoints
from gatewise.training.input.batching import Shares, batch_sizes
from gatewise.training.input.datasets import RowStream, default_buffer
from tests.training.alike import assert_same, without_times

ROWS = 600


def table(rows=ROWS, seed=0):
    draw = np.random.default_rng(seed)
    a, b = draw.normal(size=(2, rows))
    kind = draw.integers(0, 2, rows)
    signal = np.where(kind, a, -a)
    return pl.DataFrame(
        {
            "a": pl.Series(np.where(draw.random(rows) < 0.1, np.nan, a)).fill_nan(None),
            "b": b,
            "kind": [["round", "square"][each] for each in kind],
            "class": [["no", "yes"][each] for each in (signal > 0.7).astype(int)],
            "number": 1000 + 5 * signal + draw.normal(size=rows),
            "count": draw.poisson(np.exp(signal)),
            "left": (a > 0).astype(int),
            "up": [["down", "up"][each] for each in (b > 0).astype(int)],
        }
    )


TARGETS = {
    "categorical": ("class", ["number", "count", "left", "up"]),
    "gaussian": ("number", ["class", "count", "left", "up"]),
    "poisson": ("count", ["class", "number", "left", "up"]),
    "bernoulli": ("left,up", ["class", "number", "count"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("streaming") / "table"
    path.mkdir()
    for i in range(3):
        table()[200 * i : 200 * (i + 1)].write_parquet(path / f"{i}.parquet", row_group_size=60)
    return path


def config(folder, head="categorical", **keys):
    target, drop = TARGETS[head]
    given = {"stream": True, "stream_rows": 130, "epochs": 4, "batch_size": 32, "experts": 2, "threads": 1} | keys
    return RunConfig(data=str(folder), target=target, drop=drop, head=head, expert_hidden=[8], patience=0, **given)


def lines(run):
    return without_times(json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines())


def after(steps):
    """Asks to stop after so many steps."""
    calls = itertools.count(1)
    return lambda: next(calls) == steps


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return train(config(folder, epochs=2, class_weight="balanced"), tmp_path_factory.mktemp("run") / "run")


def assert_whole(run):
    """What every run of the table has."""
    data, test = run.summary["data"], run.summary["test"]
    assert data["streamed"]
    assert data["rows"] == ROWS == data["train_rows"] + data["validation_rows"] + data["test_rows"]
    assert data["train_rows"] == pytest.approx(0.7 * ROWS, abs=40)
    assert test["rows"] == data["test_rows"]
    again = Run.load(run.folder)
    assert again.figures(again.test_rows())["nll"] == pytest.approx(test["nll"])
    assert sum(len(frame) for frame in again.predict(run.config.data)) == ROWS
    first, last = lines(run)
    assert last["validation_nll"] < first["validation_nll"]
    found = {value["column"] for expert in run.summary["typical"]["experts"] for value in expert["values"]}
    assert found <= {*table().columns} - {*run.config.target.split(",")}


def test_a_run_of_classes(run):
    assert_whole(run)
    assert run.config.stream is True
    assert run.summary["class_weights"]["yes"] > 1 > run.summary["class_weights"]["no"]
    last = lines(run)[-1]
    assert last["validation_weighted_nll"] != last["validation_nll"]
    assert "of the files, whose rows were streamed" in (run.folder / "report.html").read_text()


@pytest.mark.parametrize("head", ["gaussian", "poisson", "bernoulli"])
def test_a_run_of_other_targets(folder, tmp_path, head):
    assert_whole(train(config(folder, head, epochs=2), tmp_path / "run"))


def fitted(config, stops=(), checkpoints=None):
    """The model of a configuration after its training, and its lines."""
    parts = read_parts(config)
    torch.manual_seed(0)
    prepared = prepare(config, parts, torch.device("cpu"))
    train, validation = prepared.rows["train"], prepared.rows["validation"]
    if isinstance(train, RowStream):
        train = weighted(train, torch.tensor([1.0, 2.0]), prepared.model.classes)[0]
    result = fit(
        prepared.model.mixture,
        prepared.objective,
        train,
        validation,
        LoopConfig(**{name: getattr(config, name) for name in LoopConfig.model_fields}),
        regularisers=regularisers({"load": 0.1}),
        num_classes=2,
        should_stop=after(stops[0]) if stops else lambda: False,
        checkpoints=checkpoints,
        model_factory=prepared.model.spec.build,
    )
    return prepared.model, without_times(result.history)


def test_it_learns_what_rows_in_memory_teach(folder):
    others = Records(
        table(4000, seed=9).drop("class"), table(4000, seed=9)["class"].to_numpy().astype(object), "others"
    )
    found = {}
    for stream in (False, True):
        model, _ = fitted(config(folder, stream=stream, epochs=12, starts=1, lr=0.01, seed=1))
        found[stream] = tally_of_classes(model, others)
    assert found[True] < 0.3
    assert found[True] == pytest.approx(found[False], rel=0.15)


def tally_of_classes(model, records):
    return evaluate(model.mixture, *model.rows(records), 2).result().nll


def test_what_is_interrupted_again_and_again_ends_the_same_to_the_bit(folder, tmp_path):
    """Among the starts, in the middle of an epoch, and between two."""
    keys = config(folder, epochs=5, starts=2, estimator="score-function", warm_start="kmeans", warm_start_epochs=1)
    model, expected = fitted(keys)
    checkpoints, steps = Checkpoints(tmp_path), []
    for stop in (3, 20, 19, 30):
        fitted(keys, stops=[stop], checkpoints=checkpoints)
        steps.append((len(checkpoints.latest()[0].state["scores"]), checkpoints.latest()[0].state["batches"]))
    assert steps == [(0, 3), (0, 9), (1, 14), (2, 2)]
    again, found = fitted(keys, checkpoints=checkpoints)
    assert_same(again.mixture.state_dict(), model.mixture.state_dict())
    assert found == expected


def test_a_run_goes_on(folder, tmp_path, run):
    keys = config(folder, epochs=2, class_weight="balanced")
    again = resume(train(keys, tmp_path / "run", should_stop=after(18)).folder)
    assert_same(again.model.mixture.state_dict(), run.model.mixture.state_dict())
    assert lines(again) == lines(run)
    assert again.summary["test"] == run.summary["test"]


def test_files_that_have_changed_are_noticed(folder, tmp_path):
    copy = tmp_path / "table"
    copy.mkdir()
    table().write_parquet(copy / "0.parquet")
    run = train(config(copy), tmp_path / "run", should_stop=lambda: True)
    table(seed=1).write_parquet(copy / "0.parquet")
    with pytest.raises(GatewiseError, match="has changed since the run"):
        resume(run.folder)


def test_batches_are_those_of_one_process_and_each_takes_its_part():
    sizes = batch_sizes(75, 19)
    turns = np.arange(75)
    assert Shares(sizes, 2, ALONE).own(turns).all()
    shares = [Shares(sizes, 2, Group(rank, 3)) for rank in range(3)]
    own = np.array([each.own(turns) for each in shares])
    assert (own.sum(0) == 1).all()
    for each, mine in zip(shares, own, strict=True):
        for batch, size in enumerate(each.sizes(0)):
            start = each.start(batch)
            assert mine[start : start + sizes[batch]].sum() == size
        assert each.sizes(2) == each.sizes(0)[2:]


def test_the_batches_of_processes_are_parts_of_those_of_one(folder):
    rows = StoredRows(StoredTable.open(folder, "class", ("",)))
    stream = RowStream(rows, ["b"], lambda r: (r.features.to_torch(), torch.zeros(len(r))), 130)
    sizes = batch_sizes(ROWS, 64)

    def batches(rank, size, skip):
        return [x for x, _ in stream.shuffled(5, Shares(sizes, 1, Group(rank, size)), skip)]

    one = batches(0, 1, 0)
    assert [len(x) for x in one] == sizes
    assert torch.equal(torch.cat(one).sort(0).values[:, 0], torch.from_numpy(np.sort(table()["b"].to_numpy())))
    for skip in (0, 1, 6):
        two = zip(*(batches(rank, 2, skip) for rank in range(2)), strict=True)
        for both, expected in zip(two, one[skip:], strict=True):
            assert torch.equal(torch.cat(both), expected)


def test_where_the_line_is_between_memory_and_disk(folder, monkeypatch):
    assert not is_streamed(config(folder, stream=None))
    assert MOST_VALUES == 100_000_000
    monkeypatch.setattr("gatewise.runs.data.MOST_VALUES", ROWS * 8 - 1)
    assert is_streamed(config(folder, stream=None))
    assert not is_streamed(config(folder, stream=False))
    assert not is_streamed(RunConfig(data="digits"))
    assert (default_buffer(20), default_buffer(1000), default_buffer(2**25)) == (200_000, 16_777, 1)


def test_a_run_and_its_start_are_audited_on_a_sample(folder, tmp_path, run):
    options = {"rows": 64, "estimators": ["enumeration"], "seconds": 0.1}
    for found, about in (audit_run(run, **options), audit_data(config(folder), **options)):
        assert found.rows
        assert str(folder) in about["name"]
    further = train(config(folder, start_from=str(run.folder), experts=3, epochs=1), tmp_path / "further")
    assert further.summary["model"]["experts"] == 3
    with pytest.raises(GatewiseError, match=r"but with another stream they are split otherwise"):
        train(config(folder, start_from=str(run.folder), stream=False), tmp_path / "none")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"data": "digits", "target": None, "drop": []}, "stream = true takes a .parquet file or a folder of them"),
        ({"target": "number"}, "more than 100000 different labels, too many for classes"),
        ({"target": "left", "head": "bernoulli", "validation_size": 1e-9}, "was drawn for validation"),
        ({"target": "class", "head": "gaussian"}, "table, row 1: the target is '(no|yes)', which is no number"),
        ({"target": "count", "head": "bernoulli"}, r"the target 'count' has \d+ values"),
        ({"test": "digits"}, "test rows of data that are streamed come from Parquet files"),
    ],
)
def test_what_cannot_be_streamed_is_refused_in_a_line(folder, tmp_path, monkeypatch, keys, said):
    if keys.get("target") == "number":
        monkeypatch.setattr("gatewise.data.targets.MOST_LABELS", 500)
    given = config(folder).model_dump(exclude_unset=True) | {"drop": []} | keys
    with pytest.raises(GatewiseError, match=said) as caught:
        train(RunConfig(**given), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_experts_over_processes_want_all_rows(folder):
    with pytest.raises(GatewiseError, match="expert_parallel does not take rows that are streamed"):
        read_parts(config(folder, expert_parallel=2))


def test_compare_wants_all_rows(folder, tmp_path):
    with pytest.raises(GatewiseError, match=r"compare wants all rows in memory, and those of .* are streamed"):
        compare(config(folder), tmp_path / "compared")


def test_test_rows_may_be_a_table_of_their_own(folder, tmp_path):
    table(90, seed=1).write_parquet(tmp_path / "test.parquet")
    run = train(config(folder, test=str(tmp_path / "test.parquet"), epochs=1), tmp_path / "run")
    assert run.summary["data"]["test_rows"] == run.summary["test"]["rows"] == 90
    table(90).drop("b").write_parquet(tmp_path / "lacks.parquet")
    with pytest.raises(GatewiseError, match=r"lacks.parquet: no column 'b', which .* has; add it"):
        train(config(folder, test=str(tmp_path / "lacks.parquet")), tmp_path / "none")
