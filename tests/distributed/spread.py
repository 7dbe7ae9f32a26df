"""What the processes of these tests do where the experts are spread over them."""

import os
import runpy
import shutil
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

import gatewise as gw
from gatewise.config import RunConfig
from gatewise.distributed import Group, expert_mesh, gather_experts, shard_experts, shard_mixture
from gatewise.distributed.dtensor import like
from gatewise.runs import resume, train
from gatewise.training import ShardedCheckpoints, fit
from gatewise.training.checkpoints.folder import Checkpoints

from .work import CASES, blobs, interrupted, made, passed_over, trained

LONG = "GATEWISE_TEST_STEPS" in os.environ
STEPS = int(os.environ.get("GATEWISE_TEST_STEPS", "3"))
SPREAD = {name: case for name, case in CASES.items() if case[2].get("experts") != "list"}
SPREAD["experts that do not divide, behind a trunk"] = (
    "jensen",
    {"estimator": "score-function"},
    {"experts": 5, "trunk": True},
)
LAYOUTS = {"1 × 4": (1, 4), "2 × 2": (2, 2), "1 × 2": (1, 2)}
"""The last one is of two of the processes, by themselves."""
UNEVEN = "experts that do not divide, behind a trunk"
OTHERS = tuple(case for case in SPREAD if not case.startswith("jensen, "))
TRAINED = {
    "1 × 4": (*SPREAD,) if LONG else (*(case for case in SPREAD if case not in OTHERS), UNEVEN),
    "2 × 2": (*SPREAD,) if LONG else OTHERS,
    "1 × 2": (*SPREAD,) if LONG else ("jensen, rebar", UNEVEN),
}
"""The cases of each layout: who sums what does not depend on the estimator, so all of them are tried on one only."""
GONE_ON = ("2 × 2", "1 × 2")
"""Layouts that go on with what two processes began."""
RUN = RunConfig(data="wine", experts=5, dropout=0, epochs=3, starts=1, patience=0)
"""A run that gives the same on any processes."""


def drawn(rank):
    """Rows of one process, and the expert that each asks for: of one process none, of one all ask for the last."""
    x = torch.randn((4, 0, 7, 2)[rank], 6, generator=torch.Generator().manual_seed(rank))
    index = torch.arange(len(x)).remainder(5)
    return x, torch.full_like(index, 4) if rank == 3 else index


def bank(**options):
    torch.manual_seed(5)
    return gw.MLPBank(5, 6, [8], 3, **options)


def asked(experts, ranks, twice=False):
    """Outputs for the rows of some processes, and the gradients of a function of them and of all experts' outputs."""
    rows = [drawn(rank) for rank in ranks]
    x = torch.cat([each for each, _ in rows]).requires_grad_()
    plan = experts.plan(torch.cat([index for _, index in rows])[None], x)
    outputs = plan.spread(plan.run(experts.grouped, x))[0]
    everything = experts(x)
    loss = outputs.square().sum() + everything.sin().sum()
    if twice:
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        loss = slope.square().sum()
    loss.backward()
    return outputs.detach(), everything.detach(), x.grad


def whole_gradient(parameter):
    """Of a spread parameter; a process without experts may have no second derivative."""
    own = parameter.to_local() if parameter.grad is None else parameter.grad.to_local()
    assert parameter.grad is not None or not len(own)
    return like(parameter, own.detach()).full_tensor()


