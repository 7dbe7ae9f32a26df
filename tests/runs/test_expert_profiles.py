"""What is typical of an expert, against the definitions."""

import base64

import numpy as np
import polars as pl
import pytest
import torch

from gatewise.config import load_config
from gatewise.data import Records, fit_preprocessing
from gatewise.models.model import Model
from gatewise.models.spec import ModelSpec
from gatewise.runs.expert_profiles import BUDGET, MOST_EXPERTS, MOST_PICTURES, MOST_VALUES, standing_out, typical


def untrained(records: Records, experts: int = 3) -> Model:
    """A model of random weights that chooses clearly."""
    preprocessing = fit_preprocessing(records)
    config = load_config({"data": "x", "experts": experts, "expert": "linear"})
    spec = ModelSpec.from_config(config, preprocessing.input_shape, ("no", "yes"))
    mixture = spec.build().eval()
    with torch.no_grad():
        for parameter in mixture.gate.parameters():
            parameter.mul_(5)
    return Model(mixture, spec, preprocessing)


def of(records: Records, experts: int = 3):
    model = untrained(records, experts)
    x, y = model.rows(records)
    return typical(model, records, x, y), model, x, y


def labels(rows: int) -> np.ndarray:
    return np.array(["no", "yes"], dtype=object)[np.arange(rows) % 2]


def test_the_images_are_those_of_the_highest_probability():
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 6), dtype=np.uint8)
    found, model, x, y = of(Records(images, labels(50), "images"))
    gate = model.mixture.gate_proba(x)
    guesses = model.mixture.predict_proba(x).argmax(-1)
    assert found["rows"] == 50
    for expert, told in enumerate(found["experts"]):
        best = gate[:, expert].argsort(descending=True)[:MOST_PICTURES]
        assert told["expert"] == expert
        assert told["share"] == pytest.approx(gate[:, expert].mean().item(), rel=1e-5)
        for row, image in zip(best, told["images"], strict=True):
            assert image["probability"] == pytest.approx(gate[row, expert].item(), rel=1e-5)
            assert image["label"] == ("no", "yes")[y[row]]
            assert image["predicted"] == ("no", "yes")[guesses[row]]


def test_large_pictures_are_fewer_and_fit_the_page():
    noise = np.random.default_rng(0).integers(0, 256, (30, 3, 32, 32), dtype=np.uint8)
    found = of(Records(noise, labels(30), "noise"), MOST_EXPERTS)[0]
    each = {len(told["images"]) for told in found["experts"]}
    assert each == {1}
    total = sum(len(image["png"]) for told in found["experts"] for image in told["images"])
    assert BUDGET / 2 < total < BUDGET
    assert base64.b64decode(found["experts"][0]["images"][0]["png"]).startswith(b"\x89PNG")


def test_of_many_experts_those_with_most_weight_are_told():
    rows = np.random.default_rng(0).normal(size=(40, 5))
    found, model, x, _ = of(Records(rows, labels(40), "rows"), MOST_EXPERTS + 6)
    weight = model.mixture.gate_proba(x).mean(0)
    expected = sorted(weight.topk(MOST_EXPERTS).indices.tolist())
    assert [told["expert"] for told in found["experts"]] == expected


def test_values_that_stand_out_by_hand():
    draw = np.random.default_rng(3)
    age, noise = draw.normal(40, 10, 400), draw.normal(size=400)
    job = np.where(draw.random(400) < 0.3, "cook", "clerk")
    late = np.where(draw.random(400) < 0.5, np.nan, age)
    frame = pl.DataFrame({"age": age, "noise": noise, "job": job, "late": late, "same": np.ones(400)})
    gate = draw.dirichlet([1, 1], 400)
    gate[:, 0] = np.clip(0.5 + (age - 40) / 40 + 0.3 * (job == "cook"), 0, 1)
    gate[:, 1] = 1 - gate[:, 0]
    first, second = standing_out(Records(frame, None, "table"), gate)
    told = {(value["column"], value["value"]): value for value in first}
    mean = (gate[:, 0] * age).sum() / gate[:, 0].sum()
    assert told["age", None]["mean"] == pytest.approx(mean)
    assert told["age", None]["overall"] == pytest.approx(age.mean())
    assert told["age", None]["deviations"] == pytest.approx((mean - age.mean()) / age.std())
    share = gate[job == "cook", 0].sum() / gate[:, 0].sum()
    assert told["job", "cook"]["mean"] == pytest.approx(share)
    assert told["job", "cook"]["overall"] == pytest.approx((job == "cook").mean())
    known = ~np.isnan(late)
    assert told["late", None]["overall"] == pytest.approx(late[known].mean())
    assert not {"same", "noise"} & {column for column, _ in told}
    assert ("job", "clerk") not in told  # rarer here than elsewhere: it does not tell what the expert is for
    assert {(v["column"], v["value"]) for v in second} >= {("age", None), ("job", "clerk")}
    assert [abs(value["deviations"]) for value in first] == sorted(
        (abs(value["deviations"]) for value in first), reverse=True
    )


def test_an_expert_without_weight_and_categories_without_rows():
    frame = pl.DataFrame({"name": [f"name {row}" for row in range(90)] + ["Ann"] * 10 + [None] * 20})
    gate = np.zeros((120, 2))
    gate[:, 0] = np.arange(120) >= 90
    first, second = standing_out(Records(frame, None, "table"), gate)
    assert [value["value"] for value in first] == ["(missing)", "Ann"]  # a name of one row is not kept
    assert second == []


def test_columns_of_an_array_have_numbers_and_no_more_than_enough_are_told():
    rows = np.random.default_rng(0).normal(size=(200, 20))
    gate = (rows.sum(1, keepdims=True) > 0).astype(float)
    (found,) = standing_out(Records(rows, None, "array"), gate)
    assert len(found) == MOST_VALUES
    assert all(value["column"].startswith("column ") and value["deviations"] > 0 for value in found)
    assert standing_out(Records(rows.reshape(200, 2, 2, 5), None, "array"), gate) == [[]]
