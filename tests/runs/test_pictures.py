"""Rows as pictures: what another library reads of them is what they hold."""

import base64
import io

import numpy as np
import pytest
from matplotlib.image import imread

from gatewise.runs.expert_profiles import SIDE, Pictures, encode


def pixels(png: str) -> np.ndarray:
    return (255 * imread(io.BytesIO(base64.b64decode(png)), format="png")).round().astype(np.uint8)


@pytest.mark.parametrize("shape", [(5, 7, 1), (32, 3, 3)])
def test_a_png_holds_its_pixels(shape):
    drawn = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = pixels(base64.b64encode(encode(drawn)).decode())
    np.testing.assert_array_equal(found, drawn if shape[-1] == 3 else drawn[..., 0])


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (8, 8, 1)])
def test_grey_images_are_scaled_from_the_least_to_the_most_of_all_rows(shape):
    rows = np.zeros((2, *shape), dtype=np.float32)
    rows[0].flat[0], rows[1].flat[9] = 4.0, 16.0
    pictures = Pictures.of(rows)
    found = pixels(pictures.png(0))
    assert found.shape == (8, 8)
    assert found[0, 0] == 64
    assert found.sum() == 64
    assert pixels(pictures.png(1))[1, 1] == 255


@pytest.mark.parametrize("last", [True, False])
def test_colours_stay_where_they_are(last):
    rows = np.random.default_rng(1).integers(0, 256, (3, 6, 9, 3), dtype=np.uint8)
    rows[0, 0, 0] = (0, 255, 7)
    pictures = Pictures.of(rows if last else np.moveaxis(rows, -1, 1))
    np.testing.assert_array_equal(pixels(pictures.png(2)), rows[2])


def test_a_large_image_is_averaged_down():
    rows = np.arange(100 * 130, dtype=float).reshape(1, 100, 130)
    found = pixels(Pictures.of(rows).png(0)) / 255 * rows.max()
    assert found.shape == (20, 26)
    assert max(found.shape) <= SIDE
    np.testing.assert_allclose(found[0, 0], rows[0, :5, :5].mean(), atol=30)
    np.testing.assert_allclose(found[19, 25], rows[0, 95:, 125:].mean(), atol=30)


def test_negative_and_constant_numbers():
    assert pixels(Pictures.of(-np.ones((1, 4, 4))).png(0)).max() == 0
    assert pixels(Pictures.of(np.zeros((1, 4, 4), dtype=bool)).png(0)).max() == 0


@pytest.mark.parametrize("shape", [(5, 13), (5, 3, 40), (5, 4, 33), (5, 2, 8, 8), (0, 8, 8)])
def test_what_is_no_image_has_no_picture(shape):
    assert Pictures.of(np.ones(shape)) is None


def test_a_table_has_no_picture():
    assert Pictures.of("a table") is None
