"""The gate in training: the balance bias, the noise of top-k, the learned temperature, and the keys for them."""

import json

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.config import LoopConfig, load_config
from gatewise.config.checks import check_gate
from gatewise.config.objective import build_objective
from gatewise.metrics import evaluate
from gatewise.mixture import BalanceBias, Gate, mlp
from gatewise.models.spec import ModelSpec
from gatewise.runs import Run, train
from gatewise.training import fit
from gatewise.training.step import TrainStep
from tests.chance import seeded
from tests.training.test_loop import blobs

K = 4


def mixture_with(**options):
    torch.manual_seed(0)
    gate = Gate(mlp(2, [8], K), K, **options)
    return gw.MixtureOfExperts(gate, gw.MLPBank(K, 2, [8], 3))


def trainer_of(mixture, objective="jensen", **config):
    settings = LoopConfig(**{"lr": 0.01, "clip": 0, **config})
    return TrainStep(mixture, gw.objectives.get(objective), [], settings, steps=200)


def skewed(top_k=None):
    """A gate that begins with all of its rows on expert 0."""
    mixture = mixture_with(balance=True, top_k=top_k)
    with torch.no_grad():
        mixture.gate.network[-1].bias.copy_(torch.tensor([4.0, 0, 0, 0]))
    return mixture


# The balance bias


@pytest.mark.parametrize(("top_k", "even"), [(None, 0.25), (2, 0.5)])
def test_it_moves_a_skewed_gate_to_balance(top_k, even):
    """The load, over some steps: of the argmax, or of the selected. The weights hardly learn, so the bias does it."""
    x, y = torch.randn(256, 2, generator=seeded(1)), blobs(256)[1]

    def loads(rate):
        mixture = skewed(top_k)
        train_step = trainer_of(mixture, lr=1e-6, balance_rate=rate)
        for _ in range(6):
            statistics = train_step.new_statistics()
            for _ in range(40):
                train_step.take_step(x, y, statistics)
        return statistics.load / statistics.rows

    assert loads(rate=0.0).max() > 0.99
    assert (loads(rate=0.02) - even).abs().max() < 0.1


def test_one_step_goes_by_the_rate():
    mixture, (x, y) = skewed(), blobs(64)
    train_step = trainer_of(mixture, balance_rate=0.05)
    train_step.take_step(x, y, train_step.new_statistics())
    torch.testing.assert_close(mixture.gate.balance.bias, torch.tensor([-0.05, 0.05, 0.05, 0.05]))


@pytest.mark.parametrize("top_k", [None, 2])
def test_micro_batches_move_it_as_the_whole_batch_does(top_k):
    found = []
    for accumulate in (1, 4):
        mixture, (x, y) = skewed(top_k), blobs(64)
        train_step = trainer_of(mixture, accumulate=accumulate, balance_rate=0.05)
        statistics = train_step.new_statistics()
        for _ in range(40):
            train_step.take_step(x, y, statistics)
        found.append(mixture.gate.balance.bias)
    assert found[0].abs().min() > 0
    torch.testing.assert_close(found[0], found[1])


def test_nothing_but_a_step_moves_it():
    mixture, (x, y) = skewed(), blobs(64)
    train_step = trainer_of(mixture, balance_rate=0.05)
    train_step.take_step(x, y, train_step.new_statistics())
    before = mixture.gate.balance.bias.clone()
    evaluate(mixture, x, y, 3)
    mixture.predict_proba(x)
    mixture.train().log_prob(x, y).mean().backward()
    gw.audit(mixture, (x, y), ["score-function"], seconds=0.1)
    assert torch.equal(mixture.gate.balance.bias, before)


def test_a_gate_of_one_s_own_may_hold_one():
    torch.manual_seed(0)
    own = nn.Sequential(nn.Linear(2, K), BalanceBias(K))
    mixture, (x, y) = gw.MixtureOfExperts(own, gw.MLPBank(K, 2, [8], 3)), blobs(64)
    train_step = trainer_of(mixture, balance_rate=0.05)
    train_step.take_step(x, y, train_step.new_statistics())
    assert own[1].bias.abs().max().item() == pytest.approx(0.05)


def test_a_rate_without_a_bias_is_refused():
    with pytest.raises(gw.GatewiseError, match=r"this gate has none; make it by gw\.mixture\.Gate\(…, balance=True\)"):
        trainer_of(mixture_with(), balance_rate=0.1)


# Noise


