"""One table of 30 columns as pandas, polars, R and Arrow write it: one model, to the last digit."""

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest

import gatewise as gw
from gatewise.data import Form, fit_preprocessing, read, stream

ROWS = 240


def table() -> pl.DataFrame:
    draw = np.random.default_rng(0)

    def gaps(values, every):
        return [None if i % every == 3 else value for i, value in enumerate(values)]

    def whole(low, high):
        return [int(i) for i in draw.integers(low, high, ROWS)]

    def one_of(*values):
        return [values[i] for i in draw.integers(0, len(values), ROWS)]

    def rounded(digits):
        return [round(float(value), digits) for value in draw.normal(0, 3, ROWS)]

    times = [datetime.datetime(2016, 1, 1) + datetime.timedelta(minutes=i) for i in whole(0, 3_000_000)]
    cents = [decimal.Decimal(i) / 100 for i in whole(100, 900_000)]
    columns = {
        "age": (whole(18, 90), pl.Int64),
        "children": (gaps(whole(0, 5), 9), pl.Int64),
        "income": (whole(10_000, 3_000_000), pl.Int64),
        "small": (whole(0, 200), pl.UInt8),
        "signed": (whole(-100, 100), pl.Int8),
        "wide": (whole(2**40, 2**50), pl.Int64),
        "same": ([7] * ROWS, pl.Int64),
        "flag": (one_of(0, 1), pl.Int64),
        "height": (rounded(6), pl.Float64),
        "weight": (gaps(rounded(4), 7), pl.Float64),
        "whole": ([float(i) for i in whole(0, 40)], pl.Float64),
        "narrow": (rounded(3), pl.Float32),
        "gone": (gaps(rounded(2), 5), pl.Float32),
        "price": (cents, pl.Decimal(18, 2)),
        "paid": (gaps(cents[::-1], 6), pl.Decimal(18, 2)),
        "member": (one_of(True, False), pl.Boolean),
        "asked": (gaps(one_of(True, False), 8), pl.Boolean),
        "smoker": (one_of("yes", "no"), pl.String),
        "colour": (one_of("red", "green", "blue"), pl.String),
        "city": (gaps(one_of("Oslo", "São Paulo", "a, b", 'the "one"'), 10), pl.String),
        "grade": (one_of("low", "middle", "high"), pl.Enum(["low", "middle", "high"])),
        "shape": (gaps(one_of("round", "flat"), 11), pl.Categorical()),
        "code": (one_of("01234", "00120", "90210"), pl.String),
        "digits": (one_of("1", "2", "30"), pl.String),
        "mixed": (one_of("1", "2", "x"), pl.String),
        "day": ([each.date() for each in times], pl.Date),
        "when": (times, pl.Datetime("us")),
        "seen": (gaps(times[::-1], 12), pl.Datetime("us")),
        "at": ([each.time() for each in times], pl.Time),
        "span": ([datetime.timedelta(seconds=i) for i in whole(60, 900_000)], pl.Duration("us")),
    }
    assert len(columns) == 30
    frame = pl.DataFrame({name: pl.Series(name, values, dtype=kind) for name, (values, kind) in columns.items()})
    return frame.with_columns(y=pl.when(pl.col("age") > 50).then(pl.lit("good")).otherwise(pl.lit("bad")))


FRAME = table()
PANDAS = FRAME.to_pandas()
SECONDS = FRAME.with_columns(pl.col("span").dt.total_seconds())
R = SECONDS.with_columns(pl.col("narrow", "gone").cast(pl.String).cast(pl.Float64))  # R has no floats of 32 bits
ISO = FRAME.with_columns(pl.col("span").dt.to_string("iso"))


def as_r_writes(frame: pl.DataFrame, separator: str = ",", row_names: bool = True, point: str = ".") -> str:
    """What R 4.2.2 made of the table by `write.csv`: text and row names in quotes, TRUE, and NA without quotes."""

    def text(value):
        if value is None:
            return "NA"
        if isinstance(value, str | datetime.time):
            return '"{}"'.format(str(value).replace('"', '""'))
        number = isinstance(value, float | decimal.Decimal)
        return str(value).upper() if isinstance(value, bool) else str(value).replace(".", point if number else ".")

    names = ['""'] * row_names + [f'"{name}"' for name in frame.columns]
    rows = [[f'"{i + 1}"'] * row_names + [*map(text, row)] for i, row in enumerate(frame.iter_rows())]
    return "\n".join(separator.join(row) for row in [names, *rows]) + "\n"


