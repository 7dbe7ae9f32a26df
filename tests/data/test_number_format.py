"""Numbers in other clothes: what plain numbers give, to the last digit; and mixtures are none."""

import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.data import Form, fit_preprocessing, load_preprocessing, read, stream
from gatewise.data.number_format import PLAIN, FormatEvidence, NumberFormat


def grouped(text, mark, sizes=(3,)):
    """The digits of a plain number in groups."""
    sign, digits = text[: text[0] == "-"], text.lstrip("-")
    whole, point, rest = digits.partition(".")
    parts, sizes = [], list(sizes)
    while len(whole) > (size := sizes[0]):
        whole, part = whole[:-size], whole[-size:]
        parts.insert(0, part)
        sizes = sizes[1:] or sizes
    return sign + mark.join([whole, *parts]) + point + rest


def comma(text):
    return text.replace(".", ",")


CLOTHES = {
    "plain": (None, lambda s: s),
    "plus": (None, lambda s: s if s.startswith("-") else f"+{s}"),
    "minus": (None, lambda s: s.replace("-", "\u2212")),
    "thousands": (None, lambda s: grouped(s, ",")),
    "lakh": (None, lambda s: grouped(s, ",", (3, 2))),
    "space": (None, lambda s: grouped(s, " ")),
    "narrow space": (None, lambda s: grouped(s, "\u202f")),
    "apostrophe": (None, lambda s: grouped(s, "'")),
    "curly apostrophe": (None, lambda s: grouped(s, "\u2019")),
    "decimal comma": (",", comma),
    "european": (",", lambda s: grouped(s, "_").replace(".", ",").replace("_", ".")),
    "french": (",", lambda s: comma(grouped(s, "\u00a0"))),
    "dollar": (None, lambda s: s.replace("-", "-$") if s[0] == "-" else f"${s}"),
    "dollar before minus": (None, lambda s: f"${s}"),
    "dollar and thousands": (None, lambda s: f"$ {grouped(s, ',')}"),
    "euro before": (",", lambda s: f"€ {comma(s)}"),
    "euro after": (",", lambda s: f"{comma(s)} €"),
    "code": (None, lambda s: f"{s} EUR"),
    "code before": (None, lambda s: f"CHF {grouped(s, chr(39))}"),
    "kronor": (",", lambda s: f"{comma(grouped(s, ' '))} kr"),
    "percent": (None, lambda s: f"{s}%"),
    "percent apart": (",", lambda s: f"{comma(s)} %"),
    "brackets": (None, lambda s: f"({grouped(s[1:], ',')})" if s[0] == "-" else grouped(s, ",")),
    "dollar in brackets": (None, lambda s: f"$({s[1:]})" if s[0] == "-" else f"${s}"),
}


def column(seed, rows=40):
    """Plain numbers of all sizes, as text; the first is above a million and the second negative."""
    draw = random.Random(seed)
    sized = [f"{draw.choice(['', '', '-'])}{draw.randint(0, 10 ** draw.randint(1, 7))}" for _ in range(rows - 2)]
    further = [each if draw.random() < 0.5 else f"{each}.{draw.randint(0, 99):02}" for each in sized]
    return ["1234567.25", "-12.5", *further]


@given(seed=st.integers(0, 2**32), dress=st.sampled_from([*CLOTHES]))
@settings(max_examples=80, deadline=None)
def test_every_clothing_is_the_plain_number(seed, dress):
    plain = column(seed)
    decimal, put_on = CLOTHES[dress]
    dressed = pl.Series("x", [put_on(each) for each in plain])
    found = FormatEvidence(decimal)
    for start in range(0, len(dressed), 7):
        found.add(dressed[start : start + 7], start)
    assert found.format is not None
    assert found.known == len(plain)
    values = pl.Series(plain).cast(pl.Float64)
    assert found.format.read(dressed).to_list() == values.to_list()
    again = FormatEvidence(decimal).add(dressed)
    assert again.format == found.format


def way(dress):
    """What stands for all clothes that may stand in one column."""
    same = [
        {"plain", "plus", "minus"},
        {"thousands", "lakh", "brackets"},
        {"space", "narrow space"},
        {"apostrophe", "curly apostrophe"},
        {"dollar", "dollar before minus", "dollar in brackets"},
    ]
    return next((i for i, alike in enumerate(same) if dress in alike), dress)


