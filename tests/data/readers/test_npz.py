import io
import pickle
import zipfile

import numpy as np
import pytest

from gatewise.data import read

X = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
Y = np.array([0, 1, 0, 1])


@pytest.fixture
def save(tmp_path):
    def make(**arrays):
        path = tmp_path / "data.npz"
        np.savez_compressed(path, **arrays)
        return path

    return make


def header(shape, descr="<f8"):
    out = io.BytesIO()
    np.lib.format.write_array_header_2_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue()


def test_one_part(save):
    records, test = read(save(x=X, y=Y, note=np.array(["left out"])))
    assert test is None
    np.testing.assert_array_equal(records.features, X)
    assert records.labels.tolist() == ["0", "1", "0", "1"]
    assert (records.is_table, records.columns, records.target) == (False, None, None)


def test_two_parts(save):
    records, test = read(save(x_train=X, y_train=Y, x_test=X[:1] + 1, y_test=Y[1:2]))
    np.testing.assert_array_equal(records.features, X)
    np.testing.assert_array_equal(test.features, X[:1] + 1)
    assert test.labels.tolist() == ["1"]


def test_rows_without_labels_are_for_prediction(save, refused):
    path = save(x=X)
    assert read(path, require_target=False).records.labels is None
    with refused("'x'", "name them x and y"):
        read(path)


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (np.array([3, 0, 3, 7], dtype=np.uint8), ["3", "0", "3", "7"]),
        (np.array([" N", "b", "b", "None"]), ["N", "b", "b", "None"]),
        (np.array([" NA", "b", "b", "None"]), ["b", "b", "None"]),
        (np.array([0.5, np.nan, 1e-3, 2.0]), ["0.5", "0.001", "2"]),
        (np.array([True, False, True, True]), ["true", "false", "true", "true"]),
        (np.array([1.0, 2.0, 1.0, 2.0], dtype=np.float16), ["1", "2", "1", "2"]),
        (np.array([0.5, 1.5, 1e-3, 2.0]), ["0.5", "1.5", "0.001", "2"]),  # numbers to predict
    ],
)
def test_labels_are_text(save, y, labels):
    assert read(save(x=X, y=y)).records.labels.tolist() == labels


@pytest.mark.parametrize(
    ("arrays", "parts"),
    [
        ({"a": X}, ["name them x and y"]),
        ({"x": X, "y": Y, "x_train": X}, ["'x_train'", "name them"]),
        ({"x_train": X, "y_train": Y}, ["name them"]),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :2], "y_test": Y}, ["(4, 3, 2)", "(4, 2, 2)"]),
        ({"x": X, "y": Y[:3]}, ["(3,)", "(4, 3, 2)", "one label a row"]),
        ({"x": X, "y": Y[:, None, None]}, ["(4, 1, 1)", "one label a row"]),
        ({"x": X, "y": Y[:, None][:, :0]}, ["(4, 0)", "one label a row"]),
        ({"x": X, "y": Y * 1j}, ["complex128"]),
        ({"x": X, "y": Y.astype("datetime64[D]")}, ["datetime64"]),
        ({"x": X, "y": np.array(["", "", "NA", "?"])}, ["none of 4 rows has a target"]),
        ({"x": Y, "y": Y}, ["(4,)", "[N, ...]"]),
        ({"x": X[:0], "y": Y[:0]}, ["(0, 3, 2)"]),
        ({"x": X[:, :0], "y": Y}, ["(4, 0, 2)"]),
        ({"x": X.astype(str), "y": Y}, ["<U"]),
        ({"x": X * 1j, "y": Y}, ["complex64"]),
        ({"x": np.where(X == 5, np.nan, X), "y": Y}, ["1 numbers", "[0, 2, 1]"]),
        ({"x": np.where(X > 21, np.inf, X), "y": Y}, ["2 numbers", "[3, 2, 0]"]),
        ({"x": X.astype(float) * 1e300, "y": Y}, ["beyond 3.4e38"]),
    ],
)
def test_refuses(save, refused, arrays, parts):
    path = save(**{name: np.asarray(array) for name, array in arrays.items()})
    with refused(str(path), *parts):
        read(path)


def test_refuses_objects_without_unpickling_them(save, refused):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("the file was unpickled",)

    with refused("Python objects"):
        read(save(x=X, y=np.array([Trap()] * 4, dtype=object)))
    path = save(x=X, y=Y)
    path.write_bytes(pickle.dumps(Trap()))
    with refused("not a readable .npz file"):
        read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", pickle.dumps(Trap()))
    with refused("not a readable .npz file"):
        read(path)


@pytest.mark.parametrize("shape", [(2**31, 1), (2**40, 2**40), (2**30, 8)])
def test_refuses_a_declared_size_before_allocating(save, refused, shape):
    path = save(x=X)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header(shape))
        archive.writestr("y.npy", header((4,)))
    with refused(str(path), "GiB", "the limit is 16 GiB"):
        read(path)


def test_refuses_damaged_files(save, refused):
    path = save(x=X, y=Y)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 4] ^= 0xFF
    for content in [b"", whole[: len(whole) // 2], bytes(flipped), b"x" * 100]:
        path.write_bytes(content)
        with refused(str(path), "not a readable .npz file"):
            read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header((4, 2)) + b"short")
        archive.writestr("y.npy", header((4,)))
    with refused(str(path), "not a readable .npz file"):
        read(path)


def test_a_target_makes_no_sense_with_arrays(save, refused):
    with refused("its own labels", "'income'"):
        read(save(x=X, y=Y), "income")
