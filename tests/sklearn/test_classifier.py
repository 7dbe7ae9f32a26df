import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import log_loss

import gatewise as gw
from gatewise.sklearn.parameters import for_python

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_it_learns_and_says_what_it_learned(make, blobs):
    X, y = blobs
    model = make().fit(X, y)
    assert model.score(X, y) > 0.95
    assert model.n_iter_ == len(model.history_) >= model.best_iter_ >= 1
    assert "validation_nll" in model.history_[0]  # 240 rows are enough to hold some out
    assert len(model.experts_) == 3
    assert model.gate_proba(X).shape == (240, 3)
    np.testing.assert_allclose(model.gate_proba(X).sum(1), 1)


@pytest.mark.parametrize(
    "names", [["a", "b", "c"], [-1, 10, 5], np.array(["x", "yy", "z"]), [1.0, 2.0, 4.0]], ids=["list", "int", "U", "f"]
)
def test_labels_of_any_kind_come_back(make, blobs, names):
    X, codes = blobs
    y = np.asarray(names)[codes]
    model = make().fit(X, y)
    assert model.classes_.tolist() == sorted(np.asarray(names).tolist())
    assert model.predict(X).dtype == y.dtype
    assert (model.predict(X) == y).mean() > 0.95


def test_two_classes_and_booleans(make, blobs):
    X, codes = blobs
    model = make().fit(X, codes == 2)
    assert model.classes_.tolist() == [False, True]
    assert model.predict(X).dtype == bool
    assert model.predict_proba(X).shape == (240, 2)
    assert model.score(X, codes == 2) > 0.95


def test_probabilities_are_those_of_the_formula(make, blobs):
    """log Σ_z p(y|z,x) p(z|x) from the plain experts, and Bayes for the posterior; the routes beside it."""
    X, y = blobs
    model = make().fit(X, y)
    x = model.model_.inputs(gw.sklearn.frames.further_records(model, X, as_table=False, missing=()))
    with torch.no_grad():
        experts = torch.stack([expert(x).softmax(-1) for expert in model.experts_], 1).numpy()
    gate = model.gate_proba(X)
    joint = gate[:, :, None] * experts
    np.testing.assert_allclose(model.predict_proba(X), joint.sum(1), atol=1e-5)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X), rtol=1e-9)
    of_y = joint[np.arange(len(y)), :, y]
    np.testing.assert_allclose(model.posterior(X, y), of_y / of_y.sum(1, keepdims=True), atol=1e-4)
    rows = np.arange(len(y))
    top1 = model.set_params(route="top1")
    np.testing.assert_allclose(top1.predict_proba(X), experts[rows, gate.argmax(1)], atol=1e-5)
    np.testing.assert_allclose(np.exp(top1.predict_log_proba(X)), top1.predict_proba(X))
    topk = model.set_params(route="topk", top_k=3)
    np.testing.assert_allclose(topk.predict_proba(X), joint.sum(1), atol=1e-5)
    with pytest.raises(ValueError, match="takes k from 1 to 3 experts, got 4"):
        model.set_params(top_k=4).predict(X)


def test_one_seed_is_one_model(make, blobs):
    X, y = blobs
    first, second, other = (make(random_state=seed).fit(X, y).predict_proba(X) for seed in (7, 7, 8))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    state = np.random.RandomState(7)
    drawn = [make(random_state=state).fit(X, y).predict_proba(X) for _ in range(2)]
    assert not np.array_equal(*drawn)
    assert np.array_equal(drawn[0], make(random_state=np.random.RandomState(7)).fit(X, y).predict_proba(X))


def test_the_global_random_states_are_left_alone(make, blobs):
    X, y = blobs
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    make().fit(X, y).predict(X)
    make().partial_fit(X, y, [0, 1, 2])
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()


def test_none_draws_another_seed_each_time(make, blobs):
    X, y = blobs
    first, second = (make(random_state=None, epochs=2).fit(X, y).predict_proba(X) for _ in range(2))
    assert not np.array_equal(first, second)


