"""Number formats of a column of text: the decimal mark, marks of thousands, a currency or percent sign.

What each value may be read as is looked at in parts (`FormatEvidence`), and one way of writing that all values agree on
is the column's `NumberFormat`. Nothing is guessed from a part of the rows. A single comma before three digits is a mark
of thousands where every comma may be one and nobody said that decimals have commas.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple

import polars as pl

from gatewise.data.dates import read_durations
from gatewise.data.text_types import read_truth

CODES = (
    "AED|AFN|ALL|AMD|AOA|ARS|AUD|AZN|BAM|BDT|BGN|BHD|BOB|BRL|BWP|BYN|CAD|CDF|CHF|CLP|CNY|COP|CRC|CZK|DKK|DOP|DZD|EGP|"
    "ETB|EUR|GBP|GEL|GHS|GTQ|HKD|HNL|HRK|HUF|IDR|ILS|INR|IQD|IRR|ISK|JMD|JOD|JPY|KES|KHR|KRW|KWD|KZT|LBP|LKR|MAD|MDL|"
    "MKD|MMK|MNT|MUR|MXN|MYR|MZN|NAD|NGN|NIO|NOK|NPR|NZD|OMR|PEN|PHP|PKR|PLN|PYG|QAR|RON|RSD|RUB|RWF|SAR|SEK|SGD|THB|"
    "TND|TRY|TTD|TWD|TZS|UAH|UGX|USD|UYU|UZS|VES|VND|XAF|XOF|YER|ZAR|ZMW"
)
"""ISO 4217, of countries with their own."""
SIGNS = r"kr\.?|zł|Kč|Ft|Rs\.?|S?Fr\.?|RM|TL|[KTU][Ss]h\.?|Dhs?\.?|lei|руб\.?|лв\.?|грн\.?|%|‰"
CURRENCY = rf"(?:[A-Za-z]{{0,3}}\p{{Sc}}|{CODES}|eur|usd|gbp|{SIGNS})"
"""What may stand before or after a number; a percent sign too, as the number is then in percent."""
SUFFIX = r"(?:\+|[^0-9\s.,'+()-][^0-9]{0,19}|(?:[cdkm]?m|ft|in|yd|mi)[23])"  # a currency, or else a unit
SCALES = dict.fromkeys(("k", "K", "Tsd", "thousand"), "e3") | {"lakh": "e5", "crore": "e7"}
SCALES |= dict.fromkeys(("M", "mn", "mln", "Mio", "mio", "million", "Million"), "e6")
SCALES |= dict.fromkeys(("B", "bn", "Mrd", "mrd", "billion", "Billion"), "e9")
"""What a number is times; "m" is for metres as often as for millions."""
SCALE = rf"(?:({'|'.join(SCALES)})\.?\s*({CURRENCY})?)"
BODY = r"(?:[0-9][0-9.,' ]*?|[.,][0-9]+)"
APART = rf"^([+-]?)\s*({CURRENCY})?\s*([+-]?)\s*({BODY})((?:[eE][+-]?[0-9]+)?)\s*(?:{SCALE}|({SUFFIX}))?$"
BARE_END = rf"[+-]?(?:{CURRENCY})?\s*{BODY}"
END = rf"{BARE_END}\s*(?:{SUFFIX})?"
RANGE = rf"^({END})\s*(?:-|–|—|to|\.\.|\.\.\.|…)\s*({END})$"
MARKS = (",", ".", " ", "'")
"""Of thousands, or the first two of decimals."""
MOST_SHAPES, MOST_TEXTS = 64, 64
"""Ways of writing, and different texts that are no numbers, that are remembered of a column."""


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written.

    Attributes:
        decimal: "." or ",".
        thousands: the mark between groups of three digits; None: there is none.
        mark: a currency, % or a unit before or after the number; None: there is none.
        loose: a range such as "3 - 5" is its midpoint, 2.5M is 2,500,000, and what is no number is missing.
        texts: what stands for numbers besides: "truth" are true and false for 1 and 0, "duration" are lengths of time,
            in seconds.

    Raises:
        ValueError: for marks that cannot be.
    """

    decimal: str = "."
    thousands: str | None = None
    mark: str | None = None
    loose: bool = False
    texts: Literal["truth", "duration"] | None = None

    def __post_init__(self):
        if self.decimal not in (".", ",") or self.thousands not in (None, *MARKS) or self.thousands == self.decimal:
            raise ValueError(f"no number has {self.decimal!r} for decimals and {self.thousands!r} for thousands")
        if not (self.mark is None or (isinstance(self.mark, str) and len(self.mark) <= 24)):
            raise ValueError("the mark of a number is a text of at most 24 characters")
        if self.texts not in (None, "truth", "duration"):
            raise ValueError(f"no number is written as {self.texts!r}")

    def read(self, texts: pl.Series) -> pl.Series:
        """A String column as Float64, null where a value is no number that is written so.

        A number without the mark and without marks of thousands is one too, but for percent.
        """
        found = texts.cast(pl.Float64, strict=False) if (self.decimal, self.mark) == (".", None) else None
        if found is not None and found.null_count() == texts.null_count():
            return found
        single = self._single(texts)
        if self.texts is not None:
            single = single.fill_null(read_truth(texts) if self.texts == "truth" else read_durations(texts))
        found = single if found is None else found.zip_with(found.is_not_null(), single)
        return found.zip_with(found.is_not_null(), self._midpoints(texts)) if self.loose else found

    def _single(self, texts: pl.Series) -> pl.Series:
        apart = _apart(texts)
        body, mark = pl.col("body"), pl.col("mark")
        marked = mark.is_in([self.mark or "", ""] if self.mark != "%" else ["%"])
        grouped = body.str.contains(_grouped(self.thousands, self.decimal)) if self.thousands else pl.lit(False)
        plain = body.str.contains(_plain(self.decimal))
        bare = body.str.replace_all(self.thousands, "", literal=True) if self.thousands else body
        number = pl.concat_str("sign", bare.str.replace(self.decimal, ".", literal=True), "exponent")
        scaled = pl.lit(self.loose) | ~pl.col("scaled")
        value = pl.when(marked & (grouped | plain) & scaled).then(number).otherwise(None)
        values = apart.select(value.cast(pl.Float64, strict=False).alias("value"))["value"]
        return values.alias(texts.name)

    def _midpoints(self, texts: pl.Series) -> pl.Series:
        low, high = (self._single(end) for end in _ends(texts))
        return ((low + high) / 2).set((low > high).fill_null(True), None).alias(texts.name)

    def words(self) -> str:
        """What stands beside the digits: "in $, with ',' at thousands"; empty where numbers have at most a point."""
        said = [f"in {self.mark}"] if self.mark else []
        said += (
            [{"truth": "with true and false for 1 and 0", "duration": "of seconds"}[self.texts]] if self.texts else []
        )
        said += [f"with {self.thousands!r} at thousands"] if self.thousands else []
        return ", ".join(said)


