"""Dates, times of day and durations, in whatever way they are written: the same numbers, whole and in parts."""

import datetime

import numpy as np
import polars as pl
import pytest

from gatewise.data import Form, StoredRows, fit_preprocessing, load_preprocessing, read, stream
from gatewise.data.dates import DatePart, as_date_format, parts_of, read_dates, read_durations, read_times
from gatewise.data.streaming.parquet_table import StoredTable

DAY = datetime.datetime(2020, 1, 31)
UTC = datetime.UTC


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2020-01-31", DAY),
        ("2020-02", DAY.replace(month=2, day=1)),
        ("0001-01-01", datetime.datetime(1, 1, 1)),
        ("9999-12-31 23:59:59.999999999", datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)),
        ("2020-01-31 12:34", DAY.replace(hour=12, minute=34)),
        ("2020-01-31T12:34:56.5Z", DAY.replace(hour=12, minute=34, second=56, microsecond=500000)),
        ("2020-01-31 00:30:00+01:00", datetime.datetime(2020, 1, 30, 23, 30)),
        ("2020-01-31T00:30:00-0530", DAY.replace(hour=6)),
        *(
            (text, None)
            for text in (
                "2020-02-30",
                "2020-01-31 24:00",
                "31/01/2020",
                "2020-1-31",
                "2020-13",
                "2020-1",
                "20200131",
                "",
                "x",
            )
        ),
    ],
)
def test_dates(text, value):
    assert read_dates(pl.Series([text, None])).to_list() == [value, None]


def test_times_and_durations():
    times = ["01:02:03.000004000", "04:00", "23:59:59", "24:00", "1:00", "12:60", None]
    found = [datetime.time(1, 2, 3, 4), datetime.time(4), datetime.time(23, 59, 59), None, None, None, None]
    assert read_times(pl.Series(times)).to_list() == found
    durations = {
        "1 days 01:01:01.500000": 90061.5,
        "-1 days +23:59:53": -7.0,
        "0 days": 0.0,
        "P1DT3.000005S": 86403.000005,
        "-PT1H7S": -3607.0,
        "P2W": 1209600.0,
        "P": None,
        "PT": None,
        "1 dayss": None,
    }
    assert read_durations(pl.Series([*durations])).to_list() == [*durations.values()]


def test_what_a_date_tells():
    """By hand: 2020-07-01 is 18444 days after 1970, day 183 of 366 and Wednesday; 18:00 is three quarters of a day."""
    column = pl.Series("when", [datetime.datetime(2020, 7, 1, 18), None], dtype=pl.Datetime("us"))
    told = {part.name: values for part, values in parts_of(column).items()}
    assert told["days since 1970"][0] == 18444.75
    angles = {"year": 2 * np.pi * 182 / 366, "week": 2 * np.pi * 2 / 7, "day": 2 * np.pi * 0.75}
    for name, angle in angles.items():
        assert told[f"{name}, sine"][0] == pytest.approx(np.sin(angle), abs=1e-15)
        assert told[f"{name}, cosine"][0] == pytest.approx(np.cos(angle), abs=1e-15)
    assert all(np.isnan(values[1]) for values in told.values())
    hours = parts_of(pl.Series("at", [datetime.time(18, 30)]))
    assert next(iter(hours.values())).tolist() == [18.5]


def table(rows=300, seed=0):
    draw = np.random.default_rng(seed)
    when = [datetime.datetime(2015, 1, 1) + datetime.timedelta(minutes=int(i)) for i in draw.integers(0, 3e6, rows)]
    weekend = [each.weekday() >= 5 for each in when]
    return pl.DataFrame(
        {
            "when": [None if i % 11 == 0 else each for i, each in enumerate(when)],
            "day": [each.date() for each in when],
            "at": [each.time() for each in when],
            "span": [datetime.timedelta(seconds=int(i) / 4) for i in draw.integers(-9, 9e6, rows)],
            "y": ["free" if each else "busy" for each in weekend],
        }
    )


def as_text(frame, way):
    if way == "pandas":
        return frame.to_pandas()
    iso = frame.with_columns(pl.col("span").dt.to_string("iso"))
    if way == "polars":
        return iso
    zoned = pl.col("when").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Kolkata")
    return iso.with_columns(zoned.dt.strftime("%Y-%m-%d %H:%M:%S%:z"), pl.col("day").dt.strftime("%d.%m.%Y"))


