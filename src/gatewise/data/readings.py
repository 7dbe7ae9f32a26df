"""Readings of columns of text: numbers in whatever clothes, or categories, and what is to be said of it.

A column of which all values agree on one way of writing numbers is of numbers. One of which only most are numbers is of
categories, which is said with what the others are and the setting that reads it.
"""

import json
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from gatewise.data.number_format import FormatEvidence, NumberFormat, Shape
from gatewise.data.read_options import Form
from gatewise.data.text_types import TextType, TypeEvidence
from gatewise.errors import GatewiseError
from gatewise.wording import listing, shown

Place = Callable[[int], str]  # a row counted from 0 -> the words for it: "adult.csv, line 2"

FEW = 0.05
"""Of a column of numbers, what is none is taken for a slip where it is at most this share of the rows."""
FEW_TEXTS, MANY_NUMBERS = 3, 20
"""Different texts that are slips, at most, and different numbers beside them, at least."""
LEAST_NUMBERS = 3
"""Up to so many different numbers are codes, whatever stands beside them."""
IS = {"range": "is a range", "unit": "has a unit", "text": "is text", "number": "is written otherwise"}


@dataclass(frozen=True)
class Reading:
    """What a column of text was read as.

    Attributes:
        format: of its numbers; None: it is of categories, though at least half of its values are numbers.
        known: values that are not missing.
        numbers: of these, what is a number of the most frequent way of writing them.
        ranges: of these, what is a range of numbers.
        others: examples of the others, in words.
        words: the others with the rows that each has, where they are few.
        either: commas may be decimal ones as well.
        type: what all values are, where they are neither numbers as such nor any text.
        dates: in which ways values may be dates that are not read as such.
    """

    format: NumberFormat | None
    known: int = 0
    numbers: int = 0
    ranges: int = 0
    others: tuple[str, ...] = ()
    words: Mapping[str, int] = field(default_factory=dict)
    either: bool = False
    type: TextType | None = None
    dates: tuple[str, ...] = ()


def reading_of_type(types: TypeEvidence, decimal: str | None) -> Reading | None:
    """How a column of text is to be read that holds what `TextType` lists, and nothing else; None where it does not."""
    if types.type is None:
        dates = tuple(types.other_dates)
        return Reading(None, dates=dates, others=(str(types.examples[0]),)) if dates else None
    numbers = types.type if types.type in ("truth", "duration") else None
    form = None if numbers is None else NumberFormat(decimal or ".", texts=numbers)
    return Reading(form, type=types.type, others=(types.example,))


def readings_of_durations(kinds: Mapping[str, pl.DataType], form: Form) -> dict[str, Reading]:
    """How columns of the type `Duration` are read: as seconds, also where a later file has them as text."""
    if form.reading == 1:
        return {}
    reading = Reading(NumberFormat(form.decimal or ".", texts="duration"), type="duration")
    return {name: reading for name, kind in kinds.items() if kind == pl.Duration}


def reading_of(
    name: str,
    rows: int,
    evidence: FormatEvidence,
    form: Form,
    missing: Sequence[str],
    place: Place,
    target: bool = False,
) -> Reading | None:
    """How a column of text is to be read, by what its values tell; None where it is of text, with nothing to say.

    Args:
        name: of the column.
        rows: that it has.
        evidence: of all its values.
        form: what the user says.
        missing: the texts that are missing values.
        place: of rows as they were counted for the evidence.
        target: whether it is one of the target, which may be of classes: a few slips are then for the head to judge.

    Raises:
        GatewiseError: for numbers with decimal commas where nobody said so, a slip in a column of numbers, and a column
            that should be of numbers and has none.
    """
    if not evidence.known:
        return None
    if name in form.as_numbers:
        loose = evidence.loose_format
        if loose is None:
            raise GatewiseError(
                f"{place(0)}: as_numbers names {shown(name)}, in which no value is a number; leave it out"
            )
        return _described(evidence, loose, place)
    if evidence.format is not None and (form.formats is None or evidence.format == NumberFormat(evidence.decimals[0])):
        both = evidence.format.thousands == "," and evidence.format_with_comma is not None
        return Reading(evidence.format, evidence.known, evidence.known, either=both)
    if evidence.format_with_comma is not None and not (target and evidence.different <= MANY_NUMBERS):
        raise GatewiseError(_decimal_commas(name, evidence, place))
    if form.formats is None and not target:
        _check_slips(name, rows, evidence, form, missing, place)
    found = evidence.loose_format
    if found is None or len(evidence.numbers) <= LEAST_NUMBERS:
        return None
    if 2 * (evidence.count(found)[0] + evidence.count_of("range")) < evidence.known:
        return None
    return replace(_described(evidence, replace(found, loose=False), place), format=None)


def _described(evidence: FormatEvidence, form: NumberFormat, place: Place) -> Reading:
    """With an example of each way in which values are no numbers of a format."""
    numbers, shapes = evidence.count(form)
    told = [] if form.loose and numbers == evidence.known else _firsts(evidence, shapes)
    firsts = sorted(told, key=lambda first: first[2])
    others = [f"{shown(text)} in {_where(place(row))} {IS[shape.kind]}" for shape, text, row in firsts]
    ranges, units = evidence.ranges(form), evidence.count_of("unit")
    few = len(evidence.texts) <= FEW_TEXTS and not evidence.count_of("range") and not units
    words = dict(sorted(evidence.texts.items())) if few else {}
    return Reading(form, evidence.known, numbers, ranges, tuple(others), words)


def _firsts(evidence: FormatEvidence, shapes: Sequence[Shape]) -> list[tuple[Shape, str, int]]:
    """One of each kind."""
    kinds = {shape.kind: shape for shape in reversed(shapes)}
    return [(shape, *evidence.first[shape]) for shape in kinds.values()]


