import polars as pl
import pytest

from gatewise.data import read
from gatewise.data.strays import said_of_strays, stray_words

NUMBERS = [str(i % 7) for i in range(40)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([*NUMBERS, *["n/a"] * 8, None], {"n/a": 8}),
        ([*NUMBERS, "n/a", "unknown", "n/a"], {"n/a": 2, "unknown": 1}),
        ([*NUMBERS, *["n/a"] * 11], {}),  # too many of them
        ([*NUMBERS, "a", "b", "c", "d"], {}),  # too many different ones
        (["1", "2", "3", "1", "2", "3", "1", "2", "3", "A"], {}),  # codes of which one is a letter
        (["red", "blue"] * 20, {}),
        (NUMBERS, {}),
    ],
)
def test_a_few_words_among_numbers_are_found(values, words):
    assert stray_words(pl.Series("x", values, pl.String), None) == words


def test_numbers_have_the_decimal_mark_of_the_file():
    column = pl.Series("x", [f"{i},5" for i in range(30)] + ["n/a"])
    assert stray_words(column, ",") == {"n/a": 1}
    assert stray_words(column, None) == {}


def test_the_setting_that_is_named_reads_the_column_as_numbers(tmp_path):
    path = tmp_path / "rooms.csv"
    lines = "\n".join(f"{number},{i % 2}" for i, number in enumerate([*NUMBERS, *["it's n/a"] * 4]))
    path.write_text(f"rooms,y\n{lines}\n")
    records = read(path, "y").records
    assert records.strays == {"rooms": {"it's n/a": 4}}
    said = said_of_strays(records.strays, ["rooms"], records.missing)
    assert "'rooms' (\"it's n/a\" in 4 rows)" in said
    assert 'missing=["", "?", "NA", "it\'"\'"\'s n/a"]' in said
    assert said_of_strays(records.strays, [], records.missing) is None
    again = read(path, "y", missing=[*records.missing, "it's n/a"]).records
    assert again.features["rooms"].dtype == pl.Float64
    assert again.features["rooms"].null_count() == 4
    assert again.strays == {}