def test_a_pickle_and_a_clone(make, blobs):
    X, y = blobs
    model = make(regulariser={"load": "linear:0.5:0.1"}, expert_hidden=[8, 8]).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    copy = clone(model)
    assert not hasattr(copy, "classes_")
    assert np.array_equal(copy.fit(X, y).predict_proba(X), model.predict_proba(X))


def test_a_batch_of_one_row_gives_what_all_rows_give(make, blobs):
    X, y = blobs
    model = make().fit(X, y)
    alone = np.concatenate([model.predict_proba(row[None]) for row in X[:20]])
    np.testing.assert_allclose(alone, model.predict_proba(X)[:20], rtol=1e-12)


def test_rows_of_weight_zero_are_left_out(make, blobs):
    X, y = blobs
    weight = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    kept = weight > 0
    whole = make().fit(X, y, sample_weight=weight).predict_proba(X)
    assert np.array_equal(whole, make().fit(X[kept], y[kept], sample_weight=weight[kept]).predict_proba(X))
    np.testing.assert_allclose(whole, make().fit(X, y, sample_weight=weight * 8).predict_proba(X), atol=1e-12)
    assert np.abs(whole - make().fit(X, y).predict_proba(X)).max() > 1e-4
    lost = make().fit(X, y, sample_weight=np.where(y == 1, 0.0, 1.0))
    assert lost.classes_.tolist() == [0, 2]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_class_weights_are_weights_of_rows(make, blobs, early_stopping):
    X, y = blobs
    y = np.where(y == 0, "rare", "often")
    by_row = np.where(y == "rare", 5.0, 1.0)
    options = {"early_stopping": early_stopping, "dropout": 0.0}
    by_class = make(class_weight={"rare": 5.0}, **options).fit(X, y).predict_proba(X)
    assert np.array_equal(by_class, make(**options).fit(X, y, sample_weight=by_row).predict_proba(X))
    balanced = np.where(y == "rare", 1 / (y == "rare").sum(), 1 / (y == "often").sum())
    np.testing.assert_allclose(
        make(class_weight="balanced", **options).fit(X, y).predict_proba(X),
        make(**options).fit(X, y, sample_weight=balanced).predict_proba(X),
        atol=1e-4,
    )


def test_balanced_classes_answer_as_if_they_were_equally_frequent():
    """Gaussians 1 apart, 9 to 1: balanced, the boundary is in the middle, where p is 1/2; unbalanced it is not."""
    rng = np.random.default_rng(0)
    y = (rng.random(3000) < 0.1).astype(int)
    X = rng.normal(size=(3000, 1)) + y[:, None]
    options = {"n_experts": 1, "expert": "linear", "epochs": 10, "lr": 0.02, "random_state": 0}
    plain, balanced = (
        gw.sklearn.MixtureOfExpertsClassifier(class_weight=chosen, **options).fit(X, y).predict_proba([[0.5]])[0, 1]
        for chosen in (None, "balanced")
    )
    assert plain == pytest.approx(0.1, abs=0.04)
    assert balanced == pytest.approx(0.5, abs=0.08)


def test_partial_fit_goes_on(make, blobs):
    X, y = blobs
    model = make(random_state=0)
    losses = []
    for _ in range(8):
        for rows in np.array_split(np.arange(len(y)), 3):
            model.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
        losses.append(log_loss(y, model.predict_proba(X)))
    assert losses[-1] < 0.5 * losses[0]
    assert model.n_iter_ == 24
    again = pickle.loads(pickle.dumps(model))  # with the optimiser's state and the order's
    for each in (model, again):
        each.partial_fit(X, y)
    assert np.array_equal(model.predict_proba(X), again.predict_proba(X))


def test_partial_fit_after_fit_starts_from_its_weights(make, blobs):
    X, y = blobs
    model = make(lr=1e-4).fit(X, y)
    before = log_loss(y, model.predict_proba(X))
    model.set_params(lr=1e-5).partial_fit(X, y)
    assert log_loss(y, model.predict_proba(X)) == pytest.approx(before, rel=0.05)
    assert not np.array_equal(make(lr=1e-4).fit(X, y).predict_proba(X), model.predict_proba(X))


