"""The processes that train together, and what they tell each other."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from gatewise.errors import GatewiseError, LostProcess

T = TypeVar("T")


class Group:
    """The processes of one training, or the one that trains alone.

    All of them call the same methods in the same order; each answer is the same on all, to the bit.

    Args:
        rank: which of them this is, from 0; the first one writes files and speaks to the user.
        size: how many there are.
        handle: torch's process group of them; None is that of all processes.
        launch: the first process's name for the launch that they belong to, the same however often they are started
            again in it; None on others, and where nobody would start them again.
        restarted: whether they were started again; known to the first process.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        handle: dist.ProcessGroup | None = None,
        launch: str | None = None,
        restarted: bool = False,
    ):
        self.rank, self.size, self.handle = rank, size, handle
        self.launch, self.restarted = launch, restarted

    @property
    def is_leader(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def share(self, count: int) -> tuple[int, int]:
        """The first of so many things that is this process's, and how many are: equal shares, the first ones longer."""
        each, more = divmod(count, self.size)
        return self.rank * each + min(self.rank, more), each + (self.rank < more)

    def all_reduce(self, tensor: Tensor) -> None:
        """Make a contiguous tensor its sum over all processes."""
        if self.size > 1:
            with lost_process_errors():
                dist.all_reduce(tensor, group=self.handle)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes; the tensor itself where there is one."""
        return self.start_sum(tensor)()

    def start_sum(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Begin the sum over all processes, as `sum` makes it; what is returned waits for it."""
        if self.size == 1:
            return lambda: tensor
        whole = tensor.detach().clone(memory_format=torch.contiguous_format)
        with lost_process_errors():
            work = dist.all_reduce(whole, group=self.handle, async_op=True)

        def wait() -> Tensor:
            with lost_process_errors():
                work.wait()
            return whole

        return wait

    def broadcast(self, tensor: Tensor) -> None:
        """Make a tensor that of the first process."""
        if self.size > 1:
            with lost_process_errors():
                whole = tensor.contiguous()
                dist.broadcast(whole, group=self.handle, group_src=0)
                if whole is not tensor:
                    tensor.copy_(whole)

    def any(self, flag: bool) -> bool:
        """Whether it is true on any process."""
        return flag if self.size == 1 else bool(self.sum(torch.tensor([float(flag)])))

    def all_gather(self, value: T) -> list[T]:
        """What each process gives, in their order."""
        if self.size == 1:
            return [value]
        found: list[T | None] = [None] * self.size
        with lost_process_errors():
            dist.all_gather_object(found, value, group=self.handle)
        return found  # pyrefly: ignore[bad-return]

    def from_leader(self, make: Callable[[], T]) -> T:
        """What the first process makes, on all of them.

        Raises:
            GatewiseError: on all, where the first one does.
        """
        with self.raise_together():
            made = make() if self.is_leader else None
        return self.all_gather(made)[0]  # pyrefly: ignore[bad-return]

    @contextlib.contextmanager
    def raise_together(self) -> Iterator[None]:
        """A block that ends on all processes, or raises the same on all: none waits for one that has given up.

        Raises:
            GatewiseError: the first that any of them raised.
        """
        error = None
        try:
            yield
        except GatewiseError as raised:
            error = raised
        said = next((text for text in self.all_gather(None if error is None else str(error)) if text is not None), None)
        if error is not None:
            raise error
        if said is not None:
            raise GatewiseError(said)


ALONE = Group()
"""The process that trains without others."""


@contextlib.contextmanager
def lost_process_errors() -> Iterator[None]:
    """Tell the failure of another process from one of this.

    Raises:
        LostProcess: where torch says in its own words that another one ended.
    """
    try:
        yield
    except GatewiseError:
        raise
    except RuntimeError as error:
        if isinstance(error, LostProcess) or not (isinstance(error, dist.DistError) or "gloo" in str(error).lower()):
            raise
        raise LostProcess("another process of this training has ended; what it said tells why") from error
