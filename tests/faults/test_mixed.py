"""Files of a run folder that do not fit each other: refused in one line that names them, before anything is built."""

import contextlib
import json
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewise.errors import GatewiseError
from gatewise.runs import Run
from tests.faults import mixed

CHOSEN = ("classes", "again", "three", "wider", "embedded", "labels", "numbers", "images")
CORPUS = Path(__file__).parent / "corpus"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Good runs by name."""
    folder = tmp_path_factory.mktemp("good")
    mixed.write_data(folder)
    for name in CHOSEN:
        mixed.make_run(folder, name)
    return folder


@pytest.fixture
def run(good, tmp_path):
    """A copy of one of them."""
    return mixed.copied("classes", good, tmp_path / "place")


def edited(run, good, file, at=None, **edit):
    """The line in which the run is refused once a file is edited."""
    mixed.apply({"file": file, **({} if at is None else {"at": at}), **edit}, run, good)
    with pytest.raises(GatewiseError) as caught:
        Run.load(run)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800
    return str(caught.value)


ONES = ("model", "model/preprocessing.json", "model/model.json", "summary.json", "config.toml")
FIT = {
    ("again", "model"),
    *((other, file) for other in ("again", "embedded") for file in ONES[1:2]),
    ("again", ONES[2]),
}
"""What is the same in both runs, or fits."""


@pytest.mark.parametrize(
    ("other", "file"), [(o, f) for o in CHOSEN for f in ONES if o != "classes" and (o, f) not in FIT]
)
def test_a_file_of_another_run(run, good, file, other):
    said = edited(run, good, file, of=other)
    assert str(run) in said
    assert any(word in said for word in ("restore", "train the run again"))


def test_the_preprocessing_of_another_table(run, good):
    shutil.copy(good / "wider/model/preprocessing.json", run / "model")
    assert "preprocessing.skops is of another table" in edited(run, good, "model/preprocessing.json", of="wider")
    said = edited(run, good, "model/preprocessing.skops", of="wider")
    assert "does not fit model.json beside it: it makes rows of" in said


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("float8_e4m3fn", "is float8_e4m3fn [2, 4, 2], not float32 [2, 4, 2]"),
        ("float16", "is float16"),
        ("float64", "is float64"),
        ("int64", "is int64"),
        ("bool", "is bool"),
        ("nan", "not finite"),
        ("infinite", "not finite"),
        ("flat", "is float32 [16], not float32 [2, 4, 2]"),
        ("empty", "is float32 [0]"),
        ("gone", "is not there, not float32"),
        ("renamed", "is not there, not float32"),
    ],
)
def test_weights_of_another_form(run, good, form, said):
    assert said in edited(run, good, "model/weights.safetensors", tensor="experts.weights.1", form=form)


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (["classes"], ["no", "no"], "classes: Value error, 'no' is there twice"),
        (["classes"], ["yes", "no"], 'classes is ["no", "yes"] in one and ["yes", "no"] in the other'),
        (["classes", 0], "\ud800", "half of a surrogate pair"),
        (["input_shape"], [2**20] * 4, "a row of more than 4294967296 numbers"),
        (["input_shape"], [], "input_shape"),
        (["input_shape"], [-5], "greater than or equal to 1"),
        (["experts"], int("9" * 400), "a whole number of 400 digits"),
        (["dropout"], float("nan"), "dropout: Input should be a finite number"),
        (["target_unit"], float("inf"), "finite number"),
        (["expert_hidden"], [4] * 100_000, "at most 1000 items"),
        (["trunk_hidden"], [4] * 1000, "it has 6 tensors of"),
        (["expert"], "linear", "does not fit model.json"),
        (["head"], "gaussian", "does not fit 2 classes"),
        (["gate_map"], "sparsemax", "does not fit model.json"),
        (["gate_temperature"], 2.0, "does not fit model.json"),
        (["gate_temperature"], 0.0, "model.json does not describe a model: the gate's temperature must be"),
        (["gate_top_k"], 99, "model.json does not describe a model: a top-k gate of 2 experts"),
        (["dropout"], 0.4, "config.toml and"),
        (["numeric_embedding"], "periodic", "numeric_embedding of 0 numbers"),
    ],
)
def test_a_model_that_is_not_that_of_the_run(run, good, at, value, said):
    assert said in edited(run, good, "model/model.json", at, value=value)


def test_labels_twice(good, tmp_path):
    run = mixed.copied("labels", good, tmp_path / "place")
    name = json.loads((run / "model/model.json").read_text())["labels"][0]["name"]
    assert "is there twice" in edited(run, good, "model/model.json", ["labels", 1, "name"], value=name)
    mixed.apply({"file": "model/model.json", "of": "labels"}, run, good)
    assert "is there twice" in edited(run, good, "model/model.json", ["labels", 0, "values"], value=["0", "0"])


def test_65536_convolutional_experts_are_not_built(good, tmp_path, monkeypatch):
    run = mixed.copied("images", good, tmp_path / "place")
    built = []
    monkeypatch.setattr("gatewise.models.spec.ModelSpec.build", lambda *_: built.append(1))
    assert "tensors of" in edited(run, good, "model/model.json", ["experts"], value=65536)
    assert not built


@pytest.mark.parametrize(
    ("file", "at", "value", "said"),
    [
        ("summary.json", ["model", "experts"], 3, "details.expert_share must have rows of 3 numbers"),
        ("summary.json", ["model", "parameters"], 7, "the count of parameters is 7"),
        ("summary.json", ["epochs"], int("9" * 400), "a whole number of 400 digits"),
        ("summary.json", ["data", "columns"], "3", "data.columns"),
        ("summary.json", ["data", "hash"], None, "data.hash"),
        ("config.toml", ["seed"], 9, "seed is 9 in one and 0 in the other"),
        ("config.toml", ["experts"], 3, "experts is 3 in one and 2 in the other"),
        ("model/preprocessing.json", ["columns", 1, "name"], "a", "'a' is there twice"),
        ("model/preprocessing.json", ["columns", 2, "levels"], None, "the reach of outliers does not fit"),
        ("model/preprocessing.json", ["columns", 2, "levels"], ["u"], "from -1 to 0"),
        ("model/preprocessing.json", ["columns", 2, "levels", 0], 5, "a list of texts that is none"),
        ("model/preprocessing.json", ["columns"], [], "the reach of outliers does not fit"),
        ("model/calibration.json", ["mixture"], float("nan"), "no temperatures above 0"),
    ],
)  # fmt: skip
def test_what_two_files_say_otherwise(run, good, file, at, value, said):
    assert said in edited(run, good, file, at, value=value)


# What a stranger's preprocessing sets


@pytest.fixture
def wider(good, tmp_path):
    return mixed.copied("wider", good, tmp_path / "place")


def resaved(run, change):
    """Change the transformer of a run as Python can, and write it again."""
    import skops.io

    path = run / "model/preprocessing.skops"
    transformer = skops.io.load(path, trusted=["numpy.dtype"])
    change(transformer, {name: part for name, part, _ in transformer.transformers_})
    skops.io.dump(transformer, path)


SETTINGS = {
    "processes": lambda whole, parts: whole.set_params(n_jobs=64),
    "verbose": lambda whole, parts: whole.set_params(verbose=True),
    "sparse outputs": lambda whole, parts: parts["text"].set_params(sparse_output=True),
    "a sparse whole": lambda whole, parts: setattr(whole, "sparse_output_", True),
    "another type": lambda whole, parts: parts["text"].set_params(dtype=np.int8),
    "unknown values refused": lambda whole, parts: parts["text"].set_params(handle_unknown="error"),
    "frames": lambda whole, parts: whole.set_output(transform="pandas"),
    "a cache of its steps": lambda whole, parts: parts["number"].set_params(memory="cache"),
    "an indicator": lambda whole, parts: parts["number"].steps[0][1].set_params(add_indicator=True),
    "weights of parts": lambda whole, parts: whole.set_params(transformer_weights={"number": 1e300}),
    "the rest": lambda whole, parts: whole.set_params(remainder="passthrough"),
}


@pytest.mark.parametrize("change", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("name", ["classes", "wider"])
def test_settings_of_the_preprocessing_change_nothing(good, tmp_path, monkeypatch, name, change):
    data = str(good / mixed.RUNS[name]["data"])
    wanted = next(iter(Run.load(good / name).predict(data)))
    run = mixed.copied(name, good, tmp_path / "place")
    resaved(run, change)
    monkeypatch.chdir(run)
    loaded = Run.load(run)
    assert loaded.model.preprocessing.transformer.n_jobs is None
    assert next(iter(loaded.predict(data))).equals(wanted)
    assert not (run / "cache").exists()


LEARNED = {
    "means of another table": lambda parts: setattr(parts["number"].steps[1][1], "mean_", np.zeros(3)),
    "a mean that is none": lambda parts: setattr(parts["number"].steps[1][1], "mean_", np.full(2, np.nan)),
    "a scale of 0": lambda parts: setattr(parts["number"].steps[1][1], "scale_", np.zeros(2)),
    "complex medians": lambda parts: setattr(parts["number"].steps[0][1], "statistics_", np.zeros(2, complex)),
    "gaps beyond the columns": lambda parts: setattr(parts["missing"], "features_", np.array([0, 5])),
    "gaps that fall": lambda parts: setattr(parts["missing"], "features_", np.array([1, 0])),
    "codes beyond the levels": lambda parts: setattr(parts["text"], "categories_", [np.arange(9.0)]),
    "codes between": lambda parts: setattr(parts["text"], "categories_", [np.array([0.0, 0.5])]),
    "no text": lambda parts: setattr(parts["text"], "categories_", []),
    "another step": lambda parts: parts["number"].steps.insert(0, ("first", parts["number"].steps[1][1])),
}


@pytest.mark.parametrize("change", LEARNED.values(), ids=LEARNED)
def test_what_the_preprocessing_has_learned_fits_its_columns(run, change):
    resaved(run, lambda whole, parts: change(parts))
    with pytest.raises(GatewiseError, match="not a preprocessing that can be read") as caught:
        Run.load(run)
    assert "\n" not in str(caught.value)


def test_quantiles_that_fall(wider):
    def change(whole, parts):
        scaler = parts["number"].steps[1][1]
        scaler.quantiles_ = scaler.quantiles_[::-1].copy()

    resaved(wider, change)
    with pytest.raises(GatewiseError, match="quantiles that do not rise"):
        Run.load(wider)


def test_a_description_of_more_than_the_columns(run):
    path = run / "model/preprocessing.skops"
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (kept | {"schema.json": b"[" + b"{}," * 2**18 + b"{}]"}).items():
            archive.writestr(name, content)
    with pytest.raises(GatewiseError, match=r"describes more than the 3 columns"):
        Run.load(run)


def test_a_loaded_preprocessing_is_the_one_that_was_saved(good):
    """To the bit, and what it saves again is read again."""
    for name in ("classes", "wider", "labels"):
        loaded = Run.load(good / name)
        again = good / f"{name} saved"
        loaded.model.save(again)
        for file in ("preprocessing.json", "model.json", "calibration.json"):
            if (good / name / "model" / file).exists():
                assert (again / file).read_bytes() == (good / name / "model" / file).read_bytes()
        records = loaded.read(str(good / mixed.RUNS[name]["data"]), require_target=False)
        inputs = loaded.model.inputs(records)
        assert torch.equal(type(loaded.model).load(again).inputs(records), inputs)


def test_mixtures_are_taken_or_refused_in_a_line(good, tmp_path):
    """The short form of `python -m tests.faults.mixed`, by other draws."""
    refusals = 0
    for number in range(60):
        kept, words = mixed.draw_input(random.Random(f"short {number}"), good, tmp_path / "place", CHOSEN)
        with contextlib.chdir(tmp_path / "place"), mixed.pictures(written=False):
            wrong, refused = mixed.fault(words)
        assert wrong is None, json.dumps(kept)
        refusals += refused
    assert 10 < refusals < 50


@pytest.mark.parametrize("path", sorted(CORPUS.glob("mixed-*.json")), ids=lambda path: path.name)
def test_what_was_found_is_taken_or_refused_in_a_line(good, tmp_path, path):
    kept = json.loads(path.read_text())
    if not (good / kept["run"]).exists():
        mixed.make_run(good, kept["run"])
    words = mixed.redo(kept, good, tmp_path / "place")
    with contextlib.chdir(tmp_path / "place"), mixed.pictures(written=False):
        assert mixed.fault(words)[0] is None
