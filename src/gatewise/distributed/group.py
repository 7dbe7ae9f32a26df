"""The processes that train together, as torchrun starts them, and what they tell each other."""

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from gatewise.errors import GatewiseError

T = TypeVar("T")

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others, such as while the first one writes the report."""


class LostProcess(RuntimeError):
    """Another process of the training has ended, so that this one cannot go on."""


class Group:
    """The processes of one training, or the one that trains alone.

    All of them call the same methods in the same order; each answer is the same on all, to the bit.

    Args:
        rank: which of them this is, from 0; the first one writes files and speaks to the user.
        size: how many there are.
        handle: torch's process group of them; None is that of all processes.
    """

    def __init__(self, rank: int = 0, size: int = 1, handle: dist.ProcessGroup | None = None):
        self.rank, self.size, self.handle = rank, size, handle

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def share(self, count: int) -> tuple[int, int]:
        """The first of so many things that is this process's, and how many are: equal shares, the first ones longer."""
        each, more = divmod(count, self.size)
        return self.rank * each + min(self.rank, more), each + (self.rank < more)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes; the tensor itself where there is one."""
        if self.size == 1:
            return tensor
        whole = tensor.detach().clone()
        with _noticed():
            dist.all_reduce(whole, group=self.handle)
        return whole

    def any(self, flag: bool) -> bool:
        """Whether it is true on any process."""
        return flag if self.size == 1 else bool(self.sum(torch.tensor([float(flag)])))

    def gathered(self, value: T) -> list[T]:
        """What each process gives, in their order."""
        if self.size == 1:
            return [value]
        found: list[T | None] = [None] * self.size
        with _noticed():
            dist.all_gather_object(found, value, group=self.handle)
        return found  # pyrefly: ignore[bad-return]

    def of_leader(self, make: Callable[[], T]) -> T:
        """What the first process makes, on all of them.

        Raises:
            GatewiseError: on all, where the first one does.
        """
        with self.agreed():
            made = make() if self.leads else None
        return self.gathered(made)[0]  # pyrefly: ignore[bad-return]

    @contextlib.contextmanager
    def agreed(self) -> Iterator[None]:
        """A block that ends on all processes, or raises the same on all: none waits for one that has given up.

        Raises:
            GatewiseError: the first that any of them raised.
        """
        error = None
        try:
            yield
        except GatewiseError as raised:
            error = raised
        said = next((text for text in self.gathered(None if error is None else str(error)) if text is not None), None)
        if error is not None:
            raise error
        if said is not None:
            raise GatewiseError(said)


ALONE = Group()
"""The process that trains without others."""


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """The group of the processes that torchrun started, joined for the time of a block; alone where it did not.

    A process group that is there already is used and left.

    Args:
        device: that they train on: NCCL carries what lies on CUDA, gloo what lies on the CPU.

    Raises:
        GatewiseError: if the processes do not find each other.
        LostProcess: if another one ended.
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
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise GatewiseError(f"the processes did not find each other ({reason}); start them by torchrun") from None
    try:
        with _noticed():
            yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """The device of this process: of several GPUs that of its number on the machine."""
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    return device


def is_leader() -> bool:
    """Whether this process is the first that torchrun started, or was not started by it."""
    return not launched() or os.environ.get("RANK", "0") == "0"


def launch_name(again: bool = False) -> str | None:
    """What torchrun calls this start of processes, the same however often it starts them again; None without it.

    Args:
        again: None too where it has not started them again, after one failed.
    """
    if not launched() or (again and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"):
        return None
    return os.environ["TORCHELASTIC_RUN_ID"]


def launched() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextlib.contextmanager
def _noticed() -> Iterator[None]:
    """Tell the failure of another process from one of this."""
    try:
        yield
    except GatewiseError:
        raise
    except RuntimeError as error:
        if isinstance(error, LostProcess) or not (isinstance(error, dist.DistError) or "gloo" in str(error).lower()):
            raise
        raise LostProcess("another process of this training has ended; what it said tells why") from error
