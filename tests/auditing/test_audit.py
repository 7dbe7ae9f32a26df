import base64
import json
import math
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.auditing.text import HEADER, cells, shown
from gatewise.estimators import GradientEstimator
from gatewise.testing import Planted
from tests.chance import seeded

LOGITS = torch.tensor([-0.2, 0.0, 1.1, -0.3, 1.1, -0.1])
VALUES = torch.tensor([-3.2, -2.2, -1.9, -2.3, -1.7, -3.0])


def f(point):
    return (point * VALUES).sum(-1)


def small_mixture(dropout=0.0):
    torch.manual_seed(0)
    return gw.MixtureOfExperts(nn.Linear(3, 4), gw.MLPBank(4, 3, [5], 2, dropout))


def rows_of_data(count=12):
    generator = seeded(3)
    return torch.randn(count, 3, generator=generator), torch.randint(2, (count,), generator=generator)


@pytest.fixture(scope="module")
def whole():
    """All registered estimators on a small mixture."""
    return gw.audit(small_mixture(), rows_of_data(), repetitions=400, seconds=5)


def test_every_estimator_is_audited(whole):
    assert {row.estimator for row in whole.rows} == set(gw.estimators.names())
    assert not whole.skipped


def test_the_rows_are_ordered_and_consistent(whole):
    errors = [row.relative_mse for row in whole.rows]
    assert errors == sorted(errors)
    for row in whole.rows:
        assert row.relative_bias_low <= row.relative_bias <= row.relative_bias_high
        assert row.relative_scale_low <= row.relative_scale <= row.relative_scale_high
        assert 0 < row.evaluations <= row.evaluations_at_most <= 4
        assert -1 <= row.cosine <= 1
        assert 0 <= row.relative_mse_rescaled <= 1
        assert row.seconds > 0
        assert row.repetitions == 400


def test_what_is_unbiased_is_not_called_biased(whole):
    # 23 settings at a rate of 1 % each: more than 5 has a probability below 1e-6
    assert sum(row.biased for row in whole.rows if row.unbiased) <= 5


def test_what_is_known_to_be_biased_is_called_so(whole):
    proposal = [row for row in whole.rows if row.label == "selected-relaxation" and row.temperature == 1.0]
    assert proposal
    assert all(row.biased for row in proposal)


@pytest.mark.parametrize("name", ["enumeration", "straight-through", "muprop"])
def test_what_is_exact_on_a_linear_f_has_no_error(whole, name):
    (row,) = [row for row in whole.rows if row.estimator == name]
    assert row.relative_mse < 1e-12
    assert not row.biased


def test_all_k_experts_allowed_the_sum_is_recommended_in_plain_words(whole):
    assert whole.recommended.estimator == "enumeration"
    assert "nothing beats the exact sum" in whole.recommended.reason


def test_the_recommendation_is_the_least_error_within_the_evaluations(whole):
    for most, best in whole.by_evaluations:
        allowed = [row for row in whole.rows if row.evaluations_at_most <= most]
        least = min(row.relative_mse for row in allowed)
        chosen = whole.rows[best.row]
        if least < 1:
            # what is unbiased is preferred to what it cannot be told from
            assert (chosen.relative_mse_low if chosen.unbiased else chosen.relative_mse) <= max(1.02 * least, 1e-9)
        else:
            lowest = min(row.relative_mse_rescaled for row in allowed)
            assert (chosen.relative_mse_rescaled_low if chosen.unbiased else chosen.relative_mse_rescaled) <= lowest
    assert [most for most, _ in whole.by_evaluations] == sorted({most for most, _ in whole.by_evaluations})


def test_the_json_has_the_keys_that_others_rely_on(whole):
    told = json.loads(whole.to_json())
    assert {"estimator", "num_samples", "options", "reason"} <= told["recommended"].keys()
    wanted = """estimator num_samples temperature options unbiased relative_bias relative_bias_low relative_bias_high
        biased relative_scale cosine relative_std relative_mse evaluations seconds"""
    for row in told["rows"]:
        assert set(wanted.split()) <= row.keys()


