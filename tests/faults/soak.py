"""Memory over 10,000 steps of training, and over 1,000 batches of predictions: it grows by less than 1 %.

    python -m tests.faults.soak

The resident memory after the first tenth, when everything has been used once, beside that at the end.
"""

import argparse
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import gatewise as gw
from gatewise.config.run import LoopConfig, RunConfig
from gatewise.data import Records
from gatewise.data.preprocessing.array import ArrayPreprocessing
from gatewise.models.model import Model
from gatewise.models.predictions import Predictions
from gatewise.models.spec import ModelSpec
from gatewise.objectives import regularisers
from gatewise.training.step import TrainStep

FEATURES, CLASSES, EXPERTS, BATCH = 32, 5, 4, 64


def resident() -> float:
    """MiB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def steps(count: int) -> Callable[[int], None]:
    """Optimiser steps with noise, a running mean and regularisers."""
    mixture = gw.MixtureOfExperts(torch.nn.Linear(FEATURES, EXPERTS), gw.MLPBank(EXPERTS, FEATURES, [64], CLASSES, 0.1))
    objective = gw.objectives.get("jensen", estimator="score-function")
    train_step = TrainStep(mixture, objective, regularisers({"load": 0.1, "importance": 0.1}), LoopConfig(), count)
    x, y = torch.randn(BATCH, FEATURES), torch.randint(CLASSES, (BATCH,))
    statistics = train_step.new_statistics()

    def go(number: int) -> None:
        for _ in range(number):
            train_step.take_step(x, y, statistics)

    return go


def batches(count: int) -> Callable[[int], None]:
    """Batches of predictions, each a table."""
    rows = Records(torch.randn(BATCH, FEATURES).numpy(), None, "soak")
    preprocessing = ArrayPreprocessing.fit(rows)
    config = RunConfig(data="soak", experts=EXPERTS, expert_hidden=[64])
    spec = ModelSpec.from_config(config, preprocessing.input_shape, tuple(f"c{i}" for i in range(CLASSES)))
    model = Model(spec.build().eval(), spec, preprocessing)

    def go(number: int) -> None:
        for _table in Predictions(model, lambda: (rows for _ in range(number)), batch_size=BATCH):
            pass

    return go


def main() -> None:
    """Print the figures; exit 1 where memory grew by 1 % or more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--batches", type=int, default=1_000)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    grown = []
    for name, make, count in (("steps", steps, chosen.steps), ("batches", batches, chosen.batches)):
        go = make(count)
        go(count // 10)
        before = resident()
        go(count - count // 10)
        after = resident()
        grown.append(after / before - 1)
        print(f"{count:6} {name:8} {before:.1f} MiB after a tenth, {after:.1f} MiB at the end: {grown[-1]:+.3%}")
    sys.exit(max(grown) >= 0.01)


if __name__ == "__main__":
    main()
