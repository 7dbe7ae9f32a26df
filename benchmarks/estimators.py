"""What an estimate of the gradient costs: every estimator of gatewise, beside the libraries that have the same one.

All differentiate the mean over B examples of one cheap f(z) = |W z|^2 in float32, by the logits, from the same number
of samples. The ways of a group are interleaved in a random order, and ratios are of medians. A way that cannot run is
listed with the first line of its error. 7 minutes; writes `results/estimators.json` and the tables in
docs/estimators.md.

    make bench-estimators
    .venv-bench/bin/python benchmarks/estimators.py --only reinmax --batch 64 --seconds 1
"""

import argparse
import ctypes
import importlib
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from common import fill_page, table, write_result
from torch import Tensor
from torch.distributions import OneHotCategorical

import gatewise as gw

MEMORY = 2**29
"""The most bytes of one tensor over the categories that an estimator asks for."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h

SLOWEST = 6.0
"""Seconds after which a group starts no further round, even if it has had only one."""


@dataclass(frozen=True)
class Problem:
    """E f(z) for B examples with L latents of K categories; f takes points `[..., B, K]`, or `[..., B, L, K]`."""

    batch: int
    categories: int
    latents: int
    logits: Tensor
    f: Callable[[Tensor], Tensor]

    @classmethod
    def make(cls, batch: int, categories: int, latents: int) -> "Problem":
        torch.manual_seed(0)
        shape = (batch, latents, categories) if latents > 1 else (batch, categories)
        weight = torch.randn(latents * categories, 4)

        def f(z: Tensor) -> Tensor:
            return ((z.flatten(-2) if latents > 1 else z) @ weight).square().sum(-1)

        return cls(batch, categories, latents, torch.randn(shape).requires_grad_(), f)


Step = Callable[[], Callable[[], Any]]
"""A forward pass, which returns the backward pass."""

Way = Callable[[Problem], Step]
"""Makes, for a problem, what is timed; raises for what cannot run."""


def drawn(draw: Callable[[Tensor], Tensor]) -> Way:
    """f at a point that carries the gradient."""
    return lambda problem: lambda: problem.f(draw(problem.logits)).mean().backward


def sampled(name: str) -> Way:
    """gatewise's drop-in for `F.gumbel_softmax`."""
    estimator = gw.estimators.get(name)
    return drawn(lambda logits: gw.sample(logits, estimator))


