"""Four models with a discrete choice, for the training loops beside this file.

`model(x, y)` is the loss of a batch, `model(x)` is log p(y|x) of every class: plain modules, which any loop can train.
The loss is made in `forward`, since that alone is what a wrapper for several processes sees.
"""

import argparse
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import gatewise as gw

FEATURES, CLASSES = 64, 10


class Choosing(nn.Module):
    """What the four share: schedules, such as a temperature's, are moved by the loop."""

    def set_progress(self, progress: float) -> None:
        """Tell every estimator inside how far training is, in [0, 1]."""
        for module in self.modules():
            if isinstance(module, gw.estimators.GradientEstimator):
                module.set_progress(progress)


class Expecting(Choosing):
    """`gw.expect`: a code z is drawn for each row; the loss is -E log p(y|z,x)."""

    def __init__(self, codes: int = 4):
        super().__init__()
        self.encoder, self.chooser = nn.Linear(FEATURES, 32), nn.Linear(32, codes)
        self.decoders = nn.Parameter(0.1 * torch.randn(codes, 32, CLASSES))
        self.estimator = gw.estimators.get("score-function", baseline="leave-one-out")

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        features = self.encoder(x).relu()
        logits = self.chooser(features)
        log_probs = torch.einsum("bh,khc->bkc", features, self.decoders).log_softmax(-1)  # [B, K, C]
        if y is None:
            return (logits.log_softmax(-1).unsqueeze(-1) + log_probs).logsumexp(1)
        right = log_probs[torch.arange(len(y)), :, y]  # log p(y|z,x), [B, K]
        return -gw.expect(lambda z: (z * right).sum(-1), logits, self.estimator, num_samples=2).value.mean()


class Sampling(Choosing):
    """`gw.sample`: the point that is drawn goes on through the network, and carries a surrogate gradient."""

    def __init__(self, codes: int = 16):
        super().__init__()
        self.encoder, self.chooser = nn.Linear(FEATURES, 32), nn.Linear(32, codes)
        self.codebook = nn.Linear(codes, 32, bias=False)
        self.decoder = nn.Linear(32, CLASSES)
        name = "straight-through-gumbel-softmax"
        self.estimator = gw.estimators.get(name, temperature="exponential:1:0.3")

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        features = self.encoder(x).relu()
        logits = self.chooser(features)
        if y is None:
            point = F.one_hot(logits.argmax(-1), logits.shape[-1]).to(x.dtype)
        else:
            point = gw.sample(logits, self.estimator)
        log_probs = self.decoder(features + self.codebook(point)).log_softmax(-1)
        return log_probs if y is None else F.nll_loss(log_probs, y)


class Mixing(Choosing):
    """`gw.MixtureOfExperts`: the Jensen bound by a score function, which runs one expert a row."""

    def __init__(self, experts: int = 4):
        super().__init__()
        self.mixture = gw.MixtureOfExperts(nn.Linear(FEATURES, experts), gw.MLPBank(experts, FEATURES, [32], CLASSES))
        self.objective = gw.objectives.get("jensen", estimator="score-function")
        self.balance = gw.objectives.Load(0.1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if y is None:
            return self.mixture(x)
        observed = self.mixture.observe(x, y)
        return -self.objective(observed).value.mean() + self.balance(observed.logits)


class Layering(Choosing):
    """`gw.nn.MoELayer`: a layer inside a network, two of four experts a row."""

    def __init__(self, experts: int = 4):
        super().__init__()
        self.before, self.after = nn.Linear(FEATURES, 32), nn.Linear(32, CLASSES)
        self.layer = gw.nn.MoELayer(32, experts=experts, hidden=32, k=2)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        hidden, routing = self.layer(self.before(x).relu())
        log_probs = self.after(hidden).log_softmax(-1)
        return log_probs if y is None else F.nll_loss(log_probs, y) + 0.01 * routing.balance_loss()


MODELS = {"expect": Expecting, "sample": Sampling, "mixture": Mixing, "layer": Layering}


def digits() -> list[Tensor]:
    """Training and test rows `[N, 64]` in [0, 1], then their classes."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    return [torch.as_tensor(part) for part in train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)]


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of rows whose most probable class is right."""
    model.eval()
    return (model(x).argmax(-1) == y).float().mean().item()


def asked(about: str | None, words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks a loop for: its model, and for how many epochs."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--model", default="mixture", choices=MODELS)
    parser.add_argument("--epochs", type=int, default=20)
    return parser.parse_args(words)
