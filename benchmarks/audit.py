"""Whether the audit's intervals keep their promise, and how long an audit takes.

2,000 audits of estimators with a planted bias (0, 1, 5 and 20 % of the gradient's length) and planted noise: isotropic,
anisotropic, of rank one across the bias, and of rank one along it. Bound: the nominal 95 % intervals cover the truth in
at least 93.5 %, and an unbiased estimator is called biased in at most 2 %. Then one audit of 15 estimators at the level
of logits, K = 8, 512 rows of digits: in at most 60 s on 2 cores that do nothing else. Fills docs/audit.md and writes
`results/audit_coverage.json` and `results/audit_duration.json`; 15 minutes.

    python benchmarks/audit.py
"""

import argparse
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from common import fill_page, table, write_result
from sklearn.datasets import load_digits

import gatewise as gw
from gatewise.testing import Planted

BIASES = (0.0, 0.01, 0.05, 0.2)
NOISES = {
    "isotropic": {"kind": "isotropic"},
    "anisotropic": {"kind": "anisotropic"},
    "rank one, across the bias": {"kind": "rank-one"},
    "rank one, along the bias": {"kind": "rank-one", "along": True},
}
EXAMPLES, CATEGORIES, SPREAD = 5, 8, 0.5
PRECISION = 0.05
FIFTEEN = [
    "enumeration", "score-function", "sum-and-sample", "unordered-set", "arsm", "antithetic", "gumbel-softmax",
    "straight-through-gumbel-softmax", "straight-through", "gumbel-rao", "reinmax", "rebar", "muprop", "implicit-mle",
    "selected-relaxation",
]  # fmt: skip


def audits(seeds: range) -> Counter:
    """How often the truth was covered, and a bias was called, by noise and bias; each audit has its own f and seed."""
    torch.set_num_threads(1)
    counts: Counter = Counter()
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        shape = (EXAMPLES, CATEGORIES)
        values, logits = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
        planted = {
            (noise, bias): Planted(bias, SPREAD, seed=seed, **options)
            for noise, options in NOISES.items()
            for bias in BIASES
        }
        for key, estimator in planted.items():
            found = gw.audit(
                lambda z, values=values: (z * values).sum(-1), logits, [estimator], num_samples=1, seed=seed,
                precision=PRECISION,
            )  # fmt: skip
            (row,) = found.rows
            counts[key, "covered"] += row.relative_bias_low <= key[1] <= row.relative_bias_high
            counts[key, "biased"] += row.biased
            counts[key, "repetitions"] += row.repetitions
    return counts


def coverage(number: int, jobs: int) -> list[dict[str, Any]]:
    parts = [range(start, number, 4 * jobs) for start in range(4 * jobs)]
    with ProcessPoolExecutor(jobs) as pool:
        counts = sum(pool.map(audits, parts), Counter())
    rows = []
    for noise in NOISES:
        for bias in BIASES:
            key = (noise, bias)
            covered, called = counts[key, "covered"] / number, counts[key, "biased"] / number
            met = covered >= 0.935 and (bias > 0 or called <= 0.02)
            rows.append(
                {
                    "noise": noise,
                    "bias": f"{bias:.0%}",
                    "covered": f"{covered:.1%}",
                    "called biased": f"{called:.1%}",
                    "repetitions": round(counts[key, "repetitions"] / number),
                    "met": "yes" if met else "no",
                }
            )
    return rows


def duration() -> list[dict[str, Any]]:
    x, y = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
    torch.manual_seed(0)
    mixture = gw.MixtureOfExperts(torch.nn.Linear(64, 8), gw.MLPBank(8, 64, [256], 10))
    start = time.perf_counter()
    found = gw.audit(mixture, (x[:512].float() / 16, y[:512]), FIFTEEN)
    seconds = time.perf_counter() - start
    return [
        {
            "what": "15 estimators, K = 8, 512 rows, logits",
            "settings": len(found.rows),
            "seconds": round(seconds, 1),
            "bound": "<= 60",
            "met": "yes" if seconds <= 60 else "no",
        }
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=["duration", "coverage", []], help="default: both")
    parser.add_argument("--audits", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    whole = arguments.audits == parser.get_default("audits")
    for part in arguments.parts or ("duration", "coverage"):
        rows = duration() if part == "duration" else coverage(arguments.audits, arguments.jobs)
        print(f"\n{table(rows)}", flush=True)
        if whole:
            fill_page("docs/audit.md", part, table(rows))
            write_result(f"audit_{part}", rows)


if __name__ == "__main__":
    main()
