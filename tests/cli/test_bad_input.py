"""Bad input gets exit status 2 and one line that says what was wrong, where, and what to do."""

import numpy as np
import polars as pl
import pytest

from .conftest import QUICK

TABLE = "a,b,y\n" + "".join(f"{i},{i % 5},{'no' if i % 2 else 'yes'}\n" for i in range(60))


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text(TABLE)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("a,b,y\n")
    (tmp_path / "one.csv").write_text("a,b,y\n" + "1,2,yes\n" * 30)
    (tmp_path / "rare.csv").write_text(TABLE + "1,2,perhaps\n")
    (tmp_path / "ragged.csv").write_text(TABLE + "1,2\n")
    (tmp_path / "binary.csv").write_bytes(b"\x00\xff\xfe" * 40)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "broken.npz").write_bytes(b"PK no")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bad.toml").write_text('epoch = 3\ndata = "iris"\n')
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").write_text("mine")
    x = np.ones((20, 3))
    x[4, 1] = np.nan
    np.savez(tmp_path / "nan.npz", x=x, y=np.arange(20) % 2)
    np.savez(tmp_path / "short.npz", x=np.ones((20, 3)), y=np.arange(19) % 2)
    return tmp_path


TRAIN = {
    "missing file": ("nowhere.csv --target y", "nowhere.csv", "no such file"),
    "unknown name": ("digit", "did you mean 'digits'"),
    "unknown ending": ("notes.txt", "notes.txt", ".csv"),
    "no data at all": ("", "train needs DATA"),
    "missing target": ("good.csv --target z", "'z'", "columns"),
    "no target named": ("good.csv", "target"),
    "empty file": ("empty.csv --target y", "empty.csv", "empty"),
    "header only": ("header.csv --target y", "header.csv", "no rows"),
    "one class only": ("one.csv --target y", "only one class"),
    "a class with one row": ("rare.csv --target y", "'perhaps'", "1 row"),
    "ragged rows": ("ragged.csv --target y", "ragged.csv", "line 62"),
    "no text": ("binary.csv --target y", "binary.csv"),
    "a broken parquet file": ("broken.parquet --target y", "broken.parquet"),
    "a broken npz file": ("broken.npz", "broken.npz"),
    "NaN in x": ("nan.npz", "NaN", "row"),
    "x and y of different length": ("short.npz", "20", "19"),
    "no experts": ("iris --experts 0", "experts", "greater than or equal to 1"),
    "unknown estimator": ("iris --estimator gumble-softmax", "did you mean 'gumbel-softmax'"),
    "unknown objective": ("iris --objective elbo", "unknown objective 'elbo'"),
    "vimco for another objective": ("iris --estimator vimco", "multi-sample alone; for jensen use score-function"),
    "too many joint outcomes": ("none.csv --objective multi-sample --estimator enumeration --samples 5", "use vimco"),
    "an option of no objective": ("none.csv --set objective_options={top=2}", "has no option 'top'"),
    "unknown regulariser": ("iris --regulariser entropy=1", "unknown regulariser 'entropy'"),
    "a regulariser without weight": ("iris --regulariser load", "NAME=WEIGHT"),
    "unknown key": ("--config bad.toml", "unknown key 'epoch'", "did you mean 'epochs'"),
    "missing configuration": ("--config none.toml", "cannot read the configuration none.toml"),
    "a setting without value": ("iris --set lr", "KEY=VALUE"),
    "a number that is none": ("iris --epochs many", "--epochs", "integer"),
    "unknown flag": ("iris --epoch 3", "--epoch"),
    "a key as a flag twice": ("none.csv --drop a --drop b", "--drop is given twice"),
    "a key as a flag without value": ("none.csv --lr", "--lr needs a value"),
    "a key as a flag with a bad value": ("none.csv --lr 0", "the command line: lr:", "greater than 0"),
    "a key by another name": ("iris --set learning_rate=0.1", "did you mean 'lr'?"),
    "columns with nothing between the commas": ("none.csv --drop a,,b", "drop: the list 'a,,b'"),
    "device not there": ("iris --device tpu", "unknown device 'tpu'"),
    "a folder in use": ("iris --out taken", "taken is there already"),
    "a temperature that reaches 0": ("iris --estimator gumbel-softmax --temperature linear:1:0", "positive"),
    "too few samples": ("iris --estimator score-function --set baseline=leave-one-out", "samples from 2, got 1"),
    "a gate of the top 1": ("none.csv --set gate_top_k=1", "gate_top_k", "take k from 2"),
    "a top k above the experts": ("none.csv --set gate_top_k=9", "gate_top_k", "from 2 to 8"),
    "a sparse map with top k": ("none.csv --set gate_top_k=2 --set gate_map=sparsemax", "leave top-k out"),
    "an unknown map": ("none.csv --set gate_map=entmax", "did you mean 'entmax15'"),
    "a gate's temperature of 0": ("none.csv --set gate_temperature=0", "must be a number above 0"),
    "a convolutional gate on a trunk": ("none.csv --set gate=conv --set trunk_hidden=[8]", "use gate = 'mlp'"),
    "a convolutional gate with widths": ("none.csv --set gate=conv --set gate_hidden=[8]", "leave gate_hidden empty"),
    "a convolutional gate on a table": ("iris --set gate=conv", "needs images", "use gate = 'mlp'"),
    "a prior for other experts": (
        "none.csv --experts 8 --regulariser prior=1 --set expert_prior=[0.5,0.5]",
        "2 probabilities for 8 experts",
    ),
    "a prior that nobody reads": ("none.csv --experts 2 --set expert_prior=[0.5,0.5]", "--regulariser prior=0.1"),
    "test file without the target": ("good.csv --target y --test good2.csv", "good2.csv"),
}