def compared(mesh, rank, twice):
    """The same of experts that are spread; their gradients are whole."""
    experts = shard_experts(bank(strategy="segments"), mesh)
    answers = asked(experts, [rank], twice)
    gradients = [whole_gradient(parameter) for parameter in experts.parameters()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x, index = drawn(rank)
        plan = experts.plan(index[None], x)
        low = plan.run(experts.grouped, x)
    return [each.numpy() for each in (*answers, *gradients)], str(low.dtype)


def layered(rank, spread=lambda bank: bank, ranks=None):
    """What a layer makes of the tokens of some processes, one of which has none, and its experts' gradients."""
    torch.manual_seed(6)
    layer = gw.nn.MoELayer(6, experts=5, hidden=8, k=2)
    layer.experts = spread(layer.experts)
    x = torch.cat([drawn(other)[0] for other in ranks or [rank]])
    y, _ = layer(x)
    y.square().sum().backward()
    slopes = [whole_gradient(p) if ranks is None else p.grad for p in layer.experts.parameters()]
    return [each.detach() for each in (y, *slopes)]


def beside(rank, spread=lambda bank: bank, ranks=None):
    """Outputs where an expert of NaN is masked, and another one on some rows, with the gradients of x and the experts.

    One process has no rows, so nothing is masked there.
    """
    experts = bank()
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter[2] = torch.nan
    experts = spread(experts)
    x = torch.cat([drawn(other)[0] for other in ranks or [rank]]).requires_grad_()
    possible = torch.stack([x[:, 0] > 0, *[x[:, 0] < torch.inf] * 4], 1)
    possible[:, 2] = False
    outputs = experts.where(possible, x)
    outputs.square().sum().backward()
    slopes = [whole_gradient(p) if ranks is None else p.grad for p in experts.parameters()]
    return [each.detach() for each in (outputs, x.grad, *slopes)]


def refusal(mesh, group):
    """What is said of spread experts and checkpoints that one process writes."""
    mixture, objective, config = made("marginal", {}, {})
    try:
        fit(
            shard_experts(mixture, mesh), objective, blobs(), None, config, group=group, checkpoints=Checkpoints("none")
        )
    except gw.GatewiseError as error:
        return str(error)


def exampled():
    """The validation accuracy that the example prints."""
    path = Path(__file__).parents[2] / "examples" / "expert_parallel.py"
    return runpy.run_path(str(path))["main"](["--epochs", "3"])


def fully_sharded(rank, size):
    """Outputs, and weights after a step, of a mixture that FSDP shards, where each process routes to one expert only.

    The last process asks for none.
    """
    mixture, *_ = made("marginal", {}, {"experts": 5, "trunk": True})
    shard_mixture(mixture, init_device_mesh("cpu", (size,)))
    optimiser = torch.optim.SGD(mixture.parameters(), lr=0.5)
    x, y = (column[rank * 8 : rank * 8 + 8] for column in blobs(8 * size))
    found = []
    for _ in range(2):
        observed = mixture.observe(x, y)
        index = torch.full((1, 8), -1 if rank == size - 1 else rank)
        values = observed.at_index(index)
        (-values.mean()).backward()
        optimiser.step()
        optimiser.zero_grad()
        found.append(values.detach().numpy())
    state = {name: value.full_tensor().numpy() for name, value in mixture.state_dict().items()}
    return found, state


def one_for_all(size):
    """What `fully_sharded` gives, by one process."""
    mixture, *_ = made("marginal", {}, {"experts": 5, "trunk": True})
    optimiser = torch.optim.SGD(mixture.parameters(), lr=0.5)
    x, y = blobs(8 * size)
    index = torch.arange(size).repeat_interleave(8)
    index[-8:] = -1
    found = []
    for _ in range(2):
        values = mixture.observe(x, y).at_index(index[None])
        (-values.mean()).backward()
        optimiser.step()
        optimiser.zero_grad()
        found.append(values.detach())
    return found, mixture.state_dict()


def resumed(folder, layouts, rank):
    """The weights of trainings that go on, on other processes, from where two of them stopped; by the layout."""
    first, two = layouts["1 × 2"]
    if rank < 2:
        interrupted(ShardedCheckpoints(folder / "two", first), first, at=7, mesh=two)
    if rank == 0:
        for name in GONE_ON:
            shutil.copytree(folder / "two", folder / name)
    dist.barrier()
    found = {}
    for name in GONE_ON:
        group, mesh = layouts[name]
        if rank < group.size:
            found[name] = interrupted(ShardedCheckpoints(folder / name, group), group, mesh=mesh)
    group, mesh = layouts["1 × 4"]
    interrupted(ShardedCheckpoints(folder / "four", group), group, at=7, mesh=mesh)
    return {name: {key: value.numpy() for key, value in state.items()} for name, state in found.items()}


def went_on(folder, rank):
    """A run whose experts are spread, stopped after 3 steps, kept as it was then, and gone on with."""
    calls = iter(range(1, 100))
    train(RUN.model_copy(update={"expert_parallel": 2}), folder / "run", should_stop=lambda: next(calls) == 3)
    if rank == 0:
        shutil.copytree(folder / "run", folder / "stopped")
    dist.barrier()
    return resume(folder / "run").summary["test"]


def predicted(folder, group, mesh):
    """What the model predicts that a checkpoint holds, and the shares of experts that this process has read."""
    mixture, *_ = made("marginal", {}, {})
    if mesh is not None:
        shard_experts(mixture, mesh)
    named = {f"mixture.{name}": parameter for name, parameter in mixture.named_parameters()}
    checkpoint, problems = ShardedCheckpoints(folder, group).latest(named.get)
    assert not problems
    tensors = checkpoint.tensors.items()
    of_mixture = {name.removeprefix("mixture."): one for name, one in tensors if name.startswith("mixture.")}
    mixture.load_state_dict(of_mixture)
    whole = mixture if mesh is None else gather_experts(mixture)
    return whole.predict_proba(blobs(30)[0])


def work(rank, size, port, folder, sent):
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=size)
    group, wide = Group(rank, size), expert_mesh(experts=4)
    two = DeviceMesh("cpu", torch.tensor([[0, 1]]), mesh_dim_names=("data", "experts"))
    layouts = {
        "1 × 4": (group, wide),
        "2 × 2": (group, expert_mesh(data=2)),
        "1 × 2": (Group(rank, 2, dist.new_group([0, 1])), two),
    }
    states = {}
    for name, (of, mesh) in layouts.items():
        for case in TRAINED[name] if rank < of.size else ():
            found = trained(SPREAD[case], of, mesh, STEPS)
            states[name, case] = {key: value.numpy() for key, value in found.items()}
    found = {
        "states": states,
        "answers": [compared(layouts[name][1], rank, twice) for name in ("1 × 4", "2 × 2") for twice in (False, True)],
        "layer": [each.numpy() for each in layered(rank, lambda bank: shard_experts(bank, wide))],
        "beside": [each.numpy() for each in beside(rank, lambda bank: shard_experts(bank, wide))],
        "passed over": passed_over(group, wide),
        "refusal": refusal(wide, group),
        "example": exampled(),
        "fsdp": fully_sharded(rank, size),
        "resumed": resumed(folder, layouts, rank),
        "predicted": predicted(folder / "four", group, wide).numpy(),
        "run": went_on(folder, rank),
    }
    dist.destroy_process_group()
    sent.put((rank, found))