def test_the_frame_has_a_row_a_setting(whole):
    frame = whole.to_frame()
    assert len(frame) == len(whole.rows)
    assert frame["estimator"].to_list() == [row.estimator for row in whole.rows]
    assert json.loads(frame["options"][0]) == whole.rows[0].options


def test_two_and_four_evaluations_of_experts_of_equal_cost(whole):
    for row in whole.rows:
        assert row.cost == row.evaluations
        share = row.cost / 4
        expected = max(0.0, row.relative_mse - row.relative_std**2 * (1 - share))
        assert row.relative_mse_equal_evaluations == pytest.approx(expected, abs=1e-9)


def test_the_same_seed_gives_the_same_figures():
    def figures(seed):
        found = gw.audit(f, LOGITS, ["score-function", "gumbel-softmax"], repetitions=200, seed=seed)
        return [(row.label, row.num_samples, row.relative_bias, row.relative_mse) for row in found.rows]

    first, again, other = figures(1), figures(1), figures(2)
    assert first == again
    assert not {each[-1] for each in first} & {each[-1] for each in other}


def test_the_case_of_the_question():
    """The proposal reverses the gradient at λ = 2, where ⟨E ĝ, g⟩/‖g‖² is -.117; at λ = .02 it is .491.

    Each within 6 standard errors, a false alarm of 2e-9; at λ = 2 that is .014, so a sign that is right is caught.
    """
    temperatures = (2.0, 0.02)
    found = gw.audit(f, LOGITS, ["selected-relaxation"], num_samples=1, temperatures=temperatures, repetitions=100_000)
    by = {row.temperature: row for row in found.rows}
    for temperature, truth in ((2.0, -0.117), (0.02, 0.491)):
        row = by[temperature]
        error = (row.relative_scale_high - row.relative_scale_low) / 2 / 1.96
        assert abs(1 + row.relative_scale - truth) < 6 * error
    assert by[2.0].relative_scale_high < -1
    assert by[2.0].cosine < -0.6
    assert by[0.02].relative_std > 5 * by[2.0].relative_std


def test_a_constant_added_to_f_changes_the_proposal_and_nothing_unbiased():
    choices = [("selected-relaxation", {"temperature": 1.0}), ("score-function", {"baseline": "leave-one-out"})]

    def audited(constant):
        found = gw.audit(lambda z: f(z) + constant, LOGITS, choices, num_samples=2, repetitions=20_000)
        return {row.estimator: row for row in found.rows}

    low, high = audited(0.0), audited(10.0)
    assert high["selected-relaxation"].relative_scale_low > low["selected-relaxation"].relative_scale_high + 0.5
    assert high["score-function"].relative_mse == pytest.approx(low["score-function"].relative_mse, rel=1e-3)


def test_the_gradient_at_the_level_of_parameters_is_the_exact_one():
    mixture, (x, y) = small_mixture(), rows_of_data()
    found = gw.audit(mixture, (x, y), ["enumeration", "score-function"], level="parameters", repetitions=400)
    assert found.size == sum(p.numel() for p in mixture.gate.parameters())
    assert found.rows[0].estimator == "enumeration"
    assert found.rows[0].relative_mse < 1e-10
    assert not any(row.biased for row in found.rows)


def test_the_parameters_of_an_f_of_ones_own():
    gate = nn.Linear(3, 6)
    logits = gate(torch.randn(10, 3, generator=seeded(0)))
    choices = ["enumeration", "score-function"]
    found = gw.audit(f, logits, choices, level="parameters", parameters=gate.parameters(), repetitions=200)
    assert found.size == 24
    assert found.rows[0].relative_mse < 1e-10