@pytest.mark.parametrize("case", TRAIN)
def test_train(gatewise, files, case):
    words, *said = TRAIN[case]
    (files / "good2.csv").write_text("a,b\n1,2\n")
    done = gatewise("train", *words.split())
    refused(done, said)
    assert not (files / "runs").exists()
    assert (files / "taken/file").read_text() == "mine"


def refused(done, said):
    assert done.status == 2, done.err
    assert done.out == ""
    assert len(done.err.splitlines()) == 1, done.err
    assert done.err.startswith("gatewise: ")
    for words in said:
        assert words in done.err


AFTER = {
    "no such run": ("evaluate nowhere", "there is no run folder nowhere"),
    "a folder that is no run": ("evaluate taken", "summary.json is missing"),
    "a label unseen in training": ("evaluate run new_label.csv", "'perhaps'"),
    "a missing column": ("predict run no_b.csv", "'b'"),
    "text where numbers were": ("predict run text.csv", "'a'", "'many'"),
    "no labels to evaluate with": ("evaluate run no_y.csv", "'y'"),
    "an array for a table": ("predict run nan.npz", "nan.npz"),
    "an ending that is not written": ("predict run good.csv -o out.xlsx", ".csv or .parquet"),
    "an output that cannot be written": ("predict run good.csv -o none/out.csv", "cannot write none/out.csv"),
    "an unknown route": ("predict run good.csv --route best", "unknown route 'best'"),
    "a k beyond the experts": ("predict run good.csv --route topk --k 9", "from 1 to 3 experts"),
}


@pytest.mark.parametrize("case", AFTER)
def test_evaluate_and_predict(gatewise, files, case):
    trained = gatewise("train", "good.csv", "--target", "y", "--out", "run", *QUICK)
    assert trained.status == 0, trained.err
    (files / "new_label.csv").write_text(TABLE + "1,2,perhaps\n")
    (files / "no_b.csv").write_text("a,y\n1,yes\n")
    (files / "no_y.csv").write_text("a,b\n1,2\n")
    (files / "text.csv").write_text("a,b\n1,2\nmany,2\n")
    words, *said = AFTER[case]
    refused(gatewise(*words.split()), said)


def folder_of(files, last):
    """Two files that are as they should be, and a third."""
    rows = {"a": [float(i) for i in range(40)], "b": [i % 5 for i in range(40)]}
    (files / "folder").mkdir()
    for name, columns in (("1", rows), ("2", rows), ("3", last(rows))):
        pl.DataFrame(columns).write_parquet(files / f"folder/{name}.parquet")


LATER = {
    "a column fewer": (lambda rows: {"a": rows["a"]}, "3.parquet", "1 columns where the first file has 2"),
    "another type": (lambda rows: rows | {"b": ["x"] * 40}, "3.parquet", "'b' of String", "'b' of Int64"),
    "an infinite number": (
        lambda rows: rows | {"a": [*[0.5] * 39, float("inf")]},
        "3.parquet, row 40",
        "'a' holds inf",
    ),
}


@pytest.mark.parametrize("case", LATER)
@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
def test_a_later_file_that_is_bad_leaves_no_output_and_keeps_the_old(gatewise, files, case, output):
    make, *said = LATER[case]
    trained = gatewise("train", "good.csv", "--target", "y", "--out", "run", *QUICK)
    assert trained.status == 0, trained.err
    folder_of(files, make)
    before = {path.name for path in files.iterdir()}
    refused(gatewise("predict", "run", "folder", "-o", output), said)
    assert {path.name for path in files.iterdir()} == before
    (files / output).write_text("mine")
    refused(gatewise("predict", "run", "folder", "-o", output), said)
    assert (files / output).read_text() == "mine"
    assert {path.name for path in files.iterdir()} == before | {output}