@pytest.mark.parametrize("way", ["pandas", "polars", "with a zone"])
def test_every_way_of_writing_gives_the_same_numbers(tmp_path, way):
    frame, pandas = table(), as_text(table(), way)
    frame.write_parquet(tmp_path / "d.parquet", row_group_size=70)
    pandas.to_csv(tmp_path / "d.csv", index=False) if way == "pandas" else pandas.write_csv(tmp_path / "d.csv")
    form = Form(date_format="%d.%m.%Y") if way == "with a zone" else Form()
    typed, texts = read(tmp_path / "d.parquet", "y").records, read(tmp_path / "d.csv", "y", form=form).records
    stored = StoredRows(StoredTable.open(tmp_path / "d.parquet", "y", ("",)))
    fitted = [fit_preprocessing(rows) for rows in (typed, texts, stored)]
    expected = fitted[0].transform(typed)
    assert fitted[0].column_names == ["when", "day", "at", "span"]
    days = ["days since 1970", "year, sine", "year, cosine", "week, sine", "week, cosine"]
    clock = ["day, sine", "day, cosine"]
    assert fitted[0].feature_names == [
        *(f"when ({name})" for name in [*days, *clock]),
        *(f"day ({name})" for name in days),
        *(f"at ({name})" for name in ["hours", *clock]),
        *("span", "when (days since 1970) is missing"),
    ]
    for each in fitted:
        assert each.feature_names == fitted[0].feature_names
        assert np.array_equal(each.transform(typed), expected) or each is fitted[2]
        assert np.allclose(each.transform(typed), expected, atol=1e-5)
        assert "1 as numbers, 3 as dates or times, 0 as categories" in each.used(typed)
    for path in ("d.parquet", "d.csv"):
        parts = list(stream(tmp_path / path, "y", columns=fitted[1].column_names, form=form))
        assert np.array_equal(np.concatenate([fitted[1].transform(part) for part in parts]), expected)
    fitted[1].save(tmp_path)
    assert np.array_equal(load_preprocessing(tmp_path).transform(texts), expected)
    assert texts.hash() == read(tmp_path / "d.csv", "y", form=form).records.hash()


def test_dates_that_are_constant_or_missing_tell_less(tmp_path):
    frame = pl.DataFrame({"year": ["2019-01-01", None, "2020-01-01"] * 20, "gone": [None] * 60, "y": list("uv") * 30})
    frame.write_csv(tmp_path / "d.csv")
    records = read(tmp_path / "d.csv", "y").records
    names = fit_preprocessing(records).feature_names
    assert names == [
        *("year (days since 1970)", "year (week, sine)", "year (week, cosine)", "year (days since 1970) is missing")
    ]


def test_what_is_no_date_in_a_later_file(tmp_path, refused):
    (tmp_path / "d.csv").write_text("when,n,y\n" + "2020-01-01,1.5,u\n2021-02-03,2,v\n" * 9)
    preprocessing = fit_preprocessing(read(tmp_path / "d.csv", "y").records)
    for bad, said in (("soon,1", "line 3: column 'when' holds 'soon'"), ("01/02/2020,1", "such as 2020-12-31, there")):
        (tmp_path / "e.csv").write_text(f"when,n,y\nNaT,1,u\n{bad},u\n")
        with refused(said):
            [preprocessing.transform(part) for part in stream(tmp_path / "e.csv", "y", columns=["when", "n"])]
    for column, said in (
        (pl.Series("when", [1.5]), "column 'when' holds '1.5'"),
        (pl.Series("when", [datetime.time(1)]), "trained on dates"),
        (pl.Series("n", [datetime.date(2020, 1, 1)]), "column 'n' holds Date values"),
    ):
        frame = pl.DataFrame({"when": ["2020-01-01"], "n": [1.0]}).with_columns(column)
        frame.write_parquet(tmp_path / "e.parquet")
        with refused(said):
            [
                preprocessing.transform(part)
                for part in stream(tmp_path / "e.parquet", columns=["when", "n"], require_target=False)
            ]


