"""Rows to experts: what sparse execution costs, beside the arithmetic alone and beside other ways and packages.

N = 4096 rows of d = 256 go to k of E perceptrons d -> 1024 -> d ("small": 256 rows, 64 -> 128 -> 64); forward, backward
and the zeroing of gradients are timed, for given experts a row, nothing dropped. The ways of a group are interleaved in
a random order. The roofline is 12 N k d h FLOP at the rate of a 2048-cubed multiplication measured in the same rounds,
and never below 95 GFLOP/s a thread; the two-term roofline adds 12 bytes a weight (read forward, read backward, its
gradient written) at the rate of a copy, both its reads and its writes counted. Intervals are 95 % bootstrap intervals
of ratios of medians over paired rounds. 10 minutes on 2 idle cores; writes `results/dispatch.json` and the tables in
docs/sparse-execution.md. On a machine that others use, two threads wait for each other and the clock tells little: take
one thread and its processor time.

    OMP_NUM_THREADS=2 .venv-bench/bin/python benchmarks/dispatch.py
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/dispatch.py --processor-time --only "E=64, k=1" --seconds 10
"""

import argparse
import importlib
import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from common import fill_page, table, write_result
from timing import CLOCK, Machine, interval
from torch import Tensor, nn

from gatewise.mixture import ExpertList, Experts, MLPBank


@dataclass(frozen=True)
class Size:
    """N rows of d features, h hidden units."""

    rows: int
    features: int
    hidden: int


LARGE, SMALL = Size(4096, 256, 1024), Size(256, 64, 128)

SLOW, VERY_SLOW = 4.0, 2.0
"""A way of so many times the fastest one's time runs three rounds only; one of so many seconds is called once."""


@dataclass(frozen=True)
class Problem:
    """Rows, their experts `[N, k]`, and E perceptrons: stacked, and as a list with the same weights."""

    size: Size
    x: Tensor
    index: Tensor
    bank: MLPBank
    members: nn.ModuleList
    grad: Tensor

    @classmethod
    def make(
        cls,
        experts: int,
        k: int,
        shares: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        size: Size = LARGE,
    ) -> "Problem":
        torch.manual_seed(0)
        bank = MLPBank(experts, size.features, [size.hidden], size.features).to(dtype)
        shares = torch.ones(experts) if shares is None else shares
        index = torch.multinomial(shares.expand(size.rows, -1), k)
        x, grad = (torch.randn(size.rows, size.features).to(dtype) for _ in range(2))
        members = nn.ModuleList(bank.expert(e) for e in range(experts) if experts <= 64 or dtype == torch.float32)
        return cls(size, x.requires_grad_(), index, bank, members, grad)

    @property
    def experts(self) -> int:
        return self.bank.num_experts

    @property
    def k(self) -> int:
        return self.index.shape[1]

    @property
    def flop(self) -> float:
        return 12.0 * self.size.rows * self.k * self.size.features * self.size.hidden

    @property
    def moved(self) -> float:
        """Bytes of weights and gradients of a step."""
        return 3.0 * self.bank.weights[0].dtype.itemsize * sum(weight.numel() for weight in self.bank.weights)


Way = Callable[[Problem], Tensor]
"""The sum of the outputs of a row's experts, `[N, d]`."""


def gatewise(experts: Callable[[Problem], Experts]) -> Way:
    def forward(problem: Problem) -> Tensor:
        chosen = experts(problem)
        plan = chosen.plan(problem.index.T, problem.x, distinct=True)
        out = plan.spread(plan.run(chosen.grouped, problem.x))
        return out.squeeze(0) if problem.k == 1 else out.sum(0)

    return forward


def parts(problem: Problem) -> tuple[list[Tensor], ...]:
    pairs = zip(problem.bank.weights, problem.bank.biases, strict=True)
    return tuple(list(stacked.unbind(0)) for pair in pairs for stacked in pair)


def every_expert(problem: Problem) -> Tensor:
    """All experts on all rows, as einsum."""
    if problem.experts > 16 and problem.size != SMALL:
        raise MemoryError("skipped: it multiplies E / k times as much")
    (w1, w2), (b1, b2) = problem.bank.weights, problem.bank.biases
    hidden = F.relu(torch.einsum("nd,edh->neh", problem.x, w1) + b1)
    out = torch.einsum("neh,eho->neo", hidden, w2) + b2
    chosen = problem.x.new_zeros(len(problem.x), problem.experts).scatter(1, problem.index, 1.0)
    return torch.einsum("neo,ne->no", out, chosen)


