"""Lists of modules as experts: of different kinds, frozen, and with layers that mind which rows they see."""

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.mixture import ConvExpert, ExpertList, Experts
from tests.chance import seeded
from tests.mixture.models import CLASSES, FEATURES, ROWS, data


def mixture_of(experts):
    torch.manual_seed(0)
    return gw.MixtureOfExperts(nn.Linear(FEATURES, len(experts)), experts)


def normed():
    return nn.Sequential(nn.Linear(FEATURES, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, CLASSES))


class Always(nn.Module):
    """An expert without parameters: it always says class 0."""

    def forward(self, x):
        return torch.tensor([9.0, 0.0, 0.0]).expand(len(x), -1)


def test_experts_of_different_kinds():
    torch.manual_seed(1)
    experts = [
        nn.Linear(FEATURES, CLASSES),
        nn.Sequential(nn.Linear(FEATURES, 20), nn.Tanh(), nn.Linear(20, CLASSES)),
        Always(),
    ]
    mixture = mixture_of(experts)
    x, y = data(torch.float32)
    every = mixture.observe(x, y).at_all()
    for k, expert in enumerate(experts):
        torch.testing.assert_close(every[:, k], expert(x).log_softmax(-1)[torch.arange(ROWS), y])
    index = torch.randint(3, (4, ROWS), generator=seeded(3))
    torch.testing.assert_close(mixture.observe(x, y).at_index(index), every.gather(1, index.T).T)


def test_experts_on_images():
    torch.manual_seed(1)
    experts = [ConvExpert((8, 8), CLASSES, channels=2), nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))]
    mixture = gw.MixtureOfExperts(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), experts)
    x, y = torch.randn(ROWS, 8, 8), torch.zeros(ROWS, dtype=torch.int64)
    index = torch.randint(2, (1, ROWS), generator=seeded(4))
    observed = mixture.observe(x, y)
    torch.testing.assert_close(observed.at_index(index), observed.at_all().gather(1, index.T).T)


def test_experts_of_different_outputs_are_refused():
    mixture = mixture_of([nn.Linear(FEATURES, 3), nn.Linear(FEATURES, 2)])
    with pytest.raises(gw.GatewiseError, match=r"same shape a row; got expert 0: \[3\], expert 1: \[2\]"):
        mixture.log_prob(*data(torch.float32))


def test_experts_of_different_outputs_are_refused_where_few_run():
    mixture = mixture_of([nn.Linear(FEATURES, 3), nn.Linear(FEATURES, 2)])
    index = torch.tensor([[0, 1, 0, 1, 0, 1, 0]])
    with pytest.raises(gw.GatewiseError, match=r"same shape a row; got expert 0: \[3\], expert 1: \[2\]"):
        mixture.observe(*data(torch.float32)).at_index(index)


def test_an_iterator_of_experts_is_taken():
    assert gw.MixtureOfExperts(nn.Linear(4, 2), (nn.Linear(4, 3) for _ in range(2))).num_experts == 2


def test_a_set_of_experts_of_ones_own():
    """What `Experts` asks for: K, all on every row, and each on its own rows."""

    class Shifted(Experts):
        num_experts = 3

        def forward(self, x):
            return torch.stack([x[:, :CLASSES] + k for k in range(3)], dim=1)

        def grouped(self, x, counts):
            shift = torch.repeat_interleave(torch.arange(3.0), torch.tensor(counts))
            return x[:, :CLASSES] + shift.unsqueeze(1)

    mixture = gw.MixtureOfExperts(nn.Linear(FEATURES, 3), Shifted())
    observed = mixture.observe(*data(torch.float32))
    index = torch.tensor([[2, 0, 1, 1, 0, 2, 2]])
    torch.testing.assert_close(observed.at_index(index), observed.at_all().gather(1, index.T).T)
    with pytest.raises(TypeError, match="abstract class Experts with abstract methods forward, grouped"):
        Experts()


# Frozen experts


def frozen(module):
    return module.requires_grad_(False)


