import pickle

import numpy as np
import polars as pl
import pytest
import scipy.integrate
import scipy.stats
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

import gatewise as gw
from gatewise.data import Records
from gatewise.models.model import Model
from gatewise.models.task import KINDS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

HEADS = ("gaussian", "student-t")
SMALL = {
    "n_experts": 3,
    "expert_hidden": (16,),
    "epochs": 30,
    "batch_size": 64,
    "lr": 0.05,
    "dropout": 0.0,
    "random_state": 0,
}


def make(**options):
    return gw.sklearn.MixtureOfExpertsRegressor(**{"random_state": 0, **SMALL, **options})


@pytest.fixture(scope="module")
def wave():
    """A sine with noise that grows, in units far from 1."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 400)
    noise = (0.05 + 0.1 * np.abs(x)) * rng.normal(size=400)
    return x[:, None], 5000 + 100 * (np.sin(x) + noise)


@pytest.fixture(scope="module")
def fitted(wave):
    return {head: make(head=head, epochs=60, batch_size=32, lr=0.03).fit(*wave) for head in HEADS}


@pytest.mark.parametrize("head", HEADS)
def test_it_learns_a_distribution(fitted, wave, head):
    """The 80 % interval of 400 rows holds 80 %: outside 0.74..0.86 by chance in 3 of 1000 trials."""
    X, y = wave
    model = fitted[head]
    assert model.score(X, y) > 0.85
    low, high = model.predict_interval(X, 0.8).T
    assert ((low < y) & (y < high)).mean() == pytest.approx(0.8, abs=0.06)
    width, middle = high - low, np.abs(X[:, 0]) < 0.5
    assert width[middle].mean() < 0.6 * width[~middle].mean()


@pytest.mark.parametrize("head", HEADS)
def test_quantiles_are_those_of_the_density(fitted, wave, head):
    """∫ p(y|x) dy, by the trapezoidal rule in units of y, is 1 in all and q up to the quantile."""
    model, X = fitted[head], wave[0][:4]
    grid = np.linspace(3000, 7000, 20001)
    for row in X:
        density = np.exp(model.log_prob(np.tile(row, (len(grid), 1)), grid))
        below = scipy.integrate.cumulative_trapezoid(density, grid, initial=0)
        assert below[-1] == pytest.approx(1, abs=1e-3)
        for q in (0.1, 0.5, 0.97):
            end = model.predict_quantile(row[None], q)[0]
            assert np.interp(end, grid, below) == pytest.approx(q, abs=2e-3)
    assert model.predict_quantile(X).shape == (4,)
    assert model.predict_quantile(X, [0.2, 0.5]).shape == (4, 2)


def test_two_modes_are_two_experts():
    """y is -2 or 2, at random: the mean is between, the quantiles are not, and the posterior knows which."""
    rng = np.random.default_rng(1)
    X, side = rng.normal(size=(400, 1)), rng.choice([-2.0, 2.0], 400)
    y = side + 0.1 * rng.normal(size=400)
    model = make(n_experts=2, expert="linear", objective="marginal", gate_hidden=(16,), epochs=80).fit(X, y)
    assert np.abs(model.predict(X)).mean() < 0.6
    np.testing.assert_allclose(model.predict_quantile([[0.0]], [0.2, 0.8]), [[-2, 2]], atol=0.3)
    answers = model.posterior(X, y)
    np.testing.assert_allclose(answers.sum(1), 1)
    assert np.abs(np.corrcoef(answers[:, 0], side)[0, 1]) > 0.95
    nll = -model.log_prob(X, y).mean()
    assert nll == pytest.approx(-scipy.stats.norm(0, 0.1).logpdf(y - side).mean() + np.log(2), abs=0.25)


def test_counts():
    rng = np.random.default_rng(2)
    X = rng.uniform(0, 2, (600, 1))
    y = rng.poisson(np.exp(X[:, 0] + 0.5))
    model = make(head="poisson", n_experts=2, lr=0.01, epochs=60).fit(X, y)
    np.testing.assert_allclose(model.predict([[0.5], [1.5]]), np.exp([1.0, 2.0]), rtol=0.15)
    at = model.predict_quantile(X[:50], 0.7)
    assert (at == at.round()).all()
    counts = np.arange(60)
    mass = np.exp([model.log_prob(np.tile(row, (60, 1)), counts) for row in X[:50]])
    cumulated = mass.cumsum(1)
    rows = np.arange(50)
    assert (cumulated[rows, at.astype(int)] >= 0.7 - 1e-9).all()
    assert (np.where(at > 0, cumulated[rows, at.astype(int) - 1], 0) < 0.7 + 1e-9).all()


def test_large_counts_begin_near_their_mean():
    """Counts of mean 1000 that do not depend on x: what is predicted is right to a few percent."""
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(300, 2)), rng.poisson(1000, 300)
    model = make(head="poisson", lr=0.01).fit(X, y)
    assert model.y_scale_ == pytest.approx(1000, rel=0.01)
    np.testing.assert_allclose(model.predict(X), 1000, rtol=0.05)
    np.testing.assert_allclose(
        model.predict_interval(X).mean(0), scipy.stats.poisson(1000).ppf([0.05, 0.95]), rtol=0.03
    )


def test_a_sentinel_does_not_widen_student_t():
    """One of 300 targets is 10,000: the 90 % interval is as wide as without it, to a third, and right."""
    rng = np.random.default_rng(5)
    X = rng.uniform(-1, 1, (300, 1))
    clean = X[:, 0] + 0.25 * rng.standard_t(5, 300)
    y = np.where(np.arange(300) == 7, 1e4, clean)
    widths = [np.diff(make(head="student-t").fit(X, each).predict_interval(X)).mean() for each in (clean, y)]
    assert widths[0] == pytest.approx(2 * 0.25 * scipy.stats.t(5).ppf(0.95), rel=0.25)
    assert widths[1] == pytest.approx(widths[0], rel=0.3)


@pytest.mark.parametrize("head", [*HEADS, "poisson"])
def test_both_doors_scale_alike(head):
    """The command line's model of the same training rows has the same `target_location` and `target_unit`."""
    rng = np.random.default_rng(6)
    X, y = rng.normal(size=(60, 1)), rng.poisson(40, 60)
    records = Records(pl.DataFrame(X), y.astype(str).astype(object), "rows")
    spec = make(head=head, epochs=1, early_stopping=False).fit(X, y).model_.spec
    assert spec.model_dump(include={"target_location", "target_unit"}) == KINDS[head].described(
        head, [records], [records]
    )


