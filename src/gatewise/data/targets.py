"""Targets that are numbers or several labels: told from classes, and read from the labels as they were written."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from gatewise.data.labels import Classes
from gatewise.data.number_format import PLAIN, NumberFormat
from gatewise.data.readings import Place, as_numbers_setting
from gatewise.data.records import Records
from gatewise.data.unlabelled import Target
from gatewise.errors import GatewiseError
from gatewise.wording import listing, shown

FEW = 20
"""Whole numbers of so few values are classes, where nothing else is said."""
FEW_FRACTIONS = 10
"""As `FEW`, of numbers with fractions."""
OFTEN = 8
"""Rows that each of many whole numbers 0, 1, 2, … or 1, 2, 3, … has where they are taken for classes."""
MOST_LABELS = 100_000
"""Different labels that are counted where rows are too many for memory."""


def guess_head(labels: np.ndarray, form: NumberFormat = PLAIN) -> tuple[str, str | None]:
    """What labels `[N]` call for, and a sentence on why where it could be otherwise; `form` is how numbers are written.

    It is "categorical" or "gaussian", or for several labels a row, `[N, L]`, "bernoulli".
    """
    if labels.ndim == 2 and labels.shape[1] > 1:
        return "bernoulli", None
    return guess_by_counts(*np.unique(labels.astype(str), return_counts=True), form=form)


def number_format_of(targets: Mapping[str, Target]) -> NumberFormat | None:
    """How the numbers of the one column of the target are written; None where nobody knows."""
    return next(iter(targets.values())).format if len(targets) == 1 else None


def check_mixed(name: str, targets: Mapping[str, Target], least: int = FEW) -> None:
    """Raises GatewiseError for a target of more than `least` numbers, and of something else besides."""
    for column, target in targets.items():
        reading = target.reading
        if reading is not None and reading.format is None and reading.numbers + reading.ranges > least:
            raise GatewiseError(
                f"{name}: {reading.numbers} of {reading.known} values of the target {shown(column)} are numbers, and "
                f"others are not: {', '.join(reading.others)}; for numbers, a range by its midpoint and without the "
                f"rows of what is none, train with {as_numbers_setting([column])}; for classes give --head categorical"
            )


def guess_by_counts(
    names: np.ndarray, counts: np.ndarray, more: bool = False, form: NumberFormat = PLAIN
) -> tuple[str, str | None]:
    """As `guess_head`, of the different labels of one column `[M]` and how many rows have each `[M]`.

    Where there are `more` than those that were counted, numbers are no classes. `form` is how they are written.
    """
    values = form.read(pl.Series(names.tolist(), dtype=pl.String)).to_numpy()
    if not np.isfinite(values).all():
        return "categorical", None
    whole = bool((values == np.round(values)).all())
    distinct = f"{'more than ' if more else ''}{len(values)} {'whole ' if whole else ''}numbers"
    if len(values) <= (FEW if whole else FEW_FRACTIONS):
        return "categorical", f"The target has {distinct}, taken for classes; for numbers give --head gaussian."
    if not whole:
        return "gaussian", f"The target has {distinct}, taken for numbers; for classes give --head categorical."
    others = "for classes --head categorical" if values.min() < 0 else (
        "for counts give --head poisson, for classes --head categorical"
    )  # fmt: skip
    numbered = values.min() in (0, 1) and values.max() - values.min() + 1 == len(values)
    if numbered and counts.min() >= OFTEN and not more:
        others = "for numbers give --head gaussian, for counts --head poisson"
        return "categorical", f"The target has {distinct} without gaps, taken for classes; {others}."
    return "gaussian", f"The target has {distinct}, taken for numbers; {others}."


def label_counts(parts: Iterable[Records]) -> tuple[dict[str, int], bool]:
    """How many of the rows have each label of one column, and whether that is not all.

    Beyond `MOST_LABELS` different labels no more are counted.

    Raises:
        GatewiseError: for several labels a row.
    """
    counts: Counter[str] = Counter()
    for records in parts:
        counts.update(records.known_labels().tolist())
        if len(counts) > MOST_LABELS:
            return dict(itertools.islice(counts.items(), MOST_LABELS)), True
    return dict(counts), False


def target_numbers(labels: np.ndarray, head: str, place: Place, form: NumberFormat = PLAIN) -> np.ndarray:
    """The labels `[N]`, whose numbers are written in a form, as float64.

    Raises:
        GatewiseError: for a label that is no finite number, or for the head poisson no count.
    """
    texts = pl.Series(labels.tolist(), dtype=pl.String).str.strip_chars()
    values = form.read(texts).to_numpy().copy()
    if not (finite := np.isfinite(values)).all():
        words = f" {form.words()}" if form.words() else ""
        comma = "," in labels[int(finite.argmin())] and form.decimal == "."
        hint = "; set decimal = ',' if that is a decimal comma" if comma else ""
        _refuse(~finite, labels, place, f"which is no number{words}; the head {head} predicts numbers{hint}")
    if head == "poisson":
        bad = (values < 0) | (values != np.round(values))
        _refuse(bad, labels, place, "which is no count; the head poisson takes whole numbers from 0, so try gaussian")
    return values


def two_valued(parts: Iterable[Records]) -> list[tuple[str, Classes]]:
    """Each column of the labels of all parts with its two values, in the order in which they count as 0 and 1.

    The order is that of `Classes`: by value where both are numbers, else by letters.

    Raises:
        GatewiseError: for a column with another number of values.
    """
    seen: dict[str, set[str]] = {}
    where = ""
    for records in parts:
        where = records.name
        for name, column in zip(records.label_names, records.known_label_sets().T, strict=True):
            met = seen.setdefault(name, set())
            if len(met) < MOST_LABELS:
                met.update(column.tolist())
    for name, met in seen.items():
        values = sorted(met)
        if len(values) != 2:
            held = f"{len(values)} values ({listing(values, 5)})" if len(values) > 2 else f"only {shown(values[0])}"
            raise GatewiseError(
                f"{where}: the target {shown(name)} has {held}, and a label of the head bernoulli has two, such "
                f"as 0 and 1; mend or drop {shown(name)}, or train on one target alone"
            )
    return [(name, Classes.from_labels(np.array([*met], dtype=object))) for name, met in seen.items()]


def target_labels(records: Records, names: Sequence[str], values: Sequence[Sequence[str]]) -> np.ndarray:
    """The labels as float32 `[N, L]` of 0 and 1.

    Args:
        records: rows with their labels.
        names: of the labels, as trained on.
        values: of each label the one that counts as 0 and the one that counts as 1.

    Raises:
        GatewiseError: for other labels, or a value that is none of the two.
    """
    labels = records.known_label_sets()
    if records.label_names != list(names):
        raise GatewiseError(
            f"{records.name}: the labels are {listing(records.label_names)}, but the model was trained on "
            f"{listing(names)}; give these, in this order"
        )

    def encoded(name: str, pair: Sequence[str], column: np.ndarray) -> np.ndarray:
        return Classes(tuple(pair)).encode(column, lambda row: f"{records.place(row)}, target {shown(name)}")

    columns = [encoded(*each) for each in zip(names, values, labels.T, strict=True)]
    return np.stack(columns, axis=1).astype(np.float32)


def _refuse(bad: np.ndarray, labels: np.ndarray, place: Place, why: str) -> None:
    if bad.any():
        row = int(bad.argmax())
        raise GatewiseError(f"{place(row)}: the target is {shown(labels[row])}, {why}")
