"""Hard attention over a bag of instances: look at one of them, and answer.

A bag holds 4 to 8 of the bundled digits, and its label says whether a 0 is among them. Attention p(z|bag) picks an
instance, and the classifier sees that one alone. `gw.by_index` makes the classifier run on the instances drawn, two a
bag in training and one in use; bags are of different sizes, so places without an instance are masked with -inf. Prints
how often the answer is right, and how often attention finds a 0 where there is one, which nobody told it. About 10
seconds on one core.

    python examples/attention_bag.py [--estimator unordered-set] [--steps 600]
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import gatewise as gw

PLACES, FEWEST = 8, 4


class Bags(NamedTuple):
    """Instances `[B, 8, 64]`, whether there is one `[B, 8]`, their digits `[B, 8]`, and the labels `[B]`."""

    x: Tensor
    there: Tensor
    digits: Tensor
    y: Tensor


def bags(x: Tensor, digits: Tensor, count: int) -> Bags:
    """Bags of random digits; half of them hold a 0."""
    others, zeros = (digits != 0).nonzero().squeeze(1), (digits == 0).nonzero().squeeze(1)
    index = others[torch.randint(len(others), (count, PLACES))]
    sizes = torch.randint(FEWEST, PLACES + 1, (count, 1))
    y = torch.arange(count) % 2
    place = (torch.rand(count, 1) * sizes).long()
    drawn = zeros[torch.randint(len(zeros), (count, 1))]
    index = torch.where((y == 1).unsqueeze(1) & (torch.arange(PLACES) == place), drawn, index)
    return Bags(x[index], torch.arange(PLACES) < sizes, digits[index], y)


class HardAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.scorer = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
        self.classifier = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def logits(self, bags: Bags) -> Tensor:
        """Of p(z|bag), `[B, 8]`."""
        return self.scorer(bags.x).squeeze(-1).masked_fill(~bags.there, -torch.inf)

    def log_prob(self, bags: Bags, index: Tensor) -> Tensor:
        """log p(y | the instance), `[S, B]`, at the instances `[S, B]`; -1 was not asked for, and is not run."""
        asked = index >= 0
        rows = asked.nonzero()[:, 1]
        answers = self.classifier(bags.x[rows, index[asked]]).squeeze(-1)
        return torch.zeros(index.shape).masked_scatter(asked, F.logsigmoid(answers * (2 * bags.y[rows] - 1)))


class Found(NamedTuple):
    accuracy: float
    finds: float
    runs: float


def main(words: Sequence[str] | None = None) -> Found:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choices = [name for name in gw.estimators.names() if "point" not in gw.estimators.get_fitting(name, PLACES).calls]
    parser.add_argument("--estimator", default="unordered-set", choices=choices)
    parser.add_argument("--steps", type=int, default=600)
    arguments = parser.parse_args(words)
    torch.manual_seed(0)
    x, digits = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
    x, order = (x / 16).float(), torch.randperm(len(digits))
    train, test = order[:1300], order[1300:]
    model, estimator = HardAttention(), gw.estimators.get(arguments.estimator)
    optimiser, runs = torch.optim.Adam([*model.parameters(), *estimator.parameters()], lr=0.005), 0.0
    for _ in range(arguments.steps):
        batch = bags(x[train], digits[train], 64)
        f = gw.by_index(lambda index, batch=batch: model.log_prob(batch, index))
        estimate = gw.expect(f, model.logits(batch), estimator, num_samples=2)
        runs += estimate.info.evaluations.float().mean().item() / arguments.steps
        optimiser.zero_grad()
        (-estimate.value.mean()).backward()
        optimiser.step()
    with torch.no_grad():
        batch = bags(x[test], digits[test], 2000)
        looked = model.logits(batch).argmax(-1)
        right = model.log_prob(batch, looked.unsqueeze(0))[0] > torch.tensor(0.5).log()
    found = batch.digits.gather(1, looked.unsqueeze(1)).squeeze(1) == 0
    result = Found(right.float().mean().item(), found[batch.y == 1].float().mean().item(), runs)
    print(f"test accuracy {result.accuracy:.3f}; attention finds the 0 in {result.finds:.1%} of the bags that hold one")
    print(f"the classifier ran on {result.runs:.2f} instances a bag in training")
    return result


if __name__ == "__main__":
    main()