def ours(name: str, num_samples: int | None = None, **options: Any) -> Way:
    """`gw.expect`; where the estimator learns something, with the gradient for that too."""

    def make(problem: Problem) -> Step:
        known, event_dims = gw.estimators.options(name), int(problem.latents > 1)
        sizes = {"num_categories": problem.categories, "num_latents": problem.latents, "event_dims": event_dims}
        estimator = gw.estimators.get(name, **{k: v for k, v in sizes.items() if k in known}, **options)
        samples = num_samples or estimator.sample_counts.start
        if "point" not in estimator.calls:
            asked, numel = estimator.evaluations(samples, problem.categories), problem.logits.numel()
            asked = problem.categories**2 if name == "arsm" else asked  # before it leaves out the equal ones
            # the categories it asks for as one-hot points; with several latents each is compared with every other
            needed = max(4 * asked * numel, event_dims * asked**2 * numel // problem.categories)
            if needed > MEMORY:
                raise MemoryError(f"skipped: {asked} evaluations an example take {needed / 2**30:.1f} GiB")

        def step() -> Callable[[], Any]:
            estimate = gw.expect(problem.f, problem.logits, estimator, samples, event_dims=event_dims)
            loss = estimate.value.mean()
            return (loss if estimate.control_loss is None else loss + estimate.control_loss).backward

        return step

    return make


def of_pyro(name: str) -> Way:
    def make(problem: Problem) -> Step:
        kind = getattr(importlib.import_module("pyro.distributions"), name)
        return drawn(lambda logits: kind(torch.tensor(1.0), logits=logits).rsample())(problem)

    return make


def of_relaxit(name: str, **options: Any) -> Way:
    def make(problem: Problem) -> Step:
        kind = getattr(importlib.import_module("relaxit.distributions"), name)
        return drawn(lambda logits: kind(logits=logits, **options).rsample())(problem)

    return make


def of_reinmax(problem: Problem) -> Step:
    reinmax = importlib.import_module("reinmax").reinmax
    return drawn(lambda logits: reinmax(logits, 1.0)[0])(problem)


def of_storchastic(name: str, *arguments: Any, **options: Any) -> Way:
    """Its control variates, REBAR and RELAX, want probabilities and a dimension of latents, even of one."""
    controlled = name in ("REBAR", "RELAX")

    def make(problem: Problem) -> Step:
        storch = importlib.import_module("storch")
        storch.reset()  # of what one that failed has left
        shape = (problem.batch, problem.latents, problem.categories)
        sizes = {"in_dim": shape[1:]} if name == "RELAX" else {}
        method = getattr(storch.method, name)("z", *arguments, **options, **sizes)
        f = storch.deterministic(lambda z: problem.f(z.squeeze(-2) if controlled and problem.latents == 1 else z))

        def step() -> Callable[[], Any]:
            logits = problem.logits.reshape(shape) if controlled else problem.logits
            logits = storch.denote_independent(logits, 0, "batch")
            z = method(OneHotCategorical(probs=logits.softmax(-1)) if controlled else OneHotCategorical(logits=logits))
            storch.add_cost(f(z), "f")
            return storch.backward

        return step

    return make


def of_pyro_elbo(name: str, infer: dict[str, Any], **options: Any) -> Way:
    """An ELBO of which only E f is left: the model has the guide's own distribution, held constant."""

    def make(problem: Problem) -> Step:
        pyro = importlib.import_module("pyro")
        dist = importlib.import_module("pyro.distributions")
        elbo = getattr(importlib.import_module("pyro.infer"), name)(**options)
        batch, event = problem.batch, problem.logits.dim() - 2
        pyro.clear_param_store()

        def drawn_from(logits: Tensor, **how: Any) -> Tensor:
            return pyro.sample("z", dist.OneHotCategorical(logits=logits).to_event(event), **how)

        def model() -> None:
            with pyro.poutine.scale(scale=1 / batch), pyro.plate("batch", batch):
                pyro.factor("f", -problem.f(drawn_from(problem.logits.detach())))

        def guide() -> None:
            with pyro.poutine.scale(scale=1 / batch), pyro.plate("batch", batch):
                drawn_from(pyro.param("logits", problem.logits), infer=dict(infer))

        # it has no forward pass of its own
        return lambda: lambda: elbo.loss_and_grads(model, guide)

    return make


GS, ST, SF = "gumbel-softmax", "straight-through-gumbel-softmax", "score-function"
SOFT, HARD = "F.gumbel_softmax", "F.gumbel_softmax, hard"
ENUMERATE, MOVING = {"enumerate": "parallel"}, {"baseline": {"use_decaying_avg_baseline": True}}

GROUPS: dict[str, dict[str, Way]] = {
    "Gumbel-Softmax": {
        SOFT: drawn(F.gumbel_softmax),
        "gatewise, sample": sampled(GS),
        "gatewise": ours(GS),
        "Pyro": of_pyro("RelaxedOneHotCategorical"),
        "relaxit, top-1": of_relaxit("GumbelSoftmaxTopK", tau=torch.tensor(1.0), hard=False),
        "storchastic": of_storchastic("GumbelSoftmax"),
    },
    "straight-through Gumbel-Softmax": {
        HARD: drawn(lambda logits: F.gumbel_softmax(logits, hard=True)),
        "gatewise, sample": sampled(ST),
        "gatewise": ours(ST),
        "Pyro": of_pyro("RelaxedOneHotCategoricalStraightThrough"),
        "relaxit, decoupled": of_relaxit(
            "DecoupledStraightThroughGumbelSoftmax", temperature_forward=1.0, temperature_backward=1.0
        ),
        "storchastic": of_storchastic("GumbelSoftmax", straight_through=True),
    },
    "reinmax": {"reinmax": of_reinmax, "gatewise, sample": sampled("reinmax"), "gatewise": ours("reinmax")},
    "score function, running mean": {
        "storchastic": of_storchastic("ScoreFunction", baseline_factory="moving_average"),
        "gatewise": ours(SF),
        "Pyro, TraceGraph_ELBO": of_pyro_elbo("TraceGraph_ELBO", MOVING),
    },
    "score function, leave-one-out, 4 samples": {
        "storchastic": of_storchastic("ScoreFunction", n_samples=4, baseline_factory="batch_average"),
        "gatewise": ours(SF, 4, baseline="leave-one-out"),
    },
    "enumeration": {
        "storchastic": of_storchastic("Expect"),
        "gatewise": ours("enumeration"),
        "Pyro, TraceEnum_ELBO": of_pyro_elbo("TraceEnum_ELBO", ENUMERATE, max_plate_nesting=1),
    },
    "unordered set, 4 samples": {
        "storchastic": of_storchastic("UnorderedSetEstimator", 4),
        "gatewise": ours("unordered-set", 4),
    },
    "rebar": {"storchastic": of_storchastic("REBAR"), "gatewise": ours("rebar")},
    "relax": {"storchastic": of_storchastic("RELAX"), "gatewise": ours("relax")},
}
COMPARED = {GS, ST, SF, "reinmax", "enumeration", "unordered-set", "rebar", "relax"}
OTHERS = [name for name in gw.estimators.names() if name not in COMPARED]
GROUPS["the others"] = {SOFT: drawn(F.gumbel_softmax), **{name: ours(name) for name in OTHERS}}

LIMITS = {SOFT: {4096: 1.1}, HARD: {4096: 1.1}, "reinmax": {64: 1.0, 4096: 1.0}, "storchastic": {64: 0.2}}
"""The most that gatewise may take, as a part of what this one takes, at this B."""


def timed(step: Step, logits: Tensor) -> tuple[float, float]:
    """Milliseconds of the forward and of the backward pass."""
    logits.grad = None
    started = time.perf_counter()
    backward = step()
    between = time.perf_counter()
    backward()
    ended = time.perf_counter()
    if logits.grad is None or not bool(logits.grad.isfinite().all()):
        raise ArithmeticError("no finite gradient for the logits")
    return 1e3 * (between - started), 1e3 * (ended - between)


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return lines[0] if lines[0].startswith("skipped") else f"{type(error).__name__}: {lines[0]}"[:150]


def measure(ways: dict[str, Way], problem: Problem, seconds: float) -> dict[str, dict[str, Any]]:
    """Medians of the ways, interleaved in blocks of some milliseconds; a note for each that cannot run."""
    steps, found = {}, {}
    for name, way in ways.items():
        try:
            step = way(problem)
            taken = sum(timed(step, problem.logits))
            if taken < 500:  # the first call of all pays for what is set up once
                taken = sum(timed(step, problem.logits))
            steps[name] = step, max(1, min(50, int(5 / taken)))
        except Exception as error:  # whatever a library raises is its entry in the table
            found[name] = {"note": first_line(error)}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    rounds, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < SLOWEST and (taken < seconds or rounds < 7):
        rounds += 1
        for name in random.sample(list(steps), len(steps)):
            step, calls = steps[name]
            times[name] += [timed(step, problem.logits) for _ in range(calls)]
    for name, taken in times.items():
        forward, backward = (statistics.median(part) for part in zip(*taken, strict=True))
        both = statistics.median(map(sum, taken))
        found[name] = {"forward ms": forward, "backward ms": backward, "ms": both, "calls": len(taken)}
    return {name: found[name] for name in ways}


def measured(group: str, problem: Problem, seconds: float) -> list[dict[str, Any]]:
    """A group's rows for the result."""
    found = measure(GROUPS[group], problem, seconds)
    times = {way: values["ms"] for way, values in found.items() if "ms" in values}
    first = next(iter(found))
    rows = []
    for way, values in found.items():
        row = {"group": group, "way": way, "B": problem.batch, "K": problem.categories, "L": problem.latents, **values}
        if way in times and first in times:
            row["ratio"] = times[way] / times[first]
        if way in times and way.startswith("gatewise"):
            limits = {other: LIMITS.get(other, {}).get(problem.batch) for other in times}
            row["bounds"] = [
                {
                    "against": other,
                    "ratio": times[way] / times[other],
                    "bound": bound,
                    "met": times[way] <= bound * times[other],
                }
                for other, bound in limits.items()
                if bound
            ]
        rows.append(row)
    return rows


def pivot(entries: list[tuple[dict[str, str], dict[str, Any], str]]) -> str:
    """A table of (labels, row, text): one line for equal labels, one column a (K, L)."""
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    sizes = {f"K={row['K']}, L={row['L']}": "-" for _, row, _ in entries}
    for labels, row, text in entries:
        lines.setdefault(tuple(labels.values()), {**labels, **sizes})[f"K={row['K']}, L={row['L']}"] = text
    return table([*lines.values()])


def report(rows: list[dict[str, Any]]) -> str:
    """Milliseconds with ratios, what could not run, and the bounds, for the rows of one B."""
    entries, bounds, notes, unmet = [], [], {}, set()
    for row in rows:
        labels = {"estimator": row["group"], "by": row["way"]}
        ratio = f" ({row['ratio']:.2f})" if "ratio" in row else ""
        entries.append((labels, row, f"{row['ms']:.3g}{ratio}" if "ms" in row else "-"))
        if "note" in row:
            notes.setdefault(f"{row['group']}, {row['way']}: {row['note']}", []).append(f"K={row['K']}, L={row['L']}")
        for held in row.get("bounds", []):
            pair = {**labels, "against": held["against"], "bound": f"<= {held['bound']}"}
            unmet |= set() if held["met"] else {tuple(pair.values())}
            bounds.append((pair, row, f"{held['ratio']:.3f}"))
    for pair, _, _ in bounds:
        pair["met"] = "no" if tuple(pair.values())[:4] in unmet else "yes"
    size = f"B = {rows[0]['B']}"
    parts = [f"{size}: ms forward and backward (times the first of its group)", pivot(entries)]
    parts += ["\n".join(f"- {note} [{'; '.join(sizes)}]" for note, sizes in notes.items())] if notes else []
    parts += [f"{size}: ratios of medians that have a bound", pivot(bounds)] if bounds else []
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 4096], help="B")
    parser.add_argument("--categories", type=int, nargs="+", default=[8, 64], help="K")
    parser.add_argument("--latents", type=int, nargs="+", default=[1, 30], help="L")
    parser.add_argument("--only", default="", help="the groups with this text in their name")
    parser.add_argument("--seconds", type=float, default=2.5, help="for a group of one (B, K, L), at least 7 rounds")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(0)
    if sys.platform == "linux":
        # freed memory is kept: else the time to map it anew falls on one way or another by chance
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 2**25), libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    warnings.simplefilter("ignore")  # what the libraries warn of
    rows, reports = [], []
    for batch in chosen.batch:
        for latents in chosen.latents:
            for categories in chosen.categories:
                problem = Problem.make(batch, categories, latents)
                for group in GROUPS:
                    if chosen.only in group:
                        rows += measured(group, problem, chosen.seconds)
        reports.append(report([row for row in rows if row["B"] == batch]))
        print(f"\n{reports[-1]}")
    if vars(chosen) == vars(parser.parse_args([])):
        fill_page("docs/estimators.md", "estimators", "\n\n".join(reports))
        write_result("estimators", rows)


if __name__ == "__main__":
    main()
