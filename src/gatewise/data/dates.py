"""Dates, times of day and durations: read from text as ISO 8601 and pandas write them, and told in numbers.

A point in time is told by its days since 1970, which order it, and by where it lies in the year, the week and the day,
each as the sine and cosine of an angle, so that December is near January and Sunday near Monday. What has a time zone
is read in UTC: an offset is all that a text keeps of a zone.
"""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

Moment = Literal["date", "time"]
DATE = (
    r"^(\d{4}-\d{2}(?:-\d{2})?)"
    r"(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?: ?(Z|UTC|[+-]\d{2}(?::?\d{2})?))?)?$"
)
TIME = r"^(\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?$"
PANDAS_DURATION = r"^(-?)(\d+) days?(?:,? ([+-]?)(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?)?$"
ISO_DURATION = r"^(-?)P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,](\d{1,9}))?S)?)?$"
SECOND, DAY = 10**6, 86_400 * 10**6
"""In microseconds, which is what points in time are kept in."""
ZONE = r"(?:Z|UTC|[+-]\d{2}(?::?\d{2})?)$"
OTHERWISE = (
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%b %d, %Y",
)
"""Other ways in which dates are written; some have two readings, so which it is must be said."""


@dataclass(frozen=True)
class DatePart:
    """One of the numbers that tell a point in time.

    Attributes:
        column: of the table.
        moment: what the column holds.
        name: of the number: one of `PARTS`.
        format: how dates in text are written, besides ISO 8601.

    Raises:
        ValueError: for what is none.
    """

    column: str
    moment: Moment
    name: str
    format: str | None = None

    def __post_init__(self):
        if self.name not in PARTS.get(self.moment, ()):
            raise ValueError(f"a {self.moment!r} has no part {self.name!r}")
        if self.format is not None:
            as_date_format(self.format)

    @property
    def is_first(self) -> bool:
        """Whether it is the one that is there whatever the others are."""
        return self.name == next(iter(PARTS[self.moment]))

    @property
    def feature(self) -> str:
        """What the number is called."""
        return f"{self.column} ({self.name})"


def moment_of(dtype: pl.DataType) -> Moment | None:
    """Which kind of point in time a column of this type has, or None."""
    return "time" if dtype == pl.Time else "date" if dtype in (pl.Datetime, pl.Date) else None


def parts_of(column: pl.Series, format: str | None = None) -> dict[DatePart, np.ndarray]:
    """All numbers that tell a column of `Datetime` in microseconds or of `Time`: float64 `[N]`, NaN where missing."""
    moment = moment_of(column.dtype)
    assert moment is not None
    parts = [DatePart(column.name, moment, name, format) for name in PARTS[moment]]
    return {part: part_of(column, part) for part in parts}


def part_of(column: pl.Series, part: DatePart) -> np.ndarray:
    """One of `parts_of`."""
    return PARTS[part.moment][part.name](column)


def _since_1970(column: pl.Series) -> np.ndarray:
    return _numbers(column.to_physical()) / DAY


def _angle(turns: Callable[[pl.Series], np.ndarray], wave: Callable[[np.ndarray], np.ndarray]):
    return lambda column: wave(2 * np.pi * turns(column))


def _numbers(column: pl.Series) -> np.ndarray:
    return column.cast(pl.Float64).to_numpy().copy()


def _year(column: pl.Series) -> np.ndarray:
    return (_numbers(column.dt.ordinal_day()) - 1) / (365 + _numbers(column.dt.is_leap_year()))


def _week(column: pl.Series) -> np.ndarray:
    return (_numbers(column.dt.weekday()) - 1) / 7


def _day(column: pl.Series) -> np.ndarray:
    return _numbers(column.to_physical() % DAY) / DAY


def _clock(column: pl.Series) -> np.ndarray:
    return _numbers(column.to_physical()) / (1000 * DAY)


PARTS: dict[Moment, dict[str, Callable[[pl.Series], np.ndarray]]] = {
    "date": {
        "days since 1970": _since_1970,
        "year, sine": _angle(_year, np.sin),
        "year, cosine": _angle(_year, np.cos),
        "week, sine": _angle(_week, np.sin),
        "week, cosine": _angle(_week, np.cos),
        "day, sine": _angle(_day, np.sin),
        "day, cosine": _angle(_day, np.cos),
    },
    "time": {
        "hours": lambda column: 24 * _clock(column),
        "day, sine": _angle(_clock, np.sin),
        "day, cosine": _angle(_clock, np.cos),
    },
}
"""Of each kind of point in time the numbers that tell it, from a column of it."""


def year_or_hour(column: pl.Series) -> np.ndarray:
    """A column of points in time as one number that a reader knows: the year with its fraction, or the hour."""
    return 24 * _clock(column) if column.dtype == pl.Time else _numbers(column.dt.year()) + _year(column)


def as_moments(column: pl.Series) -> pl.Series:
    """A column of dates or points in time as `Datetime` in microseconds, without a zone; one of times as it is."""
    if column.dtype == pl.Date:
        return column.cast(pl.Datetime("us"))
    if column.dtype == pl.Datetime:
        return (
            column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(pl.Datetime("us"))
            if (getattr(column.dtype, "time_zone", None))
            else column.cast(pl.Datetime("us"))
        )
    return column