def test_partial_fit_takes_weights_and_classes_it_has_not_seen(make, blobs):
    X, y = blobs
    rows = y < 2
    plain = make().partial_fit(X[rows], y[rows], classes=[0, 1, 2])
    assert plain.predict_proba(X).shape == (len(y), 3)
    weighted = make(class_weight={0: 100.0}).partial_fit(X[rows], y[rows], classes=[0, 1, 2])
    by_row = make().partial_fit(X[rows], y[rows], [0, 1, 2], sample_weight=np.where(y[rows] == 0, 100.0, 1.0))
    assert np.array_equal(weighted.predict_proba(X), by_row.predict_proba(X))
    assert (weighted.predict(X) == 0).sum() > (plain.predict(X) == 0).sum()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        make().partial_fit(X, y)
    with pytest.raises(ValueError, match="not the same as on last call"):
        plain.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="previously unseen labels"):
        plain.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="class_weight='balanced' needs all rows at once"):
        make(class_weight="balanced").partial_fit(X, y, [0, 1, 2])


def test_early_stopping(make, blobs):
    X, y = blobs
    stopped = make(early_stopping=True, epochs=300, lr=0.3, lr_schedule="constant", patience=3).fit(X, y)
    assert stopped.n_iter_ == stopped.best_iter_ + 3 < 300
    assert stopped.history_[0]["validation_rows"] == 30
    whole = make(early_stopping=False).fit(X, y)
    assert whole.n_iter_ == whole.best_iter_ == 10
    assert "validation_nll" not in whole.history_[0]
    few = make().fit(X[:100], y[:100])
    assert "validation_nll" not in few.history_[0]
    with pytest.raises(ValueError, match=r"class '1' has only 1 row.* or set early_stopping=False"):
        make(early_stopping=True).fit(X[:60], (np.arange(60) == 3).astype(int))


@pytest.mark.parametrize("objective", gw.objectives.names())
def test_every_objective(make, blobs, objective):
    X, y = blobs
    assert make(objective=objective).fit(X, y).score(X, y) > 0.9


def test_an_estimator_with_its_options(make, blobs):
    X, y = blobs
    model = make(estimator="score-function", baseline="leave-one-out", samples=2, gate_hidden=[4], trunk_hidden=(8,))
    assert model.fit(X, y).score(X, y) > 0.9


