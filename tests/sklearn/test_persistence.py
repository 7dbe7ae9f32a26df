"""Saved estimators answer as before, and sparse rows are taken."""

import json

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline

import gatewise as gw

pd = pytest.importorskip("pandas")
X, Y = load_iris(return_X_y=True)
QUICK = {"n_experts": 2, "epochs": 2, "random_state": 0}
LABELS = {
    "text": np.array(["setosa", "versicolor", "virginica"])[Y],
    "objects": np.array(["setosa", "versicolor", "virginica"], dtype=object)[Y],
    "numbers": Y - 1,
    "booleans": Y > 0,
}


@pytest.mark.parametrize("kind", LABELS)
def test_a_saved_classifier_answers_as_before(kind, tmp_path):
    weight = dict.fromkeys(np.unique(LABELS[kind]).tolist(), 2.0)
    model = gw.sklearn.MixtureOfExpertsClassifier(**QUICK, class_weight=weight).fit(X, LABELS[kind])
    model.save(tmp_path / "model")
    again = gw.sklearn.MixtureOfExpertsClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.predict(X).dtype.kind == LABELS[kind].dtype.kind
    assert again.get_params() == model.get_params()
    assert again.n_iter_ == model.n_iter_
    assert again.fit(X, LABELS[kind]).n_iter_ == 2  # and is an estimator like any other


def test_a_saved_regressor_of_a_data_frame(tmp_path):
    frame = pd.DataFrame({"a": X[:, 0], "kind": np.array(["x", "y", "z"])[Y]})
    model = gw.sklearn.MixtureOfExpertsRegressor(**QUICK).fit(frame, X[:, 1])
    model.save(tmp_path / "model")
    again = gw.sklearn.MixtureOfExpertsRegressor.load(str(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    assert again.feature_names_in_.tolist() == ["a", "kind"]
    with pytest.raises(ValueError, match="feature names"):
        again.predict(frame.rename(columns={"a": "b"}))


def test_what_cannot_be_loaded_or_saved(tmp_path):
    model = gw.sklearn.MixtureOfExpertsClassifier(**QUICK)
    with pytest.raises(ValueError, match="not fitted"):
        model.save(tmp_path / "model")
    model.fit(X, Y).save(tmp_path / "model")
    with pytest.raises(ValueError, match="is there already"):
        model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"load it by MixtureOfExpertsClassifier\.load"):
        gw.sklearn.MixtureOfExpertsRegressor.load(tmp_path / "model")
    with pytest.raises(ValueError, match="holds no estimator"):
        gw.sklearn.MixtureOfExpertsClassifier.load(tmp_path)
    path = tmp_path / "model/estimator.json"
    kept = json.loads(path.read_text())
    for changed in (
        {"classes": ["int64", [0, 1, 3]]},
        {"classes": ["int99", [0, 1, 2]]},
        {"classes": ["U4", ["0", "1", "2"]]},  # a stranger's U999999999 would take gigabytes
        {"parameters": {"k": 1}},
        {"fitted": 3},
    ):
        path.write_text(json.dumps(kept | changed))
        with pytest.raises(ValueError, match=r"estimator\.json (is damaged|does not fit)"):
            gw.sklearn.MixtureOfExpertsClassifier.load(tmp_path / "model")


def test_export_runs_without_the_estimator(tmp_path):
    model = gw.sklearn.MixtureOfExpertsClassifier(**QUICK).fit(X, Y)
    written = model.export(tmp_path / "iris.pt2")
    rows = torch.from_numpy(model.model_.preprocessing.transform(model._records(X)))
    probs = torch.export.load(written.path).module()(rows)
    np.testing.assert_allclose(probs.detach().numpy(), model.predict_proba(X), atol=1e-5)
    with pytest.raises(ValueError, match="unknown format 'txt'"):
        model.export(tmp_path / "iris.txt")


@pytest.mark.parametrize("form", ["csr_matrix", "csc_array", "coo_array", "lil_matrix"])
def test_sparse_rows_are_those_filled_in(form):
    sparse = getattr(scipy.sparse, form)(X)
    model = gw.sklearn.MixtureOfExpertsClassifier(**QUICK).fit(sparse, Y)
    dense = gw.sklearn.MixtureOfExpertsClassifier(**QUICK).fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(sparse), dense.predict_proba(X))
    np.testing.assert_array_equal(model.predict_proba(X), dense.predict_proba(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # two kinds of rows need no gate
def test_sparse_columns_of_pandas_and_text_in_a_pipeline(monkeypatch):
    frame = pd.DataFrame({"a": pd.arrays.SparseArray(X[:, 0]), "b": X[:, 1]})
    plain = pd.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    fitted = [
        gw.sklearn.MixtureOfExpertsClassifier(**QUICK).fit(each, Y).predict_proba(plain) for each in (frame, plain)
    ]
    np.testing.assert_array_equal(*fitted)
    words = [("good fine " if y else "bad poor ") + "word" for y in Y > 0]
    model = make_pipeline(
        CountVectorizer(), gw.sklearn.MixtureOfExpertsClassifier(**QUICK | {"epochs": 20, "objective": "marginal"})
    )
    assert model.fit(words, Y > 0).score(words, Y > 0) == 1
    monkeypatch.setattr("gatewise.sklearn.frames.LARGEST", 1000)
    with pytest.raises(ValueError, match="TruncatedSVD"):
        model.fit(words, Y > 0)