PLAIN = NumberFormat()


class Shape(NamedTuple):
    """How one value is written.

    Attributes:
        kind: "number", "range", "unit" (a number with a unit or a scale) or "text".
        thousands: the mark of thousands that it has, or none.
        mark: a currency, percent sign or unit.
        long: whether it has four digits or more before the decimal mark, and no mark of thousands.
        brackets: whether it is negative by being in brackets, or by a minus behind it.
    """

    kind: str
    thousands: str = ""
    mark: str = ""
    long: bool = False
    brackets: bool = False


class FormatEvidence:
    """What values of a column tell of how its numbers are written.

    Args:
        decimal: the decimal mark; None: a point, and it is told where only a comma would do.
    """

    def __init__(self, decimal: str | None):
        self.decimals = (decimal,) if decimal else (".", ",")
        self.counts: dict[str, Counter[Shape]] = {each: Counter() for each in self.decimals}
        self.first: dict[Shape, tuple[str, int]] = {}
        self.numbers: set[str] = set()
        self.texts: Counter[str] = Counter()

    def add(self, column: pl.Series, start: int = 0) -> "FormatEvidence":
        """Take in a String column, of which nulls are missing, whose first row has the number `start`."""
        values = pl.DataFrame([column.drop_nulls().alias("text")]).group_by("text", maintain_order=True).len("count")
        apart = _apart(values["text"]).with_columns(values["text"], values["count"], *_ends_apart(values["text"]))
        for decimal in self.decimals:
            shaped = apart.select("text", "count", *_shape(decimal))
            by_shape = shaped.group_by(Shape._fields, maintain_order=True).agg(pl.col("count").sum(), pl.first("text"))
            for *fields, count, text in by_shape.iter_rows():
                shape = Shape(*fields)
                if len(self.counts[decimal]) >= MOST_SHAPES and shape not in self.counts[decimal]:
                    shape = Shape("text")
                self.counts[decimal][shape] += count
                if decimal == self.decimals[0] and shape not in self.first:
                    self.first[shape] = text, start + int((column == text).arg_max() or 0)
            if decimal == self.decimals[0]:
                self._remember(shaped)
        return self

    def _remember(self, shaped: pl.DataFrame) -> None:
        """Some of what has numbers in it, and some of what is no number alone."""
        kind = pl.col("kind")
        if len(self.numbers) < MOST_TEXTS:
            self.numbers |= {*shaped.filter(kind != "text")["text"].head(MOST_TEXTS)}
        for text, count in shaped.filter(kind != "number").select("text", "count").head(MOST_TEXTS).iter_rows():
            if text in self.texts or len(self.texts) < MOST_TEXTS:
                self.texts[text] += count

    @property
    def known(self) -> int:
        """How many values there were."""
        return self.counts[self.decimals[0]].total()

    @property
    def different(self) -> int:
        """How many different ones, about, where they are few."""
        return len(self.numbers | {*self.texts})

    def count_of(self, kind: str) -> int:
        """How many of them are of a kind: see `Shape`."""
        return sum(count for shape, count in self.counts[self.decimals[0]].items() if shape.kind == kind)

    def ranges(self, form: NumberFormat) -> int:
        """How many are ranges whose ends are numbers of a format."""
        counts = self.counts[self.decimals[0]].items()
        return sum(count for shape, count in counts if shape.kind == "range" and _is_written_so(shape, form))

    @property
    def format(self) -> NumberFormat | None:
        """What all values agree on; None where they do not, or there are none."""
        return self._agreed(self.decimals[0])

    @property
    def format_with_comma(self) -> NumberFormat | None:
        """What all values agree on where the decimal mark were a comma, and nobody said that it is none."""
        return self._agreed(",") if len(self.decimals) > 1 else None

    @property
    def loose_format(self) -> NumberFormat | None:
        """What most values that are numbers agree on; None where there are no numbers."""
        counts = self.counts[self.decimals[0]]
        marks: Counter[str] = Counter()
        for shape, count in counts.items():
            if shape.kind != "text":
                marks[shape.mark] += count
        if not marks:
            return None
        mark = marks.most_common(1)[0][0]
        thousands: Counter[str] = Counter()
        for shape, count in counts.items():
            if shape.kind != "text" and shape.mark == mark and shape.thousands:
                thousands[shape.thousands] += count
        common = thousands.most_common(1)
        return NumberFormat(self.decimals[0], common[0][0] if common else None, mark or None, loose=True)

    def count(self, form: NumberFormat) -> tuple[int, list[Shape]]:
        """How many values are numbers of a format, and how the others are written.

        Where it is not loose, a unit makes another of a number, and so do marks of thousands in some values where they
        lack in others.
        """
        counts = self.counts[self.decimals[0]]
        fitting = {shape: count for shape, count in counts.items() if _fits(shape, form)}
        if not form.loose:
            grouped = sum(count for shape, count in fitting.items() if shape.thousands)
            long = sum(count for shape, count in fitting.items() if shape.long)
            odd = (lambda shape: shape.thousands) if long > grouped else (lambda shape: grouped and shape.long)
            fitting = {shape: count for shape, count in fitting.items() if shape.kind != "unit" and not odd(shape)}
        return sum(fitting.values()), [shape for shape in counts if shape not in fitting] or list(counts)

    def _agreed(self, decimal: str) -> NumberFormat | None:
        shapes = list(self.counts[decimal])
        if not shapes or any(shape.kind != "number" for shape in shapes) or all(shape.brackets for shape in shapes):
            return None
        thousands, marks = {shape.thousands for shape in shapes} - {""}, {shape.mark for shape in shapes}
        if len(thousands) > 1 or len(marks) > 1 or (thousands and any(shape.long for shape in shapes)):
            return None
        return NumberFormat(decimal, next(iter(thousands), None), next(iter(marks)) or None)


