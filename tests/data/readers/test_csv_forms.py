"""CSV files as people have them: other separators, no header, decimal commas; what is refused rather than guessed."""

import polars as pl
import pytest

from gatewise.data import Form, read

ROWS = [("1.5", "a b", "yes"), ("-2", "c,d", "no"), ("0.25", "e", "yes")]


@pytest.fixture
def write(tmp_path):
    def make(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def lines(rows, separator):
    return "".join(separator.join(row) + "\n" for row in rows)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("ends", ["", "\n\n"])
def test_separators(write, separator, ends):
    path = write(lines([("x", "w", "y"), *ROWS], separator) + ends)
    records = read(path, "y", form=Form(separator=separator)).records
    assert records.features.rows() == [(1.5, "a b"), (-2.0, "c,d"), (0.25, "e")]
    assert records.labels.tolist() == ["yes", "no", "yes"]


def test_a_tsv_file_has_tabs(write):
    records = read(write("x\ty\n1\ta\n2\t\n", "data.tsv"), "y", require_target=False).records
    assert records.features["x"].to_list() == [1.0, 2.0]
    assert records.labels is None  # the last field is empty, and the tab before it is none of the blank end


def test_quotes_newlines_and_marks_with_another_separator(write):
    content = b'\xef\xbb\xbf"x";"y"\r\n"two\r\nlines; ""q""";N\r\n"b";0012\r\n'
    records = read(write(content), "y", form=Form(separator=";")).records
    assert records.features["x"].to_list() == ['two\nlines; "q"', "b"]
    assert records.labels.tolist() == ["N", "0012"]


@pytest.mark.parametrize(("separator", "said"), [(";", "';'"), ("\t", "'tab'"), ("|", "'|'")])
def test_a_likely_separator_is_named(write, refused, separator, said):
    path = write(lines([("x", "w", "y"), *ROWS], separator))
    with refused(str(path), f"seem separated by {said}, not ','", f"--set separator={said}"):
        read(path, "y")
    numbers = write(lines([("1,5", "2", "0,5", "a")] * 3, separator))
    with refused(f"seem separated by {said}"):
        read(numbers, "y")
    with refused("seem separated by ','"):
        read(write("x,y\n1,a\n"), "y", form=Form(separator=";"))


def test_another_mark_in_some_fields_is_none(write):
    assert read(write("x;z,y\n1;2,a\n3,b\n"), "y").records.columns == ["x;z"]


@pytest.mark.parametrize("target", ["2", "-1", "c2"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_without_a_header(write, target, quote):
    path = write("\n1.5,a,yes\n2," + quote + "b" + quote + ",no\n")
    records = read(path, target, form=Form(header=False)).records
    assert records.columns == ["c0", "c1"]
    assert records.features.rows() == [(1.5, "a"), (2.0, "b")]
    assert (records.labels.tolist(), records.target) == (["yes", "no"], "c2")


def test_without_a_header_the_label_may_be_away(write, refused):
    form = Form(header=False, features=2)
    path = write("1,a\n2,b\n")
    for target, names in (("c0", ["c1", "c2"]), ("c1", ["c0", "c2"]), ("c2", ["c0", "c1"])):
        records = read(path, target, require_target=False, form=form).records
        assert (records.columns, records.labels) == (names, None)
    with refused("no column 'c0'"):
        read(path, "c0", form=form)
    with refused("4 columns", "trained on 2"):
        read(write("1,2,3,4\n"), "c0", require_target=False, form=form)


def test_without_a_header_lines_are_counted_from_the_first(write, refused):
    with refused("1 of 2 rows have no target", "line 2"):
        read(write("1,a\n2,\n"), "1", form=Form(header=False, missing_target="error"))
    with refused("no column '7'", "'c0', 'c1'"):
        read(write("1,a\n2,b\n"), "7", form=Form(header=False))


@pytest.mark.parametrize(
    "content",
    [
        "5.1,3.5,setosa\n4.9,3.0,setosa\n",
        "39,State-gov,77516,13,no\n50,Private,83311,13,yes\n",
        "red,small,no\nred,large,no\nblue,small,yes\n",
        "-1,a\n1,b\n",
        "1000,Smith,no\n1001,Jones,no\n",
    ],
)
def test_a_first_line_of_data_is_not_taken_for_names(write, refused, content):
    path = write(content)
    with refused(str(path), "looks like data", "--set header=false", "--set header=true"):
        read(path, content.split("\n")[0].split(",")[-1])
    assert read(path, content.split("\n")[0].split(",")[-1], form=Form(header=True)).records.labels is not None


@pytest.mark.parametrize("header", ["0,1,2,y", "country,2019,2020,y", "a,b,x,y", "1,3,z,y"])
def test_numbers_may_be_names(write, header):
    path = write(header + "\n1,3,x,a\n2,4,x,b\n")
    assert read(path, "y").records.columns == header.split(",")[:-1]


def test_a_name_twice_may_be_data(write, refused):
    with refused("'0' twice", "header=false"):
        read(write("0,0,a\n1,2,b\n"), "a")


def test_decimal_commas(write):
    path = write("x;w;y\n1,5;3,x;a\n-2;1,y;b\n;2;a\n")
    records = read(path, "y", form=Form(separator=";", decimal=",")).records
    assert records.features.rows() == [(1.5, "3,x"), (-2.0, "1,y"), (None, "2")]


def test_numbers_with_commas_are_not_guessed(write, refused):
    path = write("x;y\n1,5;a\n2;b\n")
    with refused("line 2", "'x' holds '1,5'", "decimal = ','"):
        read(path, "y", form=Form(separator=";"))
    assert read(path, "y", form=Form(separator=";", decimal=".")).records.features["x"].dtype == pl.String
    with refused("line 2", "'x' holds '1.250,5'", "decimal = ','"):
        read(write("x;y\n1.250,5;a\n2;b\n"), "y", form=Form(separator=";"))
    both = read(write("x;y\n1,5;a\n1.500;b\n"), "y", form=Form(separator=";", decimal=",")).records
    assert both.features["x"].to_list() == [1.5, 1500.0]  # who says that decimals have commas has said what points are
    mixed = read(write("x;y\n1,5;a\n1.50;b\n"), "y", form=Form(separator=";", decimal=",")).records
    assert mixed.features["x"].dtype == pl.String


def test_another_encoding_is_named_by_its_byte(write, refused):
    with refused("line 3", "byte 0xE9, number 11 of the file", "UTF-8"):
        read(write("x,y\n1,a\n2,\xe9\n".encode("latin-1")), "y")
    with refused("line 1", "byte 0xFF, number 1", "UTF-16"):
        read(write("x,y\n1,a\n".encode("utf-16")), "y")
