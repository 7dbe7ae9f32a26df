"""Columns of text that are numbers, or nearly: what is said of them, and that every setting that is said works."""

import json
import re
import shlex

import polars as pl
import pytest

from gatewise import GatewiseError
from gatewise.data import MISSING, Form, read
from gatewise.data.readings import said_of_readings

NUMBERS = [str(i % 7) for i in range(40)]
DIFFERENT = [f"{i}.5" for i in range(60)]


@pytest.fixture
def table(tmp_path):
    """Reads a column x of these values beside a target."""

    def make(values, **form):
        path = tmp_path / "t.csv"
        pl.DataFrame({"x": values, "y": ["ab"[i % 2] for i in range(len(values))]}).write_csv(path)
        missing = form.pop("missing", MISSING)
        return read(path, "y", missing=missing, form=Form(**form)).records

    return make


def said(records, **form):
    return " ".join(said_of_readings(records.readings, records.missing, form.get("as_numbers", ())))


def settings(text):
    """Those that a sentence names, as the command line reads them."""
    found = re.findall(r"--set ('(?:[^']|'\"'\"')*'|\S+)", text)
    return [dict([shlex.split(each)[0].rstrip(".,;)").split("=", 1)]) for each in found]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([*NUMBERS, *["unknown"] * 8, None], "40 of 48 are; 'unknown' in 8 rows"),
        ([*NUMBERS, "?!", "unknown", "?!"], "40 of 43 are; '?!' in 2 rows, 'unknown' in 1 row"),
        ([*NUMBERS, *["unknown"] * 11], "40 of 51 are"),
        ([*NUMBERS, "a", "b", "c", "d"], "40 of 44 are; 'a' in line 42 is text"),
        ([*NUMBERS, "1133 - 1384", "34.46Sq. Meter", "so"], "40 of 43 are; '1133 - 1384' in line 42 is a range, "),
        ([f"{i} kg" for i in range(40)], "0 of 40 are; '0 kg' in line 2 has a unit"),
        ([f"{10 * i}-{10 * i + 9}" for i in range(8)] * 3, "'0-9' in line 2 is a range"),
        ([*DIFFERENT, "$3", "$4"], "60 of 62 are; '$3' in line 62 is written otherwise"),
        ([*(f"${each}" for each in DIFFERENT), "€4"], "60 of 61 are; '€4' in line 62 is written otherwise"),
        ([*(f"{each}%" for each in DIFFERENT), "0.4"], "60 of 61 are; '0.4' in line 62 is written otherwise"),
        (["1,250", *(f"{i}00" for i in range(10, 40))], "30 of 31 are; '1,250' in line 2 is written otherwise"),
    ],
)
def test_a_column_of_which_most_are_numbers_is_named(table, values, told):
    """With how many are, an example of the others, and a setting that makes it one of numbers."""
    form = {"decimal": "."}
    records = table(values, **form)
    assert records.features["x"].dtype == pl.String
    sentence = said(records)
    assert f"'x' ({told}" in sentence or told in sentence
    assert settings(sentence)
    for setting in settings(sentence):
        ((key, value),) = setting.items()
        again = table(values, **form, **{key: tuple(json.loads(value))})
        assert again.features["x"].dtype == pl.Float64
        assert again.features["x"].is_not_null().sum() >= 8
        assert set(MISSING) <= set(again.missing)


@pytest.mark.parametrize(
    "values",
    [
        ["1", "2", "3", "1", "2", "3", "1", "2", "3", "A"],
        ["red", "blue"] * 20,
        [f"n{i}" for i in range(60)],
        ["5 Jan", "1 Feb"] * 9,
        [f"{i} Main Street {i}" for i in range(30)],
        [f"10:{i}" for i in range(60, 90)],
    ],
)
def test_nothing_is_said_of_codes_words_dates_and_times(table, values):
    records = table(values)
    assert records.features["x"].dtype == pl.String
    assert said(records) == ""


def test_nothing_is_said_of_plain_numbers(table):
    records = table([*NUMBERS, "NA", "N/A", "null", "-", "nan", "#N/A", ".", r"\N", "None", "<NA>"])
    assert records.features["x"].null_count() == 10
    assert said(records) == ""


@pytest.mark.parametrize("mark", ["NA", "null", "-", "None", "nan", "N/A"])
def test_marks_of_numbers_are_categories_of_text(table, mark):
    assert table(["DE", mark, "", "?"]).features["x"].to_list() == ["DE", mark, None, None]
    assert table(["DE", mark], missing=("", mark)).features["x"].to_list() == ["DE", None]


def test_a_slip_in_a_column_of_numbers_is_refused_with_settings_that_work(table):
    values = [*DIFFERENT, "unknown", "it's"]
    with pytest.raises(GatewiseError, match=r"line 62: column 'x' holds 'unknown' where .* \(60 of 62\)") as caught:
        table(values)
    found = settings(str(caught.value))
    assert [*found[0].items()] == [("missing", '["", "?", "unknown", "it\'s"]')]
    assert table(values, missing=json.loads(found[0]["missing"])).features["x"].null_count() == 2
    assert table(values, as_numbers=tuple(json.loads(found[1]["as_numbers"]))).features["x"].null_count() == 2


def test_numbers_that_were_asked_for(table, refused):
    values = [*NUMBERS, "10 - 20", "3–5", "34.46Sq. Meter", "so"]
    form = {"as_numbers": ("x",)}
    records = table(values, **form)
    assert records.features["x"].to_list()[40:] == [15.0, 4.0, None, None]
    told = "As numbers, as asked: 'x' (40 numbers, 2 ranges at their midpoints, 2 missing: '10 - 20' in line 42 is a "
    assert said(records).startswith(told)
    with refused("as_numbers names 'z', which is no column", "'x', 'y'"):
        table(values, as_numbers=("z",))
    with refused("as_numbers names 'x', in which no value is a number"):
        table(["a", "b"], as_numbers=("x",))


@pytest.mark.parametrize(
    ("values", "decimal", "told"),
    [
        (["$1,250.00", "$3.5"], None, "'x' (in $, with ',' at thousands)"),
        (["12%", "3.5 %"], None, "'x' (in %)"),
        (["1.250,00 €", "3,5 €"], ",", "'x' (in €, with '.' at thousands)"),
        (["1,250", "950"], None, "'x' (with ',' at thousands). Where the comma of 'x' is a decimal one"),
        (["1 250", "3"], None, "'x' (with ' ' at thousands)."),
    ],
)
def test_numbers_in_other_clothes_are_said(table, values, decimal, told):
    records = table(values, decimal=decimal)
    assert records.features["x"].dtype == pl.Float64
    assert told in said(records)


def test_a_comma_that_may_be_either(table):
    assert table(["1,250", "950"]).features["x"].to_list() == [1250.0, 950.0]
    assert table(["1,250", "950"], decimal=",").features["x"].to_list() == [1.25, 950.0]
    with pytest.raises(GatewiseError, match=r"holds '0,125': set decimal = ','"):
        table(["0,125", "1,250"])
