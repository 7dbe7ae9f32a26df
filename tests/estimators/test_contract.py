"""What every estimator promises, checked over the registry: a new estimator is tested by being registered."""

import inspect
import re

import pytest
import torch

import gatewise as gw
from gatewise.estimators import GradientEstimator
from gatewise.schedules import Constant
from tests.chance import seeded
from tests.estimators.cases import CASES, INDEX_CASES, LOGITS, POINT_CASES, WEIGHTS, Case, Toy, context_of

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_batch = pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)
one_or_two_latents = pytest.mark.parametrize("event_dims", [0, 1])


def logits_for(batch, event_dims=0, dtype=torch.float64):
    noise = torch.randn(*batch, *[2] * event_dims, len(LOGITS), generator=seeded(5), dtype=torch.float64)
    return (LOGITS + noise).to(dtype).requires_grad_()


def run(case, batch=(3,), event_dims=0, dtype=torch.float64, seed=1, num_samples=None, logits=None, estimator=None):
    """An estimate of the toy with everything that it was made from."""
    estimator = estimator or case.make()
    logits = logits_for(batch, event_dims, dtype) if logits is None else logits
    toy = Toy(WEIGHTS.detach().clone().to(dtype).requires_grad_(), batch, event_dims)
    estimate = gw.expect(
        toy,
        logits,
        estimator,
        num_samples=case.counts(4)[0] if num_samples is None else num_samples,
        generator=None if seed is None else seeded(seed),
        event_dims=event_dims,
        context=context_of(batch),
    )
    return estimate, estimator, toy, logits


def is_deterministic(estimate):
    return estimate.info.index is None and estimate.info.point is None


# Facts


@every_case
def test_facts_are_stated(case: Case):
    estimator = case.make()
    assert isinstance(estimator, GradientEstimator)
    assert estimator.name == case.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", estimator.name)
    assert estimator.calls
    assert estimator.calls <= {"index", "all", "point"}
    assert estimator.unbiased <= {"value", "logits", "parameters"}
    assert isinstance(estimator.sample_counts, range)
    assert estimator.sample_counts.start >= 1
    assert estimator.event_dims in ((0,), (0, 1))
    assert len(estimator.reference) > 8
    for count in case.counts(4):
        assert estimator.evaluations(count, 5) >= 1


@every_case
def test_the_docstring_is_its_own_and_names_its_options(case: Case):
    docstring = inspect.getdoc(type(case.make()))
    assert docstring != inspect.getdoc(GradientEstimator)
    assert len(docstring.split()) > 20
    for option in gw.estimators.options(case.name):
        assert f"{option}:" in docstring


@every_case
def test_state_is_saved_and_restored(case: Case):
    first, second = case.make(), case.make()
    run(case, estimator=first)
    second.load_state_dict(first.state_dict())
    gradients = []
    for estimator in (first, second):
        estimate, _, _, logits = run(case, estimator=estimator)
        gradients.append(torch.autograd.grad(estimate.value.sum(), logits)[0])
    assert torch.equal(*gradients)


# Shapes and types


@every_case
@every_batch
@one_or_two_latents
def test_shapes(case, batch, event_dims):
    for num_samples in case.counts(4)[:2]:
        estimate, _, _, logits = run(case, batch, event_dims, num_samples=num_samples)
        assert estimate.value.shape == batch
        assert estimate.info.evaluations.shape == batch
        assert estimate.info.evaluations.dtype == torch.int64
        if estimate.info.index is not None:
            assert estimate.info.index.shape[1:] == logits.shape[:-1]
        if estimate.info.point is not None:
            assert estimate.info.point.shape == (num_samples, *logits.shape)
        if estimate.control_loss is not None:
            assert estimate.control_loss.shape == ()
        (gradient,) = torch.autograd.grad(estimate.value.sum(), logits)
        assert gradient.shape == logits.shape


@every_case
@one_or_two_latents
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_types(case, event_dims, dtype):
    estimate, _, toy, logits = run(case, (2, 3), event_dims, dtype)
    estimate.value.sum().backward()
    assert estimate.value.dtype == dtype
    assert logits.grad.dtype == toy.weights.grad.dtype == dtype
    assert estimate.value.isfinite().all()
    assert logits.grad.isfinite().all()
    assert toy.weights.grad.isfinite().all()


@every_case
def test_narrow_logits_with_wide_values(case):
    """A mixture in bfloat16 answers in float32: its head widens."""
    logits = logits_for((3,), dtype=torch.bfloat16)
    weights = WEIGHTS.float()
    toy = Toy(weights, (3,))
    value = gw.expect(toy, logits, case.make(), num_samples=case.counts(4)[0], context=context_of((3,))).value
    assert value.dtype == torch.float32
    value.sum().backward()
    assert logits.grad.isfinite().all()