def test_training_with_noise_is_repeatable():
    def trained(seed):
        mixture = mixture_with(top_k=2, noise_features=2, temperature=0.7, balance=True)
        config = LoopConfig(epochs=2, lr=0.03, balance_rate=0.01, seed=seed)
        fit(mixture, gw.objectives.get("jensen"), blobs(200), blobs(50, 1), config)
        return mixture.state_dict()

    first, second, other = trained(1), trained(1), trained(2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["gate.top_k.noise_weight"], other["gate.top_k.noise_weight"])


# Keys


def configured(**keys):
    return load_config({"data": "iris", "experts": K, "epochs": 2, "expert_hidden": [8], **keys})


def spec_of(**keys):
    return ModelSpec.from_config(configured(**keys), (4,), ("a", "b", "c"))


def built(**keys):
    torch.manual_seed(0)
    return spec_of(**keys).build()


def test_the_default_gate_is_the_network_itself():
    """Names of weights and the weights themselves are those of runs from before there was anything else."""
    torch.manual_seed(0)
    gate, experts = mlp(4, [], K), gw.MLPBank(K, 4, [8], 3, 0.2)
    right = gw.MixtureOfExperts(gate, experts).state_dict()
    found = built().state_dict()
    assert list(found) == list(right)
    assert all(torch.equal(found[name], right[name]) for name in right)


def test_another_gate_leaves_the_experts_first_weights_alone():
    plain, other = built().experts.state_dict(), built(gate_top_k=2, gate_temperature=0.7, balance_rate=0.1)
    assert all(torch.equal(value, plain[name]) for name, value in other.experts.state_dict().items())


def test_keys_make_the_gate():
    gate = built(gate_top_k=2, gate_temperature=0.7, balance_rate=0.1, trunk_hidden=[6]).gate
    assert gate.top_k.k == 2
    assert gate.top_k.noise_weight.shape == (6, K)
    assert gate.temperature == 0.7
    assert gate.balance is not None
    sparse = built(gate_map="entmax15", gate_temperature=2, gate_hidden=[5]).gate
    assert isinstance(sparse.map, gw.mixture.Entmax15)
    assert (sparse.temperature, sparse.balance, sparse.top_k) == (2.0, None, None)


def test_a_model_json_from_before_these_keys_still_loads(tmp_path):
    run = train(configured(), tmp_path / "run")
    path = run.folder / "model/model.json"
    spec = json.loads(path.read_text())
    for key in ("gate", "gate_map", "gate_temperature", "gate_top_k", "balance_rate"):
        del spec[key]
    path.write_text(json.dumps(spec))
    loaded = Run.load(run.folder)
    assert loaded.evaluate(loaded.test_rows()).nll == pytest.approx(run.summary["test"]["nll"], rel=1e-6)


@pytest.mark.parametrize("keys", [{"gate_map": "sparsemax"}, {"gate_map": "entmax15"}, {"gate_top_k": 2}])
def test_enumeration_runs_the_support_alone(keys):
    for objective in ({}, {"objective": "evidence", "objective_options": {"posterior": "amortised"}}):
        assert build_objective(configured(**keys, **objective), features=4).estimator.support_only
    assert not build_objective(configured(), features=4).estimator.support_only
    chosen = configured(**keys, estimator_options={"support_only": False})
    assert not build_objective(chosen, features=4).estimator.support_only


@pytest.mark.parametrize(
    ("keys", "most"),
    [
        ({"gate_top_k": 2}, 2),
        ({"gate_top_k": 2, "estimator": "score-function"}, 1),
        ({"gate_top_k": 2, "estimator": "gumbel-softmax"}, K),
        ({"gate_top_k": 2, "objective": "marginal"}, K),
    ],
)
def test_the_summary_says_how_many_experts_run(tmp_path, keys, most):
    run = train(configured(epochs=1, **keys), tmp_path / "run")
    assert run.summary["model"]["evaluations"] == most


def test_a_run_keeps_its_bias(tmp_path):
    run = train(configured(balance_rate=0.05, epochs=1), tmp_path / "run")
    bias = run.model.mixture.gate.balance.bias
    assert bias.abs().max() > 0
    assert torch.equal(Run.load(run.folder).model.mixture.gate.balance.bias, bias)


def test_what_can_work_is_not_refused():
    for keys in ({}, {"gate_top_k": K}, {"gate": "conv"}, {"gate_temperature": 0.7, "gate_map": "sparsemax"}):
        check_gate(configured(**keys))
