"""A small Transformer whose feed-forward is a mixture of experts, beside the same one with a dense feed-forward.

It reads the bundled 8 × 8 digits as sequences of 8 rows of pixels. A dense feed-forward has 64 hidden units; the
mixture has 8 experts of 64 / k hidden units each and runs k of them for a token, so both multiply about as much. Prints
the losses of both, and how the tokens of the test images spread over the experts of each layer. Under a minute on one
core.

    python examples/transformer.py [--router softmax] [--k 2] [--steps 400] [--seed 0]
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import gatewise as gw

ROWS, WIDTH, HIDDEN, EXPERTS, BLOCKS, CLASSES = 8, 32, 64, 8, 2, 10


class Block(nn.Module):
    """Attention, then a feed-forward: a dense one, or a mixture."""

    def __init__(self, feed_forward: nn.Module):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, num_heads=4, batch_first=True)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.feed_forward = feed_forward

    def forward(self, x: Tensor) -> tuple[Tensor, gw.nn.Routing | None]:
        h = self.norms[0](x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        y = self.feed_forward(self.norms[1](x))
        y, routing = y if isinstance(y, tuple) else (y, None)
        return x + y, routing


class Transformer(nn.Module):
    """Rows of pixels `[B, 8, 8]` to the logits of 10 classes, and what each mixture's router decided."""

    def __init__(self, feed_forwards: Sequence[nn.Module]):
        super().__init__()
        self.embed = nn.Linear(ROWS, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(ROWS, WIDTH))
        self.blocks = nn.ModuleList(Block(feed_forward) for feed_forward in feed_forwards)
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES))

    def forward(self, x: Tensor) -> tuple[Tensor, list[gw.nn.Routing]]:
        x, routings = self.embed(x) + self.position, []
        for block in self.blocks:
            x, routing = block(x)
            if routing is not None:
                routings.append(routing)
        return self.head(x.mean(1)), routings

    @property
    def mixtures(self) -> list[gw.nn.MoELayer]:
        return [block.feed_forward for block in self.blocks if isinstance(block.feed_forward, gw.nn.MoELayer)]


class Losses(NamedTuple):
    train: float
    test: float
    counts: list[list[int]]


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))


def mixture(router: str, k: int) -> nn.Module:
    return gw.nn.MoELayer(WIDTH, EXPERTS, hidden=HIDDEN // max(k, 1), router=router, k=k)


def step_loss(model: Transformer, x: Tensor, y: Tensor) -> tuple[Tensor, list[gw.nn.Routing]]:
    logits, routings = model(x)
    cost = F.cross_entropy(logits, y, reduction="none")
    loss = cost.mean()
    for layer, routing in zip(model.mixtures, routings, strict=True):
        loss = loss + 0.001 * routing.z_loss()
        if layer.router.name != "sigmoid":  # its bias balances it
            loss = loss + 0.01 * routing.balance_loss()
        if layer.router.name == "score-function":
            loss = loss + layer.score_function_loss(routing, cost)
    return loss, routings


def train(model: Transformer, data: Sequence[Tensor], steps: int) -> Losses:
    train_x, test_x, train_y, test_y = data
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.003)
    for _ in range(steps):
        rows = torch.randint(len(train_x), (64,))
        loss, routings = step_loss(model, train_x[rows], train_y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for layer, routing in zip(model.mixtures, routings, strict=True):
            if layer.router.name == "sigmoid":
                layer.update_balance(routing.counts)
    model.eval()
    with torch.no_grad():
        (on_train, _), (on_test, routings) = model(train_x), model(test_x)
    counts = [routing.counts.tolist() for routing in routings]
    return Losses(F.cross_entropy(on_train, train_y).item(), F.cross_entropy(on_test, test_y).item(), counts)


def digits() -> list[Tensor]:
    """Train and test images `[N, 8, 8]` in [0, 1], then their classes."""
    x, y = load_digits(return_X_y=True)
    images = (x / 16).astype("float32").reshape(-1, ROWS, ROWS)
    return [torch.as_tensor(part) for part in train_test_split(images, y, test_size=0.25, random_state=0, stratify=y)]


def main(words: Sequence[str] | None = None) -> dict[str, Losses]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--router", default="softmax", choices=gw.nn.routers.names())
    parser.add_argument("--k", type=int, help="experts for a token; 2 for the routers that take several, else 1")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(words)
    usual = 2 if "k" in gw.nn.routers.options(arguments.router) else 1
    k = usual if arguments.k is None else arguments.k
    data, found = digits(), {}
    feed_forwards = {"dense": dense, "mixture": lambda: mixture(arguments.router, k)}
    for name, feed_forward in feed_forwards.items():
        torch.manual_seed(arguments.seed)
        try:
            model = Transformer([feed_forward() for _ in range(BLOCKS)])
        except gw.GatewiseError as error:
            sys.exit(f"transformer.py: {error}")
        found[name] = train(model, data, arguments.steps)
        print(f"{name:8} train NLL {found[name].train:.4f}  test NLL {found[name].test:.4f}")
    for number, counts in enumerate(found["mixture"].counts):
        print(f"layer {number}: test tokens of each expert {counts}")
    return found


if __name__ == "__main__":
    main()