def test_images_go_to_convolutions(make):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    X = rng.normal(size=(60, 8, 8)) + 2 * y[:, None, None] * np.tri(8)
    model = make(expert="conv", n_experts=2).fit(X, y)
    assert model.score(X, y) > 0.9
    assert pickle.loads(pickle.dumps(model)).predict(X).shape == (60,)
    assert len(model.experts_) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_experts": 0}, "MixtureOfExpertsClassifier: n_experts: input should be greater than or equal to 1, got 0"),
        ({"n_experts": "many"}, "n_experts: input should be a valid integer"),
        ({"dropout": 1.5}, "dropout: input should be less than 1, got 1.5"),
        ({"dropout": None}, "dropout: input should be a valid number"),
        ({"epochs": 0}, "epochs: input should be greater"),
        ({"lr": -1}, "lr: input should be greater than 0"),
        ({"expert": "tree"}, "expert: input should be 'mlp', 'linear' or 'conv'"),
        ({"expert_hidden": "wide"}, "expert_hidden: input should be a valid integer"),
        ({"expert_hidden": [0]}, "expert_hidden: every width must be from 1"),
        ({"objective": "jenson"}, "did you mean 'jensen'"),
        ({"estimator": "score"}, "unknown estimator 'score'"),
        ({"objective": "marginal", "estimator": "reinmax"}, "marginal objective is exact and takes no estimator"),
        ({"regulariser": {"lode": 0.1}}, "unknown regulariser 'lode'"),
        ({"regulariser": ("load",)}, "regulariser: give NAME=WEIGHT"),
        ({"early_stopping": "yes"}, "early_stopping must be True, False or 'auto'"),
        ({"validation_fraction": 1.0}, r"validation_fraction must be a number in \(0, 1\), got 1.0"),
        ({"class_weight": "balance"}, "class_weight must be 'balanced'"),
        ({"class_weight": {7: 1.0}}, "class_weight has an unknown class 7"),
        ({"class_weight": {0: "heavy"}}, "class_weight of 0 must be a number above 0"),
        ({"route": "top2"}, "unknown route 'top2'"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"numeric": "quantile"}, "numeric='quantile' is for tables"),
        ({"verbose": "loud"}, "verbose must be a whole number of at least 0, got 'loud'"),
        ({"top_k": 0}, "top_k must be a whole number of at least 1, got 0"),
    ],
)
def test_a_bad_parameter_is_refused_when_fitted(make, blobs, options, said):
    model = make(**options)
    with pytest.raises(ValueError, match=said) as caught:
        model.fit(*blobs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"acumulate": 2}, "settings: unknown key 'acumulate'; did you mean 'accumulate'"),
        ({"lr": 0.1}, "settings: 'lr' is a parameter of its own: give lr"),
        ({"experts": 3}, "settings: 'experts' is a parameter of its own: give n_experts"),
        ({"seed": 3}, "settings: 'seed' is not for an estimator"),
        ({"accumulate": 0}, "MixtureOfExpertsClassifier: accumulate: input should be greater"),
    ],
)
def test_further_keys_of_the_configuration(make, blobs, settings, said):
    X, y = blobs
    options = {"dropout": 0.0, "epochs": 2}
    whole, parts = make(**options).fit(X, y), make(settings={"accumulate": 2}, **options).fit(X, y)
    np.testing.assert_allclose(whole.predict_proba(X), parts.predict_proba(X), atol=1e-2)
    assert not np.array_equal(whole.predict_proba(X), parts.predict_proba(X))
    with pytest.raises(ValueError, match=said):
        make(settings=settings).fit(X, y)


def test_numbers_of_numpy_are_numbers(make, blobs):
    X, y = blobs
    model = make(n_experts=np.int64(2), lr=np.float32(0.03), expert_hidden=np.array([8]), early_stopping=np.True_)
    assert model.fit(X, y).gate_proba(X).shape == (240, 2)


def test_weights_that_are_none(make, blobs):
    X, y = blobs
    for weights, said in ((np.zeros(240), "at least one non-zero"), (-np.ones(240), "[Nn]egative"), ([1.0], "shape")):
        with pytest.raises(ValueError, match=said):
            make().fit(X, y, sample_weight=weights)


def test_before_fit(make, blobs):
    for method in ("predict", "predict_proba", "gate_proba"):
        with pytest.raises(NotFittedError):
            getattr(make(), method)(blobs[0])
    with pytest.raises(NotFittedError):
        make().posterior(*blobs)
    assert not hasattr(make(), "experts_")


def test_a_posterior_of_an_unknown_label(make, blobs):
    X, y = blobs
    with pytest.raises(ValueError, match="previously unseen labels"):
        make(epochs=1).fit(X, y).posterior(X, y + 5)


def test_troubles_of_the_gate_are_warnings_in_python(make, blobs):
    X, y = blobs
    model = make(n_experts=6, regulariser=None, estimator="score-function", epochs=40, lr=0.1, gate_hidden=(32,))
    with pytest.warns(ConvergenceWarning, match="regulariser=.*objective=") as caught:
        model.fit(X, y)
    assert "--" not in str(caught[0].message)
    assert caught[0].filename == __file__


def test_advice_in_flags_becomes_advice_in_parameters():
    said = "by --regulariser load=0.3 --regulariser prior=1. Or --set balance_rate=0.05, or --objective marginal."
    assert for_python(said) == (
        'by regulariser={"load": 0.3, "prior": 1}. Or settings={"balance_rate": 0.05}, or objective="marginal".'
    )


def test_verbose_prints_a_line_an_epoch(make, blobs, capsys):
    with warnings.catch_warnings():
        make(verbose=1, epochs=3).fit(*blobs)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("[MixtureOfExpertsClassifier] epoch 1/3: loss ")
    assert "validation NLL" in lines[0]
