"""A hierarchical mixture: experts that are mixtures themselves, trained, used and reported by leaf.

The root chooses between a mixture of four linear experts, one of three, and a small network. It is trained as it stands
by the Jensen bound with draws, which run one branch a row. `gw.mixture.by_leaf` is the same p(y|x) as a flat mixture
of the eight leaves, so the evaluation, the posterior and prediction by one expert speak of leaves. Prints what each
leaf answers for. About 10 seconds on one core.

    python examples/hierarchy.py [--steps 800]
"""

import argparse
from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import gatewise as gw
from gatewise.metrics import Evaluation, evaluate

FEATURES, CLASSES = 64, 10


def tree() -> gw.MixtureOfExperts:
    """Three branches, eight leaves: 0.0 to 0.3, 1.0 to 1.2, and 2."""

    def branch(leaves: int) -> gw.MixtureOfExperts:
        return gw.MixtureOfExperts(nn.Linear(FEATURES, leaves), gw.MLPBank(leaves, FEATURES, [], CLASSES))

    network = nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    return gw.MixtureOfExperts(nn.Linear(FEATURES, 3), [branch(4), branch(3), network])


def train(mixture: gw.MixtureOfExperts, x: Tensor, y: Tensor, steps: int) -> None:
    """The bound by the score function, with all leaves kept in use."""
    objective = gw.objectives.get("jensen", estimator=gw.estimators.get("score-function", baseline="running-mean"))
    flat, balance = gw.mixture.by_leaf(mixture), gw.objectives.Load(0.1)
    optimiser = torch.optim.AdamW(mixture.parameters(), lr=0.01)
    for _ in range(steps):
        rows = torch.randint(len(x), (128,))
        bound = objective(mixture.observe(x[rows], y[rows])).value.mean()
        loss = balance(flat.read(x[rows])[1]) - bound
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def report(mixture: gw.MixtureOfExperts, x: Tensor, y: Tensor) -> Evaluation:
    """Print the figures of the whole, and a line a leaf."""
    flat = gw.mixture.by_leaf(mixture)
    tally = evaluate(flat, x, y, CLASSES)
    whole, details = tally.result(), tally.details()
    print(f"mixture: accuracy {whole.accuracy:.3f}, NLL {whole.nll:.3f}; one leaf alone: {whole.accuracy_top1:.3f}")
    print(f"leaves used {whole.experts_used}, effective {whole.effective_experts:.1f}")
    print(f"{'leaf':5} {'share':>6}  digits it answers for (share of their responsibility)")
    with torch.no_grad():
        posterior = flat.posterior(x, y)
    by_class = torch.stack([posterior[y == label].mean(0) for label in range(CLASSES)])  # [C, L]
    for number, name in enumerate(gw.mixture.leaf_names(mixture)):
        of_leaf = by_class[:, number]
        said = ", ".join(f"{label} ({of_leaf[label]:.0%})" for label in of_leaf.argsort(descending=True).tolist()[:3])
        print(f"{name:5} {details.mean_gate[number]:6.1%}  {said}")
    return whole


def main(words: Sequence[str] | None = None) -> Evaluation:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=800)
    arguments = parser.parse_args(words)
    torch.manual_seed(0)
    rows, labels = load_digits(return_X_y=True)
    parts = train_test_split((rows / 16).astype("float32"), labels, test_size=0.25, random_state=0, stratify=labels)
    x, test_x, y, test_y = (torch.as_tensor(part) for part in parts)
    mixture = tree()
    train(mixture, x, y, arguments.steps)
    return report(mixture, test_x, test_y)


if __name__ == "__main__":
    main()
