"""Data frames of pandas and polars: text, categories, missing values, and columns that change."""

import pickle
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from sklearn.exceptions import DataConversionWarning

import gatewise as gw

pd = pytest.importorskip("pandas")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

COLOURS = np.array(["red", "green", "blue"])


def columns(rows=240, seed=0):
    """A number, a text and a flag with gaps, and a class that they tell."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, rows)
    number = y + 0.2 * rng.normal(size=rows)
    colour = COLOURS[(y + (rng.random(rows) < 0.1)) % 3].astype(object)
    number[rng.random(rows) < 0.2] = np.nan
    colour[rng.random(rows) < 0.1] = None
    return {"size": number, "colour": colour, "big": y == 2}, y


def pandas_frame(**options):
    data, y = columns(**options)
    frame = pd.DataFrame(data)
    frame["colour"] = frame["colour"].astype("category")
    return frame, y


def polars_frame(**options):
    data, y = columns(**options)
    return pl.DataFrame({"size": data["size"], "colour": data["colour"].tolist(), "big": data["big"]}), y


@pytest.mark.parametrize("frame", [pandas_frame, polars_frame])
def test_text_and_gaps_need_no_encoding(make, frame):
    X, y = frame()
    model = make().fit(X, y)
    assert model.feature_names_in_.tolist() == ["size", "colour", "big"]
    assert model.n_features_in_ == 3
    assert "size is missing" in model.model_.preprocessing.feature_names
    further, truth = frame(seed=1)
    assert model.score(further, truth) > 0.95
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(further), model.predict_proba(further))


def test_pandas_and_polars_are_the_same_rows(make):
    (a, y), (b, _) = pandas_frame(), polars_frame()
    first, second = make().fit(a, y), make().fit(b, pl.Series(y))
    assert np.array_equal(first.predict_proba(a), second.predict_proba(b))
    assert np.array_equal(first.predict_proba(b), second.predict_proba(a))


def test_a_column_counts(make):
    """Text is not dropped in silence: without it the answers change."""
    X, y = polars_frame()
    model = make().fit(X, y)
    proba = model.predict_proba(X.with_columns(colour=pl.lit("red")))
    assert np.abs(proba - model.predict_proba(X)).max() > 0.01


def test_categories_that_were_never_seen_count_as_other(make):
    X, y = pandas_frame()
    model = make().fit(X, y)
    unseen = X.assign(colour="violet")
    assert np.isfinite(model.predict_proba(unseen)).all()
    assert np.array_equal(model.predict_proba(unseen), model.predict_proba(X.assign(colour="puce")))


def test_columns_that_are_not_those_of_fitting(make):
    for frame, drop in ((pandas_frame, lambda f: f.drop(columns="big")), (polars_frame, lambda f: f.drop("big"))):
        X, y = frame()
        model = make(epochs=1).fit(X, y)
        with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
            model.predict(X[["colour", "size", "big"]])
        with pytest.raises(ValueError, match="seen at fit time, yet now missing:\n- big"):
            model.predict(drop(X))
        with pytest.raises(ValueError, match="must be in the same order"):
            model.partial_fit(X[["colour", "size", "big"]], y)


def test_an_array_stands_for_a_frame_with_a_warning(make):
    X, y = pandas_frame()
    model = make().fit(X, y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        answers = model.predict_proba(X.astype(object).to_numpy())
    assert np.array_equal(answers, model.predict_proba(X))
    with pytest.warns(UserWarning, match="X does not have valid"), pytest.raises(ValueError, match="2 features"):
        model.predict(np.zeros((3, 2)))


def test_a_frame_stands_for_an_array_with_a_warning(make, blobs):
    X, y = blobs
    model = make().fit(X, y)
    with pytest.warns(UserWarning, match="X has feature names, but"):
        answers = model.predict_proba(pd.DataFrame(X, columns=["a", "b", "c"]))
    assert np.array_equal(answers, model.predict_proba(X))


def test_names_that_are_numbers_are_positions(make):
    X, y = pandas_frame()
    model = make().fit(X.set_axis([0, 1, 2], axis=1), y)
    assert not hasattr(model, "feature_names_in_")
    assert np.array_equal(model.predict_proba(X.set_axis([7, 8, 9], axis=1)), make().fit(X, y).predict_proba(X))


def test_texts_that_stand_for_missing(make):
    X, y = columns()
    texts = ["n/a" if colour is None else colour for colour in X["colour"]]
    frame = pl.DataFrame({"colour": texts})
    names = [make(missing=missing).fit(frame, y).model_.preprocessing.feature_names for missing in (["n/a"], [])]
    assert "colour=(missing)" in names[0]
    assert "colour=n/a" in names[1]


def test_kinds_of_pandas_columns(make):
    X, y = pandas_frame()
    X = X.assign(
        whole=pd.array([*y.tolist()[:-1], None], dtype="Int64"),
        text=pd.array(COLOURS[y], dtype="string"),
        code=pd.Categorical(y + 10),
        mixed=[True, None] * 120,
    )
    model = make().fit(X, y)
    kinds = {column.name: column.levels for column in model.model_.preprocessing.columns}
    assert kinds["size"] is kinds["whole"] is None
    assert kinds["code"] == ("10", "11", "12")
    assert kinds["mixed"] is None  # booleans are 1 and 0, wherever they come from
    assert model.score(X, y) > 0.95


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"many": [[1]] * 240}, "X, row index 0: column 'many' holds List"),
        ({"size": [np.inf] * 240}, "X, row index 0: column 'size' holds inf"),
        ({"odd": [1, "a"] * 120}, "X: column 'odd' holds values of more than one kind"),
    ],
)
def test_columns_that_are_no_features(make, bad, said):
    X, y = pandas_frame()
    with pytest.raises(ValueError, match=said) as caught:
        make().fit(X.assign(**bad), y)
    assert "\n" not in str(caught.value)


def test_frames_that_are_none(make):
    X, y = pandas_frame()
    with pytest.raises(ValueError, match="columns 'size' stand there more than once"):
        make().fit(X[["size", "size"]], y)
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        make().fit(X[[]], y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make().fit(X, y[:-1])
    with pytest.raises(ValueError, match="0 sample"):
        make().fit(X[:0], y[:0])
    with pytest.raises(ValueError, match="no column that can be used"):
        make().fit(pl.DataFrame({"empty": [None] * 240}), y)


WITHOUT_PANDAS = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == "pandas" else super().find_spec(name, path, target)

sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
import polars as pl
import gatewise as gw

X = pl.DataFrame({"a": ["x", "y"] * 20, "b": [1.0, None] * 20})
model = gw.sklearn.MixtureOfExpertsClassifier(2, epochs=1).fit(X, [0, 1] * 20)
print(model.predict(X[:3]).shape, "pandas" in sys.modules)
"""