def test_several_latents_with_one_joint_value():
    logits = torch.randn(4, 2, 3, generator=seeded(1))
    weights = torch.randn(2, 3, generator=seeded(2))

    def joint(point):
        return (point * weights).sum((-1, -2)) ** 2

    choices = ["enumeration", "score-function", "reinmax", "straight-through-gumbel-softmax"]
    found = gw.audit(joint, logits, choices, event_dims=1, repetitions=2000, temperatures=(1.0,), num_samples=2)
    rows = {row.estimator: row for row in found.rows}
    assert rows["enumeration"].relative_mse < 1e-9
    assert rows["enumeration"].evaluations == 9
    assert not rows["score-function"].biased
    assert rows["straight-through-gumbel-softmax"].biased


def test_a_black_box_is_audited_with_what_only_draws():
    found = gw.audit(gw.by_index(lambda index: VALUES[index.clamp_min(0)]), LOGITS, repetitions=200)
    audited, refused = {row.estimator for row in found.rows}, {each.estimator for each in found.skipped}
    assert {"score-function", "unordered-set", "enumeration"} <= audited
    assert {"gumbel-softmax", "rebar"} <= refused
    assert audited | refused == set(gw.estimators.names())


def test_masked_categories_are_left_out():
    logits = torch.where(torch.arange(6) == 2, -torch.inf, LOGITS).expand(3, 6)
    found = gw.audit(f, logits, ["enumeration", "score-function", "unordered-set", "reinmax"], repetitions=200)
    assert len(found.rows) > 5
    assert all(math.isfinite(row.relative_mse) for row in found.rows)


def test_experts_of_different_cost():
    costs = (1.0, 1.0, 1.0, 1.0, 1.0, 7.0)
    found = gw.audit(f, LOGITS, ["score-function", "enumeration"], num_samples=1, repetitions=500, costs=costs)
    rows = {row.estimator: row for row in found.rows}
    # the shares are .5 and 3.5 of an average category: E cost = .5 + 3 π_5, over 1024 repetitions
    expected = 0.5 + 3 * float(LOGITS.softmax(-1)[5])
    assert rows["score-function"].cost == pytest.approx(expected, abs=0.25)
    assert rows["enumeration"].cost == pytest.approx(6)
    assert any("7.0 times" in note for note in found.notes)


def test_experts_of_different_kinds_are_timed():
    large = nn.Sequential(nn.Linear(3, 2000), nn.ReLU(), nn.Linear(2000, 2000), nn.ReLU(), nn.Linear(2000, 2))
    mixture = gw.MixtureOfExperts(nn.Linear(3, 2), [nn.Linear(3, 2), large])
    found = gw.audit(mixture, rows_of_data(64), ["score-function"], num_samples=1, repetitions=200)
    assert any("times another" in note for note in found.notes)


def test_the_model_is_left_as_it_was():
    mixture, (x, y) = small_mixture(dropout=0.5), rows_of_data()
    mixture.train()
    mixture.gate.eval()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    found = gw.audit(mixture, (x, y), ["score-function", "relax"], num_samples=1, repetitions=200)
    assert torch.equal(torch.get_rng_state(), before)
    assert mixture.training
    assert not mixture.gate.training
    assert all(p.grad is None for p in mixture.parameters())
    assert any("dropout is off" in note for note in found.notes)


def test_an_estimator_that_is_given_keeps_what_it_has_learned():
    estimator = gw.estimators.get("score-function")
    for _ in range(30):
        gw.expect(f, LOGITS.expand(100, 6).clone().requires_grad_(), estimator).value.sum().backward()
    before = {name: value.clone() for name, value in estimator.state_dict().items()}
    found = gw.audit(f, LOGITS, [estimator, ("score-function", {"baseline": "none"})], num_samples=1, repetitions=4000)
    assert all(torch.equal(value, before[name]) for name, value in estimator.state_dict().items())
    assert estimator.training
    rows = {row.label: row for row in found.rows}
    assert rows["score-function"].relative_mse < 0.2 * rows["score-function:baseline=none"].relative_mse


def test_a_baseline_of_ones_own_has_a_name_in_json():
    class Half(gw.estimators.Baseline):
        name = "half"

        def forward(self, values, context):
            return values.new_tensor(-0.5)

    found = gw.audit(f, LOGITS, [("score-function", {"baseline": Half()})], num_samples=1, repetitions=200)
    (row,) = json.loads(found.to_json())["rows"]
    assert row["options"] == {"baseline": "half"}
    assert row["label"] == "score-function:baseline=half"


