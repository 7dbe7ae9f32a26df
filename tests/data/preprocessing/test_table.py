import json
import pickle
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from gatewise.data import Records, fit_preprocessing, load_preprocessing, read
from gatewise.data.preprocessing.coding import codes
from gatewise.data.preprocessing.table import brought_near


def table(frame, name="name"):
    return Records(pl.DataFrame(frame), None, name)


def mixed(rows=400, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 10, rows)
    age[::7] = np.nan
    return {
        "age": age,
        "hours": rng.normal(size=rows) ** 3,
        "work": rng.choice(["a", "b", ""], rows, p=[0.5, 0.3, 0.2]).tolist(),
        "code": [["1", "2", "x"][i % 3] if i else "rare" for i in range(rows)],
    }


def test_numbers_are_centred_gaps_are_filled_and_levels_are_columns():
    frame = mixed()
    preprocessing = fit_preprocessing(table(frame))
    names = ["age", "hours", "age is missing"]
    names += ["work=(missing)", "work=a", "work=b", "code=(other)", "code=1", "code=2", "code=x"]
    assert preprocessing.feature_names == names
    assert preprocessing.input_shape == (10,)
    x = preprocessing.transform(table(frame))
    assert (x.dtype, x.shape) == (np.float32, (400, 10))
    column = dict(zip(names, x.T, strict=True))
    for name in ("age", "hours"):
        assert abs(column[name].mean()) < 1e-5
        assert abs(column[name].std() - 1) < 1e-5
    gaps = np.isnan(frame["age"])
    np.testing.assert_array_equal(column["age is missing"] != 0, gaps)
    filled = preprocessing.squash(np.where(gaps, np.nanmedian(frame["age"]), frame["age"]), 0)
    np.testing.assert_allclose(column["age"], (filled - filled.mean()) / filled.std(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(column["work=a"], np.array(frame["work"]) == "a")
    np.testing.assert_array_equal(column["work=(missing)"], np.array(frame["work"]) == "")
    np.testing.assert_array_equal(column["code=(other)"], np.arange(400) == 0)
    assert (x[:, 3:6].sum(axis=1) == 1).all()


def test_quantiles_make_any_shape_normal():
    frame = {"x": np.exp(3 * np.random.default_rng(0).normal(size=2000))}
    x = fit_preprocessing(table(frame), "quantile").transform(table(frame))[:, 0]
    probability = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
    np.testing.assert_allclose(np.quantile(x, probability), [-1.2816, -0.6745, 0, 0.6745, 1.2816], atol=0.02)
    assert (np.argsort(x) == np.argsort(frame["x"])).all()


def test_gaps_and_levels_first_seen_in_use():
    preprocessing = fit_preprocessing(table({"x": [1.0, 2.0, 3.0], "w": ["a", "b", "a"]}))
    x = preprocessing.transform(table({"w": ["c", None], "x": [None, 3.0], "extra": [1, 2]}))
    np.testing.assert_allclose(x, [[0, 0, 0], [np.sqrt(1.5), 0, 0]], rtol=1e-6)


def test_no_rows_transform_to_none():
    records = table(mixed())
    preprocessing = fit_preprocessing(records)
    assert preprocessing.transform(records.take(np.array([], dtype=int))).shape == (0, 10)


def test_all_missing_and_rare_columns_are_left_out():
    frame = {"x": [1.0, 2.0] * 150, "none": [None] * 300, "gap": ["?"] * 300, "id": [f"id {i}" for i in range(300)]}
    preprocessing = fit_preprocessing(table(frame))
    assert preprocessing.feature_names == ["x"]
    assert preprocessing.transform(table({"x": [1.5]})).tolist() == [[0.0]]


def test_rare_texts_are_not_written_to_the_model(tmp_path):
    frame = {"w": ["common"] * 500 + [f"person {i}" for i in range(500)]}
    preprocessing = fit_preprocessing(table(frame))
    assert preprocessing.feature_names == ["w=(other)", "w=common"]
    preprocessing.save(tmp_path)
    files = list(tmp_path.iterdir())
    assert any(b"common" in file.read_bytes() for file in files)
    assert not any(b"person" in file.read_bytes() for file in files)


def test_levels_are_capped():
    frame = {"w": [f"w{i:03}" for i in range(260)] * 10 + [f"w{i:03}" for i in range(100, 150)] * 5}
    names = fit_preprocessing(table(frame)).feature_names
    assert len(names) == 201
    assert names[0] == "w=(other)"
    assert {f"w=w{i:03}" for i in range(100, 150)} <= set(names)


def test_codes_that_arrive_as_numbers_are_the_same_levels(tmp_path):
    (tmp_path / "train.csv").write_text("code\n" + "1\n02\n2.5\nx\n-\n" * 20)
    (tmp_path / "use.csv").write_text("code\n1\n2.0\n02\n2.50\nnan\n")
    train, use = (read(tmp_path / f"{name}.csv", require_target=False).records for name in ("train", "use"))
    assert (train.features["code"].dtype, use.features["code"].dtype) == (pl.String, pl.Float64)
    preprocessing = fit_preprocessing(train)
    assert preprocessing.feature_names == ["code=-", "code=02", "code=1", "code=2.5", "code=x"]
    assert preprocessing.transform(use).argmax(axis=1)[:4].tolist() == [2, 1, 1, 3]
    assert preprocessing.transform(use)[4].sum() == 0
    text = table({"code": ["1", "02", "2.0", "2.5", "nan"]})
    np.testing.assert_array_equal(preprocessing.transform(text)[:4].sum(axis=1), 1)
    whole = table({"code": pl.Series([1, 2], dtype=pl.Int64)})
    assert preprocessing.transform(whole).argmax(axis=1).tolist() == [2, 1]


def test_numbers_may_arrive_as_text():
    preprocessing = fit_preprocessing(table({"x": [1.0, 3.0]}))
    x = preprocessing.transform(table({"x": [" 3", "NA", "nan"]}))
    assert x[:, 0].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("frame", "parts"),
    [
        ({"x": [1.0]}, ["name", "no column 'work'", "add it"]),
        ({"x": [1.0], "Work": ["a"]}, ["no column 'work'", "did you mean 'Work'?"]),
        ({"x": ["1", " ten "], "work": ["a", "b"]}, ["name, row 2", "'x' holds 'ten'", "trained on numbers"]),
        ({"x": [1.0, float("inf")], "work": ["a", "b"]}, ["name, row 2", "'x' holds inf"]),
        ({"x": ["1", "inf"], "work": ["a", "b"]}, ["name, row 2", "'x' holds inf"]),
        ({"x": [1.0, 3e38], "work": ["a", "b"]}, ["name, row 2", "'x' is too far"]),
        ({"x": [[1.0]], "work": ["a"]}, ["'x' holds List"]),
    ],
)
def test_refuses_tables_unlike_the_one_fitted(refused, frame, parts):
    preprocessing = fit_preprocessing(table({"x": [1.0, 1.001], "work": ["a", "b"]}), outliers="keep")
    with refused(*parts):
        preprocessing.transform(table(frame))


def test_refuses_an_array_for_a_table(refused):
    preprocessing = fit_preprocessing(table({"x": [1.0, 2.0], "w": ["a", "b"]}))
    with refused("an array", "table with the columns 'x', 'w'"):
        preprocessing.transform(Records(np.zeros((3, 2)), None, "name"))


@pytest.mark.parametrize("frame", [{}, {"x": [None, None]}, {"w": ["", "?"]}])
def test_refuses_a_table_without_usable_columns(refused, frame):
    with refused("name", "no column that can be used"):
        fit_preprocessing(table(frame))


def test_refuses_another_word_for_numeric(refused):
    with refused("'minmax'", "'standard' or 'quantile'"):
        fit_preprocessing(table({"x": [1.0, 2.0]}), "minmax")


CELLS = {"n": st.none() | st.floats(-1e6, 1e6), "w": st.none() | st.sampled_from("abcde1")}


@pytest.mark.parametrize("numeric", ["standard", "quantile"])
def test_saved_and_loaded_it_gives_the_same_numbers(numeric, tmp_path_factory):
    @settings(max_examples=25)
    @given(st.data())
    def check(data):
        rows = data.draw(st.integers(1, 12))
        kinds = data.draw(st.lists(st.sampled_from("nw"), min_size=1, max_size=4))
        frame = {
            f"{kind}{i}": pl.Series(
                data.draw(st.lists(CELLS[kind], min_size=rows, max_size=rows)),
                dtype=pl.Float64 if kind == "n" else pl.String,
            )
            for i, kind in enumerate(kinds)
        }
        frame["sure"] = pl.Series(np.arange(rows, dtype=float))
        records = replace(table(frame), missing=("", "-"))
        preprocessing = fit_preprocessing(records, numeric)
        preprocessing.save(folder)
        loaded = load_preprocessing(folder)
        x = preprocessing.transform(records)
        assert x.shape == (rows, *preprocessing.input_shape)
        assert np.isfinite(x).all()
        np.testing.assert_array_equal(loaded.transform(records), x)
        assert loaded.feature_names == preprocessing.feature_names
        assert loaded.missing == ("", "-")

    folder = tmp_path_factory.mktemp("saved")
    check()


@pytest.fixture
def saved(tmp_path):
    fit_preprocessing(table(mixed())).save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"preprocessing.json", "preprocessing.skops"}
    return tmp_path


