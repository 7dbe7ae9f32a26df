"""Images from a folder of class folders: photos/cat/*.png, photos/dog/*.jpg. Pillow reads them."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.data.read_options import READING
from gatewise.data.records import Records
from gatewise.errors import GatewiseError
from gatewise.wording import listing

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SIDE = 32  # of images that differ in size
LIMIT = 16 * 2**30  # bytes of all pixels in float32, checked before any image is decoded
GREY = ("1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow's modes without colour
FINE = ("I;16", "I;16L", "I;16B", "I;16N")  # those of 16 bits
UNREAD = ("I", "F")  # 32-bit numbers a pixel, of no scale that could be known


def holds_images(folder: Path) -> bool:
    """Whether a folder has images in it, or in the folders in it, and no Parquet file."""
    try:
        inside = _visible(folder)
        if any(each.suffix.lower() == ".parquet" for each in inside):
            return False
        return bool(_images(inside)) or any(_images(_visible(each)) for each in inside if each.is_dir())
    except OSError:
        return False  # the reader of folders says what is wrong


def read_images(
    folder: Path, require_target: bool, size: tuple[int, int] | None, mode: str | None, reading: int = READING
) -> Records:
    """The images as uint8 [N, C, H, W], with the names of their folders as labels, in the order of their paths.

    Where one has 16 bits a pixel they are float32, from 0 to 255 as well, so that models of either kind take both; with
    `reading` 1 (see `Form`) 8 bits of it are kept.

    Where labels are not required the images may lie in the folder itself. They are resized to `size` (height and
    width, whatever their proportions), by default that of all where they agree, else 32 × 32; and are grey (C = 1)
    or RGB (C = 3), by default grey where all are. What is transparent becomes white; photos are turned upright.
    Hidden files and files that are no images by their ending are left out. Raises GatewiseError for an image that
    cannot be read, naming it, for a class without images, and where Pillow is not installed.
    """
    files, labels = _files(folder, require_target)
    pillow = _pillow()
    sizes, modes = zip(*(_look(pillow, file) for file in files), strict=True)
    agreed = len(set(sizes)) == 1
    height, width = size or (sizes[0] if agreed else (SIDE, SIDE))
    mode = mode or ("grey" if all(each in GREY for each in modes) else "rgb")
    channels = 1 if mode == "grey" else 3
    if 4 * len(files) * channels * height * width > LIMIT:
        raise GatewiseError(
            f"{folder}: {len(files)} images of {height} × {width} are more than 16 GiB; take a smaller image_size"
        )
    fine = reading > 1 and any(each in FINE for each in modes)
    x = np.empty((len(files), channels, height, width), dtype=np.float32 if fine else np.uint8)
    for i, file in enumerate(files):
        x[i] = _pixels(pillow, file, height, width, mode, fine)
    resized = "" if set(sizes) == {(height, width)} else f", resized to that (image_size = [{height}, {width}])"
    note = f"Read {len(files)} images as {mode}, {height} × {width}{resized}."
    return Records(x, None if labels is None else np.array(labels, dtype=object), str(folder), images=True, note=note)


def _files(folder: Path, require_target: bool) -> tuple[list[Path], list[str] | None]:
    """The images and their labels, or None where they lie in the folder itself."""
    inside = _visible(folder)
    classes, flat = [each for each in inside if each.is_dir()], _images(inside)
    if flat and (classes or require_target):
        raise GatewiseError(
            f"{flat[0]}: an image beside the folders of classes, so its class is not known; move it into the folder of "
            "its class, as in photos/cat/1.png"
        )
    if flat:
        return flat, None
    found = {each: _images(_visible(each)) for each in classes}
    for each, images in found.items():
        if not images:
            inner = [one.name for one in _visible(each) if one.is_dir()]
            hint = f"only the folders {listing(inner, 3)}: give {each} as the data" if inner else "drop the folder"
            raise GatewiseError(f"{each}: a class without images ({', '.join(ENDINGS)}); {hint}")
    return [file for images in found.values() for file in images], [
        each.name for each, images in found.items() for _ in images
    ]


def _visible(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if not each.name.startswith((".", "__MACOSX")))


def _images(files: Sequence[Path]) -> list[Path]:
    return [file for file in files if file.suffix.lower() in ENDINGS and file.is_file()]


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise GatewiseError("reading images needs Pillow; install it with: pip install pillow") from None
    return Image


def _look(pillow: Any, path: Path) -> tuple[tuple[int, int], str]:
    """Height and width of the image upright, and Pillow's mode, from its header alone."""
    with _opened(pillow, path) as image:
        if image.mode in UNREAD:
            raise GatewiseError(f"{path}: an image of 32-bit numbers; save it with 8 or 16 bits a channel")
        turned = image.getexif().get(0x0112, 1) >= 5  # EXIF's orientation: by a quarter
        width, height = image.size
        return ((width, height) if turned else (height, width)), image.mode


def _pixels(pillow: Any, path: Path, height: int, width: int, mode: str, fine: bool) -> np.ndarray:
    """uint8 [C, H, W], or float32 with fractions of what 8 bits can tell."""
    from PIL import ImageOps

    resampling = pillow.Resampling.BILINEAR
    with _opened(pillow, path) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            deep = np.asarray(image)
            if fine:
                image = pillow.fromarray((deep / 257).astype(np.float32))
                image = image if image.size == (width, height) else image.resize((width, height), resampling)
                return np.broadcast_to(np.asarray(image), (1 if mode == "grey" else 3, height, width))
            image = pillow.fromarray((deep // 257).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if mode == "grey" else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), resampling)
        return np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)


@contextlib.contextmanager
def _opened(pillow: Any, path: Path) -> Iterator[Any]:
    """The image, for a `with` block; whatever goes wrong with it becomes one line that names the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on metadata
        warnings.simplefilter("error", pillow.DecompressionBombWarning)
        try:
            with pillow.open(path) as image:
                yield image
        except GatewiseError:
            raise
        except (pillow.DecompressionBombError, pillow.DecompressionBombWarning):
            most = f"{pillow.MAX_IMAGE_PIXELS / 1e6:.0f} million pixels"
            raise GatewiseError(f"{path}: an image of more than {most}; make it smaller or remove it") from None
        except Exception as error:  # a damaged image fails in many ways
            reason = (str(error).splitlines() or [type(error).__name__])[0].replace(f"'{path}'", "it")
            raise GatewiseError(f"{path}: not an image that can be read ({reason}); mend or remove it") from None
