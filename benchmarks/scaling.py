"""A training step of two processes beside that of one, data parallel, and the constants of what a step costs.

Both processes have one thread. The default model learns MNIST in batches of 1024 rows by `TrainStep.take_step`, and
digits in batches of 64; one process takes whole batches, two take half of each. Two are measured as gatewise puts
gradients together, and with torch's `DistributedDataParallel` in its place. All ways are interleaved in rounds. Then
come the constants: arithmetic, optimiser, all-reduce and all-to-all. A few minutes on 2 idle cores; MNIST is read from
the folder in GATEWISE_DATA. Writes `results/scaling.json` and the tables in docs/scaling.md.

    OMP_NUM_THREADS=1 python benchmarks/scaling.py
"""

import argparse
import copy
import itertools
import multiprocessing
import os
import random
import socket
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from common import data_file, fill_page, table, write_result
from timing import interval
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gatewise.config import LoopConfig, load_config
from gatewise.distributed import ALONE, Group
from gatewise.objectives import regularisers
from gatewise.runs.data import read_parts
from gatewise.runs.prepare import Prepared, prepare
from gatewise.training.data_parallel import Piece
from gatewise.training.step import TrainStep

CASES = {"MNIST": ("mnist.npz", 1024), "digits": (None, 64)}
"""The file of a data set that is not bundled, and the rows of a batch."""
ONE, TWO = "one process", "two processes"
DDP, STATIC = "two, DDP that looks for unused", "two, DDP of a static graph"
AIM = 1.6
SIZES = (4, 2**14, 2**18, 2**22, 2**25)
"""Bytes that are summed or sent."""


class ByTorch(TrainStep):
    """Training whose gradients torch's `DistributedDataParallel` puts together."""

    def __init__(self, *arguments: Any, static: bool):
        super().__init__(*arguments)
        self.copies = Besides(self.group)
        options: dict[str, Any] = {"static_graph": True} if static else {"find_unused_parameters": True}
        self.wrapped = DistributedDataParallel(Computing([self.mixture, self.objective]), **options)

    def _backward(self, pieces: list[Piece]) -> tuple[Tensor, list[Tensor]]:
        (piece,) = pieces
        share = piece.part.rows / piece.part.total
        terms = []
        loss = self.wrapped(lambda: terms.append(self.terms(piece, None)) or terms[0].loss * share)
        (loss * self.group.size).backward()
        seen = torch.stack([terms[0].loss.detach(), terms[0].value.detach()]) * share
        return seen, [terms[0].observed.logits.detach()]


class Besides:
    """Sums what there is to sum besides the gradients."""

    def __init__(self, group: Group):
        self.add_up = group.sum


class Computing(nn.Module):
    """Computes whatever it is given."""

    def __init__(self, parts: list[nn.Module]):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, compute: Callable[[], Tensor]) -> Tensor:
        return compute()


