"""expect, by_index and the adapters: what is passed on, what is asked, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gatewise as gw
from gatewise.estimators import GradientEstimator
from gatewise.expectation import Info, as_integrand
from gatewise.outcomes import JOINT_LIMIT, first_asked, joint_outcomes
from tests.chance import seeded
from tests.estimators.cases import CASES

TABLE = torch.tensor([1.0, 2.0, 4.0])
LOGITS = torch.zeros(6, 3)


def one(name, **options):
    return gw.estimators.get(name, **options)


# Arguments


def test_a_string_for_an_estimator_is_refused_with_the_fix():
    with pytest.raises(gw.GatewiseError, match=r"make it once with gw\.estimators\.get\('enumeration'\)"):
        gw.expect(lambda point: point.sum(-1), LOGITS, "enumeration")


@pytest.mark.parametrize(
    ("logits", "event_dims", "said"),
    [
        (torch.zeros(3, dtype=torch.int64), 0, r"floating point, got torch\.int64"),
        (torch.tensor(1.0), 0, r"\[\*batch, K\] with K >= 1, got \[\]"),
        (torch.zeros(2, 0), 0, r"K >= 1, got \[2, 0\]"),
        (torch.zeros(3), 1, r"\[\*batch, L, K\] with K >= 1, got \[3\]"),
        (torch.zeros(3), 2, "event_dims must be 0 or 1, got 2"),
    ],
)
def test_logits_that_cannot_be_are_refused(logits, event_dims, said):
    with pytest.raises(gw.GatewiseError, match=said):
        gw.expect(lambda point: point.sum(-1), logits, one("score-function"), event_dims=event_dims)


def test_an_f_that_is_nothing_known_is_refused():
    with pytest.raises(gw.GatewiseError, match="callable on points or by_index"):
        gw.expect(3.0, LOGITS, one("enumeration"))


@pytest.mark.parametrize(
    ("f", "got"),
    [(lambda point: point, r"\[1, 6, 3\]"), (lambda point: point.sum(), r"\[\]"), (lambda point: 3.0, "float")],
    ids=["a point", "one number", "no tensor"],
)
def test_a_function_of_the_wrong_shape_is_told_the_right_one(f, got):
    with pytest.raises(gw.GatewiseError, match=rf"f returned {got} for points of shape \[1, 6, 3\]; expected \[1, 6\]"):
        gw.expect(f, LOGITS, one("gumbel-softmax"))


def test_an_odd_count_is_refused_where_pairs_are_drawn():
    class Pairs(GradientEstimator):
        name, calls, sample_counts = "pairs", frozenset({"index"}), range(2, 9, 2)

    with pytest.raises(gw.GatewiseError, match="'pairs' takes an even number of samples from 2 to 8, got 3"):
        gw.expect(TABLE.__getitem__, LOGITS, Pairs(), num_samples=3)


def test_latents_are_refused_by_an_estimator_of_one():
    class Single(GradientEstimator):
        name, event_dims, calls = "single", (0,), frozenset({"all"})

    with pytest.raises(gw.GatewiseError, match="'single' takes one latent an example, event_dims=0"):
        gw.expect(lambda point: point.sum((-1, -2)), torch.zeros(2, 3), Single(), event_dims=1)


# Points


@pytest.mark.parametrize("event_dims", [0, 1])
def test_a_callable_on_points_sees_corners_at_indices(event_dims):
    logits = torch.zeros(6, 2, 3) if event_dims else LOGITS
    integrand = as_integrand(
        lambda point: (point @ TABLE).prod(-1) if event_dims else point @ TABLE, logits, event_dims
    )
    index = torch.randint(3, (5, *logits.shape[:-1]), generator=seeded(1))
    expected = TABLE[index].prod(-1) if event_dims else TABLE[index]
    torch.testing.assert_close(integrand.at_index(index), expected)
    outcomes = joint_outcomes(2, 3) if event_dims else torch.arange(3)
    every = TABLE[outcomes].prod(-1) if event_dims else TABLE
    torch.testing.assert_close(integrand.at_all(), every.expand(6, -1))


def test_what_is_not_asked_of_a_callable_on_points_is_zero_and_has_no_gradient():
    weights = TABLE.clone().requires_grad_()
    integrand = as_integrand(lambda point: (point @ weights).log(), torch.zeros(2, 3), 0)
    values = integrand.at_index(torch.tensor([[0, -1], [-1, 2]]))
    torch.testing.assert_close(values, torch.tensor([[0.0, 0.0], [0.0, TABLE[2].log()]]))
    values.sum().backward()
    torch.testing.assert_close(weights.grad, torch.tensor([1.0, 0.0, 0.25]))


def test_a_module_is_a_callable_on_points():
    network = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(-2))
    value = gw.expect(network, LOGITS, one("enumeration")).value
    torch.testing.assert_close(value, network(torch.full((6, 3), 1 / 3).unsqueeze(0)).squeeze(0))


def test_an_integrand_is_taken_as_it_is():
    class Own:
        def at_index(self, index):
            return TABLE[index]

        def at_all(self):
            return TABLE.expand(6, 3)

        def at_point(self, point):
            return point @ TABLE

    own = Own()
    assert as_integrand(own, LOGITS, 0) is own
    torch.testing.assert_close(gw.expect(own, LOGITS, one("enumeration")).value, torch.full((6,), 7 / 3))


# Indices


def test_by_index_marks_repeats_with_minus_one_and_copies_their_value():
    seen = []

    def f(index):
        seen.append(index)
        return index * 10.0 + 1

    index = torch.tensor([[2, 0], [2, 1], [1, 0], [2, -1]])
    values = as_integrand(gw.by_index(f), torch.zeros(2, 3), 0).at_index(index)
    assert seen[0].tolist() == [[2, 0], [-1, 1], [1, -1], [-1, -1]]
    assert values.tolist() == [[21, 1], [21, 11], [11, 1], [21, 0]]


def test_by_index_of_latents_compares_whole_outcomes():
    seen = []

    def f(index):
        seen.append(index)
        return (index.clamp_min(0) * torch.tensor([10.0, 1.0])).sum(-1)

    index = torch.tensor([[[0, 1]], [[1, 0]], [[0, 1]], [[0, 0]]])
    values = as_integrand(gw.by_index(f), torch.zeros(1, 2, 3), 1).at_index(index)
    assert seen[0].tolist() == [[[0, 1]], [[1, 0]], [[-1, -1]], [[0, 0]]]
    assert values.tolist() == [[1], [10], [1], [0]]


def test_by_index_of_many_joint_outcomes():
    """All 4096 at once, for 16 examples: comparing every pair of them would take gigabytes."""
    logits = torch.zeros(16, 12, 2, requires_grad=True)
    f = gw.by_index(lambda index: index.sum(-1).float())
    value = gw.expect(f, logits, one("enumeration"), event_dims=1).value
    torch.testing.assert_close(value, torch.full((16,), 6.0))
    value.sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([-0.25, 0.25]).expand(16, 12, 2))


def test_by_index_of_a_function_that_is_not_differentiable():
    """A black box in numpy: the logits learn all the same."""

    def f(index):
        return torch.from_numpy(np.where(index.numpy() == 2, 1.0, 0.0)).float()

    logits = torch.zeros(2000, 3, requires_grad=True)
    value = gw.expect(gw.by_index(f), logits, one("score-function"), 2, seeded(1)).value
    value.mean().backward()
    exact = torch.tensor([-1, -1, 2.0]) / 9
    torch.testing.assert_close(logits.grad.sum(0), exact, atol=0.05, rtol=0)


def test_by_index_of_a_function_that_chokes_on_minus_one_says_why():
    def f(index):
        return TABLE.expand(6, 3).gather(1, index.T).T

    with pytest.raises(gw.GatewiseError, match=r"index of -1.*repeated draw.*clamp\(min=0\)"):
        gw.expect(gw.by_index(f), LOGITS, one("score-function"), num_samples=8)


def test_an_error_in_f_that_has_nothing_to_do_with_repeats_is_its_own():
    def f(index):
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match=r"^the disk is full$"):
        gw.expect(gw.by_index(f), LOGITS, one("score-function"))


@pytest.mark.parametrize("case", [case for case in CASES if "point" in case.make().calls], ids=str)
def test_by_index_has_no_points(case):
    with pytest.raises(gw.GatewiseError, match=rf"{case.name}.*point.*such as 'score-function'"):
        gw.expect(gw.by_index(TABLE.__getitem__), LOGITS, case.make())
    with pytest.raises(gw.GatewiseError, match="no value between categories"):
        as_integrand(gw.by_index(TABLE.__getitem__), LOGITS, 0).at_point(LOGITS.softmax(-1).unsqueeze(0))


def test_by_index_of_the_wrong_shape():
    with pytest.raises(gw.GatewiseError, match=r"f returned \[6\] for indices of shape \[1, 6\]; expected \[1, 6\]"):
        gw.expect(gw.by_index(lambda index: index[0].float()), LOGITS, one("score-function"))


# First asked, and joint outcomes


@given(st.lists(st.lists(st.integers(-1, 3), min_size=4, max_size=4), min_size=1, max_size=6))
def test_first_asked_names_each_pair_once(rows):
    index = torch.tensor(rows)
    asked, source = first_asked(index)
    for example in range(4):
        column = index[:, example].tolist()
        for draw, category in enumerate(column):
            assert source[draw, example] == column.index(category)
            assert asked[draw, example] == (category >= 0 and column.index(category) == draw)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=6))
def test_first_asked_of_latents(outcomes):
    asked, source = first_asked(torch.tensor(outcomes).unsqueeze(1), event_dims=1)
    assert source.squeeze(1).tolist() == [outcomes.index(outcome) for outcome in outcomes]
    assert int(asked.sum()) == len(set(outcomes))


def test_joint_outcomes_vary_the_first_latent_slowest():
    assert joint_outcomes(2, 3).tolist() == [[i, j] for i in range(3) for j in range(3)]
    assert joint_outcomes(1, 3).tolist() == [[0], [1], [2]]
    assert joint_outcomes(3, 1).tolist() == [[0, 0, 0]]


def test_joint_outcomes_have_a_limit():
    assert len(joint_outcomes(12, 2)) == JOINT_LIMIT
    with pytest.raises(gw.GatewiseError, match=r"3 latents of 17 categories have 17\*\*3 joint outcomes"):
        joint_outcomes(3, 17)


# Own estimators


def test_a_third_party_estimator_is_an_estimator():
    """The form of the README: subclass, state the facts, ask the integrand, return an estimate."""

    class Mode(GradientEstimator):
        name, calls, reference = "mode", frozenset({"index"}), "here"

        def forward(self, integrand, logits, **_):
            value = integrand.at_index(logits.argmax(-1).unsqueeze(0)).squeeze(0)
            return gw.Estimate(value, None, Info(torch.ones_like(value, dtype=torch.int64)))

    logits = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]])
    assert gw.expect(gw.by_index(TABLE.__getitem__), logits, Mode()).value.tolist() == [2.0, 1.0]


def test_an_estimator_that_forgets_a_method_says_so():
    class Empty(gw.estimators.PointEstimator):
        name = "empty"

    with pytest.raises(TypeError, match="Empty does not define draw"):
        Empty().draw(LOGITS, 1)
    with pytest.raises(TypeError, match="GradientEstimator does not define forward"):
        GradientEstimator().forward(None, LOGITS)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1), st.integers(0, 10**6))
def test_first_asked_agrees_with_the_definition(samples, batch, latents, event_dims, seed):
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(-1 + event_dims, 3, (samples, batch, latents)[: 2 + event_dims], generator=generator)
    asked, source = first_asked(index, event_dims)
    for s in range(samples):
        for b in range(batch):
            earlier = [t for t in range(samples) if torch.equal(index[t, b], index[s, b])]
            assert source[s, b] == earlier[0]
            assert asked[s, b] == (earlier[0] == s and bool((index[s, b] >= 0).all()))


def test_first_asked_takes_many_draws():
    asked, _ = first_asked(torch.randint(0, 8, (20_000, 4)))
    assert asked.sum(0).tolist() == [8, 8, 8, 8]