def rows_of(problem: Problem) -> list[Tensor]:
    """The rows of each expert, found one expert after another as transformers does."""
    mask = F.one_hot(problem.index, problem.experts).sum(1)
    return [mask[:, e].nonzero().squeeze(1) for e in range(problem.experts)]


def over_unbind(problem: Problem) -> Tensor:
    w1, b1, w2, b2 = parts(problem)
    out = torch.zeros_like(problem.x)
    for e, rows in enumerate(rows_of(problem)):
        out = out.index_add(0, rows, torch.addmm(b2[e], F.relu(torch.addmm(b1[e], problem.x[rows], w1[e])), w2[e]))
    return out


def over_slices(problem: Problem) -> Tensor:
    """As transformers' stacked experts: the slices of a parameter, a loop, index_add_."""
    if problem.experts > 64:
        raise MemoryError("skipped: each slice's gradient is as large as all parameters")
    (w1, w2), (b1, b2) = problem.bank.weights, problem.bank.biases
    out = torch.zeros_like(problem.x)
    for e, rows in enumerate(rows_of(problem)):
        hidden = F.relu(torch.addmm(b1[e], problem.x[rows], w1[e]))
        out.index_add_(0, rows, torch.addmm(b2[e], hidden, w2[e]))
    return out


def over_list(problem: Problem) -> Tensor:
    """As transformers' lists of experts: a loop, index_add_."""
    out = torch.zeros_like(problem.x)
    for e, rows in enumerate(rows_of(problem)):
        out.index_add_(0, rows, problem.members[e](problem.x[rows]))
    return out


def sparse_dispatcher(problem: Problem) -> Tensor:
    """As the SparseDispatcher of davidmrau/mixture-of-experts."""
    gates = problem.x.new_zeros(len(problem.x), problem.experts).scatter(1, problem.index, 1.0)
    named, order = gates.nonzero().sort(0)
    rows = gates.nonzero()[order[:, 1], 0]
    sizes = (gates > 0).sum(0).tolist()
    weights = gates[rows].gather(1, named[:, 1:])
    split = problem.x[rows].split(sizes)
    stitched = torch.cat([member(part) for member, part in zip(problem.members, split, strict=True)]) * weights
    return torch.zeros(problem.x.shape, dtype=stitched.dtype, requires_grad=True).index_add(0, rows, stitched)


def capacity(problem: Problem) -> Tensor:
    """One-hot dispatch tensors `[N, E, C]`, C as large as nothing dropped needs."""
    mask = F.one_hot(problem.index, problem.experts).sum(1)
    place = (mask.cumsum(0) - 1) * mask
    height = int(mask.sum(0).max())
    sent = (F.one_hot(place, height) * mask.unsqueeze(-1)).to(problem.x.dtype)
    (w1, w2), (b1, b2) = problem.bank.weights, problem.bank.biases
    rows = torch.einsum("nec,nd->ecd", sent, problem.x)
    hidden = F.relu(torch.baddbmm(b1.unsqueeze(1), rows, w1))
    return torch.einsum("nec,eco->no", sent, torch.baddbmm(b2.unsqueeze(1), hidden, w2))


def grouped_mm(problem: Problem) -> Tensor:
    """A sort and `F.grouped_mm`."""
    expert, order = problem.index.flatten().sort(stable=True)
    rows, counts = order // problem.k, torch.bincount(expert, minlength=problem.experts)
    ends = counts.cumsum(0).to(torch.int32)
    (w1, w2), (b1, b2) = problem.bank.weights, problem.bank.biases
    hidden = F.relu(F.grouped_mm(problem.x[rows], w1, offs=ends) + b1[expert])
    out = F.grouped_mm(hidden, w2, offs=ends) + b2[expert]
    return torch.zeros_like(problem.x).index_add(0, rows, out)