def read_dates(texts: pl.Series, format: str | None = None) -> pl.Series:
    """A String column as `Datetime`, null where a value is no date, as ISO 8601 writes it or in that format."""
    groups = texts.str.extract_groups(DATE).struct.unnest()
    written = groups.to_series(0)
    month = (written.str.len_bytes() == 7).fill_null(False)  # its first day
    day = written.zip_with(~month, written + "-01").str.to_date("%Y-%m-%d", strict=False).cast(pl.Int64)  # days
    zone = groups.to_series(5).str.replace(r"^(?:Z|UTC)$", "+00:00").str.replace_all(":", "", literal=True)
    minutes = _whole(zone.str.slice(1, 2)) * 60 + _whole(zone.str.slice(3, 2))
    offset = minutes.zip_with(~zone.str.starts_with("-").fill_null(False), -minutes).fill_null(0)
    clock = _microseconds(*(groups.to_series(i) for i in range(1, 5)))
    found = (day * DAY + clock - offset * 60 * SECOND).cast(pl.Datetime("us"))
    if format is not None:
        found = found.fill_null(texts.str.to_datetime(format, strict=False, time_unit="us"))
    return found.alias(texts.name)


def read_times(texts: pl.Series) -> pl.Series:
    """A String column as `Time`, null where a value is no time of day."""
    groups = texts.str.extract_groups(TIME).struct.unnest()
    there = groups.to_series(0).is_not_null()
    clock = _microseconds(*(groups.to_series(i) for i in range(4))) * 1000
    return clock.set(~there, None).cast(pl.Time).alias(texts.name)


def read_durations(texts: pl.Series) -> pl.Series:
    """A String column of durations, as pandas and ISO 8601 write them, as seconds; null where a value is none."""
    pandas = texts.str.extract_groups(PANDAS_DURATION).struct.unnest()
    clock = _clock_of(*(pandas.to_series(i) for i in (3, 4, 5, 6)))
    # -1 days +23:59:00 is what pandas writes for a minute less than nothing
    signed = clock.zip_with(~pandas.to_series(2).eq("-").fill_null(False), -clock)
    days = _whole(pandas.to_series(1)) * DAY
    both = days.zip_with(pandas.to_series(0).eq("").fill_null(True), -days) + signed
    iso = texts.str.extract_groups(ISO_DURATION).struct.unnest()
    parts = [iso.to_series(i) for i in range(1, 7)]
    given = texts.str.contains(r"P.*\d") & iso.to_series(0).is_not_null()
    size = (_whole(parts[0]).fill_null(0) * 7 + _whole(parts[1]).fill_null(0)) * DAY + _clock_of(*parts[2:])
    other = size.zip_with(~iso.to_series(0).eq("-").fill_null(False), -size).set(~given.fill_null(False), None)
    return (both.fill_null(other).cast(pl.Float64) / SECOND).alias(texts.name)


def as_date_format(text: str) -> str:
    """The format itself; raises ValueError where a day that is written so cannot be read back."""
    day = datetime.datetime(2020, 12, 31)
    try:
        back = pl.Series([day.strftime(text)]).str.to_datetime(text, strict=False, time_unit="us")[0]
    except (ValueError, pl.exceptions.PolarsError):
        back = None
    if back != day:
        raise ValueError("give a format of days, months and years, such as %d.%m.%Y or %m/%d/%Y %H:%M")
    return text


def seconds(column: pl.Series) -> pl.Series:
    """A column of `Duration` as Float64."""
    return column.dt.total_microseconds().cast(pl.Float64) / SECOND


def otherwise(texts: pl.Series) -> list[str]:
    """The ways of `OTHERWISE` in which all of the values may be dates."""
    return [
        format for format in OTHERWISE if not texts.str.to_datetime(format, strict=False, time_unit="us").has_nulls()
    ]


def _whole(texts: pl.Series) -> pl.Series:
    return texts.cast(pl.Int64, strict=False)


def _fraction(texts: pl.Series) -> pl.Series:
    """Digits behind the point of a second, in microseconds."""
    return _whole(texts.str.slice(0, 6).str.pad_end(6, "0"))


def _clock_of(hours: pl.Series, minutes: pl.Series, second: pl.Series, fraction: pl.Series) -> pl.Series:
    """In microseconds; what is not there is 0."""
    parts = [_whole(each).fill_null(0) for each in (hours, minutes, second)]
    return (parts[0] * 3600 + parts[1] * 60 + parts[2]) * SECOND + _fraction(fraction).fill_null(0)


def _microseconds(hours: pl.Series, minutes: pl.Series, second: pl.Series, fraction: pl.Series) -> pl.Series:
    """Of a time of day; null where there is no such time."""
    beyond = [_whole(each).fill_null(0) >= most for each, most in ((hours, 24), (minutes, 60), (second, 60))]
    return _clock_of(hours, minutes, second, fraction).set(beyond[0] | beyond[1] | beyond[2], None)
