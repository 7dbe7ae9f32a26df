"""Profiles of experts: the images that the gate gives each most surely, or the values that stand out."""

import base64
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gatewise.data import Records
from gatewise.data.dates import moment_of, year_or_hour
from gatewise.data.preprocessing.coding import NO_VALUE, plain_feature
from gatewise.models.model import Model

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


MOST_VALUES = 5
"""Of each expert."""

ENOUGH = 0.1
"""Standard deviations from the mean of all rows; what lies nearer does not stand out."""

FEWEST_ROWS = 10
"""A category with fewer rows is chance, and might name a person."""

MOST_LEVELS = 50
"""Categories of a column that are looked at, the most frequent ones."""

MOST_EXPERTS = 64
"""Of more experts, those with the most weight are described."""
MOST_ROWS = 10_000
"""Of more rows, so many at equal distances are looked at."""
MOST_PICTURES = 8
BUDGET = 400_000
"""Characters that all pictures together may take: the page has room for so many."""


@torch.no_grad()
def typical(model: Model, records: Records, x: Tensor, y: Tensor) -> dict[str, Any]:
    """The key `typical` of summary.json.

    Args:
        model: in inference mode.
        records: rows that were not trained on, as read.
        x: the same as the model takes them, `[N, ...]`.
        y: their classes, int64 `[N]`.

    Returns:
        "rows" that were looked at, and of "experts" one entry each: the "expert", its "share" of the gate's weight,
        and "images" ("png" in base64, "label", "predicted", "probability" of the expert) or "values" (see
        `standing_out`).
    """
    places = np.unique(np.linspace(0, len(x) - 1, min(MOST_ROWS, len(x))).astype(int))
    gate, experts = _gate(model, x, places)
    share = gate.mean(0)
    chosen = records.take(places)
    pictures = Pictures.of(chosen.features)
    if pictures is not None:
        told = _images(model, pictures, gate, x[places], y[places])
        kind = "images"
    else:
        told, kind = standing_out(chosen, gate), "values"
    found = [
        {"expert": int(expert), "share": float(share[column]), kind: told[column]}
        for column, expert in enumerate(experts)
    ]
    return {"rows": len(places), "experts": found}


def _gate(model: Model, x: Tensor, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p(z|x) of the rows at these places for the experts described, `[M, E]`, and which these are, ascending."""
    device = next(model.mixture.parameters()).device
    batches = [torch.from_numpy(part) for part in np.array_split(places, -(-len(places) // 4096))]
    most = MOST_EXPERTS
    if model.mixture.num_experts > most:
        weights = torch.stack([model.mixture.gate_proba(x[rows].to(device)).sum(0) for rows in batches])
        experts = weights.sum(0).topk(most).indices.sort().values
    else:
        experts = torch.arange(model.mixture.num_experts, device=device)
    gate = torch.cat([model.mixture.gate_proba(x[rows].to(device))[:, experts].cpu() for rows in batches])
    return gate.double().numpy(), experts.cpu().numpy()


def _images(model: Model, pictures: Pictures, gate: np.ndarray, x: Tensor, y: Tensor) -> list[list[dict[str, Any]]]:
    """For each expert the rows with its highest p(z|x), fewer of them where the pictures are large."""
    classes = model.spec.classes
    device = next(model.mixture.parameters()).device
    rows = np.argsort(-gate, axis=0, kind="stable")[:MOST_PICTURES]  # [P, E]
    encoded = [[pictures.png(row) for row in column] for column in rows.T]
    lengths = np.array([[len(text) for text in texts] for texts in encoded])
    kept = max(1, int((lengths.sum(0).cumsum() <= BUDGET).sum()))
    shown = torch.from_numpy(rows[:kept].T.reshape(-1).copy())
    predicted = torch.cat(
        [model.mixture.predict_proba(part.to(device)).argmax(-1).cpu() for part in x[shown].split(512)]
    )
    told = [
        {"label": classes[int(true)], "predicted": classes[int(guess)]}
        for true, guess in zip(y[shown].cpu(), predicted, strict=True)
    ]
    return [
        [
            {"png": encoded[column][place], **told[column * kept + place], "probability": float(gate[row, column])}
            for place, row in enumerate(rows[:kept, column])
        ]
        for column in range(gate.shape[1])
    ]


@dataclass(frozen=True)
class Feature:
    """A number of each row, or whether it has a category (1 or 0); NaN where it is missing.

    Attributes:
        column: its name.
        value: the category; None for a number.
        numbers: `[N]`.
    """

    column: str
    value: str | None
    numbers: np.ndarray


def standing_out(records: Records, gate: np.ndarray) -> list[list[dict[str, Any]]]:
    """For each expert the features whose mean, weighted by its p(z|x), is farthest from that of all rows.

    Args:
        records: a table, or an array `[N, D]` whose columns have numbers for names; others have no features.
        gate: p(z|x) of E experts, `[N, E]`.

    Returns:
        E lists, the farthest first, of "column", "value" (the category, or None), "mean" among the expert's rows,
        "overall" among all, and "deviations": their difference in standard deviations of all rows. Means of a
        category are shares; it is listed only where its share is larger.
    """
    found: list[list[dict[str, Any]]] = [[] for _ in range(gate.shape[1])]
    for feature in _features(records):
        known = np.isfinite(feature.numbers)
        numbers, weights = (feature.numbers, gate) if known.all() else (feature.numbers[known], gate[known])
        spread = numbers.std() if len(numbers) else 0.0
        if not spread > 0:
            continue
        overall, totals = numbers.mean(), weights.sum(0)
        means = np.divide(numbers @ weights, totals, out=np.full(len(totals), overall), where=totals > 0)
        deviations = (means - overall) / spread
        for expert, (mean, far) in enumerate(zip(means, deviations, strict=True)):
            if (far if feature.value is not None else abs(far)) >= ENOUGH:
                told = {"mean": float(mean), "overall": float(overall), "deviations": float(far)}
                found[expert].append({"column": feature.column, "value": feature.value, **told})
    return [_farthest(values) for values in found]


def _farthest(values: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(values, key=lambda value: -abs(value["deviations"]))[:MOST_VALUES]


def _features(records: Records) -> Iterable[Feature]:
    if not isinstance(records.features, pl.DataFrame):
        if records.features.ndim == 2:
            for place, numbers in enumerate(records.features.T):
                yield Feature(f"column {place}", None, numbers.astype(np.float64))
        return
    for series in records.features.iter_columns():
        column = plain_feature(series, records)
        if moment_of(column.dtype) is not None:
            yield Feature(series.name, None, year_or_hour(column))
        elif column.dtype == pl.String:
            yield from _categories(column)
        else:
            yield Feature(series.name, None, column.fill_null(float("nan")).to_numpy().astype(np.float64))


def _categories(column: pl.Series) -> Iterable[Feature]:
    """The categories of a column of text with rows enough, each as whether a row has it."""
    filled = column.fill_null(NO_VALUE).alias("value")
    counts = filled.value_counts().filter(pl.col("count") >= FEWEST_ROWS)
    for value in counts.sort(["count", "value"], descending=[True, False]).head(MOST_LEVELS)["value"]:
        yield Feature(column.name, value, (filled == value).to_numpy().astype(np.float64))


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
