"""Temperatures that make a classifier's probabilities honest: fitted on validation rows, kept beside the weights.

p(y|x) becomes softmax(log p(y|x) / T): above 1 it is less sure, below 1 surer, and the most probable class stays.
Guo, Pleiss, Sun and Weinberger 2017, https://arxiv.org/abs/1706.04599.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.files import read_json, write_json
from gatewise.metrics import Tally, tempered
from gatewise.mixture import MixtureOfExperts
from gatewise.mixture.masks import unmasked

BATCH = 4096
NAME = "calibration.json"
WIDEST = math.log(20.0)
"""Temperatures are looked for from 1 / 20 to 20."""
LEAST = -500.0
"""What stands for the log of a probability of 0, which has no finite logit."""
WORTH = 1.92
"""Nats that all validation rows together must gain; chance alone gains more in 1 of 20 cases (χ² with 1 degree)."""


@dataclass(frozen=True)
class Calibration:
    """The temperatures of a trained mixture; 1 leaves its probabilities as they are.

    Attributes:
        mixture: of the prediction by all experts.
        top1: of the prediction by the gate's argmax alone.
        rows: how many validation rows they were fitted on.
    """

    mixture: float
    top1: float
    rows: int

    @property
    def temperatures(self) -> tuple[float, float]:
        """Of the mixture and of top-1, as `Tally` takes them."""
        return self.mixture, self.top1

    def of(self, route: str) -> float:
        """The temperature of a route.

        Raises:
            GatewiseError: for a route that none was fitted for.
        """
        if route not in ("mixture", "top1"):
            raise GatewiseError(f"only the routes mixture and top1 are calibrated, not {route!r}; choose one of them")
        return self.mixture if route == "mixture" else self.top1

    def save(self, folder: Path) -> None:
        """Write `calibration.json` into the folder."""
        write_json(folder / NAME, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Calibration | None":
        """What `save` wrote; None where there is none, as in folders of older versions.

        Raises:
            GatewiseError: if the file is damaged.
        """
        path = folder / NAME
        if not path.exists():
            return None
        kept = read_json(path)
        numbers = [kept.get(name) for name in ("mixture", "top1", "rows")]
        if not all(isinstance(n, int | float) and not isinstance(n, bool) and 0 < n < math.inf for n in numbers):
            raise GatewiseError(f"{path} is damaged: it has no temperatures above 0; train the run again")
        return cls(float(kept["mixture"]), float(kept["top1"]), int(kept["rows"]))


@torch.no_grad()
def fit_calibration(mixture: MixtureOfExperts, x: Tensor, y: Tensor) -> Calibration:
    """The temperatures that are best for rows x `[N, ...]` with classes y int64 `[N]`, which were not trained on.

    Args:
        mixture: in inference mode.
        x: rows.
        y: their classes.
    """
    of_mixture, of_top1 = (find_temperature(log_probs.double(), y.cpu()) for log_probs in _both_routes(mixture, x))
    return Calibration(of_mixture, of_top1, len(x))


@torch.no_grad()
def calibration_figures(mixture: MixtureOfExperts, calibration: Calibration, x: Tensor, y: Tensor) -> dict[str, Any]:
    """The key `calibration` of summary.json: what the temperatures do on rows that neither saw.

    Args:
        mixture: in inference mode.
        calibration: its temperatures.
        x: rows `[N, ...]`.
        y: their classes, int64 `[N]`.

    Returns:
        `fitted_on`, a count of rows; for `mixture` and `top1` the `temperature`, the figures `before` and `after` (nll,
        ece, brier), and the `reliability` after.
    """
    told: dict[str, Any] = {"fitted_on": calibration.rows}
    for route, log_probs in zip(("mixture", "top1"), _both_routes(mixture, x), strict=True):
        temperature = calibration.of(route)
        tallies = {"before": _judged(log_probs, y, 1.0), "after": _judged(log_probs, y, temperature)}
        told[route] = {"temperature": temperature, "reliability": tallies["after"].details().reliability}
        for when, tally in tallies.items():
            figures = tally.result()
            told[route][when] = {"nll": figures.nll, "ece": figures.ece, "brier": figures.brier}
    return told


def _judged(log_probs: Tensor, y: Tensor, temperature: float) -> Tally:
    """The tally of log p(y|x) `[N, C]`, whoever said it."""
    tally = Tally(1, log_probs.shape[1], temperatures=(temperature, temperature), costly=False)
    tally.update(torch.zeros(len(y), 1), log_probs.unsqueeze(1), y.cpu())
    return tally


def _both_routes(mixture: MixtureOfExperts, x: Tensor) -> tuple[Tensor, Tensor]:
    """log p(y|x) `[N, C]` by all experts, and by the gate's argmax alone, on the CPU."""
    device = next(mixture.parameters()).device
    of_mixture, of_top1 = [], []
    for rows in x.split(BATCH):
        log_gate, log_experts = mixture.expert_log_probs(rows.to(device))
        log_experts = unmasked(log_gate > -torch.inf, log_experts)
        of_mixture.append((log_gate.to(log_experts.dtype).unsqueeze(-1) + log_experts).logsumexp(1).cpu())
        of_top1.append(log_experts[torch.arange(len(rows), device=device), log_gate.argmax(-1)].cpu())
    return torch.cat(of_mixture), torch.cat(of_top1)


def find_temperature(log_probs: Tensor, y: Tensor) -> float:
    """The T of least NLL for log p(y|x) `[N, C]` and classes `[N]`; 1 where it gains less than chance would.

    The NLL is convex in 1 / T. It is what scikit-learn's `CalibratedClassifierCV(method="temperature")` fits, which for
    a model that is trained already wants folds with rows of every class, and tells no temperature.
    """
    log_probs = log_probs.clamp_min(LEAST)
    rows = torch.arange(len(y))

    def nll(log_temperature: float) -> float:
        return -float(tempered(log_probs, math.exp(log_temperature))[rows, y].sum())

    found = minimize_scalar(nll, bounds=(-WIDEST, WIDEST), options={"xatol": 1e-6})
    return math.exp(found.x) if nll(0.0) - found.fun > WORTH else 1.0