@every_case
def test_value_has_the_sign_of_f(case):
    def f(point):
        return 3.0 + point @ WEIGHTS.abs()

    for sign in (1.0, -1.0):
        value = gw.expect(
            lambda point, sign=sign: sign * f(point),
            LOGITS.expand(64, 5),
            case.make(),
            case.counts(4)[0],
            seeded(1),
            context=context_of((64,)),
        ).value
        assert (sign * value > 2.9).all()


# Randomness


@every_case
@one_or_two_latents
def test_a_seed_decides_everything(case, event_dims):
    def at(seed):
        estimate, _, _, logits = run(case, (2, 3), event_dims, seed=seed)
        (gradient,) = torch.autograd.grad(estimate.value.sum(), logits)
        return estimate, gradient

    (first, gradient), (again, gradient_again), (other, gradient_other) = at(1), at(1), at(2)
    assert torch.equal(first.value, again.value)
    assert torch.equal(gradient, gradient_again)
    assert torch.equal(first.value, other.value) == is_deterministic(first)
    assert torch.equal(gradient, gradient_other) == is_deterministic(first)


@every_case
def test_a_generator_is_the_only_source_of_noise(case):
    estimator = case.make()
    state = torch.get_rng_state()
    run(case, estimator=estimator, seed=3)
    assert torch.equal(state, torch.get_rng_state())


@every_case
def test_without_a_generator_torchs_own_is_used(case):
    estimator = case.make()
    torch.manual_seed(11)
    first = run(case, (64,), seed=None, estimator=estimator)[0]
    torch.manual_seed(11)
    assert torch.equal(first.value, run(case, (64,), seed=None, estimator=case.make())[0].value)
    assert torch.equal(first.value, run(case, (64,), seed=None, estimator=case.make())[0].value) == is_deterministic(
        first
    )


# Arguments


@every_case
def test_refused_sample_counts_say_what_is_taken(case):
    counts = case.make().sample_counts
    refused = {0, -1, counts.start - 1, counts.start - counts.step} | ({counts.start + 1} if counts.step > 1 else set())
    for count in refused:
        with pytest.raises(gw.GatewiseError) as refusal:
            run(case, num_samples=count)
        message = str(refusal.value)
        assert "\n" not in message
        assert case.name in message
        assert f"from {counts.start}" in message


@every_case
def test_latents_are_taken_or_refused_as_stated(case):
    if 1 in case.make().event_dims:
        assert run(case, event_dims=1)[0].value.shape == (3,)
    else:
        with pytest.raises(gw.GatewiseError, match="latent"):
            run(case, event_dims=1)


# Gradients


@every_case
@one_or_two_latents
def test_no_grad_gives_the_value_alone(case, event_dims):
    estimator = case.make()
    with torch.no_grad():
        bare = run(case, event_dims=event_dims, estimator=estimator)[0]
    assert not bare.value.requires_grad
    assert bare.value.grad_fn is None
    assert bare.control_loss is None
    assert torch.equal(bare.value, run(case, event_dims=event_dims, estimator=estimator)[0].value)


@every_case
def test_frozen_logits_leave_the_gradient_of_the_parameters(case):
    frozen = logits_for((3,)).detach()
    estimate, _, toy, _ = run(case, logits=frozen)
    shared, _, toy_again, _ = run(case, logits=logits_for((3,)))
    estimate.value.sum().backward()
    shared.value.sum().backward()
    assert toy.weights.grad.norm() > 0
    torch.testing.assert_close(toy.weights.grad, toy_again.weights.grad)


@every_case
def test_a_constant_f_has_no_gradient_but_for_the_logits(case):
    """f need not be differentiable in anything of its own."""
    if "point" in case.make().calls:
        with torch.no_grad():
            table = WEIGHTS.clone()
        value = gw.expect(lambda point: point @ table, logits := logits_for((3,)), case.make()).value
    else:
        logits = logits_for((3,))
        value = gw.expect(
            gw.by_index(lambda index: WEIGHTS[index]),
            logits,
            case.make(),
            case.counts(4)[0],
            context=context_of((3,)),
        ).value
    value.sum().backward()
    assert logits.grad.norm() > 0


