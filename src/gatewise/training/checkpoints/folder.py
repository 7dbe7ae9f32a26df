"""Checkpoints on disk: complete or absent, checked by hash, without pickle.

A checkpoint is a folder of its own with tensors in safetensors, everything else in JSON, and a manifest of their
SHA-256. It is written under a temporary name beside its place, its files are flushed to disk, it is renamed, and the
folder around it is flushed: a process that is killed at any moment leaves either the checkpoint or none.
"""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.files import check_regular, made, read_text, set_mode
from gatewise.parsing import parse_json

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
FORMAT = 1
KEPT = 2
"""Checkpoints that are kept: the last, and one to fall back on."""
UNFINISHED = ".unfinished-"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after a step.

    Attributes:
        step: optimiser steps taken.
        tensors: by name, on the CPU.
        state: what JSON can hold.
    """

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


ParameterOf = Callable[[str], Tensor | None]
"""The parameter of a model that a tensor of a checkpoint belongs to, by the tensor's name."""


class Checkpoints:
    """The checkpoints of one training, in a folder.

    Args:
        folder: is made by the first checkpoint.

    Attributes:
        collective: whether all processes of a training write and read them, and not the first one for all.
    """

    collective = False

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write one, which is then the newest, and remove those that are older than the last `KEPT`.

        Raises:
            GatewiseError: if it cannot be written; what was there stays.
        """
        path, part = self.places(checkpoint.step)
        with removing_half(path, part):
            begin(part)
            mode = made(part / TENSORS)
            save_file({name: value.contiguous() for name, value in checkpoint.tensors.items()}, part / TENSORS)
            set_mode(part / TENSORS, mode)
            finish(path, part, checkpoint, {TENSORS: flushed(part / TENSORS)}, FORMAT)
        self.forget_others(path)
        return path

    def places(self, step: int) -> tuple[Path, Path]:
        """Where the checkpoint of a step is, and where it is while it is not whole."""
        path = self.folder / f"step-{step:012d}"
        return path, self.folder / f"{UNFINISHED}{path.name}"

    def forget_others(self, path: Path) -> None:
        """Remove those that are older than the last `KEPT` up to this one, and later ones, of a start that is over."""
        later = [other for other in self.paths() if other.name > path.name]
        for other in (*later, *itertools.islice(self.paths(), KEPT + len(later), None)):
            shutil.rmtree(other, ignore_errors=True)

    def latest(self, parameter_of: ParameterOf = lambda _: None) -> tuple[Checkpoint | None, list[str]]:
        """The newest one that is whole, and a line about each newer one that is not; None where there is none.

        Args:
            parameter_of: says which tensors are to be read spread over processes, as their parameters are, where the
                checkpoints are sharded.
        """
        problems = []
        for path in self.paths():
            try:
                return _read(path), problems
            except GatewiseError as error:
                problems.append(str(error))
        return None, problems

    def clear(self) -> None:
        """Remove them all."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def paths(self) -> Iterator[Path]:
        """Newest first."""
        return iter(sorted(self.folder.glob("step-*"), reverse=True))


def _read(path: Path) -> Checkpoint:
    """A checkpoint whose files are those that the manifest names.

    Raises:
        GatewiseError: if it is not whole, or not one at all.
    """
    with said_of(path):
        step, state = state_of(path, [TENSORS], FORMAT)
        return Checkpoint(step, load_file(path / TENSORS), state)


@contextlib.contextmanager
def said_of(path: Path) -> Iterator[None]:
    """Make one line of what is wrong with a checkpoint.

    Raises:
        GatewiseError: that says it.
    """
    try:
        yield
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        reason = str(error) if isinstance(error, GatewiseError) else f"it is damaged ({error})"
        raise GatewiseError(f"the checkpoint {path} is not used: {reason}") from None


def state_of(path: Path, names: Sequence[str], written: int) -> tuple[int, dict[str, Any]]:
    """The step and the state of a checkpoint whose files are whole.

    Args:
        path: the checkpoint.
        names: of the files of tensors that it has to have; these are ours, whatever the manifest says.
        written: the format it has to be of.

    Raises:
        GatewiseError: if a file is not what the manifest says, or a link.
    """
    if any(file.is_symlink() for file in (path, *(path / name for name in (MANIFEST, STATE, *names)))):
        raise GatewiseError("it has a symbolic link in it")
    manifest = parse_json(read_text(path / MANIFEST))
    if not isinstance(manifest, dict) or manifest.get("format") != written:
        raise GatewiseError(f"it is not of format {written}")
    hashes = manifest.get("sha256", {})
    for name in (*names, STATE):
        check_regular(path / name)
        if hashes.get(name) != _sha256(path / name):
            raise GatewiseError(f"{name} is not what the manifest says")
    if missing := set(hashes) - {*names, STATE}:
        raise GatewiseError(f"{min(missing)} is missing")
    state = parse_json(read_text(path / STATE))
    if type(step := state.pop("step")) is not int:
        raise GatewiseError(f"its step is no number: {step!r}")
    return step, state


def begin(part: Path) -> None:
    """Make the folder that a checkpoint is written to under its temporary name, empty."""
    part.parent.mkdir(exist_ok=True)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()


def finish(path: Path, part: Path, checkpoint: Checkpoint, hashes: dict[str, str], written: int) -> None:
    """Write what a checkpoint has beside its tensors, and give it its name.

    Args:
        path: its name.
        part: where it is.
        checkpoint: with its state.
        hashes: of the files of tensors, which are on the disk.
        written: the format.
    """
    (part / STATE).write_text(json.dumps({"step": checkpoint.step, **checkpoint.state}), encoding="utf-8")
    hashes = hashes | {STATE: flushed(part / STATE)}
    (part / MANIFEST).write_text(json.dumps({"format": written, "sha256": hashes}), encoding="utf-8")
    flushed(part / MANIFEST)
    _flush_folder(part)
    shutil.rmtree(path, ignore_errors=True)  # of a training that went on from an older one
    part.rename(path)
    _flush_folder(part.parent)


@contextlib.contextmanager
def removing_half(path: Path, part: Path) -> Iterator[None]:
    """Make one line of what keeps a checkpoint from being written, and leave nothing of it.

    Raises:
        GatewiseError: that says it.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise GatewiseError(
            f"cannot write the checkpoint {path}: {reason}; the one before it, if any, is whole"
        ) from None


def flushed(path: Path) -> str:
    """The SHA-256 of a file that is on the disk when this returns."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_folder(path: Path) -> None:
    if os.name != "posix":
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
