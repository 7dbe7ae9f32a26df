"""Options of reading a source that does not say it itself: the form of a CSV file, the size of images."""

from collections.abc import Mapping
from dataclasses import dataclass

from gatewise.data.missing_values import MISSING_NUMBERS
from gatewise.data.number_format import NumberFormat
from gatewise.data.readers.text_files import unpacked_name

READING = 2
"""How tables and images are read today; 1: as before version 0.2, for runs that were trained then."""
NAMED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}


@dataclass(frozen=True)
class Form:
    """What is None is read off the source, and refused with a line that says what to set where that is a guess.

    Attributes:
        separator: between the fields of a CSV file; None: a comma, and a tab in a .tsv file.
        header: whether the first line has the names of the columns; without, they are c0, c1, …. None: it has, and a
            first line that looks like data is refused.
        decimal: "." or ","; None: a point, and a column of numbers with commas is refused.
        encoding: of a CSV file; None: UTF-8.
        features: how many columns a row has besides the label, where a model was trained on them: a file without a
            header may then come without the column of labels.
        image_size: height and width of an image; None: that of all where they agree, else 32 × 32.
        image_mode: "grey" or "rgb"; None: grey where all images are.
        reading: which rules tell what values mean; see `READING`.
        date_format: how dates in text are written, besides as ISO 8601 has it.
        missing_numbers: what is missing besides, where a column is otherwise of numbers, and in the target.
        missing_target: what becomes of rows without a target: "drop", "error", or "class": all texts are classes.
        as_numbers: columns of numbers, whatever else stands in some rows: see `NumberFormat.loose`.
        formats: how columns of numbers are written, where a model knows it, None of a column of text; others are then
            of plain numbers or of text. None: it is read off the column.
        classes: of the target, where a model knows them: none of them stands for a missing one.
        target_format: of the target, where a model knows it.
    """

    separator: str | None = None
    header: bool | None = None
    decimal: str | None = None
    encoding: str | None = None
    features: int | None = None
    image_size: tuple[int, int] | None = None
    image_mode: str | None = None
    reading: int = READING
    date_format: str | None = None
    missing_numbers: tuple[str, ...] = MISSING_NUMBERS
    missing_target: str = "drop"
    as_numbers: tuple[str, ...] = ()
    formats: Mapping[str, NumberFormat | None] | None = None
    classes: frozenset[str] | None = None
    target_format: NumberFormat | None = None

    def separator_of(self, name: str) -> str:
        """What separates the fields in the file of this name."""
        return self.separator or ("\t" if unpacked_name(name).lower().endswith(".tsv") else ",")


def as_separator(text: str) -> str:
    """The character that is meant; raises ValueError for what cannot separate fields."""
    mark = NAMED.get(text, text)
    if len(mark) != 1 or not mark.isascii() or mark.isalnum() or mark in "\"'.-+\\\r\n\0":
        raise ValueError("give one character, such as ; or | or tab")
    return mark
