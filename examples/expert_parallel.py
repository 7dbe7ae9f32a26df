"""Experts over processes: each process holds a part of the experts, and the rows travel to them.

The handwritten digits that are bundled, a mixture of 8 experts, and as many processes as torchrun starts. The first one
prints what each of them holds, how well the mixture predicts at the end, and what a checkpoint is made of. Under a
minute on two cores.

    torchrun --nproc-per-node 2 examples/expert_parallel.py [--epochs 30]
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor

import gatewise as gw
from gatewise.config import LoopConfig
from gatewise.distributed import Group, expert_mesh, gather_experts, join_processes, shard_experts
from gatewise.metrics import evaluate
from gatewise.training import ShardedCheckpoints, fit

FEATURES, CLASSES, EXPERTS = 64, 10, 8


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Rows to train on, and rows to validate on."""
    pixels, classes = load_digits(return_X_y=True)
    x, y = torch.from_numpy(pixels).float() / 16, torch.from_numpy(classes)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, validation = order[:1400], order[1400:]
    return (x[train], y[train]), (x[validation], y[validation])


def train(group: Group, folder: Path, epochs: int) -> float:
    """What every process does; returns the validation accuracy."""
    rows, validation = digits()
    torch.manual_seed(0)
    mixture = gw.MixtureOfExperts(gw.mixture.mlp(FEATURES, [], EXPERTS), gw.MLPBank(EXPERTS, FEATURES, [32], CLASSES))
    shard_experts(mixture, expert_mesh(experts=group.size))
    say(group, f"experts on each process: {mixture.experts.held}")

    objective = gw.objectives.get("jensen", estimator=gw.estimators.get("sum-and-sample"), num_samples=2)
    config = LoopConfig(epochs=epochs, lr=0.005, checkpoint_seconds=0.5)
    checkpoints = ShardedCheckpoints(folder / "checkpoints", group)
    found = fit(mixture, objective, rows, validation, config, group=group, checkpoints=checkpoints)
    say(group, f"trained {len(found.history)} epochs, {found.seconds:.1f} s")

    gather_experts(mixture)  # from here on each process has the whole model
    accuracy = evaluate(mixture, *validation, CLASSES).result().accuracy
    say(group, f"validation accuracy {accuracy:.3f}")
    for path in sorted(checkpoints.folder.glob("*/*.safetensors")):
        say(group, f"{path.relative_to(folder)}  {path.stat().st_size / 1e3:.0f} kB")
    return accuracy


def say(group: Group, line: str) -> None:
    """Print by one process for all."""
    if group.is_leader:
        print(line, flush=True)


def main(words: Sequence[str] | None = None) -> float:
    """Train; returns the validation accuracy."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args(words)
    with join_processes(torch.device("cpu")) as group, tempfile.TemporaryDirectory() as own:
        if group.size == 1:
            parser.error("there is one process; start it by torchrun --nproc-per-node 2")
        folder = Path(group.from_leader(lambda: own))  # one that all of them see
        accuracy = train(group, folder, arguments.epochs)
        group.all_gather(None)  # before the first one removes it
        return accuracy


if __name__ == "__main__":
    main()
