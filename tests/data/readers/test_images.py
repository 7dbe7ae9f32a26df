import sys

import numpy as np
import pytest
from PIL import Image

from gatewise.data import Form, read


def picture(path, size=(6, 5), mode="RGB", colour=(10, 20, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)


@pytest.fixture
def photos(tmp_path):
    """Two classes, of one size, with what should be passed over beside them."""
    folder = tmp_path / "photos"
    picture(folder / "dog/2.png")
    picture(folder / "cat/1.png", colour=(1, 2, 3))
    picture(folder / "cat/0.bmp", colour=(4, 5, 6))
    (folder / "cat/.hidden.png").write_bytes(b"no image")
    (folder / "cat/notes.txt").write_text("no image")
    (folder / ".cache").mkdir()
    return folder


def test_folders_are_classes(photos):
    records, test = read(photos)
    assert test is None
    assert records.labels.tolist() == ["cat", "cat", "dog"]
    assert (records.features.shape, records.features.dtype) == ((3, 3, 5, 6), np.uint8)
    assert records.features[:, :, 0, 0].tolist() == [[4, 5, 6], [1, 2, 3], [10, 20, 30]]
    assert (records.images, records.note) == (True, "Read 3 images as rgb, 5 × 6.")


def test_images_of_other_sizes_are_resized(photos):
    picture(photos / "dog/3.jpg", size=(64, 48))
    records = read(photos).records
    assert records.features.shape == (4, 3, 32, 32)
    assert "resized to that (image_size = [32, 32])" in records.note
    assert read(photos, form=Form(image_size=(4, 7))).records.features.shape == (4, 3, 4, 7)


def test_grey_where_all_are_grey(tmp_path):
    picture(tmp_path / "a/1.png", mode="L", colour=200)
    picture(tmp_path / "b/1.png", mode="1", colour=1)
    Image.fromarray(np.full((5, 6), 257 * 7, dtype=np.uint16)).save(tmp_path / "b/2.png")
    features = read(tmp_path).records.features
    assert features.shape == (3, 1, 5, 6)
    assert features[:, 0, 0, 0].tolist() == [200, 255, 7]
    assert read(tmp_path, form=Form(image_mode="rgb")).records.features[0, :, 0, 0].tolist() == [200] * 3
    picture(tmp_path / "b/3.png")
    assert read(tmp_path).records.features.shape == (4, 3, 5, 6)


def test_what_is_transparent_is_white_and_photos_stand_upright(tmp_path):
    picture(tmp_path / "a/1.png", size=(4, 6), mode="RGBA", colour=(9, 9, 9, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    picture(tmp_path / "b/1.png", size=(6, 4), exif=exif)
    features = read(tmp_path).records.features
    assert features.shape == (2, 3, 6, 4)
    assert (features[0] == 255).all()


def test_images_alone_have_no_labels(tmp_path, refused):
    picture(tmp_path / "b.png")
    picture(tmp_path / "a.png", colour=(0, 0, 0))
    records = read(tmp_path, require_target=False).records
    assert records.labels is None
    assert records.features[:, 0, 0, 0].tolist() == [0, 10]
    with refused("a.png", "its class is not known"):
        read(tmp_path)


def test_a_broken_image_is_named(photos, refused):
    whole = (photos / "dog/2.png").read_bytes()
    for content in (b"", b"no image", whole[:45]):
        (photos / "dog/2.png").write_bytes(content)
        with refused(str(photos / "dog/2.png"), "not an image that can be read", "mend or remove it"):
            read(photos)


def test_a_bomb_is_refused(photos, refused, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # 30 pixels: where Pillow only warns
    with refused("0.bmp", "an image of more than"):
        read(photos)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # where it refuses itself
    with refused("0.bmp", "an image of more than"):
        read(photos)


def test_refuses_folders_of_another_kind(photos, refused):
    (photos / "empty").mkdir()
    with refused(str(photos / "empty"), "a class without images", "drop the folder"):
        read(photos)
    (photos / "empty").rmdir()
    picture(photos / "train/cat/1.png")
    with refused(str(photos / "train"), "only the folders 'cat'"):
        read(photos)


def test_labels_are_the_folders_and_memory_is_bounded(photos, refused):
    with refused("its own labels", "'kind'"):
        read(photos, "kind")
    with refused("16 GiB", "image_size"):
        read(photos, form=Form(image_size=(2**15, 2**15)))
    Image.new("F", (6, 5)).save(photos / "cat/3.tif")
    with refused("3.tif", "32-bit"):
        read(photos)


def test_says_what_to_install(photos, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with refused("pip install pillow"):
        read(photos)


def test_16_bits_keep_their_range(tmp_path):
    """12 bits of a camera in 16: 8 bits would leave 16 shades of them. A photo of 8 bits beside it is on one scale."""
    deep = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    for name in "ab":
        (tmp_path / name).mkdir()
    Image.fromarray(deep).save(tmp_path / "a/deep.png")
    Image.fromarray(np.full((64, 64), 200, dtype=np.uint8)).save(tmp_path / "b/flat.png")
    x = read(tmp_path).records.features
    assert x.dtype == np.float32
    np.testing.assert_allclose(x[0, 0], deep / 257, rtol=1e-6)
    assert (x[1] == 200).all()
    small = read(tmp_path, form=Form(image_size=(32, 32), image_mode="rgb")).records.features
    assert small.shape == (2, 3, 32, 32)
    assert (small[0, 0] == small[0, 2]).all()
    np.testing.assert_allclose(small[0, 0], deep.reshape(32, 2, 32, 2).mean((1, 3)) / 257, atol=0.3)
    old = read(tmp_path, form=Form(reading=1)).records.features
    assert old.dtype == np.uint8
    assert (old[0, 0] == deep // 257).all()
