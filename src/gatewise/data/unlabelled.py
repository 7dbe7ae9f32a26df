"""Rows without a target: what stands for a missing one, and leaving such rows out, counted."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from gatewise.data.columns import as_numbers, label_text, labels_there
from gatewise.data.labels import spelled
from gatewise.data.missing_values import MAY_BE_CLASSES
from gatewise.data.number_format import PLAIN, FormatEvidence, NumberFormat
from gatewise.data.read_options import Form
from gatewise.data.readings import Place, Reading, missing_setting, reading_of
from gatewise.data.records import Records
from gatewise.data.target_columns import joined
from gatewise.errors import GatewiseError
from gatewise.wording import shown

NO_NUMBER = "what is no number"
"""Stands among the texts that are missing, where a column was said to be of numbers."""
LINES = 3
"""First lines of rows without a target that are named."""


@dataclass(frozen=True)
class Target:
    """How a column of the target is read.

    Attributes:
        marks: the texts that stand for a missing label.
        reading: of its numbers, where it is of text; None: there is nothing to say.
        format: of its numbers; None: it is not of numbers, or of a model that knows.
        kept: texts that are labels though they stand for a missing value elsewhere, with their rows.
    """

    marks: frozenset[str]
    reading: Reading | None = None
    format: NumberFormat | None = None
    kept: Mapping[str, int] = field(default_factory=dict)

    def absent(self, labels: pl.Series) -> pl.Series:
        """Which labels are missing."""
        found = labels.is_in([*self.marks])
        if self.format is not None and self.format.loose:
            found |= self.format.read(labels).is_null()
        return found


class TargetEvidence:
    """What the labels of one column tell of how they are read, in parts.

    Args:
        column: as the source has it, for its name and type.
        form: what the user says.
        missing: the texts that are missing values.
    """

    def __init__(self, column: pl.Series, form: Form, missing: Sequence[str]):
        self.name, self.form, self.missing = column.name, form, missing
        self.typed = column.dtype.is_numeric()
        every = form.missing_target != "class"
        self.marks = frozenset({"", *(each.strip() for each in missing if every)})
        if self.typed:
            self.marks = _with_floats(self.marks)
        self.further = frozenset(form.missing_numbers if every and not self.typed else ())
        self.evidence = FormatEvidence("." if self.typed else form.decimal)
        self.met: Counter[str] = Counter()
        self.rows = 0

    def add(self, labels: pl.Series) -> None:
        """Take in further labels, text with "" for a missing one."""
        marked = labels.is_in([*(self.marks | self.further)])
        self.met.update(labels.filter(marked).to_list())
        if not self.typed:
            self.evidence.add(labels.set(marked, None).alias(self.name), self.rows)
        self.rows += len(labels)

    def result(self, place: Place) -> Target:
        """How the column is read.

        Raises:
            GatewiseError: as `reading_of` does.
        """
        if self.typed:
            return Target(self.marks, format=PLAIN)
        reading = reading_of(self.name, self.rows, self.evidence, self.form, self.missing, place, target=True)
        if reading is not None and reading.format is not None:
            return Target(self.marks | self.further, reading, reading.format)
        kept = {text: count for text, count in self.met.items() if text in self.further & MAY_BE_CLASSES}
        return Target(self.marks | (self.further - MAY_BE_CLASSES), reading, kept=kept)


def further_target(column: pl.Series, form: Form, missing: Sequence[str]) -> Target:
    """How a column of the target is read in a file of further rows."""
    written = PLAIN if column.dtype.is_numeric() else form.target_format
    if form.missing_target == "class":
        return Target(frozenset({""}), format=written)
    every = {"", *(each.strip() for each in missing), *form.missing_numbers}
    marks = every - MAY_BE_CLASSES if form.classes is None else every - form.classes
    # what was -999 in one file may be -999.0 in another
    return Target(_with_floats(marks) if written is not None else frozenset(marks), format=written)


def with_labels(records: Records, columns: pl.DataFrame | None, form: Form, place: Place, require: bool) -> Records:
    """Rows with their labels: see `labelled`; all rows where none are required, with labels if all have one."""
    if columns is None:
        return records
    if require:
        return labelled(records, columns, form, place, whole=form.classes is None)
    return replace(records, labels=labels_there(columns, place), target=joined(columns.columns))


def labelled(records: Records, columns: pl.DataFrame, form: Form, place: Place, *, whole: bool) -> Records:
    """Rows with their labels, str objects, without those that have none.

    They are as written, but those of the whole each in one spelling: see `gatewise.data.labels.spelled`.

    Args:
        records: rows whose labels are not there yet.
        columns: of the target.
        form: what the user says.
        place: of rows.
        whole: whether these are all rows, which tell how the target is written, or further ones.

    Raises:
        GatewiseError: for a type that is no label, for rows without one where they are an error, and where no row of
            the whole has one.
    """
    texts = [label_text(column, place) for column in columns.iter_columns()]
    targets = []
    for column, text in zip(columns.iter_columns(), texts, strict=True):
        if whole:
            evidence = TargetEvidence(column, form, records.missing)
            evidence.add(text)
            targets.append(evidence.result(place))
        else:
            targets.append(further_target(column, form, records.missing))
    absent, counts = absent_rows(texts, targets)
    if whole and form.reading > 1:
        texts = [spelled(text.set(pl.Series(absent), "")) for text in texts]
    labels = np.stack([np.array(text.to_list(), dtype=object) for text in texts], axis=1)
    labels = labels[:, 0] if len(texts) == 1 else labels
    told = {target.name: each for target, each in zip(texts, targets, strict=True)}
    found = replace(records, labels=labels, target=joined(columns.columns), targets=told)
    if not counts:
        return found
    if whole:
        check_unlabelled(records.name, counts, len(records), np.flatnonzero(absent), place, form)
    numbered = replace(found, numbers=range(1, len(records) + 1)) if records.numbers is None else found
    return replace(numbered.take(np.flatnonzero(~absent)), unlabelled=counts)


def absent_rows(texts: Sequence[pl.Series], targets: Sequence[Target]) -> tuple[np.ndarray, dict[str, int]]:
    """Which rows lack a label, bool `[N]`, and how many for which text, the first of several."""
    absent, counts = np.zeros(len(texts[0]), dtype=bool), Counter()
    for labels, target in zip(texts, targets, strict=True):
        here = target.absent(labels).to_numpy() & ~absent
        words = labels.filter(pl.Series(here)).to_list()
        counts.update(word if word in target.marks else NO_NUMBER for word in words)
        absent |= here
    return absent, dict(counts.most_common())


def check_unlabelled(
    name: str, counts: Mapping[str, int], rows: int, first: Sequence[int] | np.ndarray, place: Place, form: Form
) -> None:
    """Raises GatewiseError where rows without a target are an error, or all rows are without; `first` are such rows."""
    total = sum(counts.values())
    lines = ", ".join(place(int(row)).removeprefix(f"{name}, ") for row in first[:LINES])
    more = ", …" if total > LINES else ""
    if total == rows:
        raise GatewiseError(f"{name}: none of {rows} rows has a target ({_texts(counts)}); give rows with labels")
    if form.missing_target == "error":
        raise GatewiseError(
            f"{name}: {total} of {rows} rows have no target ({_texts(counts)}), {lines}{more}; fill them in, drop "
            "them, or leave them out with --set missing_target=drop"
        )


def said_of_rows(counts: Mapping[str, int]) -> str:
    """What is said of rows that were left out: nothing where there were none."""
    total = sum(counts.values())
    return f"Left out {total} row{'s' * (total != 1)} without a target ({_texts(counts)})" if total else ""


def said_of_unlabelled(counts: Mapping[str, int], targets: Mapping[str, Target], missing: Sequence[str]) -> str | None:
    """Of rows that training left out, and of labels that may stand for a missing one; None: there is nothing to say."""
    told = []
    if counts:
        texts = any(target.format is None for target in targets.values())
        classes = [text for text in counts if texts and text not in ("", NO_NUMBER)]
        keep = "; --set missing_target=class takes what is not empty for a class" if classes else ""
        told.append(f"{said_of_rows(counts)}; --set missing_target=error refuses them{keep}.")
    for name, target in targets.items():
        # + and - are labels
        if kept := {text: count for text, count in target.kept.items() if text != "-"}:
            rows = ", ".join(f"{shown(text)} in {count} row{'s' * (count > 1)}" for text, count in kept.items())
            told.append(
                f"Taken for a class of {shown(name)}: {rows}; where that stands for a missing target, train with "
                f"{missing_setting(missing, kept)}."
            )
    return " ".join(told) or None


def _with_floats(marks: Collection[str]) -> frozenset[str]:
    """The texts, and those of them that are numbers also as a number is written that is stored as a float."""
    return frozenset(marks) | {str(float(text)) for text in marks if as_numbers(pl.Series([text]), None)[0] is not None}


def _texts(counts: Mapping[str, int]) -> str:
    """ "7 empty, 5 'NA'"."""
    words = {"": "empty", NO_NUMBER: NO_NUMBER}
    return ", ".join(f"{count} {words.get(text, shown(text))}" for text, count in counts.items())


class Labelled:
    """Parts of rows that have labels, and afterwards how many were left out as they have none.

    Args:
        parts: as a reader gives them.

    Attributes:
        unlabelled: rows left out, by what stood there.
    """

    def __init__(self, parts: Iterable[Records]):
        self.parts = parts
        self.unlabelled: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Records]:
        there, name = 0, ""
        for part in self.parts:
            self.unlabelled.update(part.unlabelled)
            there, name = there + len(part), part.name
            if len(part):
                yield part
        if not there:
            total = self.unlabelled.total()
            check_unlabelled(name, self.unlabelled, total, (), str, Form())