def test_targets_far_from_0_keep_their_digits():
    rng = np.random.default_rng(7)
    X = rng.uniform(-1, 1, (300, 1))
    y = X[:, 0] + 0.01 * rng.normal(size=300)
    near, far = (make().fit(X, at + y) for at in (0.0, 1e9))
    np.testing.assert_allclose(far.predict(X) - 1e9, near.predict(X), atol=0.03)
    np.testing.assert_allclose(far.log_prob(X, 1e9 + y).mean(), near.log_prob(X, y).mean(), atol=0.2)


def test_a_number_far_out_is_predicted_within_what_was_seen():
    """y = 3 x: of x = 1000, where a straight line has 3000, less than twice the greatest y; with a row like it too."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=300)
    y, greatest = 3 * x + 0.1 * rng.normal(size=300), 3 * np.abs(x).max()
    options = {"n_experts": 2, "early_stopping": False}
    for at in (1e3, -1e9):
        seen = np.where(np.arange(300) == 5, at, x)
        for given in (x, seen):
            model = make(**options).fit(given[:, None], y)
            assert np.abs(model.predict([[at]])).max() < 2 * greatest
            assert model.score(x[:, None], y) > 0.95
    kept = make(**options, settings={"outliers": "keep"}).fit(x[:, None], y)
    assert np.abs(kept.predict([[1e3]])).max() > 20 * greatest


def test_outliers_move_student_t_less():
    rng = np.random.default_rng(3)
    X = rng.uniform(-1, 1, (300, 1))
    y = X[:, 0] + 0.05 * rng.normal(size=300)
    y[rng.random(300) < 0.05] += 20
    options = {"n_experts": 1, "expert": "linear", "early_stopping": False}
    off = {head: np.abs(make(head=head, **options).fit(X, y).predict(X) - X[:, 0]).mean() for head in HEADS}
    assert off["student-t"] < 0.5 * off["gaussian"]


def test_units_of_y_do_not_matter(wave):
    X, y = wave
    first, second = make().fit(X, y), make().fit(X, 1e-3 * y - 7)
    np.testing.assert_allclose(1e-3 * first.predict(X) - 7, second.predict(X), atol=5e-3)
    assert first.y_location_ == pytest.approx(y[:350].mean(), rel=0.1)


def test_the_routes(fitted, wave):
    X, _ = wave
    model = clone(fitted["gaussian"]).set_params(epochs=3).fit(*wave)
    whole, at_90 = model.predict(X), model.predict_quantile(X, 0.9)
    model.set_params(route="topk", top_k=3)
    np.testing.assert_allclose(model.predict(X), whole)
    np.testing.assert_allclose(model.predict_quantile(X, 0.9), at_90)
    model.set_params(route="top1")
    one = model.gate_proba(X).argmax(1)
    x = torch.from_numpy((X - model.model_.preprocessing.mean) / model.model_.preprocessing.scale).float()
    with torch.no_grad():
        location, scale = (
            torch.stack([expert(x)[:, i] for expert in model.experts_], 1).numpy()[np.arange(400), one]
            for i in range(2)
        )
    scale = np.log1p(np.exp(scale)) + 1e-3
    inside = scipy.stats.norm(location, scale).ppf(0.9)
    np.testing.assert_allclose(model.predict(X), model.y_location_ + model.y_scale_ * location, rtol=1e-4)
    np.testing.assert_allclose(model.predict_quantile(X, 0.9), model.y_location_ + model.y_scale_ * inside, rtol=1e-4)
    with pytest.raises(ValueError, match="takes k from 1 to 3 experts"):
        model.set_params(route="topk", top_k=4).predict_quantile(X)


def test_a_pickle_a_seed_and_a_folder(fitted, wave, tmp_path):
    X, y = wave
    model = fitted["student-t"]
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    assert np.array_equal(clone(model).fit(X, y).predict(X), model.predict(X))
    model.model_.save(tmp_path)
    loaded = Model.load(tmp_path)
    assert loaded.spec.head == "student-t"
    x = torch.randn(5, 1)
    assert torch.equal(loaded.mixture.predict_mean(x), model.mixture_.predict_mean(x))


def test_rows_of_weight_zero_are_left_out(wave):
    X, y = wave
    weight = np.where(X[:, 0] > 0, 2.0, 0.0)
    kept = weight > 0
    whole = make(epochs=5).fit(X, y, sample_weight=weight).predict(X)
    assert np.array_equal(whole, make(epochs=5).fit(X[kept], y[kept]).predict(X))
    heavier = make(epochs=5).fit(X, y, sample_weight=np.where(kept, 100.0, 1.0))
    plain = make(epochs=5).fit(X, y)
    assert heavier.log_prob(X[kept], y[kept]).mean() > plain.log_prob(X[kept], y[kept]).mean()


def test_partial_fit_goes_on(wave):
    X, y = wave
    model, scores = make(lr=0.01), []
    for _ in range(12):
        for rows in (slice(0, 200), slice(200, 400)):
            model.partial_fit(X[rows], y[rows])
        scores.append(model.log_prob(X, y).mean())
    assert scores[-1] > scores[0] + 0.3
    before = model.predict(X)
    assert not np.array_equal(model.partial_fit(X, y).predict(X), before)


def test_what_partial_fit_cannot_do_is_refused_and_a_gates_own_rate_is_taken(wave):
    for settings in ({"warm_start": "kmeans"}, {"reseed_after": 2}):
        with pytest.raises(ValueError, match=f"so it takes no {next(iter(settings))}; use fit"):
            make(settings=settings).partial_fit(*wave)
    slow, fast = (make(lr=1e-4, gate_lr=rate).partial_fit(*wave).gate_proba(wave[0]) for rate in (1e-4, 0.05))
    assert np.abs(fast - slow).max() > 0.02


def test_frames_pipelines_and_searches(wave):
    X, y = wave
    frame = pl.DataFrame({"x": X[:, 0], "side": np.where(X[:, 0] > 0, "right", "left"), "gap": [None, 1.0] * 200})
    assert make().fit(frame, pl.Series(y)).score(frame, y) > 0.8
    search = GridSearchCV(make(epochs=5), {"head": ["gaussian", "student-t"]}, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["head"] in HEADS
    assert make_pipeline(PolynomialFeatures(3), make(epochs=5)).fit(X, y).predict(X).shape == (400,)


@pytest.mark.parametrize("objective", gw.objectives.names())
def test_every_objective(wave, objective):
    X, y = wave
    assert make(objective=objective, epochs=20).fit(X, y).score(X, y) > 0.7


def test_the_audit_looks_at_it_too(fitted, wave):
    X, y = wave
    model = fitted["gaussian"]
    x = torch.from_numpy((X - model.model_.preprocessing.mean) / model.model_.preprocessing.scale).float()
    (row,) = gw.audit(
        model.mixture_, (x, torch.from_numpy(y).float()), ["score-function"], num_samples=[1], seconds=0.3
    ).rows
    assert row.estimator == "score-function"
    assert row.repetitions > 1
    assert np.isfinite(row.relative_std)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": "gauss"}, "unknown head 'gauss'; did you mean 'gaussian'"),
        ({"head": "categorical"}, "unknown head 'categorical'"),
        ({"objective": "evidence", "objective_options": {"posterior": "amortised"}}, "and the head gaussian has none"),
        (
            {"settings": {"class_weight": "balanced"}},
            "class_weight is for classes, and the head gaussian predicts numbers",
        ),
        ({"settings": {"head": "poisson"}}, "'head' is a parameter of its own"),
        ({"settings": {"tensorboard": True}}, "'tensorboard' is not for an estimator"),
        ({"early_stopping": True, "validation_fraction": 0.9999}, "holds all 400 rows out"),
        ({"n_experts": 0}, "MixtureOfExpertsRegressor: n_experts: input should be greater"),
    ],
)
def test_a_bad_parameter_is_refused(wave, options, said):
    with pytest.raises(ValueError, match=said):
        make(**options).fit(*wave)


def test_bad_targets_and_questions(fitted, wave):
    X, y = wave
    with pytest.raises(ValueError, match="y must hold counts"):
        make(head="poisson").fit(X, -y)
    with pytest.raises(ValueError, match="y must hold numbers"):
        make().fit(X, ["a"] * 400)
    with pytest.raises(ValueError, match=r"q must be a number in \(0, 1\), got 0.0"):
        fitted["gaussian"].predict_quantile(X, 0.0)
    with pytest.raises(ValueError, match=r"level must be a number in \(0, 1\), got 1.0"):
        fitted["gaussian"].predict_interval(X, 1.0)
