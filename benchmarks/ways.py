"""Which way to run a bank is fastest at which size: what the rule in `gatewise.mixture.grouped.strategies` rests on.

B rows go to one of K perceptrons each, drawn evenly; plan, forward and backward are timed, the ways interleaved, and
the minimum of the processor time is taken, in microseconds. 1 minute; writes `results/ways.json` and the table in
docs/sparse-execution.md.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/ways.py
"""

import sys
import time
from collections.abc import Callable

import torch
from common import fill_page, table, write_result
from torch import Tensor

from gatewise.mixture import MLPBank
from gatewise.mixture.grouped.dispatch import Dispatch
from gatewise.mixture.grouped.strategies import choose

CASES = (
    (2, 64, (64, 32, 10)),
    (8, 64, (64, 32, 10)),
    (8, 128, (64, 64, 64, 10)),
    (8, 256, (784, 10)),
    (8, 512, (108, 128, 2)),
    (32, 64, (64, 32, 10)),
    (64, 256, (64, 64, 64)),
    (64, 1024, (64, 128, 64)),
    (256, 1024, (64, 64, 64)),
    (8, 1024, (256, 256, 256)),
    (64, 1024, (256, 256, 256)),
    (8, 4096, (256, 1024, 256)),
)
"""K, B, and the widths of a perceptron."""

MOST_FLOP = 3e10
"""What "every expert" may take at most to be run."""


def every_expert(bank: MLPBank, plan: Dispatch, x: Tensor) -> Tensor:
    """All experts on all rows, and the answers that were asked for."""
    expert = torch.repeat_interleave(torch.arange(bank.num_experts), torch.tensor(plan.counts))
    return plan.spread(bank(x).flatten(0, 1).index_select(0, plan.rows * bank.num_experts + expert))[0]


def ways_of(bank: MLPBank, x: Tensor, index: Tensor, grad: Tensor) -> dict[str, Callable[[], None]]:
    def sparse(way: str) -> Callable[[], None]:
        def step() -> None:
            bank.strategy = way
            plan = bank.plan(index, x)
            plan.spread(plan.run(bank.grouped, x))[0].backward(grad)
            bank.zero_grad()

        return step

    def whole() -> None:
        plan = Dispatch.plan(index, bank.num_experts)
        every_expert(bank, plan, x).backward(grad)
        bank.zero_grad()

    steps = {way: sparse(way) for way in ("segments", "padded", "loop")}
    flop = 6 * len(x) * sum(weight.numel() for weight in bank.weights)
    return {**steps, "every expert": whole} if flop <= MOST_FLOP else steps


def main() -> None:
    if torch.get_num_threads() > 1:
        sys.exit("the processor time of one thread says nothing about several; set OMP_NUM_THREADS=1")
    rows = []
    for experts, size, widths in CASES:
        torch.manual_seed(0)
        bank = MLPBank(experts, widths[0], widths[1:-1], widths[-1])
        x, grad = torch.randn(size, widths[0]), torch.randn(size, widths[-1])
        index = torch.randint(0, experts, (1, size))
        taken: dict[str, list[float]] = {way: [] for way in ("segments", "padded", "loop", "every expert")}
        started, rounds = time.perf_counter(), 0
        while rounds < 5 or (time.perf_counter() - started < 4 and rounds < 500):
            for way, step in ways_of(bank, x, index, grad).items():
                before = time.thread_time()
                step()
                taken[way].append(1e6 * (time.thread_time() - before))
            rounds += 1
        counts = Dispatch.plan(index, experts).counts
        best = {way: f"{min(times):.0f}" if times else "" for way, times in taken.items()}
        chosen = choose(counts, x, bank.weights)
        rows.append({"K": experts, "B": size, "widths": " → ".join(map(str, widths)), **best, "chosen": chosen})
    print(table(rows))
    fill_page("docs/sparse-execution.md", "ways", table(rows))
    write_result("ways", rows)


if __name__ == "__main__":
    main()