def padded_bmm(problem: Problem) -> Tensor:
    """A sort, every expert's rows padded to as many as the busiest has, and `baddbmm`."""
    expert, order = problem.index.flatten().sort(stable=True)
    counts = torch.bincount(expert, minlength=problem.experts)
    height = int(counts.max())
    rows = order // problem.k
    place = torch.arange(len(order)) - (counts.cumsum(0) - counts)[expert] + expert * height
    (w1, w2), (b1, b2) = problem.bank.weights, problem.bank.biases
    stacked = problem.x.new_zeros(problem.experts * height, problem.x.shape[1]).index_copy(0, place, problem.x[rows])
    hidden = F.relu(torch.baddbmm(b1.unsqueeze(1), stacked.view(problem.experts, height, -1), w1))
    out = torch.baddbmm(b2.unsqueeze(1), hidden, w2).flatten(0, 1)[place]
    return torch.zeros_like(problem.x).index_add(0, rows, out)


class Products(torch.autograd.Function):
    """The six multiplications of a step alone, each one bmm over all experts with as many rows, into memory kept."""

    kept: ClassVar[dict[tuple[int, ...], Tensor]] = {}

    @classmethod
    def product(cls, left: Tensor, right: Tensor) -> Tensor:
        shape = (len(left), left.shape[1], right.shape[2])
        if shape not in cls.kept:
            cls.kept[shape] = left.new_empty(shape)
        return torch.bmm(left, right, out=cls.kept[shape])

    @staticmethod
    def forward(ctx: Any, x: Tensor, problem: Problem) -> Tensor:
        w1, w2 = problem.bank.weights
        rows = x.detach().repeat(problem.k, 1).view(problem.experts, -1, x.shape[1])
        ctx.problem, ctx.rows, ctx.hidden = problem, rows, Products.product(rows, w1)
        return Products.product(ctx.hidden, w2).view(problem.k, *x.shape)[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None]:
        w1, w2 = ctx.problem.bank.weights
        Products.product(ctx.hidden.mT, ctx.rows)
        delta = Products.product(ctx.rows, w2.mT)
        Products.product(ctx.rows.mT, delta)
        Products.product(delta, w1.mT)
        return None, None


def products(problem: Problem) -> Tensor:
    if problem.size != LARGE:
        raise MemoryError("skipped: for the large layer only")
    return Products.apply(problem.x, problem)


def package(module: str, options: Callable[[Size], dict[str, Any]]) -> Callable[[Problem], Way]:
    """A package's whole layer with its own gate for two experts a row, and room enough to drop little."""

    def make(problem: Problem) -> Way:
        if problem.k != 2:
            raise ValueError("skipped: it sends a row to two experts only")
        torch.manual_seed(0)
        layer = importlib.import_module(module).MoE(
            dim=problem.size.features, num_experts=problem.experts, **options(problem.size)
        )
        problem.bank.register_module("package", layer)  # so that its gradients are zeroed with the others
        return lambda problem: layer(problem.x.unsqueeze(0))[0].squeeze(0)

    return make


OURS, OUR_LIST = "gatewise, bank", "gatewise, list"
PRODUCTS = "the six products alone, bmm of equal rows"
WAYS: dict[str, Way] = {
    OURS: gatewise(lambda problem: problem.bank),
    OUR_LIST: gatewise(lambda problem: ExpertList(problem.members)),
    "every expert, einsum": every_expert,
    "loop over unbind": over_unbind,
    "loop over slices (transformers, stacked)": over_slices,
    "loop over a list (transformers)": over_list,
    "SparseDispatcher, list": sparse_dispatcher,
    "one-hot capacity": capacity,
    "sort and F.grouped_mm": grouped_mm,
    "sort, pad and bmm": padded_bmm,
    PRODUCTS: products,
}
PACKAGES: dict[str, Callable[[Problem], Way]] = {
    "mixture-of-experts": package(
        "mixture_of_experts", lambda size: {"hidden_dim": size.hidden, "capacity_factor_train": 2.0}
    ),
    "st-moe-pytorch": package(
        "st_moe_pytorch", lambda size: {"gating_top_n": 2, "expert_hidden_mult": size.hidden / size.features}
    ),
}


def skewed() -> Tensor:
    """85 % for one of 8."""
    return torch.tensor([0.85] + [0.15 / 7] * 7)


def zipf() -> Tensor:
    """Shares of 64 that fall as 1 / rank."""
    return 1 / torch.arange(1, 65.0)


