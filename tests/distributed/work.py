"""What the processes of these tests do: each case a training that one process could do alone."""

import copy
import importlib
import itertools
import multiprocessing
import os
import socket
import traceback

import polars as pl
import torch
import torch.distributed as dist

import gatewise as gw
from gatewise.config import LoopConfig
from gatewise.data import StoredRows
from gatewise.data.streaming.parquet_table import StoredTable
from gatewise.data.streaming.records import SplitByPlace
from gatewise.distributed import Group, gather_experts, shard_experts
from gatewise.objectives import Regulariser, regularisers
from gatewise.training import Callback, fit
from gatewise.training.checkpoints.folder import Checkpoints
from gatewise.training.input.datasets import RowStream
from gatewise.training.nonfinite import trace
from gatewise.training.step import NonFiniteBatch, TrainStep
from tests.training.alike import without_times

importlib.import_module("torch._dynamo")  # the first optimiser does it, in each process that is forked before

STEPS = int(os.environ.get("GATEWISE_TEST_STEPS", "5"))
PROCESSES = int(os.environ.get("GATEWISE_TEST_PROCESSES", "2"))
CASES = {f"jensen, {name}": ("jensen", {"estimator": name}, {}) for name in gw.estimators.names()}
CASES |= {
    "a learned baseline": ("jensen", {"estimator": ("score-function", {"baseline": "learned", "context_dim": 6})}, {}),
    "reinmax by conditional noise": ("jensen", {"estimator": ("reinmax", {"variant": "rao-blackwell"})}, {}),
    "vimco": ("multi-sample", {"num_samples": 2}, {}),
    "stratified": ("stratified", {}, {"balance_rate": 0.05}),
    "the balance of a top-k gate": ("marginal", {}, {"balance_rate": 0.05, "top_k": 2}),
    "marginal in micro-batches": ("marginal", {}, {"accumulate": 3}),
    "a baseline over micro-batches": ("jensen", {"estimator": "score-function"}, {"accumulate": 2}),
    "an inference network": (
        "evidence",
        {"posterior": "amortised", "num_classes": 3, "num_experts": 4, "context_dim": 6},
        {},
    ),
}
CASES["experts that no row is sent to"] = ("jensen", {"estimator": "score-function"}, {"experts": "list"})


def blobs(rows=90):
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(3, (rows,), generator=draw)
    return torch.randn(rows, 6, generator=draw) + torch.eye(6)[y], y


def made(name, options, keys):
    """A model, its objective and what the train_step is told."""
    torch.manual_seed(1)
    options, keys = dict(options), dict(keys)
    if "estimator" in options:
        chosen = options["estimator"]
        estimator, besides = chosen if isinstance(chosen, tuple) else (chosen, {})
        besides = {"num_categories": 4, **besides} if estimator == "relax" else besides
        options["estimator"] = gw.estimators.get(estimator, **besides)
        options["num_samples"] = options["estimator"].sample_counts.start
    chosen = keys.pop("experts", 4)
    experts = [torch.nn.Linear(6, 3) for _ in range(8)] if chosen == "list" else gw.MLPBank(chosen, 6, [8], 3)
    count = 8 if chosen == "list" else chosen
    top_k = keys.pop("top_k", None)
    gate = gw.mixture.Gate(gw.mixture.mlp(6, [], count), count, balance="balance_rate" in keys, top_k=top_k)
    trunk = torch.nn.Linear(6, 6) if keys.pop("trunk", False) else None
    mixture = gw.MixtureOfExperts(gate, experts, trunk=trunk)
    return mixture, gw.objectives.get(name, **options), LoopConfig(batch_size=19, **keys)


def trained(case, group, mesh=None, steps=STEPS):
    """Losses of so many steps on batches of 19 rows (an uneven share), and the state after them."""
    mixture, objective, config = made(*case)
    if mesh is not None:
        shard_experts(mixture, mesh)
    balance = regularisers({"load": 0.1, "importance": 0.2, "gate_entropy": 0.05})
    train_step = TrainStep(mixture, objective, balance, config, steps, group)
    statistics, losses = train_step.new_statistics(), []
    while train_step.step < steps:
        for x, y in itertools.islice(train_step.batches(*blobs(), batch_size=19), steps - train_step.step):
            rows = 19 if train_step.step % 5 < 4 else 14
            losses.append(train_step.take_step(x, y, statistics, rows=rows))
    if mesh is not None:
        gather_experts(mixture)
    state = {**mixture.state_dict(), **{f"objective.{key}": value for key, value in objective.state_dict().items()}}
    return {"losses": torch.stack(losses), "statistics": statistics.sums, **state}


def make_mixture():
    """Other weights for the model of `made("marginal", {}, {})`."""
    return gw.MixtureOfExperts(gw.mixture.Gate(gw.mixture.mlp(6, [], 4), 4), gw.MLPBank(4, 6, [8], 3))


def validated(group):
    """A whole `fit` of two starts, with validation and weights of rows: its lines, and what the starts came to."""
    mixture, objective, config = made("marginal", {}, {"epochs": 5, "patience": 0, "starts": 2})
    weight = torch.linspace(1, 2, 30)
    result = fit(
        mixture,
        objective,
        blobs(),
        blobs(30),
        config,
        validation_weight=weight,
        group=group,
        model_factory=make_mixture,
    )
    return without_times(result.history), result.restarts


def passed_over(group, mesh=None):
    """A `fit` with one row that is not a number, and what was said of it."""
    mixture, objective, config = made("marginal", {}, {"epochs": 2, "patience": 0, "skip_nonfinite": 2})
    if mesh is not None:
        shard_experts(mixture, mesh)
    x, y = blobs()
    x[40, 2] = torch.nan
    result = fit(mixture, objective, (x, y), None, config, group=group)
    return without_times(result.history), result.warnings