def in_other_types() -> pyarrow.Table:
    """As Arrow may hold the same: dictionaries, views, 256 bits, other units, a zone."""
    arrow = FRAME.to_arrow()
    kinds = {
        **dict.fromkeys(("smoker", "code"), pyarrow.string_view()),
        **dict.fromkeys(("digits", "mixed"), pyarrow.large_string()),
        **dict.fromkeys(("price", "paid"), pyarrow.decimal256(60, 10)),
        **{"day": pyarrow.date64(), "when": pyarrow.timestamp("ms", "UTC"), "seen": pyarrow.timestamp("s")},
        **{"at": pyarrow.time32("s"), "span": pyarrow.duration("s"), "small": pyarrow.int64()},
    }
    columns = {name: arrow[name].cast(kinds[name]) if name in kinds else arrow[name] for name in arrow.schema.names}
    for name in ("colour", "city", "grade", "shape", "children", "flag"):
        kind = pyarrow.int64() if name in ("children", "flag") else pyarrow.string()
        columns[name] = arrow[name].cast(kind).dictionary_encode()
    return pyarrow.table(columns)


def arrow_csv(path) -> None:
    # pyarrow writes no durations and no dictionaries as CSV
    plain = SECONDS.with_columns(pl.col("grade", "shape").cast(pl.String))
    pyarrow.csv.write_csv(plain.to_arrow(), path)


WRITERS = {
    "polars.csv": lambda path: ISO.write_csv(path),
    "polars.csv.zst": lambda path: ISO.write_csv(path, compression="zstd"),
    "polars.parquet": lambda path: FRAME.write_parquet(path, row_group_size=100),
    "pandas.csv": lambda path: PANDAS.to_csv(path),
    "pandas.csv.gz": lambda path: PANDAS.to_csv(path, index=False),
    "pandas.parquet": lambda path: PANDAS.to_parquet(path),
    "nullable.parquet": lambda path: PANDAS.convert_dtypes().set_index(pd.Index(range(5, 5 + ROWS))).to_parquet(path),
    "extension.parquet": lambda path: FRAME.to_pandas(use_pyarrow_extension_array=True).to_parquet(path),
    "arrow.csv": arrow_csv,
    "arrow.parquet": lambda path: pyarrow.parquet.write_table(FRAME.to_arrow(), path),
    "other types.parquet": lambda path: pyarrow.parquet.write_table(in_other_types(), path),
    "r.csv": lambda path: path.write_text(as_r_writes(R)),
    "r without row names.csv": lambda path: path.write_text(as_r_writes(R, row_names=False)),
    "r2.csv": lambda path: path.write_text(as_r_writes(R, ";", point=",")),
}
FORMS = {"r2.csv": {"decimal": ",", "separator": ";"}}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    for name, write in WRITERS.items():
        write(folder / name)
    return folder


@pytest.fixture(scope="module")
def reference(files):
    records = read(files / "polars.parquet", "y").records
    preprocessing = fit_preprocessing(records)
    return preprocessing, preprocessing.transform(records)


@pytest.mark.parametrize("name", WRITERS)
def test_the_model_learns_the_same_from_it_and_sees_the_same_in_it(files, reference, name):
    preprocessing, expected = reference
    form = Form(**FORMS.get(name, {}))
    records = read(files / name, "y", form=form).records
    own = fit_preprocessing(records)
    assert own.feature_names == preprocessing.feature_names
    assert np.array_equal(own.transform(records), expected)
    assert np.array_equal(preprocessing.transform(records), expected)
    assert records.labels.tolist() == FRAME["y"].to_list()
    parts = stream(files / name, "y", columns=preprocessing.column_names, form=form)
    assert np.array_equal(np.concatenate([preprocessing.transform(part) for part in parts]), expected)


def test_the_columns_are_what_they_tell(reference):
    names = reference[0].feature_names
    assert {"digits", "member", "span", "price", "same"} <= {*names}
    assert {"code=00120", "mixed=x", "smoker=yes", "grade=low", "city=(missing)", "when (week, sine)"} <= {*names}


def test_one_model_is_trained(files, tmp_path):
    weights = []
    for name in ("polars.csv", "nullable.parquet", "r.csv", "other types.parquet"):
        keys = {"data": str(files / name), "target": "y", "experts": 2, "expert_hidden": [4], "epochs": 2, "starts": 1}
        gw.runs.train(gw.config.load_config(keys), out=tmp_path / name)
        weights.append((tmp_path / name / "model" / "weights.safetensors").read_bytes())
    assert len({*weights}) == 1


@pytest.mark.filterwarnings("ignore:Read as")
def test_scikit_learns_door_takes_all_frames_alike():
    frames = [FRAME, PANDAS, PANDAS.convert_dtypes(), FRAME.to_pandas(use_pyarrow_extension_array=True)]
    model = gw.sklearn.MixtureOfExpertsClassifier(n_experts=2, expert_hidden=(4,), epochs=2, random_state=0)
    found = []
    for frame in frames:
        x = frame.drop("y") if isinstance(frame, pl.DataFrame) else frame.drop(columns="y")
        found.append(model.fit(x, FRAME["y"].to_numpy()).predict_proba(x))
    for each in found[1:]:
        assert np.array_equal(each, found[0])