def _fits(shape: Shape, form: NumberFormat) -> bool:
    """As `NumberFormat.read` judges it."""
    return shape.kind in ("number", "unit") and _is_written_so(shape, form)


def _is_written_so(shape: Shape, form: NumberFormat) -> bool:
    marks = ("%",) if form.mark == "%" else (form.mark or "", "")
    return shape.mark in marks and shape.thousands in ("", form.thousands)


def _cleaned(texts: pl.Series) -> pl.Series:
    """With one kind of space, of apostrophe and of minus."""
    cleaned = texts.str.strip_chars().str.replace_all("[\u00a0\u2007\u2009\u202f]", " ")
    return cleaned.str.replace_all("\u2019", "'", literal=True).str.replace_all("\u2212", "-", literal=True)


def _apart(texts: pl.Series) -> pl.DataFrame:
    """sign, mark, body, exponent, scaled and brackets of each value; all but these two null where it is no number.

    What is in brackets, or has its minus behind it, is negative, as in accounts; but 2- may be a grade.
    """
    cleaned = _cleaned(texts)
    without = cleaned.str.replace(rf"^({CURRENCY})?\s*\(([^()]*)\)\s*({CURRENCY})?$", "-${1}${2}${3}")
    without = without.str.replace(r"^([^-]*[.,][0-9]{2})-$", "-${1}")
    frame = without.str.extract_groups(APART).struct.unnest()
    names = ["sign", "before", "sign2", "body", "exponent", "scale", "behind", "after"]
    frame = frame.rename(dict(zip(frame.columns, names, strict=True))).with_columns(
        (without != cleaned).alias("brackets")
    )
    before, sign, sign2, scale = (pl.col(name).fill_null("") for name in ("before", "sign", "sign2", "scale"))
    after = pl.col("behind").fill_null("") + pl.col("after").fill_null("").str.strip_chars()
    exponent = pl.col("exponent").fill_null("")
    once = ((before == "") | (after == "")) & ((sign == "") | (sign2 == "")) & ((exponent == "") | (scale == ""))
    power = exponent + scale.replace(SCALES)
    found = {"sign": sign + sign2, "mark": before + after, "body": pl.col("body"), "exponent": power}
    parts = [pl.when(once & pl.col("body").is_not_null()).then(each).alias(name) for name, each in found.items()]
    return frame.select(*parts, (scale != "").alias("scaled"), "brackets")


