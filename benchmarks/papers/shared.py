"""What the reproductions of papers share: estimators with their options by label, arguments, results.

Importing this module puts the folder above on the path, where `common.py` lies.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).parents[1]))

from common import RESULTS, data_file, fill_page, table, write_result

import gatewise as gw
from gatewise.estimators import GradientEstimator

__all__ = ["RESULTS", "Way", "control", "data_file", "parser", "read", "save", "table"]


@dataclass(frozen=True)
class Way:
    """A way of estimating: one of gatewise's estimators, its options, and how many samples it takes."""

    estimator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    samples: int = 1

    def make(self) -> GradientEstimator:
        """A fresh estimator."""
        return gw.estimators.get(self.estimator, **self.options)

    @property
    def learns(self) -> bool:
        """Whether it keeps something from step to step (a baseline, a control variate), which problems cannot share."""
        return bool(self.make().state_dict())


def control(estimate: gw.Estimate) -> torch.Tensor | float:
    """The loss of what the estimator itself learns; 0 where there is nothing to learn."""
    return 0.0 if estimate.control_loss is None else estimate.control_loss


def parser(documentation: str, labels: Iterable[str], seeds: int) -> argparse.ArgumentParser:
    """Arguments that all the reproductions take: --estimators and --seeds."""
    made = argparse.ArgumentParser(description=documentation.splitlines()[0])
    labels = list(labels)
    made.add_argument("--estimators", nargs="+", default=labels, choices=labels, metavar="NAME", help=", ".join(labels))
    made.add_argument("--seeds", type=int, default=seeds)
    return made


def read(made: argparse.ArgumentParser) -> tuple[argparse.Namespace, bool]:
    """The arguments, and whether they are the defaults, which alone replace a measured result."""
    torch.set_num_threads(1)  # faster on tensors this small
    arguments = made.parse_args()
    return arguments, arguments == made.parse_args([])


def save(name: str, rows: list[dict[str, Any]], text: str, whole: bool) -> None:
    """Print the text and, after a run with the default arguments, write `results/NAME.json` and docs/estimators.md."""
    print(text)
    if whole:
        fill_page("docs/estimators.md", name.replace("_", " "), text)
        write_result(name, rows)
    else:
        print(f"\nnot the default arguments: results/{name}.json is left as it was", file=sys.stderr)