def test_pandas_need_not_be_installed():
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_PANDAS]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "(3,) False"


@pytest.mark.parametrize("weighted", [False, True])
def test_a_row_is_called_by_the_callers_number_also_where_rows_are_held_out(weighted):
    x = np.random.default_rng(0).normal(size=(400, 2))
    weight = np.ones(400)
    weight[:200] = 0
    frame = pd.DataFrame({"a": x[:, 0], "b": [1.0] * 400})
    model = gw.sklearn.MixtureOfExpertsClassifier(epochs=1, random_state=0)
    model.fit(frame.head(399), (x[:399, 0] > 0).astype(int), sample_weight=weight[:399] if weighted else None)
    frame["b"] = [1.0] * 399 + [np.inf]
    with pytest.raises(ValueError, match="row index 399: column 'b'"):
        model.fit(frame, (x[:, 0] > 0).astype(int), sample_weight=weight if weighted else None)
    with pytest.raises(ValueError, match="row index 399: column 'b'"):
        model.predict(frame)


CLOTHES = ["$1,250.00", "$3.5", "$12", "$7.25", "$1,000,000"]


@pytest.mark.parametrize("library", [pl, pd])
def test_texts_of_numbers_are_numbers(make, library):
    """In a column of strings, not in one of categories; and further rows are read as those of fitting."""
    plain = [1250.0, 3.5, 12.0, 7.25, 1e6]
    y = [i % 2 for i in range(60)]
    given = {"dressed": CLOTHES * 12, "text": ["1", "2.5", "NA", "-", "3"] * 12}
    with pytest.warns(DataConversionWarning, match=r"Read as numbers: 'dressed' \(in \$, with ',' at thousands\)"):
        model = make().fit(library.DataFrame(given), y)
    numbers = {"dressed": plain * 12, "text": [1.0, 2.5, None, None, 3.0] * 12}
    same = make().fit(library.DataFrame(numbers), y)
    preprocessing = model.model_.preprocessing
    assert preprocessing.feature_names == same.model_.preprocessing.feature_names
    expected = same.predict_proba(library.DataFrame(numbers))
    assert np.array_equal(model.predict_proba(library.DataFrame(given)), expected)
    assert np.array_equal(model.predict_proba(library.DataFrame(numbers)), expected)
    categories = pl.DataFrame(given).with_columns(pl.col("text").cast(pl.Categorical))
    if library is pd:
        categories = pd.DataFrame(given).astype({"text": "category"})
    with pytest.warns(DataConversionWarning):
        kept = make().fit(categories, y)
    assert "text=NA" in kept.model_.preprocessing.feature_names


def test_a_column_of_which_most_are_numbers_is_named_with_what_to_set(make):
    X = pd.DataFrame({"area": [*(str(i) for i in range(58)), "1133 - 1384", "34 acres", "5 - 7", "7 - 9"]})
    y = [i % 2 for i in range(62)]
    with pytest.warns(DataConversionWarning, match=r"58 of 62 are; .*settings=\{\"as_numbers\": \[\"area\"\]\}"):
        make().fit(X, y)
    with pytest.warns(DataConversionWarning, match="58 numbers, 3 ranges at their midpoints, 1 missing"):
        model = make(settings={"as_numbers": ["area"]}).fit(X, y)
    assert model.model_.preprocessing.feature_names == ["area", "area is missing"]
    commas = pd.DataFrame({"x": [f"{i},5" for i in range(62)]})
    with pytest.raises(ValueError, match=r"settings=\{\"decimal\": \",\"\}"):
        make().fit(commas, y)
    assert make(settings={"decimal": ","}).fit(commas, y).model_.preprocessing.feature_names == ["x"]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_target_that_is_missing_is_refused_in_a_line(make, missing):
    """As scikit-learn does, whose estimators never leave rows out."""
    X = pl.DataFrame({"x": range(40)})
    with pytest.raises(ValueError, match=r"^Input (y )?contains (NaN$|10 missing labels)"):
        make().fit(X, np.array(["a", "b", missing, "a"] * 10, dtype=object))