def test_settings_have_noise_of_their_own():
    choices = [("gumbel-softmax", {"temperature": value}) for value in (0.2, 0.2001)]
    rows = gw.audit(f, LOGITS, choices, repetitions=200).rows
    assert abs(rows[0].relative_scale - rows[1].relative_scale) > 1e-3


def test_a_baseline_learns_enough_on_a_single_row():
    """The running mean is that of 1,024 repetitions a step: the error is that of the exact mean within 2 %."""
    rows = gw.audit(
        f, LOGITS, [("score-function", {"baseline": "running-mean"})], num_samples=1, repetitions=20_000
    ).rows
    probs = LOGITS.softmax(-1)
    centred = VALUES - (probs * VALUES).sum()
    exact = probs * centred
    square = (probs * centred**2 * (1 - 2 * probs + probs.square().sum())).sum()
    variance = square - exact.square().sum()
    assert rows[0].relative_std ** 2 == pytest.approx(float(variance / exact.square().sum()), rel=0.05)


def test_the_own_estimator_is_marked():
    found = gw.audit(f, LOGITS, ["enumeration"], own=(("gumbel-softmax", {"temperature": 0.3}), 2), repetitions=200)
    (own,) = [row for row in found.rows if row.own]
    assert (own.estimator, own.temperature, own.num_samples) == ("gumbel-softmax", 0.3, 2)


def test_logits_inside_f_are_told():
    logits = LOGITS.clone().requires_grad_()
    found = gw.audit(lambda z: f(z) + (z * logits.log_softmax(-1)).sum(-1), logits, ["enumeration"], repetitions=200)
    assert any("depends on the logits" in note for note in found.notes)
    assert not any("depends on the logits" in note for note in gw.audit(f, logits, ["enumeration"]).notes)


def test_logits_of_16_bits_hide_no_bias():
    for dtype in (torch.bfloat16, torch.float16):
        found = gw.audit(
            lambda z, dtype=dtype: (z * VALUES.to(dtype)).sum(-1), LOGITS.to(dtype),
            [("gumbel-softmax", {"temperature": 2.0})], repetitions=2000,
        )  # fmt: skip
        (row,) = found.rows
        assert row.biased
        assert 0.4 < row.relative_bias < 0.6


def test_an_audit_without_a_gradient_in_force_is_the_same():
    with torch.no_grad():
        quiet = gw.audit(small_mixture(), rows_of_data(), ["score-function"], num_samples=1, repetitions=200)
    loud = gw.audit(small_mixture(), rows_of_data(), ["score-function"], num_samples=1, repetitions=200)
    assert quiet.rows[0].relative_mse == loud.rows[0].relative_mse


def test_the_graph_of_the_caller_stays():
    logits = LOGITS.clone().requires_grad_()
    log_probs = logits.log_softmax(-1)
    gw.audit(lambda z: f(z) + (z * log_probs).sum(-1), logits, ["enumeration"], repetitions=200)
    log_probs.sum().backward()


def test_the_own_estimator_is_not_measured_twice():
    found = gw.audit(f, LOGITS, ["gumbel-softmax"], own=(("gumbel-softmax", {"temperature": 1.0}), 1), repetitions=200)
    assert [row.own for row in sorted(found.rows, key=lambda row: row.temperature)] == [False, False, True]


def test_the_sum_over_all_is_recommended_without_samples():
    found = gw.audit(f, LOGITS, ["enumeration"], num_samples=[2, 4], repetitions=200)
    assert [row.num_samples for row in found.rows] == [1]


class Unbatched(torch.autograd.Function):
    """The identity; has no rule for being batched."""

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float(gradient.isfinite().all())


def test_a_gate_that_cannot_be_batched_is_audited_row_by_row():
    gate = nn.Linear(3, 6)
    logits = Unbatched.apply(gate(torch.randn(10, 3, generator=seeded(0))))
    found = gw.audit(f, logits, ["enumeration"], level="parameters", parameters=gate.parameters(), repetitions=200)
    assert found.rows[0].relative_mse < 1e-9