def test_levels_can_be_read_in_the_description(saved):
    description = json.loads((saved / "preprocessing.json").read_text())
    assert description["columns"][1:3] == [
        {"name": "hours", "levels": None},
        {"name": "work", "levels": ["(missing)", "a", "b"]},
    ]


def test_refuses_types_that_are_not_its_own(saved, refused):
    other = ColumnTransformer([("f", FunctionTransformer(np.nan_to_num), [0])]).fit(np.zeros((2, 4)))
    skops.io.dump(other, saved / "preprocessing.skops")
    with refused(str(saved), "Untrusted"):
        load_preprocessing(saved)


def test_refuses_pickle_without_reading_it(saved, refused):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("the file was unpickled",)

    (saved / "preprocessing.skops").write_bytes(pickle.dumps(Trap()))
    with refused(str(saved), "not a preprocessing that can be read"):
        load_preprocessing(saved)


def test_refuses_damaged_folders(saved, refused):
    skops_file, json_file = saved / "preprocessing.skops", saved / "preprocessing.json"
    whole, text = skops_file.read_bytes(), json_file.read_text()
    short = json.loads(text)
    short["columns"].pop()
    for content in ["", "{", "[]", '{"kind": "tree"}', '{"kind": "table"}', json.dumps(short)]:
        json_file.write_text(content)
        with refused(str(saved), "not a preprocessing that can be read"):
            load_preprocessing(saved)
    json_file.write_text(text)
    load_preprocessing(saved)
    skops_file.write_bytes(whole[:-30])
    with refused(str(saved)):
        load_preprocessing(saved)
    skops.io.dump(StandardScaler().fit(np.zeros((2, 4))), skops_file)
    with refused(str(saved), "ColumnTransformer"):
        load_preprocessing(saved)
    with refused("absent"):
        load_preprocessing(saved / "absent")


