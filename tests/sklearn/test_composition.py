"""Inside scikit-learn's own tools."""

import numpy as np
import polars as pl
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_a_pipeline(make, blobs):
    X, y = blobs
    assert make_pipeline(PCA(2), make()).fit(X, y).score(X, y) > 0.9


def test_a_grid_search(make, blobs):
    X, y = blobs
    grid = {"n_experts": np.array([2, 3]), "estimator": ["enumeration", "score-function"]}
    search = GridSearchCV(make(epochs=4), grid, cv=2, scoring="neg_log_loss").fit(X, np.array(list("abc"))[y])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.gate_proba(X).shape[1] == search.best_params_["n_experts"]


def test_cross_validation_of_a_frame(make, blobs):
    X, y = blobs
    frame = pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": ["x", None] * 120})
    assert cross_val_score(make(), frame, y, cv=2).mean() > 0.9
    assert cross_val_predict(make(epochs=2), frame, y, cv=2, method="predict_proba").shape == (240, 3)


def test_calibration(make, blobs):
    X, y = blobs
    model = CalibratedClassifierCV(make(epochs=4), cv=2, ensemble=False).fit(X, y)
    assert model.predict_proba(X).shape == (240, 3)
    assert model.score(X, y) > 0.9


def test_a_vote(make, blobs):
    X, y = blobs
    vote = VotingClassifier([("moe", make(epochs=4)), ("line", LogisticRegression())], voting="soft").fit(X, y)
    assert vote.score(X, y) > 0.9


def test_weights_are_routed(make, blobs):
    X, y = blobs
    weight = np.where(y == 0, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        asked = make(epochs=2).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = make_pipeline(PCA(2), asked).fit(X, y, sample_weight=weight)
        search = GridSearchCV(asked, {"n_experts": [2]}, cv=2).fit(X, y, sample_weight=weight)
        with pytest.raises(ValueError, match="sample_weight"):
            make_pipeline(PCA(2), make()).fit(X, y, sample_weight=weight)
    assert pipeline[-1].classes_.tolist() == search.best_estimator_.classes_.tolist() == [1, 2]