def _where(place: str) -> str:
    """ "line 7" of "adult.csv, line 7"."""
    return place.rpartition(", ")[2]


def _decimal_commas(name: str, evidence: FormatEvidence, place: Place) -> str:
    shape = next((shape for shape in evidence.first if shape.kind != "number" or shape.thousands), None)
    text, row = evidence.first[shape or next(iter(evidence.first))]
    return (
        f"{place(row)}: column {shown(name)} holds {shown(text)}: set decimal = ',' if that is a decimal comma, "
        f"decimal = '.' if it is text"
    )


def _check_slips(
    name: str, rows: int, evidence: FormatEvidence, form: Form, missing: Sequence[str], place: Place
) -> None:
    """Raises GatewiseError where so few values of a column of numbers are none that they would be lost as text."""
    slips = evidence.known - evidence.count_of("number")
    few = 0 < slips <= FEW * rows and len(evidence.texts) <= FEW_TEXTS
    if few and len(evidence.numbers) > MANY_NUMBERS:
        text, row = next(found for shape, found in evidence.first.items() if shape.kind != "number")
        raise GatewiseError(
            f"{place(row)}: column {shown(name)} holds {shown(text)} where nearly all others are numbers "
            f"({evidence.known - slips} of {evidence.known}); correct it, name it among the missing values "
            f"({missing_setting(missing, evidence.texts)}), or say that it is a column of numbers "
            f"({as_numbers_setting([*form.as_numbers, name])})"
        )


def missing_setting(missing: Sequence[str], words: Collection[str]) -> str:
    """What to type so that these words are missing too."""
    texts = list(dict.fromkeys([*missing, *words]))
    return "--set " + shlex.quote(f"missing={json.dumps(texts, ensure_ascii=False)}")


def as_numbers_setting(columns: Sequence[str]) -> str:
    """What to type so that these columns are of numbers."""
    return "--set " + shlex.quote(f"as_numbers={json.dumps(list(dict.fromkeys(columns)), ensure_ascii=False)}")


def said_of_readings(
    readings: Mapping[str, Reading], missing: Sequence[str], as_numbers: Sequence[str] = ()
) -> list[str]:
    """Sentences on columns of numbers in other clothes, and of categories that are mostly numbers.

    Args:
        readings: of the columns of text.
        missing: the texts that were read as missing values.
        as_numbers: the columns of which it was said that they are of numbers.
    """
    told = [*_of_types(readings), _of_formats(readings), _of_loose(readings), _of_strays(readings, missing, as_numbers)]
    return [sentence for sentence in told if sentence]


def _of_types(readings: Mapping[str, Reading]) -> Iterator[str]:
    of: dict[TextType, list[str]] = {}
    for name, reading in readings.items():
        if reading.type is not None:
            of.setdefault(reading.type, []).append(name)
    moments = [*of.get("date", []), *of.get("time", [])]
    if moments:
        yield f"Read as points in time: {listing(moments)}."
    if "code" in of:
        examples = ", ".join(f"{shown(name)} ({shown(readings[name].others[0])})" for name in of["code"])
        yield f"Read as categories, as zeros before the digits make them codes: {examples}."
    for name, reading in readings.items():
        if reading.dates:
            yield (
                f"{shown(name)} may hold dates ({shown(reading.others[0])}); taken for text, it serves by its frequent "
                f"values alone, as dates are written 2020-12-31; --set 'date_format={reading.dates[0]}' would read them"
                f"{f', or {reading.dates[1]} for the day and month the other way round' if reading.dates[1:] else ''}."
            )


def _of_formats(readings: Mapping[str, Reading]) -> str:
    found = {
        name: reading.format.words()
        for name, reading in readings.items()
        if reading.format is not None and not reading.format.loose and reading.format.words()
    }
    if not found:
        return ""
    told = "; ".join(f"{shown(name)} ({words})" for name, words in found.items())
    either = [name for name, reading in readings.items() if reading.either]
    tail = f" Where the comma of {listing(either)} is a decimal one, train with --set decimal=,." if either else ""
    return f"Read as numbers: {told}.{tail}"


def _of_loose(readings: Mapping[str, Reading]) -> str:
    found = []
    for name, reading in readings.items():
        if reading.format is not None and reading.format.loose:
            lost = reading.known - reading.numbers - reading.ranges
            words = f" {reading.format.words()}" if reading.format.words() else ""
            ranges = f", {reading.ranges} ranges at their midpoints" if reading.ranges else ""
            missing = f", {lost} missing" if lost else ""
            such = f": {', '.join(reading.others)}" if reading.others else ""
            found.append(f"{shown(name)} ({reading.numbers} numbers{words}{ranges}{missing}{such})")
    return f"As numbers, as asked: {'; '.join(found)}." if found else ""


def _of_strays(readings: Mapping[str, Reading], missing: Sequence[str], as_numbers: Sequence[str]) -> str:
    found = {name: reading for name, reading in readings.items() if reading.format is None and reading.known}
    if not found:
        return ""
    told = "; ".join(f"{shown(name)} ({_counted(reading)})" for name, reading in found.items())
    words = [word for reading in found.values() for word in reading.words]
    setting = missing_setting(missing, words)
    gaps = f" Where such a word stands for a missing value, train with {setting}." if words else ""
    return (
        f"Read as categories, as not all values are numbers that are written alike: {told}.{gaps} As numbers, a range "
        f"by its midpoint and what is no number as missing: {as_numbers_setting([*as_numbers, *found])}."
    )


def _counted(reading: Reading) -> str:
    rows = [f"{shown(word)} in {count} row{'s' * (count > 1)}" for word, count in reading.words.items()]
    return f"{reading.numbers} of {reading.known} are; {', '.join(rows or reading.others)}"