class Steps:
    """One way to train, ready for its next step; `second` says whether the second process takes part."""

    def __init__(self, way: str, prepared: Prepared, penalties: dict[str, Any], rows: int, group: Group):
        self.second, self.rows = way != ONE, rows
        config = LoopConfig(batch_size=rows, precision="float32")
        mixture, objective = copy.deepcopy(prepared.model.mixture), copy.deepcopy(prepared.objective)
        told = mixture, objective, regularisers(penalties), config, 10**6, group if self.second else ALONE
        self.train_step = ByTorch(*told, static=way == STATIC) if way in (DDP, STATIC) else TrainStep(*told)
        self.statistics, self.data = self.train_step.new_statistics(), prepared.rows["train"]
        self.batches = self.endless()

    def endless(self) -> Iterator[tuple[Tensor, ...]]:
        """Whole batches, epoch after epoch."""
        count = len(self.data[0]) // self.rows - 1  # the last one may be longer
        while True:
            yield from itertools.islice(self.train_step.batches(*self.data, batch_size=self.rows), count)

    def __call__(self) -> None:
        x, y = next(self.batches)
        self.train_step.take_step(x, y, self.statistics, rows=self.rows)


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def steps_of(name: str, group: Group, rounds: int, order: random.Random) -> dict[str, list[float]]:
    """Seconds of steps of each way, as the first process sees them; and of what the steps of one are made of."""
    file, rows = CASES[name]
    config = load_config({"data": name if file is None else str(data_file(file))})
    parts = read_parts(config)
    config = config.settled(len(parts.train))
    torch.manual_seed(0)
    prepared = prepare(config, parts, torch.device("cpu"))
    ways = {way: Steps(way, prepared, config.regulariser, rows, group) for way in (ONE, TWO, DDP, STATIC)}
    taken: dict[str, list[float]] = {way: [] for way in (*ways, "optimiser")}
    weights = sum(p.numel() for p in prepared.model.mixture.parameters())
    several = max(1, 64 // rows * 8)
    for turn in range(rounds + 1):  # the first warms up
        for way in order.sample([*ways], len(ways)):
            steps = ways[way]
            dist.barrier()
            if group.rank and not steps.second:
                continue
            seconds = [timed(steps) for _ in range(several)]
            taken[way] += seconds if turn else []
        if group.is_leader:
            taken["optimiser"].append(timed(ways[ONE].train_step.optimiser.step))
    return {**taken, "weights": [weights], "rows": [rows]}


def collectives(rounds: int) -> dict[str, dict[int, list[float]]]:
    """Seconds of all-reduce and all-to-all, by bytes."""
    calls = {
        "all-reduce": lambda numbers, _: dist.all_reduce(numbers),
        "all-to-all": lambda numbers, out: dist.all_to_all_single(out, numbers),
    }
    found = {name: {size: [] for size in SIZES} for name in calls}
    held = {size: (torch.ones(max(size // 4, 2)), torch.ones(max(size // 4, 2))) for size in SIZES}
    for _ in range(rounds):
        for name, call in calls.items():
            for size, (numbers, out) in held.items():
                dist.barrier()
                found[name][size].append(timed(lambda call=call, numbers=numbers, out=out: call(numbers, out)))
    return found


def work(rank: int, port: int, rounds: int, sent: Any) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    group, order = Group(rank, 2), random.Random(0)
    found = {name: steps_of(name, group, rounds, order) for name in CASES}, collectives(10 * rounds)
    dist.destroy_process_group()
    if group.is_leader:
        sent.put(found)


def measured(rounds: int) -> tuple[dict[str, dict[str, list[float]]], dict[str, dict[int, list[float]]]]:
    """What the first of two processes measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    sent = context.Queue()
    processes = [context.Process(target=work, args=(rank, port, rounds, sent), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    while sent.empty():
        if any(process.exitcode for process in processes):
            raise SystemExit("a process failed")
        time.sleep(0.1)
    found = sent.get()
    for process in processes:
        process.join()
    return found


def speeds(cases: dict[str, dict[str, list[float]]]) -> list[dict[str, Any]]:
    """A row for each case and way."""
    rows = []
    for name, taken in cases.items():
        for way in (ONE, TWO, DDP, STATIC):
            low, high = interval(taken[ONE], taken[way])
            gain = statistics.median(taken[ONE]) / statistics.median(taken[way])
            rows.append(
                {
                    "data": f"{name}, batches of {taken['rows'][0]}",
                    "way": way,
                    "ms a step, median": 1e3 * statistics.median(taken[way]),
                    "least": 1e3 * min(taken[way]),
                    "times as fast as one": f"{gain:.2f} ({low:.2f} to {high:.2f})",
                    "of the least": min(taken[ONE]) / min(taken[way]),
                }
            )
    return rows


def constants(taken: dict[str, list[float]], found: dict[str, dict[int, list[float]]]) -> list[dict[str, Any]]:
    """The rates that a step is made of, by the least times, which what else a machine does disturbs least."""
    weights, rows = taken["weights"][0], taken["rows"][0]
    step, optimiser = min(taken[ONE]), min(taken["optimiser"])
    least = {name: {size: min(times) for size, times in of.items()} for name, of in found.items()}
    latency = {name: of[SIZES[0]] for name, of in least.items()}
    reduced, sent = (SIZES[-1] / (least[name][SIZES[-1]] - latency[name]) for name in least)
    arithmetic = 6 * rows * weights / (step - optimiser)
    alone, half = 6 * rows * weights / arithmetic, 3 * rows * weights / arithmetic
    together = half + optimiser + 4 * weights / reduced + 3 * latency["all-reduce"]
    return [
        {"what": "arithmetic of a thread, GFLOP/s", "value": arithmetic / 1e9},
        {"what": "AdamW, 28 bytes a weight, GB/s", "value": 28 * weights / optimiser / 1e9},
        {"what": "all-reduce between two, GB/s of the tensor", "value": reduced / 1e9},
        {"what": "all-reduce, latency, ms", "value": 1e3 * latency["all-reduce"]},
        {"what": "all-to-all between two, GB/s sent", "value": sent / 2 / 1e9},
        {"what": "all-to-all, latency, ms", "value": 1e3 * latency["all-to-all"]},
        {"what": "MNIST, a step of two by the model, ms", "value": 1e3 * together},
        {"what": "MNIST, times as fast as one, by the model", "value": (alone + optimiser) / together},
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    cases, found = measured(rounds := parser.parse_args().rounds)
    rows, rates = speeds(cases), constants(cases["MNIST"], found)
    two = next(row for row in rows if row["way"] == TWO)
    met = "met" if statistics.median(cases["MNIST"][ONE]) >= AIM * statistics.median(cases["MNIST"][TWO]) else "not met"
    said = (
        f"MNIST, two processes: {two['times as fast as one']} times as fast as one; the aim of {AIM} is {met}.\n"
        f"The load of the machine was {os.getloadavg()[1]:.0f} on {os.cpu_count()} cores, with these two processes."
    )
    text = f"{table(rows)}\n\n{said}\n\n{table(rates)}"
    print(text)
    write_result("scaling", [*rows, *rates])
    command = f"`OMP_NUM_THREADS=1 python benchmarks/scaling.py --rounds {rounds}`, {torch.__version__}"
    fill_page("docs/scaling.md", "scaling", f"{command}:\n\n{text}")


if __name__ == "__main__":
    main()