def step(problem: Problem, way: Way) -> float:
    """Seconds for zeroing, forward and backward; whoever left a gradient before pays for it before."""
    problem.x.grad = None
    problem.bank.zero_grad()
    problem.members.zero_grad()
    started = CLOCK[0]()
    way(problem).backward(problem.grad)
    problem.x.grad = None
    problem.bank.zero_grad()
    problem.members.zero_grad()
    return CLOCK[0]() - started


def measure(
    entries: dict[str, tuple[Problem, Way]], machine: Machine, seconds: float
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of each way, round by round, and a note for each that cannot run."""
    times: dict[str, list[float]] = {}
    notes: dict[str, str] = {}
    for name, (problem, way) in entries.items():
        try:
            first = step(problem, way)
            times[name] = [first] if first > VERY_SLOW and not name.startswith("gatewise") else []
        except Exception as error:  # whatever a library raises is its entry in the table
            notes[name] = str(error).strip().splitlines()[0][:120]
    quick = [name for name, taken in times.items() if not taken]
    started, rounds = time.perf_counter(), 0
    while rounds < 5 or time.perf_counter() - started < seconds:
        fastest = min((min(times[name]) for name in quick if times[name]), default=0.0)
        for name in random.sample(quick, len(quick)):
            if rounds < 3 or min(times[name]) < SLOW * fastest:
                times[name].append(step(*entries[name]))
        machine.measure()
        rounds += 1
    return times, notes


def group_rows(group: str, seconds: float, machine: Machine) -> list[dict[str, Any]]:
    """A group's rows for the result."""
    entries = GROUPS[group]()
    times, notes = measure(entries, machine, seconds)
    first = next(iter(entries))
    rows = []
    for name, (problem, _) in entries.items():
        row: dict[str, Any] = {"group": group, "way": name}
        if name in notes:
            rows.append({**row, "note": notes[name]})
            continue
        flop_s = problem.flop / machine.rate
        both_s = flop_s + problem.moved / machine.copy_rate
        best, middle = min(times[name]), statistics.median(times[name])
        row |= {"minimum ms": 1e3 * best, "median ms": 1e3 * middle, "rounds": len(times[name])}
        row |= {"of FLOP roofline": best / flop_s, "of two-term roofline": best / both_s}
        row |= {"median of FLOP roofline": middle / flop_s}
        if name != first:
            row["ours / this"] = min(times[first]) / best
            if len(times[name]) >= 3:
                row["ours / this, low"], row["ours / this, high"] = interval(times[first], times[name])
        rows.append(row)
    return rows


def against_peers(experts: int, k: int, size: Size = LARGE) -> Callable[[], dict[str, tuple[Problem, Way]]]:
    def make() -> dict[str, tuple[Problem, Way]]:
        problem = Problem.make(experts, k, size=size)
        entries = {name: (problem, way) for name, way in WAYS.items()}
        for name, factory in PACKAGES.items():
            try:
                entries[name] = problem, factory(problem)
            except (ImportError, ValueError) as error:
                entries[name] = problem, refusing(error)
        return entries

    return make


def refusing(error: Exception) -> Way:
    def way(problem: Problem) -> Tensor:
        raise error

    return way


def against_balance(experts: int, shares: Callable[[], Tensor]) -> Callable[[], dict[str, tuple[Problem, Way]]]:
    return lambda: {
        "gatewise, skewed": (Problem.make(experts, 1, shares()), WAYS[OURS]),
        "gatewise, balanced": (Problem.make(experts, 1), WAYS[OURS]),
    }


def against_float32(experts: int) -> Callable[[], dict[str, tuple[Problem, Way]]]:
    return lambda: {
        "gatewise, bfloat16": (Problem.make(experts, 1, dtype=torch.bfloat16), WAYS[OURS]),
        "gatewise, float32": (Problem.make(experts, 1), WAYS[OURS]),
    }


GROUPS: dict[str, Callable[[], dict[str, tuple[Problem, Way]]]] = {
    "E=8, k=1": against_peers(8, 1),
    "E=64, k=1": against_peers(64, 1),
    "E=64, k=2": against_peers(64, 2),
    "E=256, k=1": against_peers(256, 1),
    "small, E=8, k=1": against_peers(8, 1, SMALL),
    "small, E=64, k=1": against_peers(64, 1, SMALL),
    "E=8, 85 % on one": against_balance(8, skewed),
    "E=64, Zipf": against_balance(64, zipf),
    "E=8, bfloat16": against_float32(8),
    "E=64, bfloat16": against_float32(64),
}

ROOFLINE, TWO_TERM, RATIO = "of FLOP roofline", "of two-term roofline", "ours / this"
TARGETS: dict[str, tuple[str, float] | None] = {
    "small, E=8, k=1": None,
    "small, E=64, k=1": None,
    "E=8, k=1": (ROOFLINE, 1.35),
    "E=64, k=1": (ROOFLINE, 1.8),
    "E=64, k=2": (ROOFLINE, 1.8),
    "E=256, k=1": (TWO_TERM, 1.5),
    "E=8, 85 % on one": (RATIO, 1.2),
    "E=64, Zipf": (RATIO, 1.2),
    "E=8, bfloat16": (RATIO, 0.6),
    "E=64, bfloat16": (RATIO, 0.6),
}


def checks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is asked of our ways, and whether it is met."""
    found = []
    for group, target in TARGETS.items():
        own = [row for row in rows if row["group"] == group and "note" not in row]
        if not own:
            continue
        if target is not None:
            column, most = target
            value = own[1][RATIO] if column == RATIO else own[0][column]
            found.append({"what": f"{group}: {column}", "measured": value, "at most": most})
        peers = [row for row in own[1:] if not row["way"].startswith("gatewise") and row["way"] != PRODUCTS]
        if peers:
            nearest = max(peers, key=lambda row: row[RATIO])
            found.append({"what": f"{group}: ours / {nearest['way']}", "measured": nearest[RATIO], "at most": 1.0})
    return [{**check, "met": "yes" if check["measured"] <= check["at most"] else "no"} for check in found]


def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the page."""
    page = []
    for row in rows:
        cells = {"group": row["group"], "way": row["way"], "minimum ms": row.get("note", "")}
        cells |= {"median ms": "", "of FLOP roofline": "", "of two-term roofline": "", "ours / this": ""}
        if "note" not in row:
            cells |= {key: f"{row[key]:.3g}" for key in ("minimum ms", "median ms")}
            cells |= {key: f"{row[key]:.2f}" for key in (ROOFLINE, TWO_TERM)}
        if RATIO in row:
            cells[RATIO] = f"{row[RATIO]:.3f}"
        if f"{RATIO}, low" in row:
            cells[RATIO] += f" ({row[f'{RATIO}, low']:.3f} to {row[f'{RATIO}, high']:.3f})"
        page.append(cells)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="a part of the name of the groups to run; nothing is written then")
    parser.add_argument("--seconds", type=float, default=40, help="of a group")
    parser.add_argument("--processor-time", action="store_true", help="of the one thread, not the clock's")
    arguments = parser.parse_args()
    if arguments.processor_time:
        if torch.get_num_threads() > 1:
            parser.error("the processor time of one thread says nothing about several; set OMP_NUM_THREADS=1")
        CLOCK[0] = time.thread_time
    machine, rows = Machine(), []
    load = os.getloadavg()[0]
    for group in GROUPS:
        if arguments.only is None or arguments.only in group:
            found = group_rows(group, arguments.seconds, machine)
            rows += found
            print(table(shown(found)), flush=True)
    clock = "processor time" if arguments.processor_time else "time by the clock"
    summary = (
        f"Threads: {torch.get_num_threads()}, {clock}; torch {torch.__version__}; the multiplication reached "
        f"{2 * 2048**3 / machine.multiply_s / 1e9:.0f} GFLOP/s, the copy {machine.copy_rate / 1e9:.1f} GB/s; the load "
        f"of the machine before the run was {load:.1f}."
    )
    print(f"\n{summary}\n{table(checks(rows))}")
    if arguments.only is None:
        fill_page("docs/sparse-execution.md", "dispatch checks", f"{table(checks(rows))}\n\n{summary}")
        fill_page("docs/sparse-execution.md", "dispatch", table(shown(rows)))
        write_result("dispatch", rows)


if __name__ == "__main__":
    main()
