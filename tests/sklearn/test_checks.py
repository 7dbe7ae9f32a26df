"""Scikit-learn's own checks of an estimator, all of them."""

import pytest
from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency, parametrize_with_checks

import gatewise as gw

QUICK = {"n_experts": 2, "expert_hidden": (8,), "dropout": 0.0, "epochs": 8, "batch_size": 32, "lr": 0.1}

REASON = (
    "repeated rows fall into other mini-batches and move the mean by which columns are standardised; on whole "
    "batches tests/training/input/test_sample_weights.py finds weights and repetition equal"
)
EXPECTED_FAILURES = {f"check_sample_weight_equivalence_on_{kind}_data": REASON for kind in ("dense", "sparse")}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@parametrize_with_checks(
    [gw.sklearn.MixtureOfExpertsClassifier(**QUICK), gw.sklearn.MixtureOfExpertsRegressor(**QUICK)],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_names_of_columns():
    """Not among those of `parametrize_with_checks`."""
    pytest.importorskip("pandas")
    check_dataframe_column_names_consistency(
        "MixtureOfExpertsClassifier", gw.sklearn.MixtureOfExpertsClassifier(**QUICK)
    )
