"""Tables as R writes them: NA in quotes is a text, and without them a gap, in every column and however read."""

import polars as pl
import pytest

from gatewise.data import read, stream
from gatewise.data.readers.quoted_texts import without_bare_gaps

R = """"","country","size","note","y"
"1","NA",1.5,"a ""NA"", b","yes"
"2",NA,NA,"two
NA,lines",NA
"3","DE",2.5,NA,"no"
"""
ROWS = {"country": ["NA", "DE"], "size": [1.5, 2.5], "note": ['a "NA", b', None]}


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_table_of_r(tmp_path, ends):
    path = tmp_path / "r.csv"
    path.write_bytes(R.replace("\n", ends).encode())
    records = read(path, "y").records
    assert records.labels.tolist() == ["yes", "no"]
    assert dict(records.unlabelled) == {"": 1}
    assert records.features.select(*ROWS).to_dict(as_series=False) == ROWS
    whole = read(path, "y", require_target=False).records.features
    assert whole["country"].to_list() == ["NA", None, "DE"]
    assert whole["size"].to_list() == [1.5, None, 2.5]
    parts = list(stream(path, "y", require_target=False))
    texts = pl.concat([part.features for part in parts])
    assert texts["country"].to_list() == ["NA", "", "DE"]
    assert texts["note"].str.replace("\r", "").to_list() == ['a "NA", b', "two\nNA,lines", ""]


@pytest.mark.parametrize(
    "content",
    [
        'country,"size",y\nNA,1,a\n"DE",2,b\n',  # not every name is quoted
        "country,size,y\nNA,1,a\nDE,2,b\n",
        '"country","y"\n"NA","a"\n"NAN","b"\n',
        '"x","y"\nNAN,ANA\n1,2\n',
        '"x"\n',
        "",
    ],
)
def test_other_files_stay_as_they_are(content):
    assert "".join(without_bare_gaps(content.splitlines(keepends=True), ",")) == content


def test_another_separator():
    lines = ['"a";"b"\n', 'NA;"NA;NA"\n', '"x";NA']
    assert list(without_bare_gaps(lines, ";")) == ['"a";"b"\n', ';"NA;NA"\n', '"x";']
