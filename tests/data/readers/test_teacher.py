import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from gatewise.data import teacher, teacher_gate
from gatewise.data.readers.teacher import _draw


@pytest.fixture(scope="module")
def records():
    return teacher(rows=12000)


def test_shape(records):
    assert records.columns == [f"x{d}" for d in range(16)]
    assert set(records.features.dtypes) == {pl.Float64}
    assert (records.truth.shape, records.truth.dtype) == ((12000,), np.int64)


@pytest.mark.parametrize("seed", range(5))
def test_every_expert_has_a_share(seed):
    share = np.bincount(teacher(rows=5000, seed=seed).truth, minlength=8) / 5000
    assert share.min() > 0.05


def test_the_gate_is_the_one_that_drew(records):
    gate = teacher_gate(records)
    drawn = gate[np.arange(len(gate)), records.truth]
    assert gate.max(1).mean() == pytest.approx(0.95, abs=0.01)
    assert drawn.mean() == pytest.approx((gate**2).sum(1).mean(), abs=0.01)  # E of p(z|x) for z ~ p(z|x)
    assert (gate.argmax(1) == records.truth).mean() == pytest.approx(0.95, abs=0.01)


def test_experts_are_found_by_region_and_answer_linearly(records):
    """One linear classifier cannot do it; the regions and each expert's answers are linear and learnable."""
    x, y, z = records.features.to_numpy(), records.labels, records.truth

    def accuracy(inputs, outputs):
        half = len(inputs) // 2
        return LogisticRegression(max_iter=200).fit(inputs[:half], outputs[:half]).score(inputs[half:], outputs[half:])

    assert accuracy(x, z) > 0.88  # 0.95 is the best possible: the gate itself draws
    assert accuracy(x, y) < 0.6
    assert np.mean([accuracy(x[z == k], y[z == k]) for k in range(8)]) > 0.8


def test_seed_decides_and_rows_do_not_change_the_mixture():
    one, two, other = teacher(rows=500), teacher(rows=500), teacher(rows=500, seed=1)
    assert one.hash() == two.hash()
    assert one.truth.tolist() == two.truth.tolist()
    assert one.hash() != other.hash()


def test_other_sizes():
    records = teacher(rows=300, experts=3, features=1, classes=12, seed=3)
    assert records.columns == ["x0"]
    assert set(records.truth) <= {0, 1, 2}
    assert {int(label) for label in records.labels} <= set(range(12))


@pytest.mark.parametrize("sizes", [{"rows": 0}, {"experts": 1}, {"features": 0}, {"classes": 1}])
def test_refuses_sizes_that_make_no_mixture(refused, sizes):
    with refused("teacher", "{}={}".format(*next(iter(sizes.items())))):
        teacher(**sizes)


def test_draws_follow_the_probabilities():
    """40000 draws: frequencies within 5 standard errors, a false alarm in about a million."""
    probability = np.array([0.1, 0.0, 0.6, 0.3])
    draws = _draw(np.random.default_rng(0), np.tile(probability, (40000, 1)))
    error = np.abs(np.bincount(draws, minlength=4) / 40000 - probability)
    assert (error <= 5 * np.sqrt(probability * (1 - probability) / 40000)).all()