@every_case
@one_or_two_latents
def test_the_total_derivative_of_an_f_that_contains_the_logits(case, event_dims):
    """f(z) = ℓ_z + a log π_z: the gradient is the estimator's, plus that through f, from the same draws."""

    def gradients(own, inside, wanted):
        toy = Toy(WEIGHTS, (3,), event_dims, inside.log_softmax(-1))
        value = gw.expect(
            toy, own, case.make(), case.counts(4)[0], seeded(1), event_dims, context=context_of((3,))
        ).value
        return torch.autograd.grad(value.sum(), wanted)

    own, inside = logits_for((3,), event_dims), logits_for((3,), event_dims)
    apart = gradients(own, inside, (own, inside))
    (total,) = gradients(own, own, (own,))
    assert apart[1].norm() > 0
    torch.testing.assert_close(total, apart[0] + apart[1])


@every_case
def test_value_is_used_linearly(case):
    """A weighted sum of values has the weighted sum of their gradients; no example's gradient sees another's."""
    estimate, _, _, logits = run(case, (4,))
    (each,) = torch.autograd.grad(estimate.value.sum(), logits, retain_graph=True)
    weight = torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64)
    (weighed,) = torch.autograd.grad(weight @ estimate.value, logits)
    torch.testing.assert_close(weighed, weight.unsqueeze(-1) * each)


@every_case
def test_control_loss_touches_the_estimators_parameters_alone(case):
    estimate, estimator, toy, logits = run(case)
    own = list(estimator.parameters())
    assert (estimate.control_loss is not None) == bool(own)
    if own:
        gradients = torch.autograd.grad(
            estimate.control_loss, [logits, toy.weights, *own], retain_graph=True, allow_unused=True
        )
        assert gradients[0] is None
        assert gradients[1] is None
        assert any(g is not None and g.norm() > 0 for g in gradients[2:])
        assert all(g is None for g in torch.autograd.grad(estimate.value.sum(), own, allow_unused=True))


# What is asked, and what it costs


@every_case
@one_or_two_latents
def test_calls_are_as_stated(case, event_dims):
    _, estimator, toy, _ = run(case, event_dims=event_dims)
    assert toy.calls == estimator.calls


def distinct(toy: Toy, batch):
    """How many distinct categories of each example `at_index` was asked for."""
    asked = torch.cat([index.flatten(1) for index in toy.asked])
    return torch.tensor([len(set(column.tolist()) - {-1}) for column in asked.T]).view(batch)


@every_case
def test_evaluations_are_counted_and_bounded(case):
    for num_samples in case.counts(8):
        estimate, estimator, toy, _ = run(case, (2, 40), num_samples=num_samples)
        evaluations = estimate.info.evaluations
        assert evaluations.max() <= estimator.evaluations(num_samples, 5)
        if toy.calls == {"index"}:
            assert torch.equal(evaluations, distinct(toy, (2, 40)))
        else:
            assert (evaluations == 5).all()


@pytest.mark.parametrize("case", INDEX_CASES, ids=str)
@one_or_two_latents
def test_each_distinct_pair_is_asked_once(case, event_dims):
    seen = []

    def f(index):
        seen.append(index.clone())
        return WEIGHTS[index].sum(-1) if event_dims else WEIGHTS[index]

    batch = (40,)
    num_samples = case.counts(8)[-1]
    estimate = gw.expect(
        gw.by_index(f),
        logits_for(batch, event_dims),
        case.make(),
        num_samples=num_samples,
        event_dims=event_dims,
        context=context_of(batch),
    )
    asked = torch.cat(seen).view(-1, 40, 1 + event_dims)
    for example in range(40):
        named = [tuple(pair) for pair in asked[:, example].tolist() if -1 not in pair]
        assert len(named) == len(set(named)) == estimate.info.evaluations[example]


# Hard inputs


def hard_logits():
    torch.manual_seed(0)
    large = torch.randn(6, 5, dtype=torch.float32) * 1e4
    masked = large.clone()
    masked[:, 2] = -torch.inf
    alone = torch.full((6, 5), -torch.inf)
    alone[:, 1] = 3.0
    mild = torch.randn(6, 5)
    mild[:, [0, 4]] = -torch.inf
    return {"large": large, "large-masked": masked, "one-left": alone, "masked": mild}


