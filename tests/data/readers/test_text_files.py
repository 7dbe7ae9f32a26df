"""CSV files in other encodings and compressed: the same rows, or a line that says what the file is."""

import bz2
import gzip
import lzma

import numpy as np
import pyarrow
import pytest

from gatewise import GatewiseError
from gatewise.data import Form, read, stream
from gatewise.data.readers import text_files
from gatewise.data.readers.text_files import as_encoding

TEXT = "size,town,y\n" + "".join(f"{i / 4},{['Köln', 'Île', 'Łódź'][i % 3]},{'uv'[i % 2]}\n" for i in range(90))
PACKED = {
    ".gz": lambda data: gzip.compress(data[:200]) + gzip.compress(data[200:]),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: b"".join(pyarrow.compress(part, "zstd", asbytes=True) for part in (data[:99], data[99:])),
}
PLAIN = Form()
FIELDS = [(i / 4, ["Köln", "Île", "Łódź"][i % 3]) for i in range(90)]


def rows_of(path, form=PLAIN):
    """The rows as they are read at once, which are those that are read in parts."""
    whole = read(path, "y", form=form).records
    parts = list(stream(path, "y", form=form))
    found = [(float(size), town) for part in parts for size, town in part.features.rows()]
    assert found == whole.features.rows()
    assert np.concatenate([part.labels for part in parts]).tolist() == whole.labels.tolist()
    return found


@pytest.mark.parametrize("ending", PACKED)
@pytest.mark.parametrize("name", ["d.csv", "D.TSV"])
def test_a_compressed_table_is_the_table(tmp_path, ending, name):
    path = tmp_path / (name + ending)
    text = TEXT.replace(",", "\t") if name == "D.TSV" else TEXT
    path.write_bytes(PACKED[ending](text.encode()))
    assert rows_of(path) == FIELDS


@pytest.mark.parametrize("ending", PACKED)
def test_a_compressed_table_that_is_damaged_is_refused_in_a_line(tmp_path, refused, ending):
    path, whole = tmp_path / f"d.csv{ending}", PACKED[ending](TEXT.encode())
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for content in (whole[:-3], whole[: len(whole) // 2], b"size,y\n1,u\n", bytes(flipped)):
        path.write_bytes(content)
        for opened in (read, lambda *given: list(stream(*given))):
            with refused(str(path)):
                opened(path, "y")
    path.unlink()
    with refused(str(path), "no such file"):
        read(path, "y")


@pytest.mark.parametrize("ending", PACKED)
def test_a_file_that_unpacks_to_far_more_is_refused_before_it_is_in_memory(tmp_path, monkeypatch, refused, ending):
    monkeypatch.setattr(text_files, "FREE", 2**20)
    path = tmp_path / f"d.csv{ending}"
    path.write_bytes(PACKED[ending](b"x,y\n" + b"\n" * 2**25))
    with refused(str(path), "unpacks to more than", "over 200 times its size"):
        read(path, "y")
    with refused(str(path), "unpacks to more than"):
        list(stream(path, "y"))


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("latin-1", "latin-1"),
        ("Latin1", "iso8859-1"),
        ("cp1252", "cp1252"),
        ("windows-1252", "cp1252"),
        ("ansi", "cp1252"),
        ("cp1250", "cp1250"),
        ("utf-16", "utf-16"),
        ("utf-16", "utf-16-be with mark"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-le", "utf-16-le with mark"),
        ("utf-32", "utf-32"),
        ("latin-1", "utf-8-sig"),
        ("latin-1", "utf-16"),
        ("utf-8", "utf-8-sig"),
        (None, "utf-8-sig"),
        ("shift_jis", "shift_jis"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_other_encodings(tmp_path, encoding, written, ending):
    towns = {"shift_jis": ["東京", "京都", "x"], "cp1250": ["Łódź", "Köln", "x"]}.get(written, ["Köln", "Île", "x"])
    text = "size,town,y\n" + "".join(f"{i / 4},{towns[i % 3]},{'uv'[i % 2]}\n" for i in range(90))
    data = text.replace("\n", "\r\n")
    codec, _, mark = written.partition(" with ")
    data = ("\ufeff" + data if mark else data).encode(codec)
    path = tmp_path / f"d.csv{ending}"
    path.write_bytes(gzip.compress(data) if ending else data)
    form = Form(encoding=encoding and as_encoding(encoding))
    assert rows_of(path, form) == [(i / 4, towns[i % 3]) for i in range(90)]


@pytest.mark.parametrize(
    ("data", "encoding", "said"),
    [
        (
            "x,y\n1,a\n2,é\n".encode("latin-1"),
            None,
            "line 3: byte 0xE9, number 11 of the file, is not UTF-8 text; say ",
        ),
        (b"x,y\n" + b"1,a\n" * 40_000 + b"\x93,a\n", None, "line 40002: byte 0x93, number 160005 of the file"),
        (
            "x,y\n1,a\n".encode("utf-16"),
            None,
            "line 1: byte 0xFF, number 1 of the file, is not UTF-8 text (it begins as ",
        ),
        ("x,y\n1,a\n".encode("utf-16"), None, "--set encoding=utf-16, or save"),
        ("x,y\n1,a\n".encode("utf-16-le"), None, "--set encoding=utf-16-le"),
        (b"x,y\n1,a\n2,\x81\n", "cp1252", "line 3: byte 0x81, number 11 of the file, is not cp1252 text; say which"),
        ("x,y\n1,é\n".encode(), "ascii", "line 2: byte 0xC3, number 7 of the file, is not ascii text"),
        ("x,y\n1,é".encode()[:-1], None, "ends within a character, as UTF-8 has it"),
        ("x,y\n1,é\n".encode("utf-16")[:-1], "utf-16", "ends within a character, as utf-16 has it"),
        (
            b"x,y\n1,a\n",
            "utf-16",
            "no byte order mark at its beginning, as utf-16 text has; say utf-16-le or utf-16-be",
        ),
    ],
)
def test_what_cannot_be_decoded_is_named_by_its_line(tmp_path, data, encoding, said):
    path = tmp_path / "d.csv"
    path.write_bytes(data)
    for opened in (read, lambda *given, **form: list(stream(*given, **form))):
        with pytest.raises(GatewiseError) as caught:
            opened(path, "y", form=Form(encoding=encoding))
        assert str(caught.value).startswith(str(path))
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "utf-9", "base64", "rot13", "idna", "punycode", "a\0b", "é", "undefined", "utf-7"]
)
def test_what_is_no_encoding(text):
    with pytest.raises(ValueError, match="give an encoding of text, such as latin-1"):
        as_encoding(text)


def test_spaces_between_fields(tmp_path, refused):
    """R's write.table, as it is by default."""
    path = tmp_path / "d.csv"
    path.write_text('"x" "w" "y"\n"1" 1.5 "ab" "u"\n"2" 2.5 "c" "v"\n')
    with refused("seem separated by 'space', not ','", "--set separator='space'"):
        read(path, "y")
    path.write_text('"x" "w" "y"\n"1" 1.5 "a b" "u"\n"2" 2.5 "c" "v"\n')
    found = read(path, "y", form=Form(separator=" ")).records
    assert found.row_numbers == ("Unnamed: 0",)
    assert found.features.drop("Unnamed: 0").rows() == [(1.5, "a b"), (2.5, "c")]
    assert [part.features.rows() for part in stream(path, "y", columns=["w", "x"], form=Form(separator=" "))] == [
        [("a b", "1.5"), ("c", "2.5")]
    ]
