"""The rendezvous of processes, however often they were started before."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import torch
import torch.distributed as dist

from gatewise.distributed.group import ALONE, Group, lost_process_errors
from gatewise.distributed.launch_env import LAUNCH, RESTART, launched
from gatewise.errors import GatewiseError

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others, such as while the first one writes the report."""
MEETING = timedelta(minutes=10)
"""How long it waits for them to be there at all."""
PAUSE = 0.02
"""Seconds between two looks at who is there."""


@contextlib.contextmanager
def join_processes(device: torch.device, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Group]:
    """The group of the processes that torchrun started, joined for the time of a block; alone where it did not.

    A process group that is there already is used and left.

    Args:
        device: that they train on: NCCL carries what lies on CUDA, gloo what lies on the CPU.
        should_stop: asked while the others are waited for.

    Raises:
        GatewiseError: if the processes do not find each other.
        LostProcess: if another one ended.
        KeyboardInterrupt: if it is to stop before the others are there.
    """
    if dist.is_available() and dist.is_initialized():
        yield Group(dist.get_rank(), dist.get_world_size())
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield ALONE
        return
    if device.type == "mps":
        raise GatewiseError("several processes train on the CPU or on CUDA, not on mps; use --device cpu")
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=MEETING))  # pyrefly: ignore[not-callable]
        name = meet(store, rank, size, should_stop)
        launch, restarted = _launch_of(store, rank)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        store = dist.PrefixStore(name, store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise GatewiseError(f"the processes did not find each other ({reason}); start them by torchrun") from None
    try:
        with lost_process_errors():
            yield Group(rank, size, launch=launch, restarted=restarted)
    finally:
        dist.destroy_process_group()


def meet(store: dist.Store, rank: int, size: int, should_stop: Callable[[], bool] = lambda: False) -> str:
    """A name for the processes that are here now, the same on all, under which the store holds nothing yet.

    torchrun starts processes again beside the same store. What it holds from those before are addresses at which
    nobody listens any more, and torchrun's count of restarts differs from machine to machine. So the first process
    makes a name up, and the others are known by words that they have made up: one that reads the name of former
    processes does not find its own word among those that met under it, and looks again.

    Args:
        store: that all of them see.
        rank: which of them this is.
        size: how many there are.
        should_stop: asked while the others are waited for.

    Raises:
        RuntimeError: if they are not all there in time.
        KeyboardInterrupt: if it is to stop.
    """
    mine, deadline = secrets.token_hex(8), time.monotonic() + MEETING.total_seconds()

    def until(done: Callable[[], bool]) -> None:
        while not done():
            if should_stop():
                raise KeyboardInterrupt
            if time.monotonic() > deadline:
                raise RuntimeError(f"not all of {size} came in {MEETING}")
            time.sleep(PAUSE)

    if rank == 0:
        store.set("gatewise/name", mine)
        words = [f"gatewise/{mine}/{other}" for other in range(1, size)]
        until(lambda: store.check(words))
        store.set(f"gatewise/{mine}/met", " ".join(store.get(word).decode() for word in words))
        return mine

    def among_them() -> bool:
        if not store.check(["gatewise/name"]):
            return False
        name = store.get("gatewise/name").decode()
        store.set(f"gatewise/{name}/{rank}", mine)
        met = f"gatewise/{name}/met"
        found.append(name)
        return store.check([met]) and mine in store.get(met).decode().split()

    found: list[str] = []
    until(among_them)
    return found[-1]


def local_device(device: torch.device) -> torch.device:
    """The device of this process: of several GPUs that of its number on the machine."""
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    return device


def _launch_of(store: dist.Store, rank: int) -> tuple[str | None, bool]:
    """The name of the launch that the first process belongs to, and whether others came before it in it."""
    if rank or not launched():
        return None, False
    if name := os.environ.get(LAUNCH):
        return name, os.environ.get(RESTART, "0") != "0"
    mine = secrets.token_hex(8)
    name = store.compare_set("gatewise/launch", "", mine).decode()  # the store lasts as long as torchrun
    return name, name != mine