@given(
    seed=st.integers(0, 2**32),
    pair=st.tuples(*[st.sampled_from([name for name, (decimal, _) in CLOTHES.items() if decimal is None])] * 2),
)
@settings(max_examples=60, deadline=None)
def test_mixtures_are_no_column_of_numbers(seed, pair):
    plain = column(seed)
    first, second = (CLOTHES[name][1] for name in pair)
    dressed = pl.Series("x", [first(plain[0]), first(plain[1]), second(plain[0]), second(plain[1])])
    found = FormatEvidence(".").add(dressed).format
    assert (found is not None) == (way(pair[0]) == way(pair[1]))
    if found is not None:
        assert found.read(dressed).to_list() == [1234567.25, -12.5] * 2


@pytest.mark.parametrize("dress", [*CLOTHES])
def test_the_model_sees_the_same_matrix(tmp_path, dress):
    """Whole and in parts, from CSV and from Parquet, where the column has gaps, as a feature and as the target."""
    decimal, put_on = CLOTHES[dress]
    plain = column(len(dress), 120)
    gaps = {5: "NA", 17: "-", 40: "", 41: "?", 60: "nan"}
    beside = [str(each) for each in random.Random(0).choices(["DE", "NA", "None"], k=120)]
    tables = {
        "plain": [gaps.get(i, each) for i, each in enumerate(plain)],
        "dressed": [gaps.get(i, put_on(each)) for i, each in enumerate(plain)],
    }
    matrices = {}
    for kind, values in tables.items():
        form = Form(separator=";", decimal=decimal if kind == "dressed" else None)
        frame = pl.DataFrame({"x": values, "w": beside, "y": ["ab"[i % 2] for i in range(120)]})
        frame.write_csv(tmp_path / f"{kind}.csv", separator=";")
        frame.write_parquet(tmp_path / f"{kind}.parquet")
        for ending in (".csv", ".parquet"):
            path = tmp_path / f"{kind}{ending}"
            records = read(path, "y", form=form).records
            preprocessing = fit_preprocessing(records)
            matrices[kind, ending] = preprocessing.transform(records)
            assert preprocessing.feature_names == ["x", "x is missing", "w=DE", "w=NA", "w=None"]
            parts = stream(path, "y", form=form, columns=preprocessing.column_names)
            streamed = np.concatenate([preprocessing.transform(part) for part in parts])
            assert np.array_equal(streamed, matrices[kind, ending])
            preprocessing.save(tmp_path)
            loaded = load_preprocessing(tmp_path)
            assert loaded.columns == preprocessing.columns
            assert np.array_equal(loaded.transform(records), matrices[kind, ending])
    first = next(iter(matrices.values()))
    for matrix in matrices.values():
        assert np.array_equal(matrix, first)


@pytest.mark.parametrize(
    ("values", "format", "numbers"),
    [
        (["1,250", "1,250,000"], NumberFormat(".", ","), [1250, 1250000]),
        (["inf", "1e3", "1.5E-3", ".5", "5."], PLAIN, [np.inf, 1000, 0.0015, 0.5, 5]),
        (["US$ 5", "US$7.25"], NumberFormat(mark="US$"), [5, 7.25]),
        (["R$ 5", "R$7"], NumberFormat(mark="R$"), [5, 7]),
        (["₹1,23,456", "₹ 12"], NumberFormat(".", ",", "₹"), [123456, 12]),
        (["0012", "7"], PLAIN, [12, 7]),
        (["5 kr", "7kr"], NumberFormat(mark="kr"), [5, 7]),
        (["5 KES", "KES 7"], NumberFormat(mark="KES"), [5, 7]),  # not five thousand
        (["1,250.00-", "3.00"], NumberFormat(".", ","), [-1250, 3]),
        (["-$5", "$-3", "$ +2"], NumberFormat(mark="$"), [-5, -3, 2]),
    ],
)
def test_forms_that_are_met(values, format, numbers):
    found = FormatEvidence(".").add(pl.Series("x", values))
    assert found.format == format
    assert found.format.read(pl.Series("x", values)).to_list() == numbers