def test_adult(adult, tmp_path):
    train, test = (read(adult / f"adult-{part}.csv", "income").records for part in ("train", "test"))
    preprocessing = fit_preprocessing(train)
    preprocessing.save(tmp_path)
    x = preprocessing.transform(test)
    assert x.shape == (16281, *preprocessing.input_shape)
    assert {"age", "workclass=(missing)", "native_country=(other)"} <= set(preprocessing.feature_names)
    np.testing.assert_array_equal(load_preprocessing(tmp_path).transform(test), x)


@pytest.mark.parametrize("texts", [False, True])
def test_scaling_by_column_is_what_scikit_learn_does(texts):
    """To the bit, for integers and floats of any width, missing values that fitting saw and such that it did not."""
    draw = np.random.default_rng(0)
    rows = 500
    columns = {
        "wide": pl.Series(draw.normal(size=rows) * 1e12),
        "narrow": pl.Series(draw.normal(size=rows).astype(np.float32)),
        "whole": pl.Series(draw.integers(-9, 9, rows)),
        "constant": pl.Series(np.full(rows, 0.1)),
        "gaps": pl.Series([None if i % 3 else i / 7 for i in range(rows)]),
    }
    if texts:
        columns["text"] = pl.Series([["u", "v", None][i % 3] for i in range(rows)])
    frame = pl.DataFrame(columns)
    preprocessing = fit_preprocessing(Records(frame, None, "fitted"))
    later = frame.with_columns(wide=pl.Series([None if i % 5 == 0 else float(i) for i in range(rows)]))
    for part in (frame, later, frame[:1]):
        values = codes(part, preprocessing.columns, Records(part, None, "given"))
        matrix = brought_near(preprocessing.columns, values, preprocessing.squash)
        found = preprocessing.transform(Records(part, None, "given"))
        assert np.array_equal(found, preprocessing._transformed(matrix))