def test_an_estimator_that_fails_does_not_lose_the_others():
    class Failing(Broken):
        name = "failing"

        def forward(self, integrand, logits, **_):
            raise RuntimeError("boom")

    found = gw.audit(f, LOGITS, [Failing(), "enumeration"])
    assert [row.estimator for row in found.rows] == ["enumeration"]
    assert found.skipped[0].reason == "it failed: RuntimeError: boom"


def test_a_small_f_is_audited_as_a_large_one():
    small = gw.audit(lambda z: 1e-200 * f(z), LOGITS.double(), ["score-function"], num_samples=2, repetitions=200)
    assert small.rows[0].relative_mse > 0


def test_noise_that_happens_to_cancel_is_no_certainty():
    """Over 60 seeds an unbiased estimator's interval never ends near 0, where its noise does not."""
    for seed in range(60):
        (row,) = gw.audit(f, LOGITS, ["score-function"], num_samples=1, repetitions=128, seed=seed).rows
        assert row.relative_bias_high > 0.3 * row.relative_std / 128**0.5


class Broken(GradientEstimator):
    """Gives NaN."""

    name = "broken"
    calls = frozenset({"all"})
    unbiased = frozenset({"logits"})
    reference = "nobody"

    def forward(self, integrand, logits, **_):
        found = gw.estimators.get("enumeration")(integrand, logits)
        return gw.Estimate(found.value * float("nan"), None, found.info)


def test_what_gives_nan_is_left_out_with_the_reason():
    found = gw.audit(f, LOGITS, [Broken(), "enumeration"])
    assert [row.estimator for row in found.rows] == ["enumeration"]
    assert found.skipped[0].estimator == "broken"
    assert "infinities or NaN in 4096 of 4096" in found.skipped[0].reason


