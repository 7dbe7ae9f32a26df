import numpy as np
import polars as pl
import pytest

from gatewise.data import Records, read


def table(**columns):
    return Records(pl.DataFrame(columns), np.array(["a", "b"], dtype=object), "name")


def test_take_keeps_rows_together():
    records = read("teacher").records
    rows = np.array([5, 0, 19999])
    taken = records.take(rows)
    assert taken.features.row(1) == records.features.row(0)
    assert taken.labels.tolist() == records.labels[rows].tolist()
    assert taken.truth.tolist() == records.truth[rows].tolist()
    assert (len(taken), taken.name, taken.target) == (3, "teacher", "target")
    assert len(records.take(rows[:0])) == 0
    images = read("digits").records
    np.testing.assert_array_equal(images.take(np.array([7])).features, images.features[7:8])


def test_the_hash_is_of_the_rows_and_not_of_the_file(tmp_path):
    frame = pl.DataFrame({"x": [1.5, None], "w": ["u", None], "y": ["a", "b"]})
    frame.write_csv(tmp_path / "data.csv")
    frame.write_parquet(tmp_path / "data.parquet")
    hashes = {read(tmp_path / f"data.{ending}", "y").records.hash() for ending in ("csv", "parquet")}
    assert len(hashes) == 1
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    same = [x, np.asfortranarray(x), x.astype(">f4")]
    assert len({Records(array, None, str(i)).hash() for i, array in enumerate(same)}) == 1


@pytest.mark.parametrize(
    "other",
    [
        table(x=[1.0, 3.0], w=["ab", "c"]),
        table(x=[1.0, None], w=["ab", "c"]),
        table(z=[1.0, 2.0], w=["ab", "c"]),
        table(x=[1.0, 2.0], w=["a", "bc"]),
        table(x=[1.0, 2.0], w=["abc", ""]),
        table(x=[1.0, 2.0], w=["abc", None]),
        table(x=["1.0", "2.0"], w=["ab", "c"]),
        table(w=["ab", "c"], x=[1.0, 2.0]),
        Records(pl.DataFrame({"x": [1.0, 2.0], "w": ["ab", "c"]}), np.array(["ab", ""], dtype=object), "name"),
        Records(pl.DataFrame({"x": [1.0, 2.0], "w": ["ab", "c"]}), None, "name"),
    ],
)
def test_the_hash_sees_every_difference(other):
    one = table(x=[1.0, 2.0], w=["ab", "c"])
    assert one.hash() == table(x=[1.0, 2.0], w=["ab", "c"]).hash()
    assert one.hash() != other.hash()


def test_the_hash_sees_an_array_s_type_and_shape():
    x = np.arange(12, dtype=np.int32)
    arrays = [x.reshape(3, 4), x.reshape(4, 3), x.reshape(3, 4).astype(np.uint32), x.reshape(3, 4)[:2]]
    assert len({Records(array, None, "name").hash() for array in arrays}) == 4
