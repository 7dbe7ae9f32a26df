import pytest

from gatewise import GatewiseError
from gatewise.data.target_columns import joined, names_of, target_columns


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("a", ["a"]),
        ("a b", ["a b"]),
        ("a,b , c", ["a", "b", "c"]),
        ('"size, cm",b', ["size, cm", "b"]),
        ('"size, cm"', ["size, cm"]),
        ('a,"say ""b"""', ["a", 'say "b"']),
    ],
)
def test_names_stand_between_commas_as_in_a_csv_file(target, names):
    assert names_of(target) == names
    assert names_of(joined(names)) == names


def test_a_column_of_exactly_that_name_wins():
    assert target_columns("a,b", ["a,b", "a", "b"]) == ["a,b"]
    assert target_columns("a,b", ["a", "b", "c"]) == ["a", "b"]
    assert target_columns(joined(["a,b"]), ["a,b", "a", "b"]) == ["a,b"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("a,,b", "a comma without a name beside it; commas stand between several names"),
        ("a,", "a comma without a name"),
        ('"a,b', "cannot be read .*a name with a comma of its own goes in double quotes"),
        ("a,b,a", "names 'a' twice"),
    ],
)
def test_what_cannot_be_names_is_refused(target, said):
    with pytest.raises(GatewiseError, match=said):
        names_of(target)