def test_planted_estimators_are_found_out():
    """200 audits of 6 estimators: 95 % intervals cover in at least 88.5 %, and at most 5 % of 400 unbiased ones are
    called biased. By the binomial distribution the false alarm is below 1e-9 at .95, and below 1e-8 at 1 %.
    """
    weights = torch.randn(5, 4, generator=seeded(0), dtype=torch.float64)
    logits = torch.randn(5, 4, generator=seeded(1), dtype=torch.float64)
    covered = called = count = unbiased = 0
    for seed in range(200):
        planted = [
            Planted(size, 0.5, kind, seed=seed)
            for size, kind in [(0, "isotropic"), (0.05, "isotropic"), (0.2, "anisotropic"), (0, "rank-one")]
        ]
        planted += [Planted(0.05, 0.5, "rank-one", seed=seed), Planted(0.2, 0.5, "rank-one", along=True, seed=seed)]
        found = gw.audit(lambda z: (z * weights).sum(-1), logits, planted, num_samples=1, repetitions=150, seed=seed)
        for row in found.rows:
            size = row.options.get("bias", 0)
            count += 1
            covered += row.relative_bias_low <= size <= row.relative_bias_high
            unbiased += not size
            called += row.biased and not size
    assert (count, unbiased) == (1200, 400)
    assert covered >= 0.885 * count, covered
    assert called <= 20, called


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"level": "weights"}, "unknown level"),
        ({"num_samples": 0}, "num_samples must be positive integers"),
        ({"num_samples": [1.5]}, "num_samples must be positive integers"),
        ({"temperatures": (1.0, -1.0)}, "temperatures must be positive"),
        ({"temperatures": ()}, "at least one"),
        ({"estimators": []}, "at least one"),
        ({"estimators": ["scorefunction"]}, "did you mean"),
        ({"estimators": [("reinmax", {"heat": 1})]}, "no option 'heat'"),
        ({"max_evaluations": 0}, "max_evaluations must be at least 1"),
        ({"estimators": ["enumeration"], "max_evaluations": 2}, "raise max_evaluations to 6"),
        ({"repetitions": 20}, "at least 128"),
        ({"seconds": 0}, "must be positive"),
        ({"seconds": "long"}, "must be positive"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"seed": 2**70}, "seed must be a whole number"),
        ({"repetitions": 200.5}, "at least 128"),
        ({"costs": "abc"}, "costs must be 6 positive numbers"),
        ({"costs": [1.0, None, 1, 1, 1, 1]}, "costs must be 6 positive numbers"),
        ({"estimators": [3]}, "names, (name, options) pairs or estimators"),
        ({"num_samples": 1.5}, "num_samples must be positive integers"),
        ({"costs": (1.0, 2.0)}, "costs must be 6 positive numbers"),
        ({"level": "parameters"}, "parameters=gate.parameters()"),
        ({"estimators": ["antithetic"], "num_samples": 3}, "no estimator could be audited"),
        ({"event_dims": 1}, "do not fit event_dims"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(change, said):
    with pytest.raises(gw.GatewiseError, match=said.replace("(", r"\(").replace(")", r"\)")):
        gw.audit(f, LOGITS, **change)


def test_data_that_fit_no_audit_are_refused():
    mixture, (x, y) = small_mixture(), rows_of_data()
    for data, said in [
        (x, "data is"),
        ((x,), "data is"),
        ((x[:0], y[:0]), "no rows"),
        ((x, y[:3]), "y must have shape"),
    ]:
        with pytest.raises(gw.GatewiseError, match=said):
            gw.audit(mixture, data)
    for logits, said in [
        ([1.0, 2.0], "floating-point tensor"),
        (torch.arange(3), "floating-point tensor"),
        (torch.zeros(0, 3), "no rows"),
        (torch.zeros(2, 0), "do not fit"),
    ]:
        with pytest.raises(gw.GatewiseError, match=said):
            gw.audit(f, logits)


def test_a_mixture_that_does_not_train_is_refused():
    mixture = small_mixture().requires_grad_(False)
    with pytest.raises(gw.GatewiseError, match="every parameter of the mixture is frozen"):
        gw.audit(mixture, rows_of_data())


def test_one_pair_of_name_and_options_is_one_estimator():
    found = gw.audit(f, LOGITS, ("reinmax", {"temperature": 1.2}), repetitions=200)
    assert [row.temperature for row in found.rows] == [1.2]


def test_a_gradient_of_zero_is_refused():
    with pytest.raises(gw.GatewiseError, match="exact gradient is 0"):
        gw.audit(lambda z: z.sum(-1) * 0, LOGITS)


def test_an_f_that_draws_is_refused():
    with pytest.raises(gw.GatewiseError, match="other values when it is asked again"):
        gw.audit(lambda z: torch.rand(z.shape[:-1]), LOGITS)


def test_too_many_joint_outcomes_are_refused_with_what_to_do():
    with pytest.raises(gw.GatewiseError, match="audit fewer latents"):
        gw.audit(lambda z: z.sum((-1, -2)), torch.zeros(1, 30, 8), event_dims=1)


def test_the_pictures_are_drawn_where_they_are_asked_for(whole):
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    _, axes = pyplot.subplots()
    for kind in ("bias", "error", "cost"):
        assert whole.plot(ax=axes, kind=kind).axes_ is axes
        axes.clear()
    whole.plot(ax=axes)
    assert 0.0 in [line.get_xdata()[0] for line in axes.lines]  # the line at 0
    assert len(whole.plot().axes_) == 3
    pyplot.close("all")
    with pytest.raises(gw.GatewiseError, match="unknown kind"):
        whole.plot(kind="pie")


def test_a_notebook_shows_pictures_the_best_settings_and_what_to_use(whole):
    page = ElementTree.fromstring(f"<body>{whole._repr_html_()}</body>")
    picture = base64.b64decode(page[0].attrib["src"].partition(",")[2])
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    lines = [[cell.text or "" for cell in line] for line in page[1]]
    assert lines == [list(HEADER), *(cells(row) for row in shown(whole.to_dict()))]
    assert f"Use {whole.recommended.reason}." in [said.text for said in page[2:]]