def _ends(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The two numbers of each range, null where it is none; of 10-20% and 2-3M both are in what the first lacks."""
    ends = _cleaned(texts).str.extract_groups(RANGE).struct.unnest()
    first, second = (ends.to_series(i).str.strip_chars() for i in range(2))
    both = second.str.extract(rf"[0-9.,]\s*({SUFFIX})$").fill_null("")
    return first.zip_with(~first.str.contains(rf"^{BARE_END}$").fill_null(False), first + both), second


def _ends_apart(texts: pl.Series) -> list[pl.Series]:
    """Mark, last body and both numbers of each range, null where it is none, or its ends have two marks."""
    low, high = (_apart(end) for end in _ends(texts))
    first, last = low["mark"], high["mark"]
    fit = (first == last) | (first == "") | (last == "")
    numbers = [end.select(pl.concat_str("sign", "body", "exponent")).to_series() for end in (low, high)]
    mark = last.zip_with(last != "", first)
    ends = pl.DataFrame({"mark": mark, "body": high["body"], "low": numbers[0], "high": numbers[1], "fit": fit})
    whole = [pl.when("fit").then(pl.col(name)).alias(f"range_{name}") for name in ("mark", "body", "low", "high")]
    return ends.select(*whole).get_columns()


def _thousands(body: pl.Expr, decimal: str) -> pl.Expr:
    """The mark of thousands in the digits of a number, "" for none; null where they are no number."""
    found = pl.when(body.str.contains(_plain(decimal))).then(pl.lit(""))
    for each in MARKS:
        if each != decimal:
            found = found.when(body.str.contains(_grouped(each, decimal))).then(pl.lit(each))
    return found.otherwise(None)


def _shape(decimal: str) -> list[pl.Expr]:
    """The fields of `Shape`, of what `_apart` and `_ends_apart` give."""
    body, mark, text = pl.col("body"), pl.col("mark"), pl.col("text")
    found, of_range = _thousands(body, decimal), _thousands(pl.col("range_body"), decimal)
    plain = body.str.contains(_plain(decimal))
    word = text.cast(pl.Float64, strict=False).is_not_null() & body.is_null()  # inf
    currency = (mark == "") | mark.str.contains(rf"^{CURRENCY}$")
    kind = (
        pl.when(word | (found.is_not_null() & currency & ~pl.col("scaled")))
        .then(pl.lit("number"))
        .when(found.is_not_null())
        .then(pl.lit("unit"))
        .when(of_range.is_not_null() & _is_range(decimal))
        .then(pl.lit("range"))
        .otherwise(pl.lit("text"))
    )
    numeric, ranges = kind.is_in(["number", "unit"]), kind == "range"
    return [
        kind.alias("kind"),
        pl.when(numeric).then(found).when(ranges).then(of_range).fill_null("").alias("thousands"),
        pl.when(numeric).then(mark).when(ranges).then(pl.col("range_mark")).fill_null("").alias("mark"),
        (numeric & plain & body.str.contains("^[0-9]{4}")).fill_null(False).alias("long"),
        (numeric & pl.col("brackets")).fill_null(False).alias("brackets"),
    ]


def _is_range(decimal: str) -> pl.Expr:
    ends = [pl.col(name).str.replace_all(f"[^0-9eE{decimal}+-]", "") for name in ("range_low", "range_high")]
    low, high = (end.str.replace(decimal, ".", literal=True).cast(pl.Float64, strict=False) for end in ends)
    return (low <= high).fill_null(False)


def _plain(decimal: str) -> str:
    return rf"^(?:[0-9]+(?:\{decimal}[0-9]*)?|\{decimal}[0-9]+)$"


def _grouped(thousands: str, decimal: str) -> str:
    """Groups of three digits, or as in India of two before the last three."""
    mark = f"[{thousands}]"
    groups = rf"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+|[1-9][0-9]?(?:{mark}[0-9]{{2}})+{mark}[0-9]{{3}}"
    return rf"^(?:{groups})(?:\{decimal}[0-9]*)?$"
