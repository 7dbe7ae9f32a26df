"""A whole training step, from gate and draw to the optimiser: one drawn expert a row beside all of them.

K perceptrons 256 -> 512 -> 512 -> 10 behind a linear gate learn a batch of rows by `TrainStep.take_step`, the default
regularisers, AdamW and clipping. The objectives are interleaved. The roofline of one drawn expert is its arithmetic and
the gate's (6 FLOP a weight and row) at the rate of a large multiplication, plus 40 bytes for every weight there is, at
the rate of a copy: read forward, read backward, its gradient written (12), and AdamW, which moves all weights whether
their experts were drawn or not (28). 4 minutes on 2 idle cores; writes `results/step.json`, the tables in
docs/sparse-execution.md and its picture.

    OMP_NUM_THREADS=2 python benchmarks/step.py
"""

import gc
import statistics
import time

import torch
from common import RESULTS, fill_page, table, write_result
from matplotlib.figure import Figure
from timing import Machine, interval

import gatewise as gw
from gatewise.config import LoopConfig, RunConfig
from gatewise.objectives import regularisers
from gatewise.training.step import TrainStep

FEATURES, HIDDEN, CLASSES = 256, [512, 512], 10
BATCHES, NUMBERS = (256, 1024, 4096), (8, 16, 32, 64, 128, 256)
ROWS, EXPERTS = 1024, 64
"""The batch of the growth with K, and the K of the growth with the batch."""
DRAWN, SUM, MARGINAL = "one drawn, score function", "Jensen, all experts", "marginal, all experts"
WAYS = {DRAWN: ("jensen", {"estimator": "score-function"}), SUM: ("jensen", {}), MARGINAL: ("marginal", {})}
SECONDS, FEWEST = 15.0, 5
"""Of a case: at least so long, and at least so many rounds."""
LEAST_GAIN = 8.0


class Step:
    """One way to train, ready for its next step."""

    def __init__(self, way: str, experts: int, rows: int):
        torch.manual_seed(0)
        bank = gw.MLPBank(experts, FEATURES, HIDDEN, CLASSES)
        mixture = gw.MixtureOfExperts(torch.nn.Linear(FEATURES, experts), bank)
        name, options = WAYS[way]
        defaults = regularisers(RunConfig(data="").regulariser)
        self.train_step = TrainStep(mixture, gw.objectives.get(name, **options), defaults, LoopConfig(), 10**6)
        self.x, self.y = torch.randn(rows, FEATURES), torch.randint(CLASSES, (rows,))
        self.weights = sum(p.numel() for p in mixture.parameters())
        self.flop = 6.0 * rows * (FEATURES * experts + sum(w[0].numel() for w in bank.weights))

    def __call__(self) -> float:
        started = time.perf_counter()
        self.train_step.take_step(self.x, self.y, self.train_step.new_statistics())
        return time.perf_counter() - started

    def roofline(self, machine: Machine) -> float:
        """Seconds of one drawn expert a row."""
        return self.flop / machine.rate + 40.0 * self.weights / machine.copy_rate


def measure(experts: int, rows: int, machine: Machine) -> dict[str, float]:
    """One case, all ways in turn."""
    steps = {way: Step(way, experts, rows) for way in WAYS}
    for step in steps.values():
        step()  # the optimiser's state is made by the first one
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    started = time.perf_counter()
    while len(times[DRAWN]) < FEWEST or time.perf_counter() - started < SECONDS:
        for way, step in steps.items():
            times[way].append(step())
        machine.measure()
    low, high = interval(times[MARGINAL], times[DRAWN])
    found = {f"{way}, ms": 1e3 * statistics.median(taken) for way, taken in times.items()}
    gain = found[f"{MARGINAL}, ms"] / found[f"{DRAWN}, ms"]
    bound = 1e3 * steps[DRAWN].roofline(machine)
    gc.collect()
    return {"K": experts, "rows": rows, **found, "gain": gain, "gain, low": low, "gain, high": high, "bound": bound}


def shown(rows: list[dict[str, float]]) -> str:
    return table(
        [
            {"K": row["K"], "rows": row["rows"]}
            | {f"{way}, ms": row[f"{way}, ms"] for way in WAYS}
            | {"marginal / drawn": f"{row['gain']:.1f} ({row['gain, low']:.1f} to {row['gain, high']:.1f})"}
            | {"roofline of one drawn, ms": row["bound"]}
            for row in rows
        ]
    )


def draw(rows: list[dict[str, float]]) -> None:
    """Growth with K, on axes of powers."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    numbers = [row["K"] for row in rows]
    for way, marker in zip(WAYS, "o^s", strict=True):
        axes.plot(numbers, [row[f"{way}, ms"] for row in rows], marker=marker, label=way)
    axes.plot(numbers, [row["bound"] for row in rows], "k--", label="roofline of one drawn")
    axes.set(xscale="log", yscale="log", xlabel="experts K", ylabel=f"ms a step of {ROWS} rows")
    axes.set_xticks(numbers, [str(number) for number in numbers])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(RESULTS.parents[1] / "docs/images/step.png", dpi=120)


def main() -> None:
    machine = Machine()
    cases = [(EXPERTS, rows) for rows in BATCHES] + [(number, ROWS) for number in NUMBERS if number != EXPERTS]
    rows = []
    for case in cases:
        rows.append(measure(*case, machine))
        print(shown(rows[-1:]), flush=True)
    by_batch = [row for row in rows if row["K"] == EXPERTS]
    by_number = sorted((row for row in rows if row["rows"] == ROWS), key=lambda row: row["K"])
    main = next(row for row in by_batch if row["rows"] == ROWS)
    met = "met" if main["gain, low"] >= LEAST_GAIN else "not met"
    summary = (
        f"Threads: {torch.get_num_threads()}; torch {torch.__version__}; the multiplication reached "
        f"{2 * 2048**3 / machine.multiply_s / 1e9:.0f} GFLOP/s, the copy {machine.copy_rate / 1e9:.1f} GB/s. "
        f"K = {EXPERTS}, {ROWS} rows: {main['gain']:.1f} times as fast as the marginal's step "
        f"(at least {LEAST_GAIN:.0f}: {met})."
    )
    print(summary)
    fill_page("docs/sparse-execution.md", "step", f"{shown(by_batch)}\n\n{shown(by_number)}\n\n{summary}")
    draw(by_number)
    write_result("step", rows)


if __name__ == "__main__":
    main()
