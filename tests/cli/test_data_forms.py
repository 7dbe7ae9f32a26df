"""Tables as they are and images from folders, from training to prediction; nothing is guessed in silence."""

import re

import numpy as np
import pytest
from PIL import Image

from .conftest import QUICK

SHORT = [*QUICK, "--epochs", "1"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def european(place):
    """No header, semicolons, decimal commas, a number of the customer, 300 towns; the label is the third column."""
    rng = np.random.default_rng(0)
    rows = [f"{i + 1000};{rng.normal():.3f};{'yes' if i % 4 else 'no'};town {i % 3}" for i in range(120)]
    (place / "eu.csv").write_text("\n".join(rows).replace(".", ","))
    bare = [";".join([*row.split(";")[:2], "a new town"]) for row in rows]
    (place / "bare.csv").write_text("\n".join(bare[:7]).replace(".", ","))
    return place


EUROPEAN = ["--set", "separator=;", "--set", "header=false", "--set", "decimal=,"]


def test_a_european_table_without_a_header(gatewise, european):
    trained = gatewise("train", "eu.csv", "--target", "2", "--out", "run", *EUROPEAN, "--class-weight", "no=3", *SHORT)
    assert trained.status == 0, trained.err
    assert "Used 2 of 3 columns: 1 as numbers, 1 as categories" in trained.out
    assert "like an identifier: 'c0' (--set 'keep=[\"c0\"]' would use it)" in trained.out
    assert "A row's weight in training, by class: 'no' 3, 'yes' 1." in trained.out
    assert gatewise("evaluate", "run", "eu.csv", "--json").json["rows"] == 120
    predicted = gatewise("predict", "run", "bare.csv")
    assert predicted.status == 0, predicted.err
    assert predicted.out.splitlines()[0] == "label,p_no,p_yes,expert"
    assert len(predicted.out.splitlines()) == 8
    assert "counted as other: 'c3' in 7 rows" in predicted.err
    refused(gatewise("evaluate", "run", "bare.csv"), "no column 'c2'")


def test_what_is_not_said_is_refused_step_by_step(gatewise, european):
    words = ["train", "eu.csv", "--target", "2"]
    refused(gatewise(*words), "seem separated by ';'", "--set separator=';'")
    refused(gatewise(*words, *EUROPEAN[:2]), "looks like data", "--set header=false")
    refused(gatewise(*words, *EUROPEAN[:4]), "line 1", "decimal = ','")
    refused(gatewise(*words, "--set", "separator=ab"), "separator: give one character", "'ab'")
    refused(gatewise(*words, *EUROPEAN, "--set", "keep=['c9']"), "keep names 'c9'")
    refused(gatewise(*words, *EUROPEAN, "--class-weight", "no"), "class_weight: give balanced, or CLASS=WEIGHT")
    refused(gatewise(*words, *EUROPEAN, "--class-weight", "maybe=2"), "unknown class 'maybe'")
    assert not (european / "runs").exists()


def refused(done, *said):
    assert done.status == 2, done.err
    assert done.out == ""
    assert len(done.err.splitlines()) == 1, done.err
    for words in said:
        assert words in done.err


@pytest.fixture
def photos(place):
    rng = np.random.default_rng(0)
    for kind, tint in (("cat", 0), ("dog", 120)):
        for i in range(20):
            pixels = rng.integers(tint, tint + 100, (6, 7, 3)).astype(np.uint8)
            path = place / f"photos/{kind}/{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    (place / "new").mkdir()
    for i in range(3):
        Image.new("L", (30, 20), 50 * i).save(place / f"new/{i}.png")
    return place


def test_a_folder_of_images(gatewise, photos):
    trained = gatewise("train", "photos", "--test", "photos", "--out", "run", *SHORT, "--class-weight", "balanced")
    assert trained.status == 0, trained.err
    assert "Read 40 images as rgb, 6 × 7." in trained.out
    assert gatewise("evaluate", "run", "photos", "--json").json["rows"] == 40
    predicted = gatewise("predict", "run", "new")
    assert len(predicted.out.splitlines()) == 4, predicted.err
    (photos / "new/1.png").write_bytes(b"no image")
    refused(gatewise("predict", "run", "new"), "new/1.png: not an image that can be read")
    np.savez(photos / "arrays.npz", x=np.zeros((40, 3, 6, 7)) + np.arange(40)[:, None, None, None], y=np.arange(40) % 2)
    assert gatewise("train", "arrays.npz", "--out", "other", *SHORT).status == 0
    refused(gatewise("predict", "other", "photos"), "images, but the model was not trained on any")


def test_bad_folders_of_images(gatewise, photos):
    refused(gatewise("train", "new"), "new/0.png", "its class is not known")
    refused(gatewise("train", "photos", "--set", "image_size=0"), "image_size: give a side, or [height, width]")
    refused(gatewise("train", "photos", "--set", "image_size=[4]"), "image_size: give a side")
    refused(gatewise("train", "photos", "--set", "drop=['x']"), "an array has none")
    (photos / "photos/cow").mkdir()
    refused(gatewise("train", "photos"), "photos/cow", "a class without images")
    assert not (photos / "runs").exists()


def test_a_column_of_numbers_that_a_few_words_make_categories_is_named(gatewise, tmp_path):
    path = tmp_path / "flats.csv"
    rooms = ["unknown" if i % 10 == 0 else str(i % 7) for i in range(120)]
    path.write_text("rooms,area,sold\n" + "".join(f"{r},{i % 13},{i % 2}\n" for i, r in enumerate(rooms)))
    words = ["train", path, "--target", "sold", "--epochs", "1", "--experts", "2", "--set", "expert_hidden=[4]"]
    told = gatewise(*words, "--out", tmp_path / "text")
    (line,) = [line for line in told.out.splitlines() if "Read as categories" in line]
    assert "'rooms' (108 of 120 are; 'unknown' in 12 rows)" in line
    settings = re.findall(r"--set '(.*?)'", line)
    assert settings == ['missing=["", "?", "unknown"]', 'as_numbers=["rooms"]']
    for i, setting in enumerate(settings):
        again = gatewise(*words, "--out", tmp_path / f"numbers{i}", "--set", setting)
        assert "2 as numbers, 0 as categories" in again.out
        assert "Read as categories" not in again.out
    dropped = gatewise(*words, "--out", tmp_path / "dropped", "--set", "drop=['rooms']")
    assert "Read as categories" not in dropped.out


def test_a_new_category_is_said_with_its_name_and_true_is_1(gatewise, tmp_path):
    rows = [("red", "True", "a"), ("blue", "False", "b"), ("green", "True", "b")] * 40
    (tmp_path / "t.csv").write_text("colour,on,y\n" + "".join(f"{','.join(row)}\n" for row in rows))
    done = gatewise("train", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "run", *SHORT)
    assert done.status == 0, done.err
    for one, zero in (("TRUE", "FALSE"), ("1", "0"), ("true", "false"), ("1.0", "0.0")):
        texts = {"True": one, "False": zero, "green": "violet"}
        other = "colour,on,y\n" + "".join(",".join(texts.get(each, each) for each in row) + "\n" for row in rows)
        (tmp_path / "n.csv").write_text(other)
        for words in (("evaluate", "--json"), ("predict", "-o", tmp_path / "p.csv")):
            done = gatewise(words[0], tmp_path / "run", tmp_path / "n.csv", *words[1:])
            assert done.status == 0, done.err
            assert done.err.strip().endswith("counted as other: 'colour' in 40 rows ('violet' in 40)")
