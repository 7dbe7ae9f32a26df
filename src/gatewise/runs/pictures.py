"""Rows that are images, as small PNG pictures in text."""

import base64
import struct
import zlib
from dataclasses import dataclass

import numpy as np

SIDE = 32
"""Pixels that a picture has at most on a side; a larger one is averaged down."""
LEAST, LONGEST = 4, 8
"""A row is an image where no side is shorter than this, and none so many times as long as the other."""


@dataclass(frozen=True)
class Pictures:
    """Makes pictures of rows, all on one scale of brightness.

    Args:
        rows: `[N, H, W]`, `[N, C, H, W]` or `[N, H, W, C]` with C = 1 or 3.
        low: what is black.
        high: what is white.
    """

    rows: np.ndarray
    low: float
    high: float

    @classmethod
    def of(cls, rows: object) -> "Pictures | None":
        """For rows that are images, else None."""
        if not isinstance(rows, np.ndarray) or not len(rows) or not _is_image(_planes(rows[0])):
            return None
        return cls(rows, min(0.0, float(rows.min())), float(rows.max()))

    def png(self, row: int) -> str:
        """The row as a PNG of at most `SIDE` pixels a side, in base64."""
        planes = _planes(self.rows[row])
        assert planes is not None  # all rows have the shape of the first
        pixels = (_smaller(planes.astype(np.float64)) - self.low) / ((self.high - self.low) or 1.0)
        return base64.b64encode(encode((255 * pixels).round().clip(0, 255).astype(np.uint8))).decode()


def encode(pixels: np.ndarray) -> bytes:
    """A PNG of uint8 pixels `[H, W, 1]` (grey) or `[H, W, 3]` (red, green, blue)."""
    height, width, channels = pixels.shape
    lines = np.zeros((height, 1 + width * channels), dtype=np.uint8)  # each line begins with its filter: none
    lines[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _planes(row: np.ndarray) -> np.ndarray | None:
    """The row as `[H, W, C]`, if it has such a shape."""
    if row.ndim == 2:
        return row[..., None]
    if row.ndim == 3 and row.shape[0] in (1, 3):
        return np.moveaxis(row, 0, -1)
    return row if row.ndim == 3 and row.shape[-1] in (1, 3) else None


def _is_image(planes: np.ndarray | None) -> bool:
    if planes is None:
        return False
    short, long = sorted(planes.shape[:2])
    return short >= LEAST and long <= LONGEST * short


def _smaller(planes: np.ndarray) -> np.ndarray:
    """Means of blocks, so that no side is longer than `SIDE`; what does not fill a block is cut off."""
    step = -(-max(planes.shape[:2]) // SIDE)
    height, width = (max(1, side // step) for side in planes.shape[:2])
    kept = planes[: height * step, : width * step]
    return kept.reshape(height, step, width, step, -1).mean((1, 3))