@every_case
@pytest.mark.parametrize("kind", ["large", "large-masked", "one-left", "masked"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_hard_logits_stay_finite(case, kind, dtype):
    logits = hard_logits()[kind].to(dtype).requires_grad_()
    estimate, _, toy, _ = run(case, (6,), dtype=dtype, logits=logits, num_samples=case.counts(4)[-1])
    estimate.value.sum().backward()
    assert estimate.value.isfinite().all()
    assert logits.grad.isfinite().all()
    assert toy.weights.grad.isfinite().all()
    masked = logits.detach() == -torch.inf
    assert (logits.grad[masked] == 0).all()
    if estimate.info.index is not None:
        assert not masked.gather(-1, estimate.info.index.T).any()
    if estimate.info.point is not None:
        assert (estimate.info.point[:, masked] == 0).all()


@every_case
@one_or_two_latents
def test_one_category(case, event_dims):
    batch = (4,)
    shape = (*batch, 2, 1) if event_dims else (*batch, 1)
    logits = torch.full(shape, 2.0, dtype=torch.float64, requires_grad=True)
    toy = Toy(WEIGHTS[:1].clone().requires_grad_(), batch, event_dims)
    estimate = gw.expect(
        toy,
        logits,
        case.make(),
        num_samples=case.counts(4)[0],
        event_dims=event_dims,
        context=context_of(batch),
    )
    estimate.value.sum().backward()
    torch.testing.assert_close(estimate.value, toy.table()[..., 0])
    assert (logits.grad == 0).all()
    assert (estimate.info.evaluations == 1).all()


@every_case
def test_an_empty_batch(case):
    estimate, _, _, logits = run(case, (0,))
    estimate.value.sum().backward()
    assert estimate.value.shape == (0,)
    assert logits.grad.shape == logits.shape


# Compiled, and mapped


@every_case
def test_compiles_without_a_break(case):
    """A call of the compiled function gives the eager one's value and gradient, also after the schedules moved."""
    estimator, twin = case.make(), case.make()
    twin.load_state_dict(estimator.state_dict())
    weights, context, num_samples = WEIGHTS.float(), context_of((6,)), case.counts(4)[0]

    def step(logits, estimator):
        f = lambda point: (point @ weights).square()  # noqa: E731
        return gw.expect(f, logits, estimator, num_samples, context=context).value

    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for progress in (0.0, 0.5, 1.0):
        results = []
        for function, own in ((step, estimator), (compiled, twin)):
            own.set_progress(progress)
            torch.manual_seed(4)
            logits = logits_for((6,), dtype=torch.float32)
            value = function(logits, own)
            value.sum().backward()
            results.append((value, logits.grad))
        torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(estimator.state_dict(), twin.state_dict())


@pytest.mark.parametrize("case", POINT_CASES, ids=str)
def test_maps_over_examples(case):
    estimator = case.make()

    def one(logits, weights):
        return gw.expect(lambda point: (point @ weights).square(), logits, estimator, num_samples=2).value

    def gradient(logits, weights):
        return torch.func.grad(one)(logits, weights)

    logits, weights = LOGITS.expand(50, 5), WEIGHTS.expand(50, 5)
    mapped = torch.func.vmap(one, randomness="different")
    assert mapped(logits, weights).shape == (50,)
    assert mapped(logits, weights).unique().numel() > 2
    slopes = torch.func.vmap(gradient, randomness="different")(logits, weights)
    assert slopes.shape == (50, 5)
    assert slopes.isfinite().all()
    assert slopes.unique(dim=0).shape[0] > 25


# Schedules


@every_case
def test_set_progress_and_commit_are_taken_by_all(case):
    estimator = case.make()
    for progress in (0.0, 0.5, 1.0):
        estimator.set_progress(progress)
        estimator.commit()
    assert run(case, estimator=estimator)[0].value.isfinite().all()


TEMPERED = [name for name in gw.estimators.names() if "temperature" in gw.estimators.options(name)]


@pytest.mark.parametrize("name", TEMPERED)
def test_a_temperature_follows_its_schedule_and_changes_the_estimate(name):
    estimator = gw.estimators.get(name, temperature="linear:2:0.5")
    case = Case(name)
    gradients = []
    for progress, temperature in ((0.0, 2.0), (1.0, 0.5)):
        estimator.set_progress(progress)
        assert estimator.temperature == temperature
        estimate, _, _, logits = run(case, estimator=estimator)
        gradients.append(torch.autograd.grad(estimate.value.sum(), logits)[0])
    assert not torch.allclose(*gradients)
    assert "2" in repr(estimator)
    assert gw.estimators.get(name, temperature=Constant(0.25)).temperature == 0.25


@pytest.mark.parametrize("name", TEMPERED)
@pytest.mark.parametrize("temperature", [0.0, -1.0, "linear:1:0", "cosine:0:1", "step:1:0:1"])
def test_a_temperature_that_is_or_will_be_zero_is_refused_at_once(name, temperature):
    with pytest.raises(gw.GatewiseError, match=rf"{name}.*positive"):
        gw.estimators.get(name, temperature=temperature)


@pytest.mark.parametrize("name", TEMPERED)
@pytest.mark.parametrize("temperature", [float("nan"), float("inf"), "nan", "warm"])
def test_a_temperature_that_is_no_number_is_refused(name, temperature):
    with pytest.raises(gw.GatewiseError, match="is not a schedule"):
        gw.estimators.get(name, temperature=temperature)
