import json

import numpy as np
import polars as pl
import pytest

from gatewise.data import Records, fit_preprocessing, load_preprocessing


def array(x):
    return Records(np.asarray(x), None, "name")


IMAGES = np.random.default_rng(0).integers(0, 256, (3000, 4, 5)).astype(np.uint8)
ROWS = np.random.default_rng(1).normal(5, [1, 10, 1e-3], (3000, 3))


def test_images_share_one_mean_and_deviation():
    x = fit_preprocessing(array(IMAGES)).transform(array(IMAGES))
    assert (x.dtype, x.shape) == (np.float32, IMAGES.shape)
    np.testing.assert_allclose(x, (IMAGES - IMAGES.mean()) / IMAGES.std(), rtol=1e-5, atol=1e-5)


def test_plain_rows_have_their_columns_scaled():
    preprocessing = fit_preprocessing(array(ROWS))
    assert (preprocessing.input_shape, preprocessing.feature_names) == ((3,), None)
    x = preprocessing.transform(array(ROWS))
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(7, 3), (7, 3, 2)])
@pytest.mark.parametrize("value", [0.1, 1e9, 0, True])
def test_what_is_constant_is_centred_and_not_blown_up(shape, value):
    x = np.full(shape, value)
    preprocessing = fit_preprocessing(array(x))
    assert np.abs(preprocessing.transform(array(x))).max() < 1e-6
    other = array(x.astype(float) + 2)
    assert np.abs(preprocessing.transform(other)).max() < 1e-6  # no row has taught its weights
    as_it_is = fit_preprocessing(array(x), outliers="keep").transform(other)
    np.testing.assert_allclose(as_it_is, 2, rtol=1e-6)


@pytest.mark.parametrize("x", [IMAGES, ROWS], ids=["images", "rows"])
def test_saved_and_loaded_it_gives_the_same_numbers(x, tmp_path):
    preprocessing = fit_preprocessing(array(x))
    preprocessing.save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["preprocessing.json"]
    loaded = load_preprocessing(tmp_path)
    np.testing.assert_array_equal(loaded.transform(array(x)), preprocessing.transform(array(x)))
    assert loaded.input_shape == x.shape[1:]


def test_no_rows_transform_to_none():
    assert fit_preprocessing(array(IMAGES)).transform(array(IMAGES[:0])).shape == (0, 4, 5)


@pytest.mark.parametrize(
    ("x", "parts"),
    [
        (IMAGES[:, :3], ["(3, 5)", "(4, 5)"]),
        (IMAGES.reshape(3000, 20), ["(20,)", "(4, 5)"]),
        (np.where(np.arange(3000)[:, None, None] == 2000, np.nan, IMAGES), ["row 2001", "NaN"]),
        (np.full((1, 4, 5), 1e300), ["row 1", "too far"]),
        (IMAGES.astype(str), ["<U"]),
    ],
)
def test_refuses_arrays_unlike_the_one_fitted(refused, x, parts):
    preprocessing = fit_preprocessing(array(IMAGES), outliers="keep")
    with refused("name", *parts):
        preprocessing.transform(array(x))


def test_refuses_a_table_for_an_array(refused):
    with refused("a table", "arrays of shape (4, 5)"):
        fit_preprocessing(array(IMAGES)).transform(Records(pl.DataFrame({"x": [1.0]}), None, "name"))


@pytest.mark.parametrize("x", [ROWS * np.nan, ROWS[:0], ROWS[0], ROWS.astype(str)])
def test_refuses_arrays_that_cannot_be_fitted(refused, x):
    with refused("name"):
        fit_preprocessing(array(x))


def test_refuses_ranks_of_an_array(refused):
    with refused("'quantile' is for tables"):
        fit_preprocessing(array(ROWS), "quantile")


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.0]},
        {"scale": [1.0, 1.0, 0.0]},
        {"mean": None},
        {"input_shape": "abc"},
        {"mean": [0, 0, "inf"]},
        {"squash": {}},
        {"squash": {"low": [0, 0, 0], "high": [1, 1], "room": [1, 1, 1]}},
        {"squash": {"low": [0, 0, 2], "high": [1, 1, 1], "room": [1, 1, 1]}},
        {"squash": {"low": [0, 0, 0], "high": [1, 1, "inf"], "room": [1, 1, 1]}},
        {"squash": {"low": [0, 0, 0], "high": [1, 1, 1], "room": [1, 1, -1]}},
    ],
)
def test_refuses_a_damaged_description(refused, change, tmp_path):
    fit_preprocessing(array(ROWS)).save(tmp_path)
    file = tmp_path / "preprocessing.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with refused(str(file), "not a preprocessing that can be read"):
        load_preprocessing(tmp_path)