def test_frozen_experts_stay_in_inference_mode():
    experts = [frozen(normed()), normed()]
    mixture = mixture_of(experts)
    assert [expert.training for expert in experts] == [False, True]
    mixture.eval()
    assert [expert.training for expert in experts] == [False, False]
    mixture.train()
    assert [expert.training for expert in experts] == [False, True]
    assert not experts[0][1].training


def test_partly_frozen_experts_train():
    expert = normed()
    frozen(expert[0])
    assert mixture_of([expert]).train().experts.members[0].training


def test_frozen_statistics_do_not_move():
    expert = frozen(normed())
    before = expert[1].running_mean.clone()
    mixture = mixture_of([expert, nn.Linear(FEATURES, CLASSES)])
    mixture.log_prob(*data(torch.float32)).sum().backward()
    assert torch.equal(expert[1].running_mean, before)
    assert all(p.grad is None for p in expert.parameters())


def test_an_expert_given_in_inference_mode_is_left_so():
    expert = normed().eval()
    mixture_of([expert])
    assert not expert.training


# Batch statistics


INDEX = torch.tensor([[0, 1, 0, 1, 0, 1, 0]])


def test_batch_normalisation_under_few_rows_is_refused_in_training():
    mixture = mixture_of([nn.Linear(FEATURES, CLASSES), normed()])
    with pytest.raises(gw.GatewiseError, match=r"expert 1 has batch normalisation \(1\).*LayerNorm or GroupNorm"):
        mixture.observe(*data(torch.float32)).at_index(INDEX)


def test_batch_normalisation_is_fine_in_inference_and_on_all_rows():
    mixture = mixture_of([nn.Linear(FEATURES, CLASSES), normed()])
    x, y = data(torch.float32)
    mixture.observe(x, y).at_all().sum().backward()
    mixture.eval()
    observed = mixture.observe(x, y)
    torch.testing.assert_close(observed.at_index(INDEX), observed.at_all().gather(1, INDEX.T).T)


def test_batch_normalisation_of_a_frozen_expert_is_fine():
    mixture = mixture_of([nn.Linear(FEATURES, CLASSES), frozen(normed())])
    observed = mixture.observe(*data(torch.float32))
    torch.testing.assert_close(observed.at_index(INDEX), observed.at_all().gather(1, INDEX.T).T)


def test_batch_normalisation_that_keeps_no_statistics_is_refused_always():
    expert = nn.Sequential(nn.Linear(FEATURES, CLASSES), nn.BatchNorm1d(CLASSES, track_running_stats=False))
    mixture = mixture_of([expert, nn.Linear(FEATURES, CLASSES)]).eval()
    with pytest.raises(gw.GatewiseError, match="expert 0 has batch normalisation"):
        mixture.observe(*data(torch.float32)).at_index(INDEX)


def test_batch_normalisation_in_the_trunk_is_fine():
    trunk = nn.BatchNorm1d(FEATURES)
    mixture = gw.MixtureOfExperts(nn.Linear(FEATURES, 2), [nn.Linear(FEATURES, CLASSES) for _ in range(2)], trunk=trunk)
    mixture.observe(*data(torch.float32)).at_index(INDEX).sum().backward()
    assert trunk.weight.grad.norm() > 0


# Dropout


@pytest.mark.parametrize("kind", ["bank", "list"])
def test_dropout_is_drawn_in_training_alone(kind):
    torch.manual_seed(0)
    experts = gw.MLPBank(2, FEATURES, (32,), CLASSES, dropout=0.5)
    if kind == "list":
        experts = ExpertList([experts.expert(k) for k in range(2)])
    mixture = gw.MixtureOfExperts(nn.Linear(FEATURES, 2), experts)
    x, y = data(torch.float32)
    for ask in (lambda: mixture.observe(x, y).at_all(), lambda: mixture.observe(x, y).at_index(INDEX)):
        mixture.train()
        assert not torch.equal(ask(), ask())
        mixture.eval()
        assert torch.equal(ask(), ask())