@pytest.mark.parametrize(
    "values",
    [
        ["(5)", "(3)"],
        ["1,25", "3"],
        ["12,34,567.8.9"],
        ["1,2,3", "4"],
        ["1.2.3", "1"],
        ["$5 USD"],
        ["$", "5"],
        ["--5", "5"],
        ["1 2", "3"],
        ["0,125", "1"],
        ["1_000", "5"],
        ["0x1F", "1"],
        ["٣", "1"],
        ["2-", "3", "1-"],  # grades
        ["2.5M", "3"],
        ["5 k", "7 k"],
        ["$5M", "$7M"],
        ["3 - 5", "4"],
        ["10-20%", "15%"],
        ["500+", "1000+"],
        ["5 m2", "7 m2"],
    ],
)
def test_what_is_no_number(values):
    assert FormatEvidence(".").add(pl.Series("x", values)).format is None


@pytest.mark.parametrize(
    ("values", "mark", "numbers"),
    [
        (["€110.5M", "€565K", "€0"], "€", [110.5e6, 565e3, 0]),
        (["19M", "201k", "2.5B", "7"], None, [19e6, 201e3, 2.5e9, 7]),
        (["10,000+", "500+"], "+", [10000, 500]),
        (["5 kg", "3 - 4 kg", "7 lb"], "kg", [5, 3.5, None]),
        (["12%", "10-20%", "0.3"], "%", [12, 15, None]),
        (["$10 - $20", "$10-20", "$7", "$5"], "$", [15, 15, 7, 5]),
        (["1133 - 1384", "3–5", "10 to 20", "5..7", "-5 - -3", "9 - 3"], None, [1258.5, 4, 15, 6, -4, None]),
        (["1,000 - 2,000", "1,500"], None, [1500, 1500]),
        (["2-3M", "2 - 3 M", "500k - 1M", "500 - 1M", "3M"], None, [2.5e6, 2.5e6, 750e3, None, 3e6]),
        (["$2-3M", "$1M–$2M", "$4M"], "$", [2.5e6, 1.5e6, 4e6]),
        (["2 million", "1.5 Mio.", "3 lakh", "2 crore", "7"], None, [2e6, 1.5e6, 3e5, 2e7, 7]),
        (["19 k€", "2 Mio. €", "7 €"], "€", [19e3, 2e6, 7]),
        (["1e3k", "3k"], None, [None, 3e3]),
        (["56 - 76 m2", "7-9 m2", "1 - 2 kg"], "m2", [66, 8, None]),
        (["1,000 - 2,000"], None, [1500]),
        (["$1,000 - $2,000", "$1-2"], "$", [1500, 1.5]),
        (["5 m2", "56 - 76 m2", "7 m2 - 9 m2", "8m²"], "m2", [5, 66, 8, None]),
    ],
)
def test_what_is_read_where_it_was_asked_for(values, mark, numbers):
    """And only then: no such column is one of numbers by itself."""
    found = FormatEvidence(".").add(pl.Series("x", values))
    assert found.format is None
    assert found.loose_format.mark == mark
    assert found.loose_format.read(pl.Series("x", values)).to_list() == numbers
    told = found.count(found.loose_format)[0] + found.ranges(found.loose_format)
    assert told == len([number for number in numbers if number is not None])


def test_scales_and_ranges_are_missing_where_nobody_asked_for_them():
    """So read_numbers refuses them by their line."""
    texts = pl.Series("x", ["5", "2.5M", "3 - 5", "$7", "$7k", "$3-5", "7 $", "$2M - $3M"])
    assert NumberFormat(mark="$").read(texts).to_list() == [5, None, None, 7, None, None, 7, None]
    assert NumberFormat(mark="$", loose=True).read(texts).to_list() == [5, 2.5e6, 4, 7, 7e3, 4, 7, 2.5e6]


@pytest.mark.parametrize(
    "keys",
    [{"decimal": ";"}, {"decimal": ",", "thousands": ","}, {"thousands": "x"}, {"mark": "a" * 25}, {"mark": 5}],
)
def test_marks_that_cannot_be_are_refused(keys):
    with pytest.raises(ValueError, match=r"no number has|the mark"):
        NumberFormat(**keys)


def test_plain_numbers_fit_where_others_were_trained_on():
    form = NumberFormat(".", ",", "$")
    assert form.read(pl.Series(["$1,250", "1250.5", "3", "€3", "1,25"])).to_list() == [1250, 1250.5, 3, None, None]
    percent = NumberFormat(mark="%")
    assert percent.read(pl.Series(["12%", "0.12"])).to_list() == [12, None]  # which may be 12 % as well