def stored(folder):
    """The rows of `blobs` as files of a table, in blocks of 13."""
    x, y = blobs()
    folder.mkdir()
    frame = pl.DataFrame(x.numpy(), schema=[f"x{i}" for i in range(6)]).with_columns(y=pl.Series(y.numpy()))
    frame[:40].write_parquet(folder / "0.parquet", row_group_size=13)
    frame[40:].write_parquet(folder / "1.parquet", row_group_size=13)


def streamed(folder, group):
    """A `fit` on rows of a table, validated on others of it, with weights of classes; its lines and weights."""
    mixture, objective, config = made("marginal", {}, {"epochs": 3, "patience": 0, "accumulate": 2})
    table = StoredTable.open(folder, "y", ())
    parts = [StoredRows(table, SplitByPlace(0.0, 0.3, 0), part) for part in ("train", "validation")]
    weights = torch.tensor([1.0, 0.5, 1.5])
    train, validation = (RowStream(part, table.columns, as_tensors, 25, weights) for part in parts)
    result = fit(mixture, objective, train, validation, config, num_classes=3, group=group)
    return without_times(result.history), {name: value.numpy() for name, value in mixture.state_dict().items()}


def as_tensors(records):
    return records.features.to_torch(), torch.tensor([*map(int, records.labels)])


class Charged(Regulariser):
    """NaN, without a gradient, where a logit is large: on the process that has the row, and there in the loss alone."""

    name, linear = "charged", True

    def statistics(self, logits):
        return torch.where(logits.max() > 50, torch.nan, logits.mean()).reshape(1)


def refused(group):
    """What is said of a batch whose last row makes a loss NaN; and whether it left everything as it was."""
    mixture, objective, config = made("marginal", {}, {})
    train_step = TrainStep(mixture, objective, [Charged(1.0)], config, STEPS, group)
    statistics, before = train_step.new_statistics(), copy.deepcopy(mixture.state_dict())
    x, y = blobs(group.size * 4)
    x[-1] = 1e3 * mixture.gate.network[-1].weight[0].detach()
    first, count = group.share(len(x))
    try:
        train_step.take_step(x[first : first + count], y[first : first + count], statistics, rows=len(x))
    except NonFiniteBatch as error:
        said = trace(train_step, error.pieces)
        kept = all(torch.equal(value, before[name]) for name, value in mixture.state_dict().items())
        return said, kept and train_step.step == statistics.rows == 0


class Steps(Callback):
    def on_step(self, step):
        self.last = step


def stopped(group):
    """The step after which all processes stop where one is asked to."""
    mixture, objective, config = made("marginal", {}, {"epochs": 3})
    calls, steps = iter(range(1, 100)), Steps()
    fit(
        mixture,
        objective,
        blobs(),
        None,
        config,
        should_stop=lambda: group.rank == 1 and next(calls) == 7,
        callbacks=[steps],
        group=group,
    )
    return steps.last


def interrupted(checkpoints, group, at=None, mesh=None):
    """The weights after two starts and 5 epochs of 5 steps, from a checkpoint if any; or stopped `at` a step."""
    spread = (lambda whole: whole) if mesh is None else (lambda whole: shard_experts(whole, mesh))
    keys = {"epochs": 5, "patience": 0, "starts": 2}
    mixture, objective, config = made("jensen", {"estimator": "score-function"}, keys)
    calls = iter(range(1, 100))
    fit(
        spread(mixture),
        objective,
        blobs(),
        blobs(30),
        config,
        should_stop=lambda: next(calls) == at,
        checkpoints=checkpoints,
        group=group,
        model_factory=lambda: spread(make_mixture()),
    )
    return mixture.state_dict() if mesh is None else gather_experts(mixture).state_dict()


def agreed(group):
    """What all are told of an error that one has."""
    try:
        with group.raise_together():
            if group.rank == 1:
                raise gw.GatewiseError("the disk of the second is full")
    except gw.GatewiseError as error:
        return str(error)


def work(rank, size, port, cases, folder, sent):
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=size)
    group = Group(rank, size)
    found = {case: trained(CASES[case], group) for case in cases}
    more = validated(group), stopped(group), agreed(group), passed_over(group), refused(group)
    of_table = streamed(folder.parent / "table", group)
    interrupted(Checkpoints(folder), group, at=7)
    dist.destroy_process_group()
    same = [{key: value.numpy() for key, value in each.items()} for each in found.values()]
    sent.put((rank, dict(zip(found, same, strict=True)), *more, of_table))


def or_said(work, *arguments):
    """Do the work; where it fails, say how before the others miss this process."""
    try:
        work(*arguments)
    except BaseException:
        arguments[-1].put(traceback.format_exc())
        raise


def together(size, *arguments, work=work):
    """What each of so many processes finds, in their order."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")  # what they import is imported once
    context.set_forkserver_preload([__name__, work.__module__])
    sent = context.Queue()
    told = [(work, rank, size, port, *arguments, sent) for rank in range(size)]
    processes = [context.Process(target=or_said, args=each) for each in told]
    for process in processes:
        process.start()
    found = [sent.get(timeout=300)]
    while isinstance(found[-1], tuple) and len(found) < size:
        found.append(sent.get(timeout=300))
    if not isinstance(found[-1], tuple):  # the others may wait for it
        for process in processes:
            process.kill()
        raise AssertionError(found[-1])
    found.sort(key=lambda each: each[0])
    for process in processes:
        process.join()
    return found
