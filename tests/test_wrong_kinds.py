"""Arguments of the wrong kind are refused in one line that says how to make what is wanted."""

from pathlib import Path

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.reporting import write_report
from gatewise.reporting.side_by_side import write_runs


class Bare(gw.estimators.GradientEstimator):
    """States nothing."""


def f(point):
    return (point * torch.tensor([1.0, 3.0])).sum(-1)


MIXTURE = gw.MixtureOfExperts(nn.Linear(3, 2), [nn.Linear(3, 2) for _ in range(2)])
MARGINAL = gw.objectives.get("marginal")
CONFIG = gw.config.load_config({"data": "iris", "epochs": 1})
LOGITS = torch.zeros(2, 2)
ROWS = torch.zeros(4, 3), torch.tensor([0, 1, 0, 1])


def fit(train=ROWS, validation=None, **options):
    return gw.training.fit(MIXTURE, MARGINAL, train, validation, gw.config.LoopConfig(epochs=1), **options)


def layer(in_features=4, experts=3, **options):
    return gw.nn.MoELayer(in_features, experts, **options)


CALLS = {
    "a dict to train": (lambda: gw.runs.train({"data": "iris"}), "config must be a RunConfig, got dict"),
    "a text to train": (lambda: gw.runs.train("iris"), "gw.config.load_config"),
    "a dict to compare": (lambda: gw.comparison.compare({"data": "iris"}), "base must be a RunConfig, got dict"),
    "a network to fit": (
        lambda: gw.training.fit(nn.Linear(3, 2), gw.objectives.get("marginal"), ROWS, ROWS),
        "mixture must be a MixtureOfExperts, got Linear",
    ),
    "an estimator that states nothing": (lambda: gw.expect(f, LOGITS, Bare()), "Bare does not state its `calls`"),
    "a class": (lambda: gw.expect(f, LOGITS, gw.estimators.Enumeration), "Enumeration is a class; make one of it"),
    "a class for an objective": (
        lambda: gw.objectives.get("jensen", estimator=gw.estimators.ScoreFunction),
        "ScoreFunction is a class; make one of it, as in ScoreFunction()",
    ),
    "a number for an objective's": (
        lambda: gw.objectives.get("multi-sample", estimator=3),
        "int does not state its `calls`",
    ),
    "a text for a number of samples": (
        lambda: gw.objectives.MultiSample(num_samples="3"),
        "num_samples must be a whole number of at least 1, got '3'",
    ),
    "words for a prior": (lambda: gw.objectives.Prior(prior="even"), "one for each expert, got even"),
    "one that states nothing, audited": (lambda: gw.audit(f, LOGITS, [Bare()]), "Bare does not state its `calls`"),
    "its own, without samples": (lambda: gw.audit(f, LOGITS, own=Bare()), "own must be an estimator and its number"),
    "a number to load a run": (lambda: gw.runs.Run.load(3), "folder must be a path, got int"),
    "bytes to load a run": (lambda: gw.runs.Run.load(b"runs"), "folder must be a path, got bytes"),
    "rows to predict": (lambda: gw.runs.Run.predict(None, [[1.0]]), "source must be a path, got list"),
    "a number to resume": (lambda: gw.runs.resume(3), "folder must be a path, got int"),
    "a number for the run folder": (lambda: gw.runs.train(CONFIG, 5), "out must be a path, got int"),
    "a number for a comparison's": (lambda: gw.comparison.compare(CONFIG, 5), "out must be a path, got int"),
    "a number for an estimator's folder": (
        lambda: gw.sklearn.MixtureOfExpertsClassifier.load(5),
        "folder must be a path, got int",
    ),
    "a number for a page": (lambda: write_report(5), "run must be a path, got int"),
    "a number of pages": (lambda: write_runs([1, 2], Path("page.html")), "each of folders must be a path, got int"),
    "true for a function": (
        lambda: gw.runs.train(CONFIG, should_stop=True),
        "should_stop must be a function, got bool",
    ),
    "true to stop fit": (lambda: fit(should_stop=True), "should_stop must be a function, got bool"),
    "a mixture for a factory": (lambda: fit(model_factory=MIXTURE.gate.weight), "model_factory must be a function"),
    "an unknown key": (
        lambda: gw.config.RunConfig(wrong=1),
        "the configuration has an unknown key 'wrong'",
    ),
    "a key that other software has": (lambda: gw.config.LoopConfig(learning_rate=1), "did you mean 'lr'?"),
    "a key of the wrong kind": (
        lambda: gw.config.RunConfig(data="iris", experts="many"),
        "the configuration: experts: input should be a valid integer",
    ),
    "a key that is missing": (lambda: gw.config.RunConfig(), "the configuration: data: field required"),
    "a text to load": (lambda: gw.config.load_config("run.toml"), "keys must be a Mapping, got str"),
    "a configuration to load": (lambda: gw.config.load_config(CONFIG), "keys must be a Mapping, got RunConfig"),
    "one callback to train": (
        lambda: gw.runs.train(CONFIG, callbacks=gw.training.Callback()),
        "callbacks must be a list, got Callback",
    ),
    "a function to fit for a callback": (lambda: fit(callbacks=[print]), "each of callbacks must be a Callback"),
    "one regulariser": (lambda: fit(regularisers=gw.objectives.Load(0.1)), "regularisers must be a list, got Load"),
    "a regulariser's name": (lambda: fit(regularisers="load"), "regularisers must be a list, got str"),
    "names of regularisers": (lambda: fit(regularisers=["load"]), "each of regularisers must be a Regulariser"),
    "weights as a list": (lambda: fit(weight=[1.0] * 4), "weight must be a Tensor, got list"),
    "arrays to fit": (lambda: fit(tuple(part.numpy() for part in ROWS)), "train must be (x, y), two tensors"),
    "x alone": (lambda: fit(ROWS[0]), "train must be (x, y), two tensors, got Tensor"),
    "three parts": (lambda: fit((*ROWS, ROWS[1])), "train must be (x, y), two tensors"),
    "a Dataset": (lambda: fit(torch.utils.data.TensorDataset(*ROWS)), "gw.training.rows_of"),
    "validation alone": (lambda: fit(ROWS, ROWS[0]), "validation must be (x, y), two tensors"),
    "true for trust": (
        lambda: gw.models.Predictions(None, list, trust=True),
        "trust must be a Trust, got bool",
    ),
    "one estimator to compare": (
        lambda: gw.comparison.compare(CONFIG, estimators="enumeration"),
        "estimators must be a list, got str",
    ),
    "estimators to compare": (
        lambda: gw.comparison.compare(CONFIG, estimators=[gw.estimators.Enumeration()]),
        "each of estimators must be a str, got Enumeration",
    ),
    "one objective": (lambda: gw.comparison.compare(CONFIG, objectives="jensen"), "objectives must be a list, got str"),
    "seeds": (
        lambda: gw.comparison.compare(CONFIG, seeds=[0, 1]),
        "seeds must be a whole number of at least 1, got [0, 1]",
    ),
    "jobs": (lambda: gw.comparison.compare(CONFIG, jobs="two"), "jobs must be a whole number, got 'two'"),
    "a function for a watcher": (lambda: gw.comparison.compare(CONFIG, watcher=print), "watcher must be a Watcher"),
    "a dict to combine": (lambda: gw.comparison.combine({}, None, ["jensen"]), "base must be a RunConfig, got dict"),
    "f and logits the other way round": (
        lambda: gw.expect(LOGITS, f, gw.estimators.Enumeration()),
        "logits must be a Tensor, got function",
    ),
    "a network to audit": (lambda: gw.audit(nn.Linear(3, 2), ROWS), "give a MixtureOfExperts"),
    "numbers for a mixture": (lambda: gw.MixtureOfExperts(4, 2), "gate must be a Module, got int"),
    "a function for a gate": (lambda: gw.MixtureOfExperts(f, [nn.Linear(3, 2)]), "gate must be a Module, got function"),
    "one expert": (
        lambda: gw.MixtureOfExperts(nn.Linear(3, 2), nn.Linear(3, 2)),
        "experts must be a list of modules, got Linear",
    ),
    "text for features": (lambda: layer("4"), "in_features must be a whole number of at least 1, got '4'"),
    "a fraction of experts": (lambda: layer(4, 3.0), "experts must be a list of modules, got float"),
    "text for a width": (lambda: layer(hidden="8"), "hidden must be a whole number of at least 1, got '8'"),
    "fractions for widths": (lambda: layer(hidden=[8, 8.5]), "hidden must be a whole number of at least 1, got 8.5"),
    "text for the output": (
        lambda: layer(out_features="3"),
        "out_features must be a whole number of at least 1, got '3'",
    ),
    "a fraction for k": (lambda: layer(k=1.5), "k must be a whole number of at least 1, got 1.5"),
    "a network for a router": (lambda: layer(router=nn.Linear(4, 3)), "router must be a Router, got Linear"),
    "true for a shared module": (lambda: layer(shared=True), "shared must be a Module, got bool"),
    "an array to a layer": (lambda: layer()(torch.zeros(2, 4).numpy()), "x must be a Tensor, got ndarray"),
    "a text for padding": (lambda: layer()(torch.zeros(2, 4), "mask"), "padding must be a Tensor, got str"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_of_the_wrong_kind(name):
    call, said = CALLS[name]
    with pytest.raises(gw.GatewiseError) as caught:
        call()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
