"""Checkpoints that all processes write and read together, each what it has: complete or absent, without pickle.

torch's distributed checkpoints (DCP) in files of safetensors, one a process, whose headers say where in a whole tensor
each part stands; so what some processes wrote, others, more or fewer, can read. Nothing in the folder is unpickled: the
storage of DCP that has a pickle, `.metadata`, is not used.
"""

import contextlib
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from gatewise.distributed import ALONE, Group
from gatewise.distributed.dtensor import is_sharded, like, local
from gatewise.errors import GatewiseError
from gatewise.training.checkpoints.folder import (
    MANIFEST,
    STATE,
    Checkpoint,
    Checkpoints,
    ParameterOf,
    begin,
    finish,
    flushed,
    removing_half,
    said_of,
    state_of,
)

FORMAT = 2
NAME = re.compile(r"shard-[0-9]{5}-model-00001-of-00001\.safetensors")


class ShardedCheckpoints(Checkpoints):
    """The checkpoints of a training whose experts are spread over processes, in a folder that all of them see.

    Each process writes the experts that it holds, with their best weights and their moments; what all of them have is
    written once. Reading gives each process its part of what is spread now, however it was spread when it was written,
    over one process as well.

    Args:
        folder: is made by the first checkpoint.
        group: the processes, which call every method together.
    """

    collective = True

    def __init__(self, folder: Path, group: Group = ALONE):
        super().__init__(folder)
        self.group = group

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write one, and remove those that are older than the last `KEPT`.

        Raises:
            GatewiseError: on all, if one of them cannot write; what was there stays.
        """
        path, part = self.places(checkpoint.step)
        with self.group.raise_together(), removing_half(path, part):
            if self.group.is_leader:
                begin(part)
        with self.group.raise_together(), removing_half(path, part):
            _written(checkpoint.tensors, part, self.group)
            own = {file.name: flushed(file) for file in part.glob(f"shard-{self.group.rank + 1:05d}-*")}
        hashes = {name: digest for each in self.group.all_gather(own) for name, digest in each.items()}
        with self.group.raise_together(), removing_half(path, part):
            if self.group.is_leader:
                finish(path, part, checkpoint, hashes, FORMAT)
                self.forget_others(path)
        return path

    def latest(self, parameter_of: ParameterOf = lambda _: None) -> tuple[Checkpoint | None, list[str]]:
        """The newest one that is whole: see `Checkpoints.latest`."""
        problems = []
        for name in self.group.from_leader(lambda: [path.name for path in self.paths()]):
            try:
                return self._read(self.folder / name, parameter_of), problems
            except GatewiseError as error:
                problems.append(str(error))
        return None, problems

    def _read(self, path: Path, parameter_of: ParameterOf) -> Checkpoint:
        """A checkpoint whose files are those that the manifest names, which the first process looks at.

        Raises:
            GatewiseError: on all, if it is not whole, or not one at all.
        """

        def state() -> tuple[int, dict[str, Any]]:
            with said_of(path):
                return state_of(path, _shards(path), FORMAT)

        step, found = self.group.from_leader(state)
        with self.group.raise_together(), said_of(path):
            return Checkpoint(step, _tensors(path, parameter_of, self.group), found)


def _shards(path: Path) -> list[str]:
    """The names of a checkpoint's files of tensors.

    Raises:
        GatewiseError: if there are other files.
    """
    names = sorted(file.name for file in path.iterdir() if file.name not in (MANIFEST, STATE))
    if other := [name for name in names if not NAME.fullmatch(name)]:
        raise GatewiseError(f"{other[0]} does not belong there")
    return names


def _written(tensors: dict[str, Tensor], part: Path, group: Group) -> None:
    """Write this process's part of the tensors.

    Raises:
        OSError: on all, if one of them cannot.
    """
    writer = dcp.HuggingFaceStorageWriter(str(part), save_distributed=True)
    planner = DefaultSavePlanner(dedup_save_to_lowest_rank=True)
    with _alone(group):
        try:
            dcp.save(
                tensors, storage_writer=writer, planner=planner, process_group=group.handle, no_dist=group.size == 1
            )
        except CheckpointException as failed:
            error, _ = next(iter(failed.failures.values()))
            raise OSError(getattr(error, "strerror", None) or str(error)) from None


def _tensors(path: Path, parameter_of: ParameterOf, group: Group) -> dict[str, Tensor]:
    """What this process reads.

    Raises:
        ValueError: if the parts of a tensor do not make it up.
    """
    reader = dcp.HuggingFaceStorageReader(str(path))
    try:
        saved = reader.read_metadata().state_dict_metadata
        tensors = {name: _room(name, about, parameter_of(name)) for name, about in saved.items()}
    except (RuntimeError, OverflowError) as error:  # of what the headers say
        raise ValueError(str(error)) from None
    with _alone(group):
        try:
            dcp.load(tensors, storage_reader=reader, process_group=group.handle, no_dist=group.size == 1)
        except CheckpointException as failed:
            error, _ = next(iter(failed.failures.values()))
            raise ValueError(str(error)) from None
    return tensors


def _room(name: str, about: Any, parameter: Tensor | None) -> Tensor:
    """Where a tensor is read to: spread as its parameter is."""
    # what the headers say of places is not bounded by the files' sizes, but the parts are
    there = isinstance(about, TensorStorageMetadata) and sum(math.prod(chunk.sizes) for chunk in about.chunks)
    if there != math.prod(about.size):
        raise ValueError(f"the parts of {name} leave holes or overlap")
    dtype = about.properties.dtype
    if parameter is None or not is_sharded(parameter) or parameter.shape != about.size:
        return torch.zeros(about.size, dtype=dtype)
    return like(parameter, torch.zeros_like(local(parameter.detach()), dtype=dtype))


@contextlib.contextmanager
def _alone(group: Group) -> Iterator[None]:
    """Without the warning that there is no process group, where there is to be none."""
    with warnings.catch_warnings():
        if group.size == 1:
            warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield
