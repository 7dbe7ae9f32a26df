"""Compare estimators on workers of a Dask cluster: `gatewise.comparison.compare` on another backend of joblib.

    pip install dask distributed
    python examples/compare_on_dask.py [--scheduler tcp://HOST:8786] [--epochs 5] [--seeds 2] [--out FOLDER]

Without an address two workers are started on this machine. Workers on other machines have to see the folder `--out` and
the data under the same path, and to have the same version of gatewise. Each cell is trained on one thread and draws
from its own seed, so the figures are those of `gatewise compare digits` with the same options, wherever it ran. Ray is
used in the same way: `ray.util.joblib.register_ray()`, then `joblib.parallel_config(backend="ray")`.
"""

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path

import joblib
from distributed import Client, LocalCluster

from gatewise.comparison import Comparison, compare
from gatewise.config import RunConfig

ESTIMATORS = ("enumeration", "score-function:baseline=leave-one-out:samples=2")


def two_workers() -> LocalCluster:
    # processes, since the threads of one train one cell at a time
    return LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)


def main(words: Sequence[str] | None = None) -> Comparison:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scheduler", help="the address of a Dask scheduler")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/compare-on-dask"))
    given = parser.parse_args(words)
    base = RunConfig(data="digits", epochs=given.epochs)
    with contextlib.ExitStack() as stack:
        address = given.scheduler or stack.enter_context(two_workers())
        stack.enter_context(Client(address))
        stack.enter_context(joblib.parallel_config(backend="dask"))
        found = compare(base, given.out, estimators=ESTIMATORS, seeds=given.seeds)
    for row in found.summary["combinations"]:
        print(f"{row['name']}: test NLL {row['test']['nll']['mean']:.4f}")
    print(f"the page: {found.folder / 'comparison.html'}")
    return found


if __name__ == "__main__":
    main()