def test_dates_that_are_written_otherwise_are_said(tmp_path):
    from gatewise.data.readings import said_of_readings

    (tmp_path / "d.csv").write_text("when,y\n" + "31/12/2020,u\n01/02/2021,v\n" * 9)
    records = read(tmp_path / "d.csv", "y").records
    assert records.features["when"].dtype == pl.String
    (said,) = said_of_readings(records.readings, ("",))
    assert "'when' may hold dates ('31/12/2020')" in said
    assert "it serves by its frequent values alone" in said  # as a date that differs by row is left out
    assert "--set 'date_format=%d/%m/%Y' would read them." in said
    found = read(tmp_path / "d.csv", "y", form=Form(date_format="%d/%m/%Y")).records
    assert found.features["when"][0] == datetime.datetime(2020, 12, 31)


@pytest.mark.parametrize("text", ["", "%d", "%d.%m", "day", "%Q", "%d/%m/%Y %"])
def test_what_is_no_date_format(text):
    with pytest.raises(ValueError, match="give a format of days, months and years"):
        as_date_format(text)


def test_codes_and_truth_values(tmp_path):
    rows = [f"{code},{flag},{'uv'[i % 2]}" for i, (code, flag) in enumerate([("0012", "True"), ("12", "FALSE")] * 20)]
    (tmp_path / "d.csv").write_text("code,flag,y\n" + "\n".join(rows) + "\n")
    records = read(tmp_path / "d.csv", "y").records
    preprocessing = fit_preprocessing(records)
    assert preprocessing.feature_names == ["flag", "code=0012", "code=12"]
    expected = preprocessing.transform(records)[:2]
    for one, zero in (("true", "false"), ("1", "0"), ("1.0", "0.0"), ("TRUE", "FALSE")):
        (tmp_path / "e.csv").write_text(f"code,flag,y\n0012,{one},u\n12,{zero},v\n")
        (part,) = stream(tmp_path / "e.csv", "y", columns=["code", "flag"])
        assert np.array_equal(preprocessing.transform(part), expected)
        assert np.array_equal(preprocessing.transform(read(tmp_path / "e.csv", "y").records), expected)
    pl.DataFrame({"code": ["0012", "12"], "flag": [True, False]}).write_parquet(tmp_path / "e.parquet")
    (part,) = stream(tmp_path / "e.parquet", require_target=False)
    assert np.array_equal(preprocessing.transform(part), expected)


@pytest.mark.parametrize(
    "written", [("T", "F"), ("t", "f"), ("True", "False"), ("TRUE", "FALSE"), ("1", "0"), ("1.0", "0")]
)
def test_a_yes_or_no_is_the_same_however_it_is_spelled(tmp_path, written):
    """In training, in a later file, whole and in parts; one initial alone, or beside others, is a category."""
    yes = [i % 3 == 0 for i in range(60)]
    columns = {"n": [i % 7 for i in range(60)], "y": ["u" if each else "v" for each in yes]}
    texts = pl.DataFrame({"b": [written[0] if each else written[1] for each in yes], **columns})
    texts.write_csv(tmp_path / "texts.csv")
    pl.DataFrame({"b": yes, **columns}).write_parquet(tmp_path / "typed.parquet")
    records = {name: read(tmp_path / name, "y").records for name in ("texts.csv", "typed.parquet")}
    expected = fit_preprocessing(records["typed.parquet"]).transform(records["typed.parquet"])
    for trained in records.values():
        preprocessing = fit_preprocessing(trained)
        assert preprocessing.feature_names == ["b", "n"]
        for name, later in records.items():
            assert np.array_equal(preprocessing.transform(later), expected)
            (part,) = stream(tmp_path / name, "y", columns=preprocessing.column_names)
            assert np.array_equal(preprocessing.transform(part), expected)


@pytest.mark.parametrize(
    ("values", "levels"), [("F", ["b=F"]), ("FM", ["b=F", "b=M"]), ("ACGT", [f"b={each}" for each in "ACGT"])]
)
def test_initials_beside_others_are_categories(tmp_path, values, levels):
    rows = [f"{values[i % len(values)]},{'uv'[i % 3 == 0]}" for i in range(60)]
    (tmp_path / "d.csv").write_text("b,y\n" + "\n".join(rows) + "\n")
    names = fit_preprocessing(read(tmp_path / "d.csv", "y").records).feature_names
    assert names == levels


@pytest.mark.parametrize("format", ["%Q", "no date", 5])
def test_a_part_has_a_format_that_dates_can_have(format):
    """A model's folder may come from a stranger."""
    with pytest.raises((ValueError, TypeError)):
        DatePart("when", "date", "year, sine", format)
