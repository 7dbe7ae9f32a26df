"""gw.sample, in the place of torch.nn.functional.gumbel_softmax."""

import pytest
import torch
import torch.nn.functional as F

import gatewise as gw
from tests.chance import ALPHA, frequency_p, mean_p, seeded
from tests.estimators.cases import POINT_CASES

POINTS = pytest.mark.parametrize("case", POINT_CASES, ids=str)
DRAWS = 200_000
LOGITS = torch.tensor([0.3, -0.5, 1.1, 0.0, -torch.inf])


@POINTS
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)
def test_shape_is_that_of_the_logits(case, batch):
    logits = LOGITS.expand(*batch, 5)
    assert gw.sample(logits, case.make()).shape == F.gumbel_softmax(logits).shape == logits.shape
    assert gw.sample(logits, case.make(), num_samples=4).shape == (4, *logits.shape)
    assert gw.sample(logits, case.make(), num_samples=1).shape == (1, *logits.shape)


@pytest.mark.parametrize(
    "case", [case for case in POINT_CASES if getattr(case.make(), "forward_temperature", 1.0) == 1.0], ids=str
)
def test_the_category_is_distributed_as_it_should_be(case):
    points = gw.sample(LOGITS.expand(DRAWS, -1), case.make(), generator=seeded(1))
    assert frequency_p(points.argmax(-1).bincount(minlength=5), LOGITS.softmax(-1)) > ALPHA


def test_a_category_distribution_two_percent_off_is_caught():
    points = gw.sample(LOGITS.expand(DRAWS, -1), POINT_CASES[0].make(), generator=seeded(1))
    wrong = LOGITS + 0.05 * torch.tensor([1.0, 0.0, 0.0, -1.0, 0.0])
    assert (wrong.softmax(-1) - LOGITS.softmax(-1)).abs().max() < 0.02
    assert frequency_p(points.argmax(-1).bincount(minlength=5), wrong.softmax(-1)) < ALPHA


@pytest.mark.parametrize(
    ("name", "hard"), [("gumbel-softmax", False), ("straight-through-gumbel-softmax", True)], ids=str
)
def test_it_agrees_with_torchs_own(name, hard):
    """Points and gradients have the moments of torch's: two samples, one difference."""
    logits = torch.tensor([0.3, -0.5, 1.1])
    slopes = torch.tensor([1.0, -2.0, 0.5])

    def features(draw):
        leaf = logits.expand(DRAWS, -1).clone().requires_grad_()
        points = draw(leaf)
        (gradient,) = torch.autograd.grad((points @ slopes).square().sum(), leaf)
        point = points.detach()
        return torch.cat([point, point.square(), gradient], dim=1)

    torch.manual_seed(3)
    theirs = features(lambda leaf: F.gumbel_softmax(leaf, tau=0.7, hard=hard))
    estimator = gw.estimators.get(name, temperature=0.7)
    ours = features(lambda leaf: gw.sample(leaf, estimator, generator=seeded(4)))
    assert mean_p(ours - theirs, torch.zeros(9)) > ALPHA


@POINTS
def test_gradients_flow(case):
    logits = torch.randn(3, 5, generator=seeded(6)).requires_grad_()
    (gw.sample(logits, case.make(), generator=seeded(1)) @ torch.arange(5.0)).sum().backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad.norm(dim=-1) > 0).all()


@POINTS
def test_a_seed_decides_the_points(case):
    first, again, other = (gw.sample(torch.zeros(20, 5), case.make(), generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", ["score-function", "selected-relaxation", "enumeration"])
def test_an_estimator_that_draws_no_points_is_refused(name):
    with pytest.raises(gw.GatewiseError, match=rf"{name}.*such as 'gumbel-softmax', or use expect"):
        gw.sample(LOGITS, gw.estimators.get(name))


def test_a_name_is_refused_with_the_way_to_make_one():
    with pytest.raises(gw.GatewiseError, match=r"make it once with gw\.estimators\.get\('gumbel-softmax'\)"):
        gw.sample(LOGITS, "gumbel-softmax")


@pytest.mark.parametrize("num_samples", [0, -1])
def test_no_samples_are_refused(num_samples):
    with pytest.raises(gw.GatewiseError, match=f"got {num_samples}"):
        gw.sample(LOGITS, POINT_CASES[0].make(), num_samples=num_samples)
