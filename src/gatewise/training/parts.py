"""The rows of a run: read in the form that the configuration says, and split."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gatewise.data import BUNDLED, Classes, Form, Records, Source, read, split
from gatewise.data.targets import guess_head
from gatewise.training.config import RunConfig
from gatewise.training.kinds import KINDS


@dataclass(frozen=True)
class Parts:
    """The rows of a run, apart; test is None where none were kept.

    `head` is what the target is, and `guessed` says why where that could be otherwise.
    """

    train: Records
    validation: Records
    test: Records | None
    whole: Records
    head: str = "categorical"
    guessed: str | None = None


def read_parts(config: RunConfig) -> Parts:
    """Read the data of a run and split them as its seed says.

    Raises:
        GatewiseError: for data that cannot be read or split.
    """
    source = read(config.data, config.target, missing=config.missing, form=config.form)
    rows, test = source.records, source.test
    if config.test is not None:
        form = form_of_rows(config, len(rows.columns or []), rows.features.shape[1:])
        test = asked_for(read(config.test, rows.target or config.target, missing=config.missing, form=form))
    sets = rows.known_label_sets()
    guess = guess_head(sets if sets.shape[1] > 1 else sets[:, 0])
    head, guessed = guess if config.head is None else (config.head, None)
    if head in KINDS:
        KINDS[head].described(head, rows, rows)  # what does not fit is refused first
        labels = np.zeros(len(rows), dtype=int)  # they have no classes to be split by
    else:
        labels = rows.known_labels()
        Classes.from_labels(labels, rows.name)
    size = 0.0 if test is not None else config.test_size
    kept = split(labels, test_size=size, validation_size=config.validation_size, seed=config.seed)
    if test is None and len(kept.test):
        test = rows.take(kept.test)
    return Parts(rows.take(kept.train), rows.take(kept.validation), test, rows, head, guessed)


def form_of_rows(config: RunConfig, columns: int, shape: tuple[int, ...]) -> Form:
    """How further rows are read: images as those that were trained on, a table without a header by its width.

    Args:
        config: of the run.
        columns: of its table, without the label.
        shape: of one row as read, an image's `(C, H, W)`.
    """
    form = replace(config.form, features=columns)
    if len(shape) != 3:
        return form
    return replace(form, image_size=(shape[1], shape[2]), image_mode="grey" if shape[0] == 1 else "rgb")


def asked_for(source: Source) -> Records:
    """The rows of a file that is there to be evaluated or predicted: its test rows where it has its own."""
    return source.records if source.test is None else source.test


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """So that the configuration kept in the run folder finds its files from anywhere."""
    paths = {"data": config.data, "test": config.test}
    found = {key: str(Path(path).resolve()) for key, path in paths.items() if path and path not in BUNDLED}
    if config.start_from is not None:
        found["start_from"] = str(Path(config.start_from).resolve())
    return config.model_copy(update=found)
